// Swap or recompute, in the manager: what of a prompt on the host is brought back, who is
// preempted, and when the device admits again.

#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

// Of a machine where a block takes so many times as long to move as to compute.
void Teach(SimulatedDevice& device, double times) {
  for (int i = 0; i < 10; ++i) {
    device.ReportPrefill(1600, 0, 160);
    device.ReportTransfer(Direction::kOnboard, 100, 160 * times);
    device.ReportTransfer(Direction::kOffload, 100, 160 * times);
  }
}

// 64 tokens that are cached, the first 32 on the device and the rest on the host.
void CacheInBothTiers(SimulatedDevice& device) {
  device.Cache(Text(1, 64));
  device.Cache(Text(2, 20));
}

TEST("a prompt's part on the host is computed again where moving it takes longer") {
  SimulatedDevice device(Pool(4, 4));
  CacheInBothTiers(device);
  Teach(device, 100);
  const auto hit = device.Lookup(Text(1, 65));
  CHECK_EQ(hit.device_tokens, 32);
  CHECK_EQ(hit.host_tokens, 32);
  CHECK_EQ(hit.worth_tokens, 0);
  const auto opened = device.TryOpen(Text(1, 64));
  CHECK_EQ(opened.cached, 32);
  const StepId step = device.Append(opened.sequence, Text(1, 32, 32));
  CHECK_EQ(device.Onboards(step).size(), 0);
  CHECK_EQ(device.QueryTokens(step), 32);
  const Stats stats = device.manager().GetStats();
  CHECK_EQ(stats.recomputed_tokens, 31);  // the last one is always computed
  CHECK_EQ(stats.recompute_choices, 1);
  CHECK_EQ(stats.hit_tokens, 32);
  device.CloseAll();
}

TEST("what was computed again takes the place of the copy on the host") {
  SimulatedDevice device(Pool(4, 4));
  CacheInBothTiers(device);
  Teach(device, 100);
  device.Append(device.Open(Text(1, 64)), Text(1, 32, 32));
  device.CloseAll();
  CHECK_EQ(device.Lookup(Text(1, 65)).device_tokens, 64);
  CHECK_EQ(device.manager().GetStats().host.cached, 1);  // of the other text
}

TEST("a prompt's part on the host is brought back where that is faster") {
  SimulatedDevice device(Pool(4, 4));
  CacheInBothTiers(device);
  Teach(device, 0.01);
  CHECK_EQ(device.Lookup(Text(1, 65)).worth_tokens, 32);
  const auto opened = device.TryOpen(Text(1, 64));
  CHECK_EQ(opened.cached, 63);
  const StepId step = device.Append(opened.sequence, Text(1, 1, 63));
  CHECK_EQ(device.Onboards(step).size(), 2);
  CHECK_EQ(device.manager().GetStats().onboard_choices, 1);
  device.CloseAll();
}

TEST(
    "a step tells of each of its sequences what it brings back and what it computes all the same") {
  SimulatedDevice device(Pool(10, 16));
  device.Cache(Text(1, 64));
  device.Cache(Text(2, 64));
  device.Cache(Text(3, 160));
  Teach(device, 0.01);
  const SequenceId back = device.Open(Text(1, 64));
  for (int i = 0; i < 60; ++i) Teach(device, 100);
  const SequenceId again = device.Open(Text(2, 64));
  const SequenceId fresh = device.Open(Text(4, 10));
  const auto rest = [&](std::uint32_t text, SequenceId id) {
    return Tail(Text(text, 64), device.History(id).size());
  };
  CHECK_EQ(device.History(back).size(), 63);
  CHECK(device.History(again).size() < 63);
  const auto recomputed = static_cast<std::uint32_t>(63 - device.History(again).size());
  const StepId step =
      device.Schedule({{fresh, Text(4, 10)}, {back, rest(1, back)}, {again, rest(2, again)}});
  const std::vector<HostHit> hits = device.HostHits(step);
  CHECK_EQ(hits.size(), 2);
  CHECK_EQ(hits[0].entry, 1);
  CHECK(hits[0].blocks > 0);
  CHECK_EQ(hits[0].recomputed, 0);
  CHECK_EQ(hits[1].entry, 2);
  CHECK_EQ(hits[1].blocks, 0);
  CHECK_EQ(hits[1].recomputed, recomputed);
  device.Commit(step);
  CHECK_EQ(device.manager().GetStats().recomputed_tokens, recomputed);
  device.CloseAll();
}

TEST("what was chosen when a sequence was opened stands when it is scheduled") {
  SimulatedDevice device(Pool(4, 4));
  CacheInBothTiers(device);
  Teach(device, 100);
  const SequenceId chat = device.Open(Text(1, 64));
  for (int i = 0; i < 60; ++i) Teach(device, 0.01);
  const StepId step = device.Append(chat, Text(1, 32, 32));
  CHECK_EQ(device.Skipped(step, 0), 0);
  CHECK_EQ(device.Onboards(step).size(), 0);
  device.CloseAll();
}

TEST("what comes to the host after the opening is weighed when it is scheduled") {
  SimulatedDevice device(Pool(4, 4));
  const SequenceId late = device.Open(Text(1, 64));
  CacheInBothTiers(device);
  Teach(device, 100);
  const std::uint64_t before = device.Digest();
  const StepId step = device.Schedule({{late, Text(1, 64)}});
  CHECK_EQ(device.Skipped(step, 0), 32);
  CHECK_EQ(device.Onboards(step).size(), 0);
  device.Abort(step);
  CHECK_EQ(device.Digest(), before);
  device.Append(late, Text(1, 64));
  CHECK_EQ(device.manager().GetStats().recomputed_tokens, 31);
  device.CloseAll();
}

TEST("a sequence that resumes is weighed as one that is opened") {
  SimulatedDevice device(Pool(4, 4));
  const SequenceId chat = device.Chat(Text(1, 64));
  device.Preempt(chat, PreemptMode::kDrop);
  device.Cache(Text(2, 20));
  Teach(device, 100);
  CHECK_EQ(device.Resume(chat, Text(1, 64)), 32);
  device.Append(chat, Text(1, 32, 32));
  CHECK_EQ(device.manager().GetStats().recomputed_tokens, 31);
  device.CloseAll();
}

TEST("a pin and a prefetch take all that is on the host") {
  SimulatedDevice device(Pool(4, 4));
  CacheInBothTiers(device);
  Teach(device, 100);
  const auto pinned = device.manager().Pin(Text(1, 65), "");
  CHECK_EQ(pinned.cached_tokens, 64);
  CHECK_EQ(device.manager().Close(pinned.handle), Status::kOk);
  const StepId step = device.Prefetch(Text(1, 65));
  CHECK_EQ(device.Onboards(step).size(), 2);
  device.Commit(step);
  device.CloseAll();
}

TEST("what another step is bringing back costs nothing more") {
  SimulatedDevice device(Pool(8, 8));
  device.Cache(Text(1, 64));
  device.Cache(Text(2, 128));
  const StepId bringing = device.Prefetch(Text(1, 65));
  Teach(device, 100);
  CHECK_EQ(device.Lookup(Text(1, 65)).worth_tokens, 64);
  const auto opened = device.TryOpen(Text(1, 65));
  CHECK_EQ(opened.cached, 64);
  device.Commit(bringing);
  device.CloseAll();
}

TEST("long prompts are computed over their copies on the host, time and again") {
  Config config = Pool(600, 1200);
  config.max_sequence_tokens = 600 * config.block_size;
  config.max_batch_tokens = config.max_sequence_tokens;
  config.onboard = OnboardPolicy::kNever;
  config.max_step_transfers = 600;
  SimulatedDevice device(config);
  for (int round = 0; round < 3; ++round) {
    for (std::uint32_t text = 1; text <= 2; ++text) {
      device.Close(device.Chat(Text(text, 590 * config.block_size)));
    }
  }
  CHECK(device.manager().GetStats().recomputed_tokens > 3 * 590 * config.block_size);
  device.CheckNothingHeld();
}

// --- Preemption ---

TEST("the cheaper way to preempt is by the host where that is fast, and by dropping where not") {
  for (const double times : {0.01, 100.0}) {
    SimulatedDevice device(Pool(8, 8));
    const SequenceId chat = device.Chat(Text(1, 60));
    Teach(device, times);
    const TransferId transfer = device.Preempt(chat, PreemptMode::kAuto);
    CHECK_EQ(device.State(chat), times < 1 ? SequenceState::kSwapped : SequenceState::kDropped);
    if (transfer != kNone) device.FinishTransfer(transfer);
    device.CloseAll();
  }
}

TEST("where the host has no room, a sequence is dropped") {
  SimulatedDevice device(Pool(8, 2));
  const SequenceId chat = device.Chat(Text(1, 60));
  Teach(device, 0.01);
  device.Preempt(chat, PreemptMode::kAuto);
  CHECK_EQ(device.State(chat), SequenceState::kDropped);
  device.CloseAll();
}

TEST("a swapped-out sequence is dropped once computing it again is the cheaper way back") {
  SimulatedDevice device(Pool(8, 8));
  const SequenceId chat = device.Chat(Text(1, 60));
  Teach(device, 0.01);
  device.SwapOut(chat);
  device.Preempt(chat, PreemptMode::kAuto);
  CHECK_EQ(device.State(chat), SequenceState::kSwapped);
  for (int i = 0; i < 60; ++i) Teach(device, 100);
  device.Preempt(chat, PreemptMode::kAuto);
  CHECK_EQ(device.State(chat), SequenceState::kDropped);
  device.CloseAll();
}

TEST("the victim is the one that costs least to bring back, of those that free enough") {
  SimulatedDevice device(Pool(16, 16));
  const SequenceId large = device.Chat(Text(1, 80));
  const SequenceId small = device.Chat(Text(2, 30));
  const SequenceId middle = device.Chat(Text(3, 50));
  Teach(device, 1);
  const std::vector<SequenceId> all = {large, small, middle};
  CHECK_EQ(device.Victim(all, 1).index, 1);
  CHECK_EQ(device.Victim(all, 2).index, 1);
  CHECK_EQ(device.Victim(all, 3).index, 2);
  CHECK_EQ(device.Victim(all, 5).index, 0);
  CHECK_EQ(device.Victim(all, 5).cost.blocks, 5);
  device.CloseAll();
}

TEST("of equal victims the one named last is taken") {
  SimulatedDevice device(Pool(16, 16));
  const SequenceId one = device.Chat(Text(1, 32));
  const SequenceId two = device.Chat(Text(2, 32));
  CHECK_EQ(device.Victim({one, two}, 1).index, 1);
  CHECK_EQ(device.Victim({two, one}, 1).index, 1);
  device.CloseAll();
}

TEST("what others hold too costs nothing and frees nothing") {
  SimulatedDevice device(Pool(16, 16));
  const SequenceId parent = device.Chat(Text(1, 64));
  const SequenceId twin = device.Fork(parent, 64);
  const SequenceId branch = device.Fork(parent, 64);
  device.Append(branch, Text(2, 16));
  const SequenceId alone = device.Chat(Text(3, 48));
  Teach(device, 1);
  CHECK_EQ(device.Victim({parent, twin}, 1).index, kNone);
  const auto victim = device.Victim({alone, parent, twin, branch}, 1);
  CHECK_EQ(victim.index, 3);
  CHECK_EQ(victim.cost.blocks, 1);
  CHECK(victim.cost.milliseconds < device.Victim({alone}, 1).cost.milliseconds);
  device.CloseAll();
}

TEST("those in a step, swapped out, dropped or closed are no victims") {
  SimulatedDevice device(Pool(16, 16));
  const SequenceId busy = device.Chat(Text(1, 20));
  const SequenceId swapped = device.Chat(Text(2, 20));
  const SequenceId dropped = device.Chat(Text(3, 20));
  const SequenceId closed = device.Chat(Text(4, 20));
  device.Close(closed);
  device.SwapOut(swapped);
  device.Preempt(dropped, PreemptMode::kDrop);
  const StepId step = device.Schedule({{busy, Text(1, 1, 20)}});
  CHECK_EQ(device.Victim({busy, swapped, dropped, closed}, 1).index, kNone);
  device.Abort(step);
  CHECK_EQ(device.Victim({busy, swapped, dropped, closed}, 1).index, 0);
  device.CloseAll();
}

// --- Watermarks ---

Config WithWater(std::uint32_t low, std::uint32_t high) {
  Config config = Pool(16);
  config.low_water = low;
  config.high_water = high;
  return config;
}

bool Admits(SimulatedDevice& device, std::uint32_t tokens) {
  return device.manager().Admission(Text(9, tokens), "").admits;
}

TEST("what is admitted leaves the low watermark free") {
  SimulatedDevice device(WithWater(2, 8));
  device.Chat(Text(1, 64));
  CHECK(Admits(device, 10 * 16));
  CHECK(!Admits(device, 10 * 16 + 1));
  device.CloseAll();
}

TEST("once the device was full, nothing is admitted until the high watermark is free again") {
  SimulatedDevice device(WithWater(1, 8));
  const SequenceId one = device.Chat(Text(1, 8 * 16));
  const SequenceId two = device.Chat(Text(2, 4 * 16));
  const SequenceId three = device.Chat(Text(3, 2 * 16));
  CHECK(Admits(device, 16));
  CHECK_EQ(device.TrySchedule({{one, Text(1, 3 * 16, 8 * 16)}}).status, Status::kOutOfBlocks);
  CHECK(!Admits(device, 16));
  device.Close(two);
  CHECK(!Admits(device, 16));
  device.Close(three);  // 8 of 16 can be had
  CHECK(Admits(device, 6 * 16));
  CHECK(Admits(device, 16));
  device.Close(one);
  device.CloseAll();
}

TEST("a preemption is pressure too") {
  SimulatedDevice device(WithWater(1, 12));
  const SequenceId one = device.Chat(Text(1, 4 * 16));
  device.Chat(Text(2, 4 * 16));
  CHECK(Admits(device, 16));
  device.Preempt(one, PreemptMode::kDrop);
  CHECK(Admits(device, 16));  // 12 can be had at once
  device.CloseAll();
  SimulatedDevice fuller(WithWater(1, 12));
  const SequenceId victim = fuller.Chat(Text(1, 4 * 16));
  fuller.Chat(Text(2, 5 * 16));
  fuller.Preempt(victim, PreemptMode::kDrop);
  CHECK(!Admits(fuller, 16));
  fuller.CloseAll();
}

TEST("a device that holds nothing admits whatever fits") {
  SimulatedDevice device(WithWater(4, 8));
  device.Cache(Text(1, 64));
  CHECK(Admits(device, 16 * 16));
  CHECK(!Admits(device, 16 * 16 + 1));
}

}  // namespace
}  // namespace pagedkv::test
