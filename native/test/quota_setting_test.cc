// Quotas that come, change and go: when they may, and what becomes of blocks that are there.

#include "quota_words.h"
#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

TEST("a quota may come when the tenant has blocks, open chats and partly filled ones included") {
  SimulatedDevice device(Pool(12, 4));
  device.Cache(Text(1, 32), "a");
  const SequenceId one = device.Chat(Text(2, 40), "a");
  device.Fork(one, 40);
  device.Cache(Text(3, 16), "b");
  device.SetQuota("a", DeviceMax(6));
  CHECK_EQ(device.UsageOf("a").device.used, 5);
  CHECK_EQ(device.UsageOf("a").device.cached, 2);
  device.Append(one, Text(2, 40, 40));
  CHECK_EQ(device.UsageOf("a").device.used, 6);
  CHECK_EQ(Found(device, 3, "b"), 1);
  device.CloseAll();
  CHECK_EQ(device.UsageOf("a").device.used, device.UsageOf("a").device.cached);
}

TEST("a max below what a tenant has lets it shrink, and never grow") {
  SimulatedDevice device(Pool(12));
  const SequenceId one = device.Chat(Text(1, 64), "a");
  device.Cache(Text(2, 32), "a");
  device.SetQuota("a", DeviceMax(3));
  CHECK_EQ(device.UsageOf("a").device.used, 6);
  device.Append(one, Text(1, 16, 64));
  CHECK_EQ(device.UsageOf("a").device.used, 6);
  device.Append(one, Text(1, 16, 80));
  CHECK_EQ(device.TrySchedule({{one, Text(1, 16, 96)}}).status, Status::kOutOfBlocks);
  device.Close(one);
  device.Clear("a");
  const SequenceId two = device.Open(Text(3, 64), "a");
  CHECK_EQ(device.TrySchedule({{two, Text(3, 64)}}).status, Status::kOutOfBlocks);
  device.Append(two, Text(3, 48));
  device.CloseAll();
}

TEST("without its quota a tenant's blocks wait among all others, by last use") {
  SimulatedDevice device(Pool(6));
  device.SetQuota("a", DeviceMin(6));
  device.Cache(Text(1, 16), "b");
  device.Cache(Text(2, 16), "a");
  device.Cache(Text(3, 16), "b");
  device.Cache(Text(4, 16), "a");
  device.Chat(Text(5, 8), "a");
  device.SetQuota("a", {});
  CHECK_EQ(device.UsageOf("a").device.used, 0);
  const SequenceId pressure = device.Open(Text(6, 1), "c");
  for (std::uint32_t gone = 0; gone <= 4; ++gone) {
    device.Append(pressure, Text(6, 16, 16 * gone));
    for (std::uint32_t text = 1; text <= 4; ++text)
      CHECK_EQ(Found(device, text, text % 2 == 0 ? "a" : "b"), text > gone ? 1 : 0);
  }
  device.CloseAll();
}

TEST("quotas that come and go again and again leave nothing behind") {
  SimulatedDevice device(Pool(8, 8));
  for (std::uint32_t round = 0; round < 40; ++round) {
    const std::string_view name = round % 3 == 0 ? "a" : "b";
    device.SetQuota(name, round % 2 == 0 ? DeviceMax(3 + round % 4) : Quota{});
    device.Cache(Text(round, 32), round % 5 < 3 ? "a" : "b");
  }
  device.SetQuota("a", {});
  device.SetQuota("b", {});
  device.CloseAll();
}

TEST("while a step or a transfer is open, only a tenant without blocks gets its first quota") {
  SimulatedDevice device(Pool(8, 8));
  device.SetQuota("kept", DeviceMin(1));
  const SequenceId one = device.Chat(Text(1, 32), "a");
  const StepId step = device.Schedule({{one, Text(1, 1, 32)}});
  CHECK_EQ(device.TrySetQuota("a", DeviceMax(4)), Status::kQuotaInUse);
  device.SetQuota("b", DeviceMax(4));
  device.SetQuota("b", DeviceMax(5));
  device.SetQuota("b", {});
  device.SetQuota("kept", DeviceMin(2));
  device.Commit(step);
  const TransferId transfer = device.Preempt(one);
  CHECK_EQ(device.TrySetQuota("a", DeviceMax(4)), Status::kQuotaInUse);
  device.FinishTransfer(transfer);
  device.SetQuota("a", DeviceMax(4));
  CHECK_EQ(device.UsageOf("a").host.used, 3);
  device.CloseAll();
}

TEST("the first quota of all may come while a step has claims") {
  SimulatedDevice device(Pool(4, 2));
  device.Cache(Text(1, 64), "a");
  const SequenceId one = device.Open(Text(2, 32), "b");
  const StepId step = device.Schedule({{one, Text(2, 32)}});
  device.SetQuota("c", DeviceMin(2));
  const SequenceId two = device.Open(Text(3, 16), "c");
  const StepId other = device.Schedule({{two, Text(3, 16)}});
  device.Abort(step);
  device.SetQuota("d", DeviceMin(1));
  device.Commit(other);
  CHECK_EQ(device.UsageOf("c").device.used, 1);
  device.CloseAll();
}

TEST("a quota stays with its name when the namespace is cleared, or empty") {
  SimulatedDevice device(Pool(8));
  device.SetQuota("a", DeviceMax(3));
  const SequenceId held = device.Chat(Text(1, 16), "a");
  device.Clear("a");
  device.Cache(Text(2, 32), "a");
  CHECK_EQ(device.UsageOf("a").device.used, 3);
  device.Close(held);
  device.Clear(std::nullopt);
  CHECK_EQ(device.UsageOf("a").device.used, 0);
  device.Cache(Text(3, 32), "a");
  device.Cache(Text(4, 32), "a");
  CHECK_EQ(device.UsageOf("a").device.used, 3);
  CHECK_EQ(Found(device, 3, "a"), 1);
}

TEST("what was cleared while held counts for its tenant until it is let go, and moves with it") {
  SimulatedDevice device(Pool(8));
  const SequenceId held = device.Chat(Text(1, 24), "a");
  device.Clear("a");
  device.Cache(Text(2, 16), "a");
  device.SetQuota("a", DeviceMax(4));
  CHECK_EQ(device.UsageOf("a").device.used, 3);
  device.Close(held);
  CHECK_EQ(device.UsageOf("a").device.used, 1);
}

TEST("the namespace without a name has a quota like any other") {
  SimulatedDevice device(Pool(8));
  device.SetQuota("", DeviceMax(2));
  device.Cache(Text(1, 32));
  device.Cache(Text(2, 32));
  CHECK_EQ(Found(device, 1, ""), 0);
  CHECK_EQ(Found(device, 2, ""), 2);
}

TEST("what is kept for all tenants together fits into the smallest pool") {
  Config config = Pool(8, 4);
  config.groups.push_back({6, 3});
  SimulatedDevice device(config);
  device.SetQuota("a", DeviceMin(4));
  CHECK_EQ(device.TrySetQuota("b", DeviceMin(3)), Status::kQuotaTooLarge);
  device.SetQuota("b", DeviceMin(2));
  device.SetQuota("a", DeviceMin(3));
  CHECK_EQ(device.TrySetQuota("c", Host({.min = 4})), Status::kQuotaTooLarge);
  CHECK_EQ(device.TrySetQuota("c", DeviceMin(kNone)), Status::kQuotaTooLarge);
  CHECK_EQ(device.TrySetQuota("c", {.device = {.min = 2, .max = 1}, .host = {}}),
           Status::kInvalidConfig);
}

TEST("with two groups of different pools, quotas hold by what both need") {
  Config config = Pool(10, 4);
  config.groups.push_back({6, 6});
  SimulatedDevice device(config);
  device.SetQuota("a", {.device = {.min = 2, .max = 3}, .host = {.max = 1}});
  for (std::uint32_t text = 1; text < 20; ++text) {
    device.Cache(Text(text, 16 * (1 + text % 3)), text % 2 == 0 ? "a" : "b");
    CHECK(device.UsageOf("a").device.used <= 3);
  }
  CHECK(device.UsageOf("a").device.cached >= 2);
}

TEST("255 namespaces may have a quota, and one more when one gives it up") {
  SimulatedDevice device(Pool(4));
  for (std::uint32_t i = 0; i < 255; ++i)
    device.manager().SetQuota(std::to_string(i), DeviceMax(1));
  CHECK_EQ(device.TrySetQuota("more", DeviceMax(1)), Status::kTooManyQuotas);
  device.SetQuota("7", {});
  device.SetQuota("more", DeviceMax(1));
  device.Cache(Text(1, 16), "more");
  device.Cache(Text(2, 16), "254");
  device.Cache(Text(3, 16), "254");
  CHECK_EQ(Found(device, 1, "more"), 1);
  CHECK_EQ(Found(device, 2, "254"), 0);
}

}  // namespace
}  // namespace pagedkv::test
