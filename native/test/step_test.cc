// A step is a transaction: all or nothing, and undone as if it had never been.

#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

TEST("a request that does not fit leaves no trace") {
  SimulatedDevice device(Pool(4));
  device.Chat(Text(1, 48));
  const SequenceId chat = device.Open(Text(2, 20));
  const std::uint64_t digest = device.Digest();
  const auto refused = device.TrySchedule({{chat, Text(2, 20)}});
  CHECK_EQ(refused.status, Status::kOutOfBlocks);
  CHECK_EQ(refused.shortage.needed, 2);
  CHECK_EQ(refused.shortage.free, 1);
  CHECK_EQ(device.Digest(), digest);
  CHECK_EQ(device.manager().GetStats().out_of_blocks, 1);
  device.Append(chat, Text(2, 16));
  device.CloseAll();
}

TEST("a batch whose last entry does not fit takes nothing for the first ones") {
  SimulatedDevice device(Pool(4));
  device.Cache(Text(9, 32));
  std::vector<Entry> batch;
  for (std::uint32_t i = 1; i <= 3; ++i) {
    batch.push_back({device.Open(Text(i, 20)), Text(i, 20)});
  }
  CHECK_EQ(device.TrySchedule(batch).status, Status::kOutOfBlocks);
  CHECK_EQ(device.Held(), 0);
  CHECK_EQ(device.Lookup(Text(9, 33)).device_tokens, 32);
  batch.pop_back();
  device.Commit(device.Schedule(batch));
  device.CloseAll();
}

TEST("a batch that does not fit forgets matches and copies that it had found") {
  SimulatedDevice device(Pool(6));
  const SequenceId shared = device.Open(Text(1, 40));
  device.Cache(Text(1, 40));  // two blocks that `shared` did not find at open
  const SequenceId parent = device.Chat(Text(2, 20));
  const SequenceId child = device.Fork(parent, 20);
  const SequenceId large = device.Open(Text(3, 64));
  const std::vector<Entry> batch = {
      {shared, Text(1, 40)}, {child, Text(4, 1)}, {large, Text(3, 64)}};
  CHECK_EQ(device.TrySchedule(batch).status, Status::kOutOfBlocks);
  CHECK_EQ(device.History(shared).size(), 0);
  CHECK_EQ(device.Held(), 2);
  device.CloseAll();
}

TEST("abort before execute restores the digest") {
  SimulatedDevice device(Pool(8));
  const SequenceId chat = device.Open(Text(1, 40));
  const std::uint64_t digest = device.Digest();
  device.Abort(device.Schedule({{chat, Text(1, 40)}}));
  CHECK_EQ(device.Digest(), digest);
  device.Append(chat, Text(1, 40));
  device.CloseAll();
}

TEST("abort before execute gives back what was evicted, in the same order") {
  SimulatedDevice device(Pool(4));
  device.Cache(Text(1, 32));
  device.Cache(Text(2, 32));
  const SequenceId chat = device.Open(Text(3, 60));
  const std::uint64_t digest = device.Digest();
  device.Abort(device.Schedule({{chat, Text(3, 60)}}));
  CHECK_EQ(device.Digest(), digest);
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens, 32);
  CHECK_EQ(device.Lookup(Text(2, 33)).device_tokens, 32);
  CHECK_EQ(device.manager().GetStats().evictions, 0);
  device.CloseAll();
}

TEST("abort before execute keeps a prefix that was used again apart from its older continuation") {
  SimulatedDevice device(Pool(16));
  const TokenList again = Join(Text(1, 16), Text(9, 8));
  const SequenceId one = device.Open(Text(2, 20));
  const SequenceId two = device.Open(again);
  device.Cache(Text(1, 32));
  device.Cache(Text(2, 16));
  device.Close(device.Open(again));  // oldest first: the continuation, the other prompt, the prefix
  const std::uint64_t digest = device.Digest();
  device.Abort(device.Schedule({{one, Text(2, 20)}, {two, again}}));
  CHECK_EQ(device.Digest(), digest);
  device.CloseAll();
}

TEST("abort before execute undoes offloads") {
  SimulatedDevice device(Pool(4, 4));
  device.Cache(Text(1, 32));
  device.Cache(Text(2, 32));
  const SequenceId chat = device.Open(Text(3, 40));
  const std::uint64_t digest = device.Digest();
  const StepId step = device.Schedule({{chat, Text(3, 40)}});
  CHECK_EQ(device.Offloads(step).size(), 3);
  device.Abort(step);
  CHECK_EQ(device.Digest(), digest);
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens, 32);
  device.CloseAll();
}

TEST("abort before execute undoes onboards and the eviction that made room for them") {
  SimulatedDevice device(Pool(4, 4));
  device.Cache(Text(1, 32));
  device.Cache(Text(2, 64));
  CHECK_EQ(device.Lookup(Text(1, 33)).host_tokens, 32);
  const SequenceId chat = device.Open(Text(1, 33));
  const std::uint64_t digest = device.Digest();
  const StepId step = device.Schedule({{chat, Text(1, 1, 32)}});
  CHECK_EQ(device.Onboards(step).size(), 2);
  device.Abort(step);
  CHECK_EQ(device.Digest(), digest);
  CHECK_EQ(device.Lookup(Text(1, 33)).host_tokens, 32);
  device.CloseAll();
}

TEST("abort before execute undoes a copy-on-write and a match that schedule found") {
  SimulatedDevice device(Pool(16));
  const SequenceId late = device.Open(Text(1, 60));
  const SequenceId parent = device.Chat(Text(1, 60));
  const SequenceId child = device.Fork(parent, 60);
  const std::uint64_t digest = device.Digest();
  device.Abort(device.Schedule({{child, Text(2, 1)}, {late, Text(1, 60)}}));
  CHECK_EQ(device.Digest(), digest);
  CHECK_EQ(device.History(late).size(), 0);
  device.CloseAll();
}

TEST("abort before execute puts an un-indexed block back into the index") {
  SimulatedDevice device(Pool(16));
  const SequenceId chat = device.Chat(Text(1, 32));
  device.Truncate(chat, 20);
  const std::uint64_t digest = device.Digest();
  device.Abort(device.Schedule({{chat, Text(2, 1)}}));
  CHECK_EQ(device.Digest(), digest);
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens, 32);
  device.CloseAll();
}

TEST("abort before execute sends a sequence that came back to the host again") {
  SimulatedDevice device(Pool(4, 4));
  const SequenceId chat = device.Chat(Text(1, 40));
  device.SwapOut(chat);
  const std::uint64_t digest = device.Digest();
  device.Abort(device.Schedule({{chat, Text(1, 1, 40)}}));
  CHECK_EQ(device.Digest(), digest);
  CHECK(device.State(chat) == SequenceState::kSwapped);
  device.Append(chat, Text(1, 1, 40));
  device.CloseAll();
}

TEST("abort before execute is exact when the index is full of prompts of one block") {
  Config config = Pool(512);
  config.max_sequences = 2;
  config.max_batch_sequences = 2;
  SimulatedDevice device(config);
  for (std::uint32_t text = 1; text <= 500; ++text) device.Cache(Text(text, 16));
  const SequenceId late = device.Open(Text(501, 40));
  device.Cache(Text(501, 24));
  const std::uint64_t digest = device.Digest();
  device.Abort(device.Schedule({{late, Text(501, 40)}}));
  CHECK_EQ(device.Digest(), digest);
  device.CloseAll();
}

TEST("abort after execute restores every sequence") {
  SimulatedDevice device(Pool(8));
  const SequenceId chat = device.Chat(Text(1, 20));
  const SequenceId other = device.Open(Text(2, 40));
  const StepId step = device.Schedule({{chat, Text(1, 20, 20)}, {other, Text(2, 40)}});
  device.Execute(step);
  device.Abort(step);
  CHECK_EQ(device.History(chat).size(), 20);
  CHECK_EQ(device.Held(), 2);
  CHECK_EQ(device.Lookup(Text(2, 41)).device_tokens, 0);
  device.Append(other, Text(2, 40));
  device.Append(chat, Text(1, 20, 20));
  device.CloseAll();
}

TEST("abort after execute counts cached blocks whose slots were taken as evicted") {
  SimulatedDevice device(Pool(4));
  device.Cache(Text(1, 64));
  const SequenceId chat = device.Open(Text(2, 20));
  const StepId step = device.Schedule({{chat, Text(2, 20)}});
  device.Execute(step);
  device.Abort(step);
  CHECK_EQ(device.Lookup(Text(1, 65)).device_tokens, 32);
  CHECK_EQ(device.manager().GetStats().evictions, 2);
  CHECK_EQ(device.Held(), 0);
  CHECK_EQ(device.manager().GetStats().device.free, 2);
  device.CloseAll();
}

TEST("abort after execute lets finished transfers stand") {
  SimulatedDevice device(Pool(4, 8));
  device.Cache(Text(1, 32));
  device.Cache(Text(2, 64));
  const SequenceId chat = device.Open(Text(1, 33));
  const StepId step = device.Schedule({{chat, Text(1, 1, 32)}});
  CHECK_EQ(device.Onboards(step).size(), 2);
  device.Execute(step);
  device.Abort(step);
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens, 32);
  CHECK(device.Onboards(device.Append(chat, Text(1, 1, 32))).empty());
  device.CloseAll();
}

TEST("a failed execution can be aborted and tried again") {
  SimulatedDevice device(Pool(8));
  const SequenceId parent = device.Chat(Text(1, 20));
  const SequenceId child = device.Fork(parent, 20);
  const StepId step = device.Schedule({{child, Text(2, 20)}});
  device.Execute(step, false);
  CHECK_EQ(device.TryCommit(step), Status::kStepFailed);
  device.Abort(step);
  device.Append(child, Text(2, 20));
  device.Append(parent, Text(1, 20, 20));
  device.CloseAll();
}

TEST("a step is executed once, and ended only after it began") {
  SimulatedDevice device(Pool(8));
  const StepId step = device.Schedule({{device.Open(Text(1, 16)), Text(1, 16)}});
  Manager& manager = device.manager();
  CHECK_EQ(manager.EndExecute(device.HandleOfStep(step), true), Status::kStepExecuted);
  device.Execute(step);
  CHECK_EQ(device.TryExecute(step), Status::kStepExecuted);
  CHECK_EQ(manager.EndExecute(device.HandleOfStep(step), true), Status::kStepExecuted);
  device.Commit(step);
  CHECK_EQ(device.TryExecute(step), Status::kStepClosed);
  CHECK_EQ(device.TryCommit(step), Status::kStepClosed);
  CHECK_EQ(device.TryAbort(step), Status::kStepClosed);
  device.CloseAll();
}

TEST("tokens scheduled as a count need their ids at commit, and are then published") {
  SimulatedDevice device(Pool(8));
  const SequenceId chat = device.Open(Text(1, 32));
  const StepId step = device.Schedule({{chat, Text(1, 32), true}});
  device.Execute(step);
  const std::uint64_t digest = device.Digest();
  Manager& manager = device.manager();
  CHECK_EQ(manager.Commit(device.HandleOfStep(step), {}), Status::kIdsMissing);
  const TokenList few = Text(1, 31);
  CHECK_EQ(manager.Commit(device.HandleOfStep(step), few), Status::kIdsMissing);
  CHECK_EQ(device.Digest(), digest);
  device.Commit(step);
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens, 32);
  device.CloseAll();
}

TEST("a block that an open step reads is not copied away before that step has ended") {
  SimulatedDevice device(Pool(16));
  device.Cache(Text(1, 32));
  const SequenceId chat = device.Open(Text(1, 20));
  const StepId one = device.Schedule({{chat, Text(1, 1, 19)}});  // wholly cached: writes nothing
  // Copying would replace a cell that the first step's table names.
  const auto two = device.TrySchedule({{chat, Text(2, 1)}});
  CHECK_EQ(two.status, Status::kOutOfBlocks);
  CHECK(two.shortage.in_flight > 0);
  device.Execute(one);
  device.Commit(one);
  const StepId again = device.Schedule({{chat, Text(2, 1)}});  // copies four slots
  device.Execute(again);
  device.Commit(again);
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens, 32);
  device.CloseAll();
}

TEST("an aborted step's tables are not left on the device") {
  SimulatedDevice device(Pool(16));
  const SequenceId parent = device.Chat(Text(1, 60));
  const SequenceId child = device.Fork(parent, 60);
  // Uploaded, with a copied block, then undone: the next step must upload the old cell again.
  const StepId step = device.Schedule({{child, Text(2, 1)}});
  device.Execute(step);
  device.Abort(step);
  device.Close(parent);
  device.Append(child, Text(2, 1));
  // Never uploaded: the next step must bring what this one did not.
  device.Abort(device.Schedule({{child, Text(2, 40, 1)}}));
  device.Append(child, Text(2, 1, 1));
  // The row that open filled was told to a step that never ran.
  device.Cache(Text(3, 32));
  const SequenceId chat = device.Open(Text(3, 40));
  device.Abort(device.Schedule({{chat, Text(3, 8, 32)}}));
  device.Append(chat, Text(3, 8, 32));
  device.CloseAll();
}

}  // namespace
}  // namespace pagedkv::test
