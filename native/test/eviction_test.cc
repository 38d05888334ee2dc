// Eviction: what may be evicted, in which order, and what counts as free. The order is observed
// from outside, through Lookup, one block at a time.

#include <random>

#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

// A chat that takes one block more at each call.
class Pressure {
 public:
  explicit Pressure(SimulatedDevice& device)
      : device_(device), sequence_(device.Open(Text(999, 1), "pressure")) {}

  void TakeBlock() { device_.Append(sequence_, Text(999, 16, taken_++ * 16)); }

 private:
  SimulatedDevice& device_;
  SequenceId sequence_;
  std::uint32_t taken_ = 0;
};

// Blocks of each text found on the device.
std::vector<std::uint32_t> Blocks(SimulatedDevice& device, std::uint32_t texts,
                                  std::uint32_t length = 33) {
  std::vector<std::uint32_t> blocks;
  for (std::uint32_t text = 1; text <= texts; ++text) {
    blocks.push_back(device.Lookup(Text(text, length)).device_tokens / 16);
  }
  return blocks;
}

using Counts = std::vector<std::uint32_t>;

TEST("the prompt closed first is evicted first, each from its tail") {
  SimulatedDevice device(Pool(6));
  for (std::uint32_t text = 1; text <= 3; ++text) device.Cache(Text(text, 32));
  Pressure pressure(device);
  for (const Counts& expected : {Counts{1, 2, 2}, Counts{0, 2, 2}, Counts{0, 1, 2}, Counts{0, 0, 2},
                                 Counts{0, 0, 1}, Counts{0, 0, 0}}) {
    pressure.TakeBlock();
    CHECK_EQ(Show(Blocks(device, 3)), Show(expected));
  }
  device.CloseAll();
}

TEST("a prompt that was hit again becomes the youngest") {
  SimulatedDevice device(Pool(6));
  for (std::uint32_t text = 1; text <= 3; ++text) device.Cache(Text(text, 32));
  device.Close(device.Open(Text(1, 33)));
  Pressure pressure(device);
  for (const Counts& expected : {Counts{2, 1, 2}, Counts{2, 0, 2}, Counts{2, 0, 1}, Counts{2, 0, 0},
                                 Counts{1, 0, 0}, Counts{0, 0, 0}}) {
    pressure.TakeBlock();
    CHECK_EQ(Show(Blocks(device, 3)), Show(expected));
  }
  device.CloseAll();
}

TEST("a lookup does not make a prompt younger") {
  SimulatedDevice device(Pool(4));
  device.Cache(Text(1, 32));
  device.Cache(Text(2, 32));
  device.Lookup(Text(1, 33));
  Pressure(device).TakeBlock();
  CHECK_EQ(Show(Blocks(device, 2)), Show(Counts{1, 2}));
  device.CloseAll();
}

TEST("a prefix outlives its continuations") {
  SimulatedDevice device(Pool(5));
  const TokenList head = Text(1, 16);
  device.Cache(Join(head, Text(2, 16)));
  device.Cache(Text(4, 16));
  device.Cache(Join(head, Text(3, 16)));
  device.Cache(Text(5, 16));
  const auto found = [&] {
    return Counts{device.Lookup(Join(head, Text(2, 17))).device_tokens / 16,
                  device.Lookup(Text(4, 17)).device_tokens / 16,
                  device.Lookup(Join(head, Text(3, 17))).device_tokens / 16,
                  device.Lookup(Text(5, 17)).device_tokens / 16};
  };
  CHECK_EQ(Show(found()), Show(Counts{2, 1, 2, 1}));
  Pressure pressure(device);
  for (const Counts& expected : {Counts{1, 1, 2, 1}, Counts{1, 0, 2, 1}, Counts{1, 0, 1, 1},
                                 Counts{0, 0, 0, 1}, Counts{0, 0, 0, 0}}) {
    pressure.TakeBlock();
    CHECK_EQ(Show(found()), Show(expected));
  }
  device.CloseAll();
}

TEST("blocks that a sequence holds are never evicted") {
  SimulatedDevice device(Pool(4));
  device.Chat(Text(1, 32));
  device.Cache(Text(2, 32));
  device.Chat(Text(3, 32));
  CHECK_EQ(Show(Blocks(device, 3)), Show(Counts{2, 0, 2}));
  const SequenceId other = device.Open(Text(4, 1));
  CHECK_EQ(device.TrySchedule({{other, Text(4, 1)}}).status, Status::kOutOfBlocks);
  device.CloseAll();
}

TEST("random prompts leave in the order of a list of when each was last closed") {
  SimulatedDevice device(Pool(24));
  const std::uint64_t seed = EnvironmentNumber("PAGEDKV_SEED", 1);
  SetContext("PAGEDKV_SEED=" + std::to_string(seed));
  std::mt19937 random(static_cast<std::uint32_t>(seed));
  std::vector<std::pair<std::uint32_t, std::uint32_t>> oldest_first;  // text, blocks left
  std::uint32_t free = 24;
  for (int round = 0; round < 600; ++round) {
    const auto text = static_cast<std::uint32_t>(1 + random() % 12);
    const std::uint32_t blocks = 1 + text % 5;
    std::uint32_t left = 0;
    std::erase_if(oldest_first, [&](const auto& chain) {
      if (chain.first == text) left = chain.second;
      return chain.first == text;
    });
    CHECK_EQ(device.Lookup(Text(text, blocks * 16 + 1)).device_tokens, left * 16);
    device.Cache(Text(text, blocks * 16));
    for (std::uint32_t needed = blocks - left; needed > 0; --needed) {
      if (free > 0) {
        --free;
        continue;
      }
      if (--oldest_first.front().second == 0) oldest_first.erase(oldest_first.begin());
    }
    oldest_first.emplace_back(text, blocks);
    for (const auto& [cached, count] : oldest_first) {
      CHECK_EQ(device.Lookup(Text(cached, 100)).device_tokens, count * 16);
    }
  }
  device.CloseAll();
}

TEST("a cached block that is hit again is not counted as free twice") {
  SimulatedDevice device(Pool(4));
  const SequenceId late = device.Open(Text(1, 80));
  device.Cache(Text(1, 48));
  // Three hits in the evictable set and one free block: two more blocks are not to be had.
  const auto refused = device.TrySchedule({{late, Text(1, 80)}});
  CHECK_EQ(refused.status, Status::kOutOfBlocks);
  CHECK_EQ(device.Lookup(Text(1, 49)).device_tokens, 48);
  const StepId step = device.Schedule({{late, Text(1, 64)}});
  CHECK_EQ(device.Skipped(step, 0), 48);
  device.Commit(step);
  device.CloseAll();
}

TEST("what open has hit is held, and counts against everybody else") {
  SimulatedDevice device(Pool(4));
  device.Cache(Text(1, 48));
  device.Open(Text(1, 49));
  CHECK_EQ(device.Held(), 3);
  const SequenceId other = device.Open(Text(2, 32));
  const auto refused = device.TrySchedule({{other, Text(2, 32)}});
  CHECK_EQ(refused.status, Status::kOutOfBlocks);
  CHECK_EQ(refused.shortage.needed, 2);
  CHECK_EQ(refused.shortage.free, 1);
  device.CloseAll();
}

TEST("free counts only what can be had now") {
  SimulatedDevice device(Pool(4));
  device.Cache(Text(1, 48));
  // Holding the tail holds the whole chain.
  const SequenceId chat = device.Open(Text(1, 49));
  CHECK_EQ(device.manager().GetStats().device.cached, 0);
  CHECK_EQ(device.manager().GetStats().device.free, 1);
  device.Truncate(chat, 16);
  CHECK_EQ(device.manager().GetStats().device.cached, 2);
  device.CloseAll();
}

TEST("every block of a full pool can be had, and the one after that cannot") {
  SimulatedDevice device(Pool(8));
  for (std::uint32_t text = 1; text <= 5; ++text) device.Cache(Text(text, 24));
  const SequenceId chat = device.Open(Text(9, 144));
  const auto refused = device.TrySchedule({{chat, Text(9, 129)}});
  CHECK_EQ(refused.status, Status::kOutOfBlocks);
  CHECK_EQ(refused.shortage.needed, 9);
  CHECK_EQ(refused.shortage.free, 8);
  device.Append(chat, Text(9, 128));
  CHECK_EQ(device.Held(), 8);
  device.CloseAll();
}

TEST("blocks that a step will give back when it ends are told as in flight") {
  SimulatedDevice device(Pool(4));
  const SequenceId chat = device.Open(Text(1, 40));
  const StepId step = device.Schedule({{chat, Text(1, 40)}});
  device.Close(chat);
  const SequenceId other = device.Open(Text(2, 32));
  const auto refused = device.TrySchedule({{other, Text(2, 32)}});
  CHECK_EQ(refused.status, Status::kOutOfBlocks);
  CHECK_EQ(refused.shortage.free, 1);
  device.Commit(step);
  device.Append(other, Text(2, 32));
  device.CloseAll();
}

}  // namespace
}  // namespace pagedkv::test
