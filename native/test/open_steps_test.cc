// Several steps open at once: they end in order, and what others may do to a sequence meanwhile.

#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

TEST("a step that builds on one that failed cannot be executed, and goes with it") {
  SimulatedDevice device(Pool(8));
  const SequenceId chat = device.Chat(Text(1, 10));
  const SequenceId other = device.Chat(Text(2, 10));
  const StepId one = device.Schedule({{chat, Text(1, 10, 10)}});
  const StepId two = device.Schedule({{chat, Text(1, 1, 20)}});
  const StepId three = device.Schedule({{other, Text(2, 1, 10)}});
  device.Execute(one, false);
  CHECK_EQ(device.TryExecute(two), Status::kStepFailed);
  device.Abort(one);
  CHECK(device.StageOf(two) == SimulatedDevice::Stage::kClosed);
  device.Execute(three);
  device.Commit(three);
  device.Append(chat, Text(1, 10, 10));
  device.CloseAll();
}

TEST("two steps of one sequence may be open at once, and commit in order") {
  SimulatedDevice device(Pool(8));
  const SequenceId chat = device.Chat(Text(1, 15));
  const StepId one = device.Schedule({{chat, Text(1, 1, 15)}});
  const StepId two = device.Schedule({{chat, Text(1, 1, 16)}});
  CHECK_EQ(device.Past(two, 0), 16);
  CHECK_EQ(device.TryExecute(two), Status::kStepOutOfOrder);
  device.Execute(one);
  device.Execute(two);
  CHECK_EQ(device.TryCommit(two), Status::kStepOutOfOrder);
  device.Commit(one);
  CHECK_EQ(device.History(chat).size(), 16);
  device.Commit(two);
  CHECK_EQ(device.History(chat).size(), 17);
  device.CloseAll();
}

TEST("steps out of order are refused whether or not they share a sequence") {
  SimulatedDevice device(Pool(8));
  const StepId one = device.Schedule({{device.Open(Text(1, 16)), Text(1, 16)}});
  const StepId two = device.Schedule({{device.Open(Text(2, 16)), Text(2, 16)}});
  CHECK_EQ(device.TryExecute(two), Status::kStepOutOfOrder);
  CHECK_EQ(device.TryCommit(two), Status::kStepOutOfOrder);
  device.Commit(one);
  device.Commit(two);
  device.CloseAll();
}

TEST("aborting a step aborts the later ones that share a sequence, and no others") {
  SimulatedDevice device(Pool(16));
  const SequenceId chat = device.Chat(Text(1, 20));
  const SequenceId other = device.Chat(Text(2, 20));
  const SequenceId third = device.Chat(Text(3, 20));
  const StepId one = device.Schedule({{chat, Text(1, 20, 20)}});
  const StepId two = device.Schedule({{other, Text(2, 20, 20)}});
  const StepId three = device.Schedule({{chat, Text(1, 1, 40)}, {third, Text(3, 1, 20)}});
  const StepId four = device.Schedule({{third, Text(3, 20, 21)}});
  device.Execute(one);
  device.Abort(one);
  CHECK(device.StageOf(three) == SimulatedDevice::Stage::kClosed);
  CHECK(device.StageOf(four) == SimulatedDevice::Stage::kClosed);
  CHECK_EQ(device.TryCommit(three), Status::kStepClosed);
  device.Execute(two);
  device.Commit(two);
  CHECK_EQ(device.History(other).size(), 40);
  device.Append(chat, Text(1, 1, 20));
  device.Append(third, Text(3, 1, 20));
  device.CloseAll();
}

TEST("aborting the newest of two steps of a sequence leaves the older one") {
  SimulatedDevice device(Pool(8));
  const SequenceId chat = device.Chat(Text(1, 10));
  const StepId one = device.Schedule({{chat, Text(1, 10, 10)}});
  const StepId two = device.Schedule({{chat, Text(1, 20, 20)}});
  device.Abort(two);
  device.Execute(one);
  device.Commit(one);
  CHECK_EQ(device.History(chat).size(), 20);
  CHECK_EQ(device.Held(), 2);
  device.CloseAll();
}

TEST("aborting the newest of three steps leaves what the oldest committed, and the middle one") {
  SimulatedDevice device(Pool(16));
  const SequenceId chat = device.Fork(device.Chat(Text(1, 32)), 20);
  const StepId one = device.Schedule({{chat, Text(2, 1)}});  // copies the block that it stands in
  const StepId two = device.Schedule({{chat, Text(2, 1, 1)}});
  const StepId three = device.Schedule({{chat, Text(2, 1, 2)}});
  device.Execute(one);
  device.Commit(one);
  device.Abort(three);
  const TokenList prompt = Join(Text(1, 20), Text(2, 3));
  CHECK_EQ(device.Lookup(prompt).device_tokens, 20);
  CHECK_EQ(device.Lookup(prompt).computing_tokens, 2);
  device.Execute(two);
  device.Commit(two);
  CHECK_EQ(device.History(chat).size(), 22);
  device.CloseAll();
}

TEST("a later step that would copy a block out of an open one's table waits for its end") {
  SimulatedDevice device(Pool(16));
  device.Cache(Text(1, 32));
  const SequenceId chat = device.Open(Text(1, 20));
  const StepId one = device.Schedule({{chat, Text(1, 1, 19)}});  // wholly cached: writes nothing
  CHECK_EQ(device.TrySchedule({{chat, Text(2, 1)}}).status, Status::kOutOfBlocks);
  device.Execute(one);
  device.Commit(one);
  CHECK_EQ(device.Copies(device.Append(chat, Text(2, 1)))[0].tokens, 4);
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens, 32);
  device.CloseAll();
}

TEST("while a step is open, fork sees committed tokens") {
  SimulatedDevice device(Pool(16));
  const SequenceId chat = device.Chat(Text(1, 20));
  const StepId step = device.Schedule({{chat, Text(1, 30, 20)}});
  CHECK_EQ(device.TryFork(chat, 21).status, Status::kBeyondEnd);
  const SequenceId before = device.Fork(chat, 20);
  device.Execute(step);
  const SequenceId after = device.Fork(chat, 20);
  device.Commit(step);
  CHECK_EQ(device.History(chat).size(), 50);
  device.Append(before, Text(2, 20));
  device.Append(after, Text(3, 20));
  device.Append(chat, Text(4, 1));
  device.CloseAll();
}

TEST("a fork made while a step appends in place does not move the step's tokens") {
  SimulatedDevice device(Pool(16));
  const SequenceId chat = device.Chat(Text(1, 20));
  const StepId one = device.Schedule({{chat, Text(1, 1, 20)}});
  const SequenceId fork = device.Fork(chat, 20);
  const StepId two = device.Schedule({{chat, Text(1, 1, 21)}, {fork, Text(2, 1)}});
  device.Execute(one);
  device.Commit(one);
  device.Execute(two);
  device.Commit(two);
  CHECK_EQ(device.Held(), 3);
  device.CloseAll();
}

TEST("while a step is open, truncate and preempt are errors") {
  SimulatedDevice device(Pool(16, 16));
  const SequenceId chat = device.Chat(Text(1, 20));
  const StepId step = device.Schedule({{chat, Text(1, 1, 20)}});
  CHECK_EQ(device.TryTruncate(chat, 10), Status::kSequenceInStep);
  CHECK_EQ(device.TryPreempt(chat, PreemptMode::kSwap).status, Status::kSequenceInStep);
  CHECK_EQ(device.TryPreempt(chat, PreemptMode::kDrop).status, Status::kSequenceInStep);
  device.Commit(step);
  device.Truncate(chat, 10);
  device.CloseAll();
}

TEST("a close while a step is open takes effect when the step ends") {
  SimulatedDevice device(Pool(8));
  const SequenceId chat = device.Open(Text(1, 40));
  const StepId step = device.Schedule({{chat, Text(1, 40)}});
  device.Close(chat);
  CHECK_EQ(device.TryClose(chat), Status::kSequenceClosed);
  CHECK_EQ(device.Held(), 3);
  device.Execute(step);
  device.Commit(step);
  CHECK_EQ(device.Held(), 0);
  CHECK_EQ(device.Lookup(Text(1, 41)).device_tokens, 32);
  device.CheckNothingHeld();
}

TEST("a close while a step is open takes effect when the step is aborted") {
  SimulatedDevice device(Pool(8));
  const SequenceId chat = device.Chat(Text(1, 20));
  const StepId one = device.Schedule({{chat, Text(1, 20, 20)}});
  const StepId two = device.Schedule({{chat, Text(1, 20, 40)}});
  device.Close(chat);
  device.Abort(two);
  CHECK(device.Held() > 0);
  device.Abort(one);
  device.CheckNothingHeld();
  CHECK_EQ(device.Lookup(Text(1, 41)).device_tokens, 16);
}

TEST("counts and ids mix in a batch, several passes ahead") {
  SimulatedDevice device(Pool(16));
  const SequenceId one = device.Chat(Text(1, 14));
  const SequenceId two = device.Chat(Text(2, 14));
  std::vector<StepId> steps;
  for (std::uint32_t i = 14; i < 18; ++i) {
    steps.push_back(device.Schedule({{one, Text(1, 1, i), true}, {two, Text(2, 1, i)}}));
  }
  for (const StepId step : steps) device.Execute(step);
  for (const StepId step : steps) device.Commit(step);
  CHECK_EQ(device.Lookup(Text(1, 17)).device_tokens, 16);
  CHECK_EQ(device.Lookup(Text(2, 17)).device_tokens, 16);
  device.CloseAll();
}

TEST("counts that turn out to be what another chat computed end as one block") {
  SimulatedDevice device(Pool(16));
  const SequenceId one = device.Open(Text(1, 16));
  const SequenceId two = device.Open(Text(1, 16));
  device.Commit(device.Schedule({{one, Text(1, 16), true}, {two, Text(1, 16), true}}));
  CHECK_EQ(device.Held(), 1);
  device.CloseAll();
}

TEST("claims that an abort left behind a later step do not make the next schedule leave a trace") {
  SimulatedDevice device(Pool(4));
  device.Cache(Text(1, 64));
  const StepId one = device.Schedule({{device.Open(Text(2, 1)), Text(2, 1)}});
  const StepId two = device.Schedule({{device.Open(Text(3, 1)), Text(3, 1)}});
  device.Abort(one);
  const SequenceId chat = device.Open(Text(4, 64));
  const std::uint64_t digest = device.Digest();
  CHECK_EQ(device.TrySchedule({{chat, Text(4, 64)}}).status, Status::kOutOfBlocks);
  device.Abort(device.Schedule({{chat, Text(4, 16)}}));
  CHECK_EQ(device.Digest(), digest);
  device.Abort(two);
  CHECK_EQ(device.Lookup(Text(1, 65)).device_tokens, 64);
  device.CloseAll();
}

}  // namespace
}  // namespace pagedkv::test
