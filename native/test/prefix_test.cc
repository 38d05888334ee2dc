// The prefix index: what a prompt finds, what it must not find, and how hits end in steps.

#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

TEST("the last token of a prompt is never served from cache") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 64));
  for (const std::uint32_t length : {1u, 2u, 16u, 17u, 20u, 32u, 33u, 64u}) {
    const auto opened = device.TryOpen(Text(1, length));
    CHECK_EQ(opened.cached, length - 1);
    device.Close(opened.sequence);
  }
  CHECK_EQ(device.TryOpen(Text(1, 65)).cached, 64);
  device.CloseAll();
}

TEST("a wholly cached prompt computes its last token, writes nothing and copies nothing") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 32));
  const SequenceId chat = device.Open(Text(1, 32));
  const StepId step = device.Schedule({{chat, Text(1, 1, 31)}});
  CHECK_EQ(Show(device.Slots(step)), Show(std::vector<std::uint32_t>{kNone}));
  CHECK(device.Copies(step).empty());
  CHECK_EQ(device.Past(step, 0), 31);
  device.Execute(step);
  device.Commit(step);
  CHECK_EQ(device.Held(), 2);
  // Goes on in a block of its own.
  CHECK(device.Copies(device.Append(chat, Text(2, 1))).empty());
  CHECK_EQ(device.Held(), 3);
  device.CloseAll();
}

TEST("two chats with the same wholly cached prompt hold its blocks once") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 32));
  const SequenceId first = device.Open(Text(1, 32));
  const SequenceId second = device.Open(Text(1, 32));
  const StepId step = device.Schedule({{first, Text(1, 1, 31)}, {second, Text(1, 1, 31)}});
  CHECK_EQ(Show(device.Slots(step)), Show(std::vector<std::uint32_t>{kNone, kNone}));
  device.Commit(step);
  CHECK_EQ(device.Held(), 2);
  device.CloseAll();
}

TEST("a last token other than the cached one copies the block first") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 32));
  const SequenceId chat = device.Open(Text(1, 32));
  const StepId step = device.Append(chat, Text(2, 1));
  CHECK_EQ(device.Copies(step).size(), 1);
  CHECK_EQ(device.Copies(step)[0].tokens, 15);
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens, 32);
  device.CloseAll();
}

TEST("kernels that always write get a copy of the block of a wholly cached prompt") {
  Config config = Pool(64);
  config.always_writes = true;
  SimulatedDevice device(config);
  device.Cache(Text(1, 32));
  const SequenceId chat = device.Open(Text(1, 32));
  const StepId step = device.Schedule({{chat, Text(1, 1, 31)}});
  const std::vector<Move> copies = device.Copies(step);
  CHECK_EQ(copies.size(), 1);
  CHECK_EQ(copies[0].tokens, 15);
  CHECK_EQ(Show(device.Slots(step)), Show(std::vector<std::uint32_t>{copies[0].to * 16 + 15}));
  device.Execute(step);
  device.Commit(step);
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens, 32);
  // The copy was a duplicate of the indexed block, and ended with the commit.
  CHECK_EQ(device.Held(), 2);
  device.CloseAll();
}

TEST("the same tokens under another namespace hit nothing") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 32), "one");
  CHECK_EQ(device.Lookup(Text(1, 33), "one").device_tokens, 32);
  CHECK_EQ(device.Lookup(Text(1, 33), "two").device_tokens, 0);
  CHECK_EQ(device.Lookup(Text(1, 33), "").device_tokens, 0);
  CHECK_EQ(device.TryOpen(Text(1, 33), "two").cached, 0);
  device.CloseAll();
}

TEST("names that contain each other, or zeros, are different namespaces") {
  SimulatedDevice device(Pool(64));
  const std::string zero("a\0", 2);
  device.Cache(Text(1, 16), "a");
  device.Cache(Text(2, 16), zero);
  CHECK_EQ(device.Lookup(Text(1, 17), "a").device_tokens, 16);
  CHECK_EQ(device.Lookup(Text(1, 17), "aa").device_tokens, 0);
  CHECK_EQ(device.Lookup(Text(1, 17), zero).device_tokens, 0);
  CHECK_EQ(device.Lookup(Text(2, 17), zero).device_tokens, 16);
  device.CloseAll();
}

TEST("a prompt that diverges inside a cached block copies the part that is the same") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 48));
  const TokenList prompt = Join(Text(1, 20), Text(2, 20));
  const auto opened = device.TryOpen(prompt);
  CHECK_EQ(opened.cached, 20);
  const StepId step = device.Append(opened.sequence, Tail(prompt, 20));
  CHECK_EQ(device.Copies(step).size(), 1);
  CHECK_EQ(device.Copies(step)[0].tokens, 4);
  CHECK_EQ(device.Held(), 3);
  CHECK_EQ(device.Lookup(Text(1, 49)).device_tokens, 48);
  device.CloseAll();
}

TEST("a shared part shorter than min_partial_tokens is computed again") {
  Config config = Pool(64);
  config.min_partial_tokens = 5;
  SimulatedDevice device(config);
  device.Cache(Text(1, 48));
  CHECK_EQ(device.TryOpen(Join(Text(1, 20), Text(2, 20))).cached, 16);
  CHECK_EQ(device.TryOpen(Join(Text(1, 21), Text(2, 20))).cached, 21);
  CHECK_EQ(device.TryOpen(Join(Text(1, 4), Text(2, 20))).cached, 0);
  CHECK_EQ(device.TryOpen(Text(1, 32)).cached, 31);
  device.CloseAll();
}

TEST("a cached block of one token is found when its token is scheduled") {
  Config config = Pool(4);
  config.block_size = 1;
  SimulatedDevice device(config);
  device.Cache(Text(1, 1));
  const SequenceId chat = device.Open(Text(2, 1));
  const StepId step = device.Schedule({{chat, Text(1, 1)}});
  CHECK_EQ(device.Slots(step)[0], kNone);
  device.Execute(step);
  device.Commit(step);
  CHECK_EQ(device.Held(), 1);
  device.CloseAll();
}

TEST("the longest of several parts of cached siblings is taken") {
  SimulatedDevice device(Pool(64));
  const TokenList head = Text(1, 16);
  for (const std::uint32_t same : {2u, 11u, 5u}) {
    device.Cache(Join(head, Join(Text(2, same), Text(10 + same, 16 - same))));
  }
  CHECK_EQ(device.TryOpen(Join(head, Text(2, 16))).cached, 16 + 11);
  device.CloseAll();
}

TEST("the source of a partial hit is held from open until the copy's step has ended") {
  SimulatedDevice device(Pool(4));
  device.Cache(Text(1, 16));
  const TokenList prompt = Join(Text(1, 8), Text(2, 24));
  const SequenceId chat = device.Open(prompt);
  CHECK_EQ(device.History(chat).size(), 8);
  CHECK_EQ(device.Held(), 1);
  // It counts: two blocks and the source leave one of four.
  const SequenceId other = device.Chat(Text(3, 16));
  const StepId step = device.Schedule({{chat, Tail(prompt, 8)}});
  CHECK_EQ(device.Held(), 4);
  device.Execute(step);
  device.Commit(step);
  CHECK_EQ(device.Held(), 3);
  CHECK_EQ(device.Lookup(Text(1, 17)).device_tokens, 16);
  device.Close(other);
  device.CloseAll();
}

TEST("two chats that computed the same blocks at once hold them once after the commit") {
  SimulatedDevice device(Pool(64));
  const SequenceId first = device.Open(Text(1, 40));
  const SequenceId second = device.Open(Text(1, 40));
  const StepId step = device.Schedule({{first, Text(1, 40)}, {second, Text(1, 40)}});
  CHECK_EQ(device.Held(), 6);
  device.Execute(step);
  device.Commit(step);
  CHECK_EQ(device.Held(), 4);
  CHECK_EQ(device.manager().GetStats().duplicates, 2);
  CHECK_EQ(device.Row(first)[0], device.Row(second)[0]);
  CHECK_EQ(device.Row(first)[1], device.Row(second)[1]);
  CHECK(device.Row(first)[2] != device.Row(second)[2]);
  device.Append(first, Text(2, 20));
  device.Append(second, Text(3, 20));
  device.CloseAll();
}

TEST("a duplicate is freed only when no open step names it") {
  SimulatedDevice device(Pool(64));
  const SequenceId first = device.Open(Text(1, 16));
  const SequenceId second = device.Open(Text(1, 16));
  const StepId one = device.Schedule({{first, Text(1, 16)}, {second, Text(1, 16)}});
  const StepId two = device.Schedule({{second, Text(2, 1)}});
  device.Execute(one);
  device.Commit(one);
  CHECK_EQ(device.manager().GetStats().device.free, 64 - 3);
  device.Execute(two);
  device.Commit(two);
  CHECK_EQ(device.manager().GetStats().device.free, 64 - 2);
  CHECK_EQ(device.Row(first)[0], device.Row(second)[0]);
  device.Append(second, Text(2, 1, 1));
  device.CloseAll();
}

TEST("chats opened together share what the first has committed when the second is scheduled") {
  SimulatedDevice device(Pool(64));
  const SequenceId first = device.Open(Text(1, 40));
  const auto second = device.TryOpen(Text(1, 40));
  CHECK_EQ(second.cached, 0);
  device.Append(first, Text(1, 40));
  const StepId step = device.Schedule({{second.sequence, Text(1, 40)}});
  CHECK_EQ(device.Skipped(step, 0), 32);
  CHECK_EQ(device.Past(step, 0), 32);
  CHECK_EQ(device.QueryTokens(step), 8);
  device.Execute(step);
  device.Commit(step);
  CHECK_EQ(device.Held(), 4);
  device.CloseAll();
}

TEST("a prompt that became wholly cached since open computes its last token only") {
  SimulatedDevice device(Pool(64));
  const SequenceId first = device.Open(Text(1, 32));
  const SequenceId second = device.Open(Text(1, 32));
  device.Append(first, Text(1, 32));
  const StepId step = device.Schedule({{second, Text(1, 32)}});
  CHECK_EQ(device.Skipped(step, 0), 31);
  CHECK_EQ(Show(device.Slots(step)), Show(std::vector<std::uint32_t>{kNone}));
  device.Commit(step);
  CHECK_EQ(device.Held(), 2);
  device.CloseAll();
}

TEST("the ids given to schedule are the truth, whatever open was given") {
  SimulatedDevice device(Pool(64));
  const SequenceId chat = device.Open(Text(1, 32));
  device.Append(chat, Text(2, 32));
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens, 0);
  CHECK_EQ(device.Lookup(Text(2, 33)).device_tokens, 32);
  device.CloseAll();
}

TEST("a block is visible only after the pass that filled it was committed") {
  SimulatedDevice device(Pool(64));
  const SequenceId chat = device.Open(Text(1, 48));
  const StepId step = device.Schedule({{chat, Text(1, 48)}});
  CHECK_EQ(device.Lookup(Text(1, 49)).device_tokens, 0);
  CHECK_EQ(device.Lookup(Text(1, 49)).computing_tokens, 48);
  device.Execute(step);
  CHECK_EQ(device.Lookup(Text(1, 49)).device_tokens, 0);
  CHECK_EQ(device.Lookup(Text(1, 49)).computing_tokens, 48);
  device.Commit(step);
  CHECK_EQ(device.Lookup(Text(1, 49)).device_tokens, 48);
  CHECK_EQ(device.Lookup(Text(1, 49)).computing_tokens, 0);
  device.CloseAll();
}

TEST("lookup tells what an open step computes after a part that is cached") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 32));
  const SequenceId chat = device.Open(Text(1, 64));
  const StepId step = device.Schedule({{chat, Text(1, 32, 32)}});
  const auto hit = device.Lookup(Text(1, 65));
  CHECK_EQ(hit.device_tokens, 32);
  CHECK_EQ(hit.computing_tokens, 32);
  CHECK_EQ(device.Lookup(Text(1, 65), "other").computing_tokens, 0);
  device.Abort(step);
  CHECK_EQ(device.Lookup(Text(1, 65)).computing_tokens, 0);
  device.CloseAll();
}

TEST("clear forgets one namespace and leaves the others") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 32), "one");
  device.Cache(Text(1, 32), "two");
  device.Clear("one");
  CHECK_EQ(device.Lookup(Text(1, 33), "one").device_tokens, 0);
  CHECK_EQ(device.Lookup(Text(1, 33), "two").device_tokens, 32);
  CHECK_EQ(device.manager().GetStats().device.free, 62);
  device.Clear(std::nullopt);
  CHECK_EQ(device.Lookup(Text(1, 33), "two").device_tokens, 0);
  CHECK_EQ(device.manager().GetStats().device.free, 64);
}

TEST("clear of a name that nobody used does nothing") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 32), "one");
  const std::uint64_t digest = device.Digest();
  device.Clear("two");
  CHECK_EQ(device.Digest(), digest);
}

TEST("a chat that was open during clear goes on, and what it computed before stays forgotten") {
  SimulatedDevice device(Pool(64));
  const SequenceId chat = device.Chat(Text(1, 40), "one");
  device.Clear("one");
  CHECK_EQ(device.Lookup(Text(1, 41), "one").device_tokens, 0);
  device.Append(chat, Text(1, 40, 40));
  CHECK_EQ(device.Lookup(Text(1, 81), "one").device_tokens, 0);
  device.Close(chat);
  CHECK_EQ(device.manager().GetStats().device.free, 64);
}

TEST("a step that was open during clear publishes nothing") {
  SimulatedDevice device(Pool(64));
  const SequenceId chat = device.Open(Text(1, 40), "one");
  const StepId step = device.Schedule({{chat, Text(1, 40)}});
  device.Clear("one");
  device.Execute(step);
  device.Commit(step);
  CHECK_EQ(device.Lookup(Text(1, 41), "one").device_tokens, 0);
  device.CloseAll();
}

TEST("a step undone after clear does not give its sequence back what was cleared") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 16), "one");
  const SequenceId chat = device.Open(Text(1, 1), "one");  // holds the block, and no token of it
  const StepId step = device.Schedule({{chat, Text(1, 1)}});
  device.Clear("one");
  device.Abort(step);
  const StepId again = device.Schedule({{chat, Text(1, 1)}});
  CHECK(device.Slots(again)[0] != kNone);
  device.Commit(again);
  device.CloseAll();
}

TEST("after clear the same prompt is computed and cached anew") {
  SimulatedDevice device(Pool(64));
  const SequenceId old = device.Chat(Text(1, 40), "one");
  device.Clear("one");
  const SequenceId fresh = device.Chat(Text(1, 40), "one");
  CHECK_EQ(device.Held(), 6);
  CHECK_EQ(device.Lookup(Text(1, 41), "one").device_tokens, 32);
  device.Append(old, Text(1, 30, 40));
  device.Append(fresh, Text(1, 30, 40));
  device.CloseAll();
}

TEST("a sequence that is dropped after clear resumes without what was cleared") {
  SimulatedDevice device(Pool(64));
  const SequenceId chat = device.Chat(Text(1, 40), "one");
  const SequenceId other = device.Fork(chat, 40);
  device.Clear("one");
  device.Preempt(chat, PreemptMode::kDrop);
  CHECK_EQ(device.Resume(chat, Text(1, 40)), 0);
  device.Append(chat, Text(1, 40));
  CHECK_EQ(device.Lookup(Text(1, 41), "one").device_tokens, 32);
  device.Append(other, Text(1, 1, 40));
  device.CloseAll();
}

TEST("a sequence that had nothing when its namespace was cleared begins anew") {
  SimulatedDevice device(Pool(64));
  const SequenceId old = device.Chat(Text(1, 40), "one");
  const SequenceId queued = device.Open(Text(2, 40), "one");
  device.Clear("one");
  device.Append(queued, Text(1, 40));
  CHECK_EQ(device.Held(), 6);
  CHECK_EQ(device.Lookup(Text(1, 41), "one").device_tokens, 32);
  device.Append(old, Text(1, 1, 40));
  device.CloseAll();
}

}  // namespace
}  // namespace pagedkv::test
