// Mirrors: copies on the host of what is on the device, so that it leaves the device unmoved.

#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

Config HostThat(std::uint32_t device_blocks, std::uint32_t host_blocks, HostMode mode,
                HostWrite write) {
  Config config = Pool(device_blocks, host_blocks);
  config.host_mode = mode;
  config.host_write = write;
  return config;
}

TierStats Host(SimulatedDevice& device) {
  return device.manager().GetStats().host;
}

TEST("what came back from the host keeps its copy there, and leaves the device unmoved") {
  SimulatedDevice device(HostThat(4, 8, HostMode::kInclusive, HostWrite::kBack));
  device.Cache(Text(1, 32));
  device.Cache(Text(2, 64));
  const StepId back = device.Prefetch(Text(1, 32));
  CHECK_EQ(device.Onboards(back).size(), 2);
  device.Execute(back);
  device.Commit(back);
  CHECK_EQ(Host(device).mirrors, 2);
  const StepId next = device.Append(device.Open(Text(3, 64)), Text(3, 64));
  CHECK_EQ(device.Offloads(next).size(), 2);  // of the second text, which was never there
  CHECK_EQ(device.manager().GetStats().spared_offloads, 2);
  CHECK_EQ(device.Lookup(Text(1, 33)).host_tokens, 32);
  CHECK_EQ(Host(device).mirrors, 0);
  device.CloseAll();
}

TEST("written through, a block is copied by the step that follows its computing") {
  SimulatedDevice device(HostThat(4, 8, HostMode::kExclusive, HostWrite::kThrough));
  const SequenceId chat = device.Chat(Text(1, 32));
  CHECK_EQ(Host(device).mirrors, 0);
  const StepId step = device.Append(chat, Text(1, 1, 32));
  CHECK_EQ(device.Offloads(step).size(), 2);
  CHECK_EQ(Host(device).mirrors, 2);
  CHECK_EQ(device.manager().GetStats().mirrored_blocks, 2);
  CHECK_EQ(device.Offloads(device.Append(chat, Text(1, 1, 33))).size(), 0);
  device.CloseAll();
}

TEST("written on second use, a block is copied by the step after a prompt has found it") {
  SimulatedDevice device(HostThat(4, 8, HostMode::kExclusive, HostWrite::kSecondUse));
  const SequenceId once = device.Chat(Text(1, 32));
  CHECK_EQ(device.Offloads(device.Append(once, Text(1, 1, 32))).size(), 0);
  const SequenceId twice = device.Open(Text(1, 33));
  CHECK_EQ(device.Offloads(device.Append(twice, Text(1, 1, 32))).size(), 2);
  CHECK_EQ(Host(device).mirrors, 2);
  device.CloseAll();
}

// Fills the host's four blocks with two mirrors and two that it has alone, and sends it two more.
void OverfillHost(SimulatedDevice& device) {
  const SequenceId chat = device.Chat(Text(1, 32));
  device.Append(chat, Text(1, 1, 32));
  device.Cache(Text(2, 32));
  device.Demote(Text(2, 32));
  CHECK_EQ(Host(device).mirrors, 2);
  CHECK_EQ(Host(device).cached, 2);
  device.Cache(Text(3, 32));
  device.Demote(Text(3, 32));
  CHECK_EQ(device.Lookup(Text(3, 33)).host_tokens, 32);
}

TEST("a full host gives up copies of what is on the device first where it is exclusive") {
  SimulatedDevice device(HostThat(6, 4, HostMode::kExclusive, HostWrite::kThrough));
  OverfillHost(device);
  CHECK_EQ(Host(device).mirrors, 0);
  CHECK_EQ(device.Lookup(Text(2, 33)).host_tokens, 32);
  CHECK_EQ(device.manager().GetStats().evictions, 0);
  device.CloseAll();
}

TEST("a full host gives up what it has alone first where it is inclusive") {
  SimulatedDevice device(HostThat(6, 4, HostMode::kInclusive, HostWrite::kThrough));
  OverfillHost(device);
  CHECK_EQ(Host(device).mirrors, 2);
  CHECK_EQ(device.Lookup(Text(2, 33)).host_tokens, 0);
  CHECK_EQ(device.manager().GetStats().evictions, 2);
  device.CloseAll();
}

TEST("aborting a step gives back the mirrors that it was to use and those it was to make") {
  SimulatedDevice device(HostThat(4, 4, HostMode::kExclusive, HostWrite::kThrough));
  const SequenceId chat = device.Chat(Text(1, 48));
  device.Append(chat, Text(1, 1, 48));
  device.Close(chat);
  CHECK_EQ(Host(device).mirrors, 3);
  const SequenceId next = device.Open(Text(2, 64));
  const std::uint64_t before = device.Digest();
  device.Abort(device.Schedule({{next, Text(2, 64)}}));
  CHECK_EQ(device.Digest(), before);
  CHECK_EQ(Host(device).mirrors, 3);
  device.CloseAll();
}

TEST("an execution that fails makes no mirror, and what had one is on the host all the same") {
  SimulatedDevice device(HostThat(4, 8, HostMode::kExclusive, HostWrite::kThrough));
  const SequenceId chat = device.Chat(Text(1, 48));
  device.Append(chat, Text(1, 1, 48));
  device.Close(chat);
  const SequenceId next = device.Open(Text(2, 64));
  const StepId step = device.Schedule({{next, Text(2, 64)}});
  CHECK_EQ(device.Offloads(step).size(), 0);
  device.Execute(step, false);
  device.Abort(step);
  CHECK_EQ(device.Lookup(Text(1, 49)).host_tokens, 48);
  CHECK_EQ(device.manager().GetStats().failed_transfers, 0);
  device.CloseAll();
}

TEST("a sequence whose blocks have mirrors swaps out without moving them") {
  SimulatedDevice device(HostThat(8, 8, HostMode::kExclusive, HostWrite::kThrough));
  const SequenceId chat = device.Chat(Text(1, 48));
  device.Append(chat, Text(1, 1, 48));
  const auto swapped = device.TryPreempt(chat, PreemptMode::kSwap);
  CHECK_EQ(swapped.status, Status::kOk);
  CHECK_EQ(swapped.moves, 1);  // the partly filled block
  device.FinishTransfer(swapped.transfer);
  CHECK_EQ(device.manager().GetStats().swapped_out_blocks, 4);
  CHECK_EQ(device.Held(), 0);
  device.Append(chat, Text(1, 1, 49));
  device.CloseAll();
}

TEST("a block that is computed again where only the host had it keeps that copy") {
  SimulatedDevice device(HostThat(6, 8, HostMode::kInclusive, HostWrite::kBack));
  const SequenceId early = device.Open(Text(1, 33));  // before there was anything to find
  device.Cache(Text(1, 32));
  device.Demote(Text(1, 32));
  CHECK_EQ(Host(device).cached, 2);
  device.Append(early, Text(1, 33));
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens, 32);
  CHECK(Host(device).mirrors == 2);
  device.CloseAll();
}

}  // namespace
}  // namespace pagedkv::test
