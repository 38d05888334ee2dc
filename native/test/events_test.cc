// Events: what those who follow the index are told, and what they are not. Blocks have 16 tokens.

#include "event_mirror.h"
#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

Config Followed(std::uint32_t device_blocks, std::uint32_t host_blocks = 0) {
  Config config = Pool(device_blocks, host_blocks);
  config.events = true;
  return config;
}

// How many events of each kind the last calls made.
class Told {
 public:
  explicit Told(SimulatedDevice& device) : device_(device) { Next(); }

  void Expect(std::uint64_t stored, std::uint64_t removed) {
    const std::uint64_t stored_before = stored_;
    const std::uint64_t removed_before = removed_;
    Next();
    CHECK_EQ(stored_ - stored_before, stored);
    CHECK_EQ(removed_ - removed_before, removed);
  }

 private:
  void Next() {
    stored_ = device_.Events().stored();
    removed_ = device_.Events().removed();
  }

  SimulatedDevice& device_;
  std::uint64_t stored_ = 0;
  std::uint64_t removed_ = 0;
};

TEST("a full block is told as stored once its step is committed, a partly filled one is not") {
  SimulatedDevice device(Followed(64));
  Told told(device);
  const SequenceId chat = device.Open(Text(1, 40));
  const StepId step = device.Schedule({{chat, Text(1, 40)}});
  device.Execute(step);
  told.Expect(0, 0);
  device.Commit(step);
  told.Expect(2, 0);
  device.Append(chat, Text(1, 8, 40));
  told.Expect(1, 0);
  device.CloseAll();
  told.Expect(0, 0);
}

TEST("a block is told with its parent, tokens, namespace and keys") {
  SimulatedDevice device(Followed(64));
  device.Cache(Text(1, 32), "tenant", {{20, 24, "cat"}, {28, kNone, "dog"}});
  Manager& manager = device.manager();
  std::vector<std::uint32_t> page(4 * Manager::LongestEvent(device.config()));
  const auto taken = manager.TakeEvents(page, true);
  CHECK(!taken.has_more);
  CHECK_EQ(page[0], static_cast<std::uint32_t>(EventKind::kReset));
  const std::uint32_t* first = &page[1];
  CHECK_EQ(first[0], static_cast<std::uint32_t>(EventKind::kStored));
  CHECK_EQ(first[2], kNone);
  CHECK_EQ(*manager.NamespaceOf(first[3]), "tenant");
  CHECK_EQ(first[4], 0);
  CHECK_EQ(Show(TokenList(first + 5, first + 21)), Show(Text(1, 16)));
  const std::uint32_t* second = first + 21;
  CHECK_EQ(second[2], first[1]);
  CHECK_EQ(second[4], 2);
  CHECK_EQ(Show(TokenList(second + 5, second + 21)), Show(Text(1, 16, 16)));
  CHECK_EQ(Show(std::vector<std::uint32_t>(second + 21, second + 23)), "[4 8]");
  CHECK_EQ(*manager.KeyOf(second[23]), "cat");
  CHECK_EQ(Show(std::vector<std::uint32_t>(second + 24, second + 26)), "[12 16]");
  CHECK_EQ(*manager.KeyOf(second[26]), "dog");
  CHECK_EQ(taken.words, 1 + 21 + 27);
}

TEST("an evicted block is told as removed when the step that takes it is executed") {
  SimulatedDevice device(Followed(4));
  device.Cache(Text(1, 64));
  Told told(device);
  const SequenceId chat = device.Open(Text(2, 20));
  const StepId step = device.Schedule({{chat, Text(2, 20)}});
  told.Expect(0, 0);  // claimed, and hidden, but there
  device.Execute(step);
  told.Expect(0, 2);
  device.Commit(step);
  told.Expect(1, 0);
  device.CloseAll();
}

TEST("an aborted step tells nothing") {
  SimulatedDevice device(Followed(4));
  device.Cache(Text(1, 64));
  Told told(device);
  const SequenceId chat = device.Open(Text(2, 20));
  device.Abort(device.Schedule({{chat, Text(2, 20)}}));
  told.Expect(0, 0);
  device.CloseAll();
}

TEST("an aborted step that took a block over tells nothing, a committed one that it is gone") {
  SimulatedDevice device(Followed(64));
  const SequenceId chat = device.Chat(Text(1, 32));
  device.Truncate(chat, 30);
  Told told(device);
  const StepId aborted = device.Schedule({{chat, Text(2, 2)}});
  told.Expect(0, 0);
  device.Abort(aborted);
  told.Expect(0, 0);
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens, 32);
  device.Append(chat, Text(2, 2));
  told.Expect(1, 1);
  device.CloseAll();
}

TEST("moving to the host and back tells nothing") {
  SimulatedDevice device(Followed(4, 8));
  device.Cache(Text(1, 64));
  Told told(device);
  device.Cache(Text(2, 64));
  told.Expect(4, 0);
  device.Close(device.Chat(Text(1, 64)));
  told.Expect(0, 0);
  const SequenceId chat = device.Chat(Text(1, 60));
  device.SwapOut(chat);
  device.Append(chat, Text(1, 1, 60));
  told.Expect(0, 0);
  device.CloseAll();
}

TEST("a block is removed when the last copy in the last tier is gone") {
  SimulatedDevice device(Followed(4, 4));
  device.Cache(Text(1, 64));
  device.Cache(Text(2, 64));
  Told told(device);
  device.Cache(Text(3, 32));
  told.Expect(2, 2);
  CHECK_EQ(device.Lookup(Text(1, 65)).host_tokens, 32);
}

TEST("an offload that fails removes what it was to save") {
  SimulatedDevice device(Followed(4, 4));
  device.Cache(Text(1, 64));
  Told told(device);
  const SequenceId chat = device.Open(Text(2, 32));
  const StepId step = device.Schedule({{chat, Text(2, 32)}});
  device.Execute(step, false);
  told.Expect(0, 2);
  device.Abort(step);
  told.Expect(0, 0);
  device.CloseAll();
}

TEST("two sequences that compute the same block end with one stored") {
  SimulatedDevice device(Followed(64));
  Told told(device);
  const SequenceId one = device.Open(Text(1, 32));
  const SequenceId other = device.Open(Text(1, 32));
  device.Commit(device.Schedule({{one, Text(1, 32)}, {other, Text(1, 32)}}));
  told.Expect(2, 0);
  device.CloseAll();
}

TEST("clearing tells removed for what nobody holds, and for what is held") {
  SimulatedDevice device(Followed(64));
  device.Cache(Text(1, 32), "a");
  const SequenceId chat = device.Chat(Text(2, 32), "a");
  device.Cache(Text(3, 32), "b");
  Told told(device);
  device.Clear("a");
  told.Expect(0, 4);
  // What it computes from now on stands on what was cleared: nobody finds it.
  device.Append(chat, Text(2, 32, 32));
  told.Expect(0, 0);
  device.Close(chat);
  told.Expect(0, 0);
  device.Cache(Text(2, 32), "a");
  told.Expect(2, 0);
}

TEST("clearing while a step has taken a block over tells that it is gone, once") {
  SimulatedDevice device(Followed(64));
  const SequenceId chat = device.Chat(Text(1, 32));
  device.Truncate(chat, 30);
  Told told(device);
  const StepId step = device.Schedule({{chat, Text(2, 2)}});
  device.Clear("");
  told.Expect(0, 2);
  device.Abort(step);
  told.Expect(0, 0);
  device.CloseAll();
}

TEST("the first answer is all that there is") {
  SimulatedDevice device(Followed(64));
  device.LeaveEvents();
  device.Cache(Text(1, 64));
  device.Cache(Text(2, 32), "b");
  EventMirror mirror;
  mirror.Follow(device.manager());
  CHECK_EQ(mirror.size(), 6);
  CHECK_EQ(mirror.resets(), 0);
}

TEST("told anew, everything that is there comes after a reset, and what is gone does not") {
  SimulatedDevice device(Followed(8));
  device.LeaveEvents();
  device.Cache(Text(1, 64));
  EventMirror mirror;
  mirror.Follow(device.manager());
  device.Cache(Text(2, 96));
  mirror.Follow(device.manager(), true, true);
  CHECK_EQ(mirror.resets(), 1);
  CHECK_EQ(mirror.removed(), 0);
  CHECK_EQ(mirror.size(), 8);
}

TEST("what came and went while nobody asked is never told, and takes no memory") {
  SimulatedDevice device(Followed(4));
  device.LeaveEvents();
  EventMirror mirror;
  mirror.Follow(device.manager());
  for (std::uint32_t text = 1; text <= 200; ++text) device.Cache(Text(text, 64));
  mirror.Follow(device.manager());
  CHECK_EQ(mirror.stored(), 4);
  CHECK_EQ(mirror.removed(), 0);
  for (std::uint32_t text = 201; text <= 400; ++text) device.Cache(Text(text, 64));
  mirror.Follow(device.manager());
  CHECK_EQ(mirror.stored(), 8);
  CHECK_EQ(mirror.removed(), 4);
}

TEST("what is gone is told before what has come, so that an id may be used again") {
  SimulatedDevice device(Followed(2));
  device.LeaveEvents();
  device.Cache(Text(1, 32));
  EventMirror mirror;
  mirror.Follow(device.manager());
  device.Cache(Text(2, 32));
  mirror.Follow(device.manager());  // would meet an id twice otherwise
  CHECK_EQ(mirror.size(), 2);
}

TEST("events may be read a page at a time, and more may happen between two") {
  SimulatedDevice device(Followed(16));
  device.LeaveEvents();
  EventMirror mirror;
  for (std::uint32_t text = 1; text <= 40; ++text) {
    device.Cache(Text(text, 16 * (text % 5 + 1)));
    mirror.Follow(device.manager(), false);
  }
  mirror.Follow(device.manager());
  mirror.Compare(device.manager());
}

TEST("without the option there are no events, and taking them is refused") {
  SimulatedDevice device(Pool(8));
  device.Cache(Text(1, 64));
  std::vector<std::uint32_t> page(Manager::LongestEvent(device.config()));
  CHECK_EQ(device.manager().TakeEvents(page, false).status, Status::kEventsOff);
  CHECK_EQ(device.manager().TakeEvents(page, true).status, Status::kEventsOff);
}

}  // namespace
}  // namespace pagedkv::test
