// Sequences: truncate and what it must not overwrite, fork, drop and resume.

#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

TEST("a truncated sequence that another shares with copies the block before it appends") {
  SimulatedDevice device(Pool(16));
  const SequenceId chat = device.Chat(Text(1, 40));
  const SequenceId other = device.Fork(chat, 40);
  device.Truncate(chat, 20);
  const StepId step = device.Append(chat, Text(2, 1));
  CHECK_EQ(device.Copies(step).size(), 1);
  CHECK_EQ(device.Copies(step)[0].tokens, 4);
  CHECK_EQ(device.Lookup(Text(1, 41)).device_tokens, 32);
  device.Append(other, Text(3, 1));
  device.CloseAll();
}

TEST("a truncated sequence takes a block that is its own out of the index and appends in place") {
  SimulatedDevice device(Pool(16));
  const SequenceId chat = device.Chat(Text(1, 32));
  device.Truncate(chat, 20);
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens, 32);
  CHECK(device.Copies(device.Append(chat, Text(2, 1))).empty());
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens, 16);
  CHECK_EQ(device.Held(), 2);
  device.CloseAll();
}

TEST("a truncated sequence copies an indexed block that something indexed descends from") {
  SimulatedDevice device(Pool(16));
  const SequenceId chat = device.Chat(Text(1, 48));
  device.Truncate(chat, 20);
  const StepId step = device.Append(chat, Text(2, 1));
  CHECK_EQ(device.Copies(step).size(), 1);
  CHECK_EQ(device.Copies(step)[0].tokens, 4);
  CHECK_EQ(device.Lookup(Text(1, 49)).device_tokens, 48);
  device.CloseAll();
}

TEST("truncate to a block boundary leaves the block whole and appends in a fresh one") {
  SimulatedDevice device(Pool(16));
  const SequenceId chat = device.Chat(Text(1, 48));
  device.Truncate(chat, 16);
  CHECK_EQ(device.Held(), 1);
  CHECK(device.Copies(device.Append(chat, Text(2, 20))).empty());
  CHECK_EQ(device.Lookup(Text(1, 49)).device_tokens, 48);
  device.CloseAll();
}

TEST("truncate to nothing holds nothing, and the sequence goes on") {
  SimulatedDevice device(Pool(16));
  const SequenceId chat = device.Chat(Text(1, 40));
  device.Truncate(chat, 0);
  CHECK_EQ(device.Held(), 0);
  CHECK_EQ(device.manager().GetStats().device.cached, 2);
  device.Append(chat, Text(2, 20));
  device.CloseAll();
}

TEST("truncate to the length it has changes nothing, and past it is an error") {
  SimulatedDevice device(Pool(16));
  const SequenceId chat = device.Chat(Text(1, 40));
  const std::uint64_t digest = device.Digest();
  device.Truncate(chat, 40);
  CHECK_EQ(device.Digest(), digest);
  CHECK_EQ(device.TryTruncate(chat, 41), Status::kBeyondEnd);
  CHECK_EQ(device.TryFork(chat, 41).status, Status::kBeyondEnd);
  device.CloseAll();
}

TEST("rejected speculative tokens are truncated and written again, in place") {
  SimulatedDevice device(Pool(16));
  const SequenceId chat = device.Chat(Text(1, 18));
  for (std::uint32_t round = 0; round < 20; ++round) {
    device.Append(chat, Text(2 + round, 4));
    device.Truncate(chat, static_cast<std::uint32_t>(device.History(chat).size()) - 3);
  }
  CHECK_EQ(device.History(chat).size(), 38);
  CHECK_EQ(device.Held(), 3);
  device.CloseAll();
}

TEST("a fork outlives its parent, and a fork of a fork outlives both") {
  SimulatedDevice device(Pool(16));
  const SequenceId one = device.Chat(Text(1, 40));
  const SequenceId two = device.Fork(one, 30);
  const SequenceId three = device.Fork(two, 20);
  device.Close(one);
  device.Close(two);
  CHECK_EQ(device.Held(), 2);
  device.Append(three, Text(2, 20));
  device.CloseAll();
}

TEST("a fork appends what its parent had after it, and finds it") {
  SimulatedDevice device(Pool(16));
  const SequenceId parent = device.Chat(Text(1, 60));
  const SequenceId child = device.Fork(parent, 17);
  device.Append(child, Text(1, 43, 17));
  CHECK_EQ(device.Row(parent)[0], device.Row(child)[0]);
  CHECK_EQ(device.Row(parent)[1], device.Row(child)[1]);
  CHECK_EQ(device.Row(parent)[2], device.Row(child)[2]);
  CHECK_EQ(device.Held(), 5);
  device.CloseAll();
}

TEST("a fork of a partly filled block of which the parent goes on keeps its own view") {
  SimulatedDevice device(Pool(16));
  const SequenceId parent = device.Chat(Text(1, 18));
  const SequenceId child = device.Fork(parent, 17);
  device.Append(parent, Text(1, 10, 18));
  device.Append(child, Text(2, 10));
  device.Append(parent, Text(1, 10, 28));
  device.CloseAll();
}

TEST("a dropped sequence holds nothing and resumes by matching again") {
  SimulatedDevice device(Pool(16));
  const SequenceId chat = device.Chat(Text(1, 40), "one");
  CHECK_EQ(device.Preempt(chat, PreemptMode::kDrop), kNone);
  CHECK(device.State(chat) == SequenceState::kDropped);
  CHECK_EQ(device.Held(), 0);
  CHECK_EQ(device.TrySchedule({{chat, Text(1, 1)}}).status, Status::kSequenceDropped);
  CHECK_EQ(device.Resume(chat, Text(1, 40)), 32);
  CHECK(device.State(chat) == SequenceState::kActive);
  device.Append(chat, Text(1, 20, 32));
  CHECK_EQ(device.TryResume(chat, Text(1, 40)).status, Status::kSequenceNotDropped);
  device.CloseAll();
}

TEST("a dropped sequence whose blocks were evicted meanwhile computes them again") {
  SimulatedDevice device(Pool(4));
  const SequenceId chat = device.Chat(Text(1, 60));
  device.Preempt(chat, PreemptMode::kDrop);
  const SequenceId other = device.Chat(Text(2, 40));
  CHECK_EQ(device.Resume(chat, Text(1, 60)), 16);
  CHECK_EQ(device.TrySchedule({{chat, Text(1, 44, 16)}}).status, Status::kOutOfBlocks);
  device.Close(other);
  device.Append(chat, Text(1, 44, 16));
  device.CloseAll();
}

TEST("dropping one of two forks leaves the other's blocks") {
  SimulatedDevice device(Pool(16));
  const SequenceId one = device.Chat(Text(1, 40));
  const SequenceId two = device.Fork(one, 40);
  device.Preempt(one, PreemptMode::kDrop);
  CHECK_EQ(device.Held(), 3);
  device.Append(two, Text(2, 1));
  device.Close(one);
  device.CloseAll();
}

TEST("what a dropped sequence refuses") {
  SimulatedDevice device(Pool(16, 16));
  const SequenceId chat = device.Chat(Text(1, 40));
  device.Preempt(chat, PreemptMode::kDrop);
  CHECK_EQ(device.TryFork(chat, 0).status, Status::kSequenceDropped);
  CHECK_EQ(device.TryTruncate(chat, 0), Status::kSequenceDropped);
  CHECK_EQ(device.TryPreempt(chat, PreemptMode::kSwap).status, Status::kSequenceDropped);
  CHECK_EQ(device.TryPreempt(chat, PreemptMode::kDrop).status, Status::kSequenceDropped);
  device.Close(chat);
  device.CheckNothingHeld();
}

TEST("a sequence resumes under its own namespace") {
  SimulatedDevice device(Pool(16));
  device.Cache(Text(1, 32), "two");
  const SequenceId chat = device.Chat(Text(1, 20), "one");
  device.Preempt(chat, PreemptMode::kDrop);
  CHECK_EQ(device.Resume(chat, Text(1, 32)), 16);
  device.CloseAll();
}

TEST("counters tell what happened") {
  SimulatedDevice device(Pool(16));
  device.Cache(Text(1, 40));
  const SequenceId chat = device.Chat(Text(1, 40));
  device.Fork(chat, 40);
  device.Append(chat, Text(2, 1));
  device.Preempt(chat, PreemptMode::kDrop);
  device.Abort(device.Schedule({{device.Open(Text(3, 8)), Text(3, 8)}}));
  const Stats stats = device.manager().GetStats();
  CHECK_EQ(stats.sequences, 3);
  CHECK_EQ(stats.opens, 3);
  CHECK_EQ(stats.prompt_tokens, 88);
  CHECK_EQ(stats.hit_tokens, 32);
  CHECK_EQ(stats.forks, 1);
  CHECK_EQ(stats.copies_on_write, 1);
  CHECK_EQ(stats.preemptions, 1);
  CHECK_EQ(stats.drops, 1);
  CHECK_EQ(stats.steps, 3);
  CHECK_EQ(stats.aborts, 1);
  CHECK_EQ(stats.committed_tokens, 40 + 8 + 1);
  device.CloseAll();
}

TEST("admission tells what fits beyond the hit") {
  SimulatedDevice device(Pool(4));
  device.Cache(Text(1, 32));
  const auto fresh = device.manager().Admission(Text(2, 100), "");
  CHECK_EQ(fresh.now_tokens, 32);
  CHECK_EQ(fresh.after_tokens, 64);
  // The hit holds two of the four blocks, so that they cannot also be evicted.
  const auto hit = device.manager().Admission(Text(1, 100), "");
  CHECK_EQ(hit.now_tokens, 32);
  CHECK_EQ(hit.after_tokens, 32);
}

}  // namespace
}  // namespace pagedkv::test
