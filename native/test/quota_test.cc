// Quotas: what a namespace may have, what it keeps, and who makes room for whom.

#include "quota_words.h"
#include "random_config.h"
#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

TEST("a tenant at its max evicts what it has cached itself, however much is free") {
  SimulatedDevice device(Pool(12));
  device.SetQuota("b", DeviceMax(3));
  device.Cache(Text(1, 64), "a");
  device.Cache(Text(2, 32), "b");
  device.Cache(Text(3, 32), "b");
  CHECK_EQ(device.UsageOf("b").device.used, 3);
  CHECK_EQ(Found(device, 1, "a"), 4);
  CHECK_EQ(Found(device, 2, "b"), 1);
  CHECK_EQ(Found(device, 3, "b"), 2);
  CHECK_EQ(device.manager().GetStats().device.free, 5);
}

TEST("a tenant without end cannot flush another that keeps what it has") {
  SimulatedDevice device(Pool(8, 4));
  device.SetQuota("a", {.device = {.min = 3}, .host = {.min = 1}});
  device.Cache(Text(1, 48), "a");
  for (std::uint32_t text = 2; text < 40; ++text)
    device.Cache(Text(text, 16 * (1 + text % 4)), "b");
  CHECK_EQ(device.Lookup(Text(1, 1024), "a").device_tokens, 48);
}

TEST("what a tenant has beyond what it keeps goes like any other's") {
  SimulatedDevice device(Pool(8));
  device.SetQuota("a", DeviceMin(3));
  device.Cache(Text(1, 96), "a");
  device.Cache(Text(2, 32), "b");
  for (std::uint32_t text = 3; text < 10; ++text) device.Cache(Text(text, 80), "b");
  CHECK_EQ(Found(device, 1, "a"), 3);
}

TEST("a tenant's own need comes before what it keeps of others' need") {
  SimulatedDevice device(Pool(4));
  device.SetQuota("a", DeviceMin(4));
  device.Cache(Text(1, 64), "a");
  device.Cache(Text(2, 32), "a");
  CHECK_EQ(Found(device, 1, "a"), 2);
  CHECK_EQ(Found(device, 2, "a"), 2);
  const SequenceId other = device.Open(Text(3, 16), "b");
  CHECK_EQ(device.TrySchedule({{other, Text(3, 16)}}).status, Status::kOutOfBlocks);
}

TEST("between tenants the lower priority goes first, then the older") {
  SimulatedDevice device(Pool(6));
  device.SetQuota("a", DeviceMin(0));
  device.SetQuota("b", DeviceMax(6));
  const SequenceId kept = device.Chat(Text(1, 16), "a");
  device.manager().Retain(device.Handle(kept), {.priority = kDefaultPriority + 1});
  device.Close(kept);
  device.Cache(Text(2, 32), "b");
  device.Cache(Text(3, 16), "a");
  device.Cache(Text(4, 32), "c");
  device.Cache(Text(5, 16), "c");
  CHECK_EQ(Found(device, 2, "b"), 1);
  device.Cache(Text(6, 32), "d");
  CHECK_EQ(Found(device, 2, "b"), 0);
  CHECK_EQ(Found(device, 3, "a"), 0);
  device.Cache(Text(7, 64), "d");
  CHECK_EQ(Found(device, 1, "a"), 1);
}

TEST("out of blocks within a quota tells what the quota lacks") {
  SimulatedDevice device(Pool(16));
  device.SetQuota("a", DeviceMax(4));
  device.Chat(Text(1, 16), "a");
  device.Cache(Text(2, 16), "a");
  const SequenceId one = device.Open(Text(3, 80), "a");
  const SequenceId other = device.Open(Text(4, 32), "b");
  const auto step = device.TrySchedule({{other, Text(4, 32)}, {one, Text(3, 80)}});
  CHECK_EQ(step.status, Status::kOutOfBlocks);
  CHECK_EQ(step.shortage.needed, 5);
  CHECK_EQ(step.shortage.free, 3);
  CHECK_EQ(step.shortage.in_flight, 0);
  device.Schedule({{other, Text(4, 32)}, {one, Text(3, 48)}});
  device.CloseAll();
}

TEST("out of blocks in the pool tells what others can give") {
  SimulatedDevice device(Pool(8));
  device.SetQuota("a", DeviceMin(3));
  device.Cache(Text(1, 64), "a");
  device.Chat(Text(2, 16), "b");
  const SequenceId one = device.Open(Text(3, 96), "b");
  const auto step = device.TrySchedule({{one, Text(3, 96)}});
  CHECK_EQ(step.status, Status::kOutOfBlocks);
  CHECK_EQ(step.shortage.needed, 6);
  CHECK_EQ(step.shortage.free, 4);
  device.Schedule({{one, Text(3, 64)}});
  device.CloseAll();
}

TEST("a max of zero lets a tenant have nothing") {
  SimulatedDevice device(Pool(4, 4));
  device.SetQuota("a", {.device = {.max = 0}, .host = {}});
  const SequenceId one = device.Open(Text(1, 16), "a");
  CHECK_EQ(device.TrySchedule({{one, Text(1, 16)}}).status, Status::kOutOfBlocks);
  device.CloseAll();
}

TEST("on the host, too, a tenant at its max makes room for itself alone") {
  SimulatedDevice device(Pool(4, 8));
  device.SetQuota("a", Host({.max = 2}));
  device.Cache(Text(1, 64), "b");
  device.Cache(Text(2, 64), "a");
  CHECK_EQ(Found(device, 1, "b"), 4);
  const SequenceId one = device.Open(Text(3, 64), "a");
  for (std::uint32_t from = 0; from < 64; from += 16) device.Append(one, Text(3, 16, from));
  CHECK_EQ(device.UsageOf("a").host.used, 2);
  CHECK_EQ(Found(device, 1, "b"), 4);
  CHECK_EQ(Found(device, 2, "a"), 2);
  CHECK_EQ(device.manager().GetStats().host.free, 2);
}

TEST("a tenant that may have nothing on the host loses what must leave the device") {
  SimulatedDevice device(Pool(4, 8));
  device.SetQuota("a", Host({.max = 0}));
  device.Cache(Text(1, 64), "a");
  device.Cache(Text(2, 64), "b");
  CHECK_EQ(Found(device, 1, "a"), 0);
  CHECK_EQ(device.manager().GetStats().host.free, 8);
}

TEST("what a tenant keeps on the host survives, and others lose theirs for good") {
  SimulatedDevice device(Pool(4, 4));
  device.SetQuota("a", Host({.min = 4}));
  device.Cache(Text(1, 64), "a");
  for (std::uint32_t text = 2; text < 8; ++text) device.Cache(Text(text, 64), "b");
  CHECK_EQ(device.Lookup(Text(1, 1024), "a").host_tokens, 64);
  CHECK_EQ(Found(device, 6, "b"), 0);
  CHECK_EQ(Found(device, 7, "b"), 4);
}

TEST("a swap-out that its max on the host has no room for is out of blocks") {
  SimulatedDevice device(Pool(8, 8));
  device.SetQuota("a", Host({.max = 3}));
  const SequenceId one = device.Chat(Text(1, 60), "a");
  const auto preempted = device.TryPreempt(one, PreemptMode::kSwap);
  CHECK_EQ(preempted.status, Status::kOutOfBlocks);
  CHECK_EQ(preempted.shortage.needed, 4);
  CHECK_EQ(preempted.shortage.free, 3);
  device.Truncate(one, 47);
  device.SwapOut(one);
  CHECK_EQ(device.UsageOf("a").host.used, 3);
  device.Append(one, Text(9, 1));
  device.CloseAll();
}

TEST("a swap-out makes room of what its own tenant has cached on the host") {
  SimulatedDevice device(Pool(4, 8));
  device.SetQuota("a", Host({.max = 2}));
  device.Cache(Text(1, 32), "a");
  device.Cache(Text(3, 64), "b");
  const SequenceId one = device.Chat(Text(2, 32), "a");
  CHECK_EQ(device.UsageOf("a").host.cached, 2);
  device.SwapOut(one);
  CHECK_EQ(Found(device, 1, "a"), 0);
  CHECK_EQ(device.UsageOf("a").host.used, 2);
  device.CloseAll();
}

TEST("a sequence that comes back to the device needs room within its max") {
  SimulatedDevice device(Pool(8, 8));
  device.SetQuota("a", DeviceMax(3));
  const SequenceId one = device.Chat(Text(1, 32), "a");
  device.SwapOut(one);
  const SequenceId two = device.Chat(Text(2, 32), "a");
  CHECK_EQ(device.TrySchedule({{one, Text(1, 1, 32)}}).status, Status::kOutOfBlocks);
  device.Close(two);
  device.Append(one, Text(1, 1, 32));
  CHECK_EQ(device.UsageOf("a").device.used, 3);
  device.CloseAll();
}

TEST("an abort gives back to each tenant what was claimed of it") {
  SimulatedDevice device(Pool(4, 2));
  device.SetQuota("a", {.device = {.max = 3}, .host = {.max = 1}});
  device.SetQuota("b", DeviceMin(1));
  device.Cache(Text(1, 32), "a");
  device.Cache(Text(2, 32), "b");
  const SequenceId one = device.Open(Text(3, 48), "a");
  const StepId step = device.Schedule({{one, Text(3, 48)}});
  CHECK_EQ(device.UsageOf("a").device.used, 3);
  CHECK_EQ(device.UsageOf("b").device.used, 2);
  CHECK_EQ(device.UsageOf("b").device.leaving, 1);
  device.Abort(step);
  CHECK_EQ(device.UsageOf("a").device.used, 2);
  CHECK_EQ(device.UsageOf("b").device.leaving, 0);
  CHECK_EQ(Found(device, 1, "a"), 2);
  CHECK_EQ(Found(device, 2, "b"), 2);
  device.CloseAll();
}

TEST("what is claimed of a tenant counts for it until it is gone, and for the other at once") {
  SimulatedDevice device(Pool(4));
  device.SetQuota("a", DeviceMax(2));
  device.SetQuota("b", DeviceMax(3));
  device.Cache(Text(1, 32), "a");
  const SequenceId one = device.Open(Text(2, 48), "b");
  const SequenceId two = device.Open(Text(3, 16), "a");
  const StepId step = device.Schedule({{one, Text(2, 48)}});
  CHECK_EQ(device.UsageOf("a").device.used, 2);
  CHECK_EQ(device.UsageOf("b").device.used, 3);
  CHECK_EQ(device.TrySchedule({{two, Text(3, 17)}}).status, Status::kOutOfBlocks);
  device.Execute(step);
  CHECK_EQ(device.UsageOf("a").device.used, 1);
  device.Commit(step);
  device.CloseAll();
}

// Fills a few namespaces at random, and asks what one of them may still have.
void CompareAdmission(SimulatedDevice& device, Random& random) {
  const std::vector<std::string> names = {"a", "b", "c"};
  for (std::uint32_t text = 1; text < 30; ++text) {
    const std::string& name = random.Pick(names);
    const TokenList prompt = Text(random.Between(1, 8), 16 * random.Between(1, 4));
    const auto opened = device.TryOpen(prompt, name);
    if (opened.status != Status::kOk) continue;
    const auto rest = Tail(prompt, opened.cached);
    const auto step = device.TrySchedule({{opened.sequence, rest}});
    if (step.status == Status::kOk) device.Commit(step.step);
    if (!random.OneIn(6)) device.Close(opened.sequence);
  }
  const std::string& name = random.Pick(names);
  const auto admission = device.manager().Admission(Text(99, 1), name);
  CHECK_EQ(admission.after_tokens % 16, 0);
  const auto most = static_cast<std::uint32_t>(admission.after_tokens);
  const SequenceId one = device.Open(Text(99, most + 1), name);
  const auto too_much = device.TrySchedule({{one, Text(99, most + 1)}});
  CHECK_EQ(too_much.status, Status::kOutOfBlocks);
  CHECK_EQ(too_much.shortage.needed, most / 16 + 1);
  CHECK_EQ(too_much.shortage.free, most / 16);
  if (most == 0) return;
  const std::uint64_t evictions = device.manager().GetStats().evictions;
  const auto now = static_cast<std::uint32_t>(admission.now_tokens);
  if (now > 0) device.Commit(device.Schedule({{one, Text(99, now)}}));
  CHECK_EQ(device.manager().GetStats().evictions, evictions);
  if (most > now) device.Commit(device.Schedule({{one, Text(99, most - now, now)}}));
}

TEST("what admission says fits a tenant fits, to the block") {
  const std::uint64_t first = EnvironmentNumber("PAGEDKV_SEED", 1);
  for (std::uint64_t seed = first; seed < first + 200; ++seed) {
    SetContext("PAGEDKV_SEED=" + std::to_string(seed));
    Random random(seed);
    SimulatedDevice device(Pool(16, random.OneIn(2) ? 0 : 8));
    device.SetQuota("a",
                    {.device = {.min = random.Below(8), .max = random.Between(8, 16)}, .host = {}});
    if (random.OneIn(2)) device.SetQuota("b", {.device = {.min = random.Below(8)}, .host = {}});
    CompareAdmission(device, random);
    device.CloseAll();
  }
}

}  // namespace
}  // namespace pagedkv::test
