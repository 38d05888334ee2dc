// Blocks between a device's memory and the arena: every byte arrives where one copy after the other
// would have put it, whatever the sizes, the threads and the instructions.

#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "arena/transfer.h"
#include "random.h"
#include "test.h"

namespace pagedkv::test {
namespace {

using arena::BlockPair;
using arena::Cpu;
using arena::Direction;
using arena::Part;
using arena::Transfer;
using arena::TransferPlan;
using arena::WorkerPool;
using Bytes = std::vector<std::byte>;

Bytes RandomBytes(Random& random, std::size_t count) {
  Bytes bytes(count);
  std::uint32_t state = random.Below(1u << 31);
  for (std::byte& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::byte>(state >> 24);
  }
  return bytes;
}

std::vector<std::uint32_t> Shuffled(Random& random, std::uint32_t count) {
  std::vector<std::uint32_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0);
  for (std::uint32_t i = count; i > 1; --i) std::swap(numbers[i - 1], numbers[random.Below(i)]);
  return numbers;
}

// A device's memory and an arena, with some blocks to be moved between them.
struct Scene {
  Bytes near;
  Bytes host;
  TransferPlan plan;

  // Addresses are into `near` and `host`, so a scene stays where it was made.
  Scene(Random& random, Direction direction) {
    const std::uint32_t near_blocks = random.Between(1, 40);
    const std::uint32_t host_blocks = random.Between(1, 40);
    std::size_t near_bytes = random.Below(70);
    const std::size_t gap = random.OneIn(2) ? 0 : random.Below(5);
    for (std::uint32_t parts = random.OneIn(2) ? 1 : random.Between(2, 6); parts > 0; --parts) {
      const std::size_t bytes = PartBytes(random);
      plan.parts.push_back({nullptr, bytes, plan.record_bytes});
      offsets.push_back(near_bytes);
      near_bytes += near_blocks * bytes + random.Below(9);
      plan.record_bytes += bytes + gap;
    }
    near = RandomBytes(random, near_bytes);
    const std::size_t begin = random.Below(70);
    host = RandomBytes(random, begin + host_blocks * plan.record_bytes);
    plan.records = host.data() + begin;
    for (std::size_t i = 0; i < offsets.size(); ++i) plan.parts[i].near = near.data() + offsets[i];
    plan.direction = direction;
    MakePairs(random, near_blocks, host_blocks);
  }
  Scene(const Scene&) = delete;

  static std::size_t PartBytes(Random& random) {
    static const std::vector<std::uint32_t> kMost = {3, 130, 2100, 2100, 40'000};
    return 1 + random.Below(random.Pick(kMost));
  }

  void MakePairs(Random& random, std::uint32_t near_blocks, std::uint32_t host_blocks) {
    const std::uint32_t count = std::min(near_blocks, host_blocks);
    auto nears = Shuffled(random, near_blocks);
    auto hosts = Shuffled(random, host_blocks);
    if (random.OneIn(2)) {  // neighbours
      std::iota(nears.begin(), nears.end(), 0);
      std::iota(hosts.begin(), hosts.end(), 0);
    }
    for (std::uint32_t i = 0; i < count; ++i) {
      if (!random.OneIn(5)) plan.pairs.push_back({nears[i], hosts[i]});
    }
  }

  // By one copy after the other: how both sides must look.
  std::pair<Bytes, Bytes> Expected() const {
    std::pair<Bytes, Bytes> sides = {near, host};
    for (const BlockPair& pair : plan.pairs) {
      for (const Part& part : plan.parts) {
        const std::byte* of_near = part.near + pair.near * part.near_bytes;
        const std::byte* of_host =
            plan.records + pair.host * plan.record_bytes + part.record_offset;
        std::byte* to_near = sides.first.data() + (of_near - near.data());
        std::byte* to_host = sides.second.data() + (of_host - host.data());
        if (plan.direction == Direction::kStore) {
          std::memcpy(to_host, of_near, part.near_bytes);
        } else {
          std::memcpy(to_near, of_host, part.near_bytes);
        }
      }
    }
    return sides;
  }

  std::vector<std::size_t> offsets;
};

void MoveAndCompare(Random& random, Direction direction, Cpu cpu) {
  Scene scene(random, direction);
  const auto [near, host] = scene.Expected();
  WorkerPool pool(random.Between(1, 4));
  auto job = std::make_shared<Transfer>(scene.plan, cpu);
  if (random.OneIn(2)) {
    pool.Run(job);
  } else {
    pool.Submit(job);
    pool.Drain();
  }
  CHECK(scene.near == near);
  CHECK(scene.host == host);
}

TEST("blocks arrive as one copy after the other would have put them") {
  const std::uint64_t first = EnvironmentNumber("PAGEDKV_SEED", 1);
  for (std::uint64_t seed = first; seed < first + 60; ++seed) {
    SetContext("PAGEDKV_SEED=" + std::to_string(seed));
    for (const Direction direction : {Direction::kStore, Direction::kLoad}) {
      for (const Cpu cpu : {Cpu::kAny, arena::ThisCpu()}) {
        Random random(seed);
        MoveAndCompare(random, direction, cpu);
      }
    }
  }
}

TEST("blocks that are kept as int8 come back within half a step of each head") {
  constexpr std::size_t kHeadDim = 24;
  constexpr std::size_t kHeads = 6;
  constexpr std::uint32_t kBlocks = 5;
  Random random(EnvironmentNumber("PAGEDKV_SEED", 7));
  std::vector<float> values(kBlocks * kHeads * kHeadDim);
  for (float& value : values) value = static_cast<float>(random.Below(2001)) / 100 - 10;
  std::vector<float> back(values.size());
  const arena::HeadShape shape = {arena::ElementType::kFloat, kHeadDim, kHeads};
  Bytes host(kBlocks * shape.quantized_bytes());

  TransferPlan plan;
  plan.records = host.data();
  plan.record_bytes = shape.quantized_bytes();
  plan.quantized = shape.type;
  plan.head_dim = kHeadDim;
  for (std::uint32_t i = 0; i < kBlocks; ++i) plan.pairs.push_back({i, kBlocks - 1 - i});
  WorkerPool pool(2);
  for (const Direction direction : {Direction::kStore, Direction::kLoad}) {
    std::vector<float>& near = direction == Direction::kStore ? values : back;
    plan.direction = direction;
    plan.parts = {{reinterpret_cast<std::byte*>(near.data()), shape.plain_bytes(), 0}};
    pool.Run(std::make_shared<Transfer>(plan));
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    CHECK(std::abs(values[i] - back[i]) <= 10.0f / 127 / 2 * 1.001f);
  }
}

TEST("a transfer of nothing is done at once") {
  TransferPlan plan;
  plan.parts = {{nullptr, 64, 0}};
  plan.record_bytes = 64;
  WorkerPool pool(2);
  pool.Run(std::make_shared<Transfer>(plan));
  pool.Submit(std::make_shared<Transfer>(plan));
  pool.Drain();
}

}  // namespace
}  // namespace pagedkv::test
