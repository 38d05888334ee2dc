// Limits and handles: every misuse has its code, and leaves the state as it was.

#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

void CheckRefused(Config config) {
  CHECK_EQ(Manager::CheckConfig(config), Status::kInvalidConfig);
}

TEST("a configuration with a limit of zero, or past the largest, is refused") {
  CHECK_EQ(Manager::CheckConfig(Pool(4)), Status::kOk);
  const auto refused = [](auto change) {
    Config config = Pool(4);
    change(config);
    CheckRefused(config);
  };
  refused([](Config& c) { c.block_size = 0; });
  refused([](Config& c) { c.block_size = kMaxBlockSize + 1; });
  refused([](Config& c) { c.groups.clear(); });
  refused([](Config& c) { c.groups.assign(kMaxGroups + 1, {4, 0}); });
  refused([](Config& c) { c.groups[0].device_blocks = 0; });
  refused([](Config& c) { c.groups[0].device_blocks = kMaxBlocksPerPool + 1; });
  refused([](Config& c) { c.groups[0].host_blocks = kMaxBlocksPerPool + 1; });
  refused([](Config& c) { c.max_sequences = 0; });
  refused([](Config& c) { c.max_sequences = kMaxSequences + 1; });
  refused([](Config& c) { c.max_sequence_tokens = 0; });
  refused([](Config& c) { c.max_sequence_tokens = kMaxSequenceTokens + 1; });
  refused([](Config& c) { c.max_batch_sequences = 0; });
  refused([](Config& c) { c.max_batch_sequences = c.max_sequences + 1; });
  refused([](Config& c) { c.min_partial_tokens = 0; });
  refused([](Config& c) { c.groups = {{4, 4}, {4, 0}}; });
  refused([](Config& c) { c.max_batch_tokens = 0; });
  refused([](Config& c) { c.max_open_steps = 0; });
  refused([](Config& c) { c.max_open_steps = kMaxOpenSteps + 1; });
}

TEST("metadata grows with the pool") {
  CHECK(Manager::MetadataBytes(Pool(64)) > 0);
  CHECK(Manager::MetadataBytes(Pool(1u << 20)) > Manager::MetadataBytes(Pool(64)));
}

TEST("what an eviction policy remembers is metadata") {
  Config config = Pool(1u << 20);
  config.policy = PolicyKind::kLru;
  const std::uint64_t nothing_remembered = Manager::MetadataBytes(config);
  for (const PolicyKind policy : {PolicyKind::kArc, PolicyKind::kAdaptive}) {
    config.policy = policy;
    CHECK(Manager::MetadataBytes(config) > nothing_remembered);
  }
}

TEST("an empty prompt, an empty batch and an empty entry are refused") {
  SimulatedDevice device(Pool(4));
  CHECK_EQ(device.TryOpen({}).status, Status::kEmptyTokens);
  CHECK_EQ(device.TrySchedule({}).status, Status::kEmptyBatch);
  const SequenceId chat = device.Open(Text(1, 4));
  CHECK_EQ(device.TrySchedule({{chat, {}}}).status, Status::kEmptyTokens);
  CHECK_EQ(device.TrySchedule({{chat, {}, true}}).status, Status::kEmptyTokens);
  device.Preempt(chat, PreemptMode::kDrop);
  CHECK_EQ(device.TryResume(chat, {}).status, Status::kEmptyTokens);
  device.CloseAll();
}

TEST("no more sequences than the limit are open") {
  Config config = Pool(8);
  config.max_sequences = 2;
  config.max_batch_sequences = 2;
  SimulatedDevice device(config);
  const SequenceId one = device.Open(Text(1, 4));
  device.Open(Text(2, 4));
  CHECK_EQ(device.TryOpen(Text(3, 4)).status, Status::kTooManySequences);
  CHECK_EQ(device.TryFork(one, 0).status, Status::kTooManySequences);
  device.Close(one);
  device.Open(Text(3, 4));
  device.CloseAll();
}

TEST("no more steps than the limit are open") {
  Config config = Pool(8);
  config.max_open_steps = 2;
  SimulatedDevice device(config);
  const SequenceId chat = device.Chat(Text(1, 4));
  const StepId one = device.Schedule({{chat, Text(2, 1)}});
  device.Schedule({{chat, Text(2, 1, 1)}});
  CHECK_EQ(device.TrySchedule({{chat, Text(2, 1, 2)}}).status, Status::kTooManyOpenSteps);
  device.Commit(one);
  device.Schedule({{chat, Text(2, 1, 2)}});
  device.CloseAll();
}

TEST("a batch larger than the limits is refused") {
  Config config = Pool(16);
  config.max_batch_sequences = 2;
  config.max_batch_tokens = 40;
  SimulatedDevice device(config);
  std::vector<Entry> batch;
  for (std::uint32_t i = 1; i <= 3; ++i) batch.push_back({device.Open(Text(i, 4)), Text(i, 4)});
  CHECK_EQ(device.TrySchedule(batch).status, Status::kBatchTooLarge);
  batch.pop_back();
  batch[0].tokens = Text(1, 37);
  CHECK_EQ(device.TrySchedule(batch).status, Status::kBatchTooLarge);
  batch[0].tokens = Text(1, 36);
  device.Commit(device.Schedule(batch));
  device.CloseAll();
}

TEST("counts whose sum overflows 32 bits are refused") {
  SimulatedDevice device(Pool(16));
  const SequenceId one = device.Open(Text(1, 4));
  const SequenceId two = device.Open(Text(2, 4));
  const std::uint64_t digest = device.Digest();
  for (const std::uint32_t count : {0x7FFFFFFFu, 0xFFFFFFFFu, 0x80000001u}) {
    std::uint32_t* entry = device.words() + device.manager().layout().batch_entries;
    for (const SequenceId id : {one, two}) {
      const SequenceHandle handle = device.Handle(id);
      *entry++ = handle.slot;
      *entry++ = handle.generation;
      *entry++ = handle.nonce;
      *entry++ = count;
    }
    const Manager::ScheduleResult result = device.manager().Schedule(2);
    if (count == 0x80000001u) {  // one token each, as a count
      CHECK_EQ(result.status, Status::kOk);
      CHECK_EQ(device.manager().Abort(result.step), Status::kOk);
    } else {
      CHECK(result.status == Status::kBatchTooLarge || result.status == Status::kSequenceTooLong);
    }
    CHECK_EQ(device.Digest(), digest);
  }
  device.CloseAll();
}

TEST("more entries than memory for them are refused without reading them") {
  SimulatedDevice device(Pool(16));
  for (const std::uint32_t entries : {17u, 1000000u, 0xFFFFFFFFu}) {
    CHECK_EQ(device.manager().Schedule(entries).status, Status::kBatchTooLarge);
  }
}

TEST("a sequence cannot pass its longest length") {
  Config config = Pool(16);
  config.max_sequence_tokens = 40;
  SimulatedDevice device(config);
  CHECK_EQ(device.TryOpen(Text(1, 41)).status, Status::kSequenceTooLong);
  const SequenceId chat = device.Chat(Text(1, 39));
  CHECK_EQ(device.TrySchedule({{chat, Text(2, 2)}}).status, Status::kSequenceTooLong);
  const StepId step = device.Schedule({{chat, Text(2, 1)}});
  CHECK_EQ(device.TrySchedule({{chat, Text(2, 1, 1)}}).status, Status::kSequenceTooLong);
  device.Commit(step);
  CHECK_EQ(device.TrySchedule({{chat, Text(2, 1, 1)}}).status, Status::kSequenceTooLong);
  device.Preempt(chat, PreemptMode::kDrop);
  CHECK_EQ(device.TryResume(chat, Text(1, 41)).status, Status::kSequenceTooLong);
  device.CloseAll();
}

TEST("a sequence twice in a batch is refused") {
  SimulatedDevice device(Pool(16));
  const SequenceId one = device.Chat(Text(1, 4));
  const SequenceId two = device.Chat(Text(2, 4));
  CHECK_EQ(device.TrySchedule({{one, Text(3, 1)}, {two, Text(3, 1)}, {one, Text(3, 1)}}).status,
           Status::kDuplicateInBatch);
  device.Append(one, Text(3, 1));
  device.CloseAll();
}

TEST("a closed sequence's handle is an error, also when its slot is used again") {
  Config config = Pool(16, 16);
  config.max_sequences = 1;
  config.max_batch_sequences = 1;
  SimulatedDevice device(config);
  const SequenceId old = device.Chat(Text(1, 20));
  device.Close(old);
  const auto refuses = [&] {
    CHECK_EQ(device.TryClose(old), Status::kSequenceClosed);
    CHECK_EQ(device.TryTruncate(old, 0), Status::kSequenceClosed);
    CHECK_EQ(device.TryFork(old, 0).status, Status::kSequenceClosed);
    CHECK_EQ(device.TryResume(old, Text(1, 4)).status, Status::kSequenceClosed);
    CHECK_EQ(device.TryPreempt(old, PreemptMode::kDrop).status, Status::kSequenceClosed);
    CHECK_EQ(device.TryPreempt(old, PreemptMode::kSwap).status, Status::kSequenceClosed);
    CHECK_EQ(device.TrySchedule({{old, Text(1, 1)}}).status, Status::kSequenceClosed);
  };
  refuses();
  const SequenceId fresh = device.Chat(Text(2, 20));
  CHECK_EQ(device.Handle(fresh).slot, device.Handle(old).slot);
  refuses();
  device.CloseAll();
}

TEST("a handle of another manager, or of none, is an error") {
  SimulatedDevice device(Pool(16, 16));
  const SequenceId chat = device.Chat(Text(1, 20));
  Manager& manager = device.manager();
  const std::uint64_t digest = device.Digest();
  SequenceHandle foreign = device.Handle(chat);
  foreign.nonce += 1;
  SequenceHandle beyond = device.Handle(chat);
  beyond.slot = device.config().max_sequences;
  for (const SequenceHandle handle : {foreign, beyond, SequenceHandle{}}) {
    CHECK_EQ(manager.Close(handle), Status::kSequenceForeign);
    CHECK_EQ(manager.Truncate(handle, 0), Status::kSequenceForeign);
    CHECK_EQ(manager.Fork(handle, 0).status, Status::kSequenceForeign);
    CHECK_EQ(manager.Resume(handle, Text(1, 4)).status, Status::kSequenceForeign);
    CHECK_EQ(manager.Preempt(handle, PreemptMode::kDrop).status, Status::kSequenceForeign);
  }
  SequenceHandle future = device.Handle(chat);
  future.generation += 1;
  CHECK(manager.Close(future) != Status::kOk);
  CHECK_EQ(device.Digest(), digest);
  device.CloseAll();
}

TEST("a step's handle of another manager, or of none, is an error") {
  SimulatedDevice device(Pool(16));
  const StepId step = device.Schedule({{device.Open(Text(1, 20)), Text(1, 20)}});
  Manager& manager = device.manager();
  const std::uint64_t digest = device.Digest();
  StepHandle foreign = device.HandleOfStep(step);
  foreign.nonce += 1;
  StepHandle beyond = device.HandleOfStep(step);
  beyond.slot = device.config().max_open_steps;
  for (const StepHandle handle : {foreign, beyond, StepHandle{}}) {
    CHECK_EQ(manager.BeginExecute(handle), Status::kStepForeign);
    CHECK_EQ(manager.EndExecute(handle, true), Status::kStepForeign);
    CHECK_EQ(manager.Commit(handle, {}), Status::kStepForeign);
    CHECK_EQ(manager.Abort(handle), Status::kStepForeign);
  }
  CHECK_EQ(device.Digest(), digest);
  device.Commit(step);
  device.CloseAll();
}

TEST("a stale step's handle is an error when its slot is used again") {
  Config config = Pool(16);
  config.max_open_steps = 1;
  SimulatedDevice device(config);
  const SequenceId chat = device.Chat(Text(1, 4));
  const StepId old = device.Append(chat, Text(1, 1, 4));
  const StepId fresh = device.Schedule({{chat, Text(1, 1, 5)}});
  CHECK_EQ(device.TryCommit(old), Status::kStepClosed);
  CHECK_EQ(device.TryAbort(old), Status::kStepClosed);
  CHECK_EQ(device.TryExecute(old), Status::kStepClosed);
  device.Commit(fresh);
  device.CloseAll();
}

TEST("namespaces that hold nothing make room for new ones") {
  Config config = Pool(4);
  config.max_sequences = 2;
  config.max_batch_sequences = 2;
  SimulatedDevice device(config);
  for (int i = 0; i < 500; ++i) {
    device.Cache(Text(1, 20), "name " + std::to_string(i));
  }
  device.CheckNothingHeld();
}

}  // namespace
}  // namespace pagedkv::test
