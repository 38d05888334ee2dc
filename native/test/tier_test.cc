// Tiers: cached blocks are offloaded and found again, and transfers that fail are as if they were
// not.

#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

TEST("a cached block that must leave the device goes to the host and is found there") {
  SimulatedDevice device(Pool(4, 4));
  device.Cache(Text(1, 32));
  const StepId step = device.Append(device.Open(Text(2, 64)), Text(2, 64));
  CHECK_EQ(device.Offloads(step).size(), 2);
  const auto hit = device.Lookup(Text(1, 33));
  CHECK_EQ(hit.device_tokens, 0);
  CHECK_EQ(hit.host_tokens, 32);
  CHECK_EQ(device.manager().GetStats().evictions, 0);
  CHECK_EQ(device.manager().GetStats().offloaded_blocks, 2);
  device.CloseAll();
}

TEST("a prompt whose tail is on the host says where each part is") {
  SimulatedDevice device(Pool(4, 4));
  device.Cache(Text(1, 64));
  device.Cache(Text(2, 20));
  const auto hit = device.Lookup(Text(1, 65));
  CHECK_EQ(hit.device_tokens, 32);
  CHECK_EQ(hit.host_tokens, 32);
  const auto opened = device.TryOpen(Text(1, 65));
  CHECK_EQ(opened.cached, 64);
  device.Close(opened.sequence);
  device.CheckNothingHeld();
}

TEST("a prompt found on the host is onboarded by its first step and computed from there") {
  SimulatedDevice device(Pool(4, 4));
  device.Cache(Text(1, 32));
  device.Cache(Text(2, 64));
  const auto opened = device.TryOpen(Text(1, 33));
  CHECK_EQ(opened.cached, 32);
  const StepId step = device.Append(opened.sequence, Text(1, 1, 32));
  CHECK_EQ(device.Onboards(step).size(), 2);
  CHECK_EQ(device.QueryTokens(step), 1);
  CHECK_EQ(device.manager().GetStats().onboarded_blocks, 2);
  CHECK_EQ(device.manager().GetStats().host_hit_tokens, 32);
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens, 32);
  device.CloseAll();
}

TEST("two chats that find the same prompt on the host onboard it once") {
  SimulatedDevice device(Pool(8, 8));
  device.Cache(Text(1, 32));
  device.Cache(Text(2, 128));
  const SequenceId one = device.Open(Text(1, 33));
  const SequenceId two = device.Open(Text(1, 34));
  const StepId step = device.Schedule({{one, Text(1, 1, 32)}, {two, Text(1, 2, 32)}});
  CHECK_EQ(device.Onboards(step).size(), 2);
  device.Execute(step);
  device.Commit(step);
  CHECK_EQ(device.Held(), 4);
  device.CloseAll();
}

TEST("two steps may need the same block of the host, and the first may be aborted") {
  SimulatedDevice device(Pool(8, 8));
  device.Cache(Text(1, 32));
  device.Cache(Text(2, 128));
  const SequenceId one = device.Open(Text(1, 33));
  const SequenceId two = device.Open(Text(1, 34));
  const StepId first = device.Schedule({{one, Text(1, 1, 32)}});
  const auto second = device.TrySchedule({{two, Text(1, 2, 32)}});
  device.Abort(first);
  if (second.status == Status::kOk) {
    if (device.StageOf(second.step) != SimulatedDevice::Stage::kClosed) device.Commit(second.step);
  }
  device.CloseAll();
}

TEST("a prompt that diverges inside a block on the host onboards it and copies the part") {
  SimulatedDevice device(Pool(6, 6));
  device.Cache(Text(1, 32));
  device.Cache(Text(2, 96));
  const TokenList prompt = Join(Text(1, 20), Text(3, 20));
  const auto opened = device.TryOpen(prompt);
  CHECK(opened.cached == 16 || opened.cached == 20);
  device.Append(opened.sequence, Tail(prompt, opened.cached));
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens + device.Lookup(Text(1, 33)).host_tokens, 32);
  device.CloseAll();
}

TEST("with both tiers full, the oldest cached blocks are lost and the rest is found") {
  SimulatedDevice device(Pool(4, 4));
  for (std::uint32_t text = 1; text <= 6; ++text) device.Cache(Text(text, 32));
  CHECK_EQ(device.Lookup(Text(6, 33)).device_tokens, 32);
  CHECK_EQ(device.Lookup(Text(5, 33)).device_tokens, 32);
  CHECK_EQ(device.Lookup(Text(4, 33)).host_tokens, 32);
  CHECK_EQ(device.Lookup(Text(3, 33)).host_tokens, 32);
  CHECK_EQ(device.Lookup(Text(2, 33)).host_tokens, 0);
  CHECK_EQ(device.Lookup(Text(1, 33)).host_tokens, 0);
  CHECK_EQ(device.manager().GetStats().evictions, 4);
}

TEST("with both tiers full, prompts that alternate still read what they wrote") {
  SimulatedDevice device(Pool(4, 4));
  for (std::uint32_t round = 0; round < 30; ++round) {
    device.Close(device.Chat(Text(1 + round % 3, 50)));
  }
  device.CheckNothingHeld();
}

TEST("clear forgets a namespace in both tiers") {
  SimulatedDevice device(Pool(4, 4));
  device.Cache(Text(1, 32), "one");
  device.Cache(Text(2, 32), "two");
  device.Cache(Text(3, 64), "one");
  CHECK_EQ(device.Lookup(Text(1, 33), "one").host_tokens, 32);
  device.Clear("one");
  CHECK_EQ(device.Lookup(Text(1, 33), "one").host_tokens, 0);
  CHECK_EQ(device.Lookup(Text(3, 65), "one").device_tokens, 0);
  CHECK_EQ(device.Lookup(Text(2, 33), "two").host_tokens, 32);
  CHECK_EQ(device.manager().GetStats().device.free, 4);
  CHECK_EQ(device.manager().GetStats().host.free, 2);
}

TEST("offloads that failed are not found, and what follows a hole is not either") {
  SimulatedDevice device(Pool(4, 4));
  device.Cache(Text(1, 64));
  const SequenceId chat = device.Open(Text(2, 40));
  const StepId step = device.Schedule({{chat, Text(2, 40)}});
  CHECK_EQ(device.Offloads(step).size(), 3);
  device.Execute(step, false);
  device.Abort(step);
  const auto hit = device.Lookup(Text(1, 65));
  CHECK_EQ(hit.device_tokens, 16);
  CHECK_EQ(hit.host_tokens, 0);
  device.Append(device.Open(Text(1, 64)), Text(1, 48, 16));
  device.CloseAll();
}

TEST("an onboard that failed leaves the host copy, and is tried again") {
  SimulatedDevice device(Pool(4, 8));
  device.Cache(Text(1, 32));
  device.Cache(Text(2, 64));
  const SequenceId chat = device.Open(Text(1, 33));
  const StepId step = device.Schedule({{chat, Text(1, 1, 32)}});
  device.Execute(step, false);
  device.Abort(step);
  CHECK_EQ(device.Lookup(Text(1, 33)).host_tokens, 32);
  CHECK_EQ(device.Onboards(device.Append(chat, Text(1, 1, 32))).size(), 2);
  device.CloseAll();
}

TEST("more onboards than a step may plan are refused") {
  Config config = Pool(16, 16);
  config.max_sequence_tokens = 32;
  config.max_step_transfers = 2;
  SimulatedDevice device(config);
  const SequenceId one = device.Chat(Text(1, 20));
  const SequenceId two = device.Chat(Text(2, 20));
  device.SwapOut(one);
  device.SwapOut(two);
  CHECK_EQ(device.TrySchedule({{one, Text(1, 1, 20)}, {two, Text(2, 1, 20)}}).status,
           Status::kTooManyTransfers);
  device.Append(one, Text(1, 1, 20));
  device.Append(two, Text(2, 1, 20));
  device.CloseAll();
}

TEST("with two groups a cached prefix is found only where every group still has it") {
  Config config = Pool(8);
  config.groups = {{8, 0}, {4, 0}};
  SimulatedDevice device(config);
  device.Cache(Text(1, 32));
  device.Cache(Text(2, 64));
  CHECK_EQ(device.Lookup(Text(1, 33)).device_tokens, 0);
  CHECK_EQ(device.Lookup(Text(2, 65)).device_tokens, 64);
  device.Chat(Text(1, 40));
  device.CloseAll();
}

}  // namespace
}  // namespace pagedkv::test
