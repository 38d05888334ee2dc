// int8: how far values are off, and that every instruction set gives the same bits.

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "arena/copy.h"
#include "arena/half.h"
#include "arena/quantize.h"
#include "random.h"
#include "test.h"

namespace pagedkv::test {
namespace {

using arena::Cpu;
using arena::ElementType;
using arena::HeadShape;
using Bytes = std::vector<std::byte>;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr ElementType kTypes[] = {ElementType::kFloat, ElementType::kHalf};

// Values as a plane holds them; of an odd number, one byte off every alignment.
class Plane {
 public:
  Plane(ElementType type, const std::vector<float>& values)
      : type_(type), begin_(values.size() % 2), bytes_(begin_ + values.size() * BytesOf(type)) {
    for (std::size_t i = 0; i < values.size(); ++i) Set(i, values[i]);
  }

  std::byte* data() { return bytes_.data() + begin_; }
  const Bytes& bytes() const { return bytes_; }

  float Get(std::size_t i) {
    if (type_ == ElementType::kFloat) {
      float value = 0;
      std::memcpy(&value, data() + i * 4, 4);
      return value;
    }
    std::uint16_t half = 0;
    std::memcpy(&half, data() + i * 2, 2);
    return arena::FromHalf(half);
  }

 private:
  void Set(std::size_t i, float value) {
    if (type_ == ElementType::kFloat) {
      std::memcpy(data() + i * 4, &value, 4);
    } else {
      const std::uint16_t half = arena::ToHalf(value);
      std::memcpy(data() + i * 2, &half, 2);
    }
  }

  ElementType type_;
  std::size_t begin_;
  Bytes bytes_;
};

struct RoundTrip {
  Bytes record;
  Plane back;
};

RoundTrip ThereAndBack(const HeadShape& shape, Plane& plane, Cpu cpu, bool streams = false) {
  RoundTrip made = {Bytes(shape.quantized_bytes(), std::byte{0xEE}),
                    Plane(shape.type, std::vector<float>(shape.heads * shape.head_dim))};
  const arena::Flow flow = {.ahead = nullptr, .streams = streams};
  Quantize(shape, plane.data(), made.record.data(), cpu, flow);
  Dequantize(shape, made.record.data(), made.back.data(), cpu, flow);
  arena::EndStreaming();
  return made;
}

float RandomNormal(Random& random) {
  float sum = 0;
  for (int i = 0; i < 12; ++i) sum += static_cast<float>(random.Below(1 << 20)) / (1 << 20);
  return sum - 6;
}

// Of any size, or what is no number at all.
float RandomValue(Random& random) {
  static const std::vector<float> kOdd = {0,      -0.0f, kNaN,   kInfinity, -kInfinity,
                                          1e-38f, 3e38f, -3e38f, 65504,     6e-8f,
                                          1e-45f, 127,   126.5f, -0.5f,     2.5e-37f};
  if (random.OneIn(200)) return random.Pick(kOdd);
  return std::ldexp(RandomNormal(random), static_cast<int>(random.Below(20)) - 10);
}

TEST("every instruction set quantizes to the same bits, and back") {
  const std::uint64_t first = EnvironmentNumber("PAGEDKV_SEED", 1);
  for (std::uint64_t seed = first; seed < first + 400; ++seed) {
    SetContext("PAGEDKV_SEED=" + std::to_string(seed));
    Random random(seed);
    const HeadShape shape = {.type = kTypes[random.Below(2)],
                             .head_dim = random.Between(1, 140),
                             .heads = random.Between(1, 9)};
    std::vector<float> values(shape.heads * shape.head_dim);
    for (float& value : values) value = RandomValue(random);
    Plane plane(shape.type, values);
    const RoundTrip plain = ThereAndBack(shape, plane, Cpu::kAny);
    for (const bool streams : {false, true}) {
      const RoundTrip fast = ThereAndBack(shape, plane, arena::ThisCpu(), streams);
      CHECK(plain.record == fast.record);
      CHECK(plain.back.bytes() == fast.back.bytes());
    }
  }
}

TEST("any scale at all comes back to the same bits, whatever the instructions") {
  Random random(EnvironmentNumber("PAGEDKV_SEED", 3));
  for (int i = 0; i < 20'000; ++i) {
    const HeadShape shape = {.type = ElementType::kHalf, .head_dim = 9, .heads = 1};
    Bytes record(shape.quantized_bytes());
    for (std::byte& byte : record) byte = static_cast<std::byte>(random.Below(256));
    Bytes plain(shape.plain_bytes());
    Bytes fast(shape.plain_bytes());
    Dequantize(shape, record.data(), plain.data(), Cpu::kAny);
    Dequantize(shape, record.data(), fast.data(), arena::ThisCpu());
    CHECK(plain == fast);
  }
}

TEST("no value is off by more than half a step of its head") {
  Random random(EnvironmentNumber("PAGEDKV_SEED", 5));
  for (const ElementType type : kTypes) {
    const HeadShape shape = {.type = type, .head_dim = 128, .heads = 300};
    std::vector<float> values(shape.heads * shape.head_dim);
    for (float& value : values) value = RandomNormal(random);
    Plane plane(type, values);
    RoundTrip made = ThereAndBack(shape, plane, arena::ThisCpu());
    for (std::size_t head = 0; head < shape.heads; ++head) {
      float max = 0;
      for (std::size_t i = 0; i < 128; ++i)
        max = std::max(max, std::abs(plane.Get(head * 128 + i)));
      const float rounding = type == ElementType::kFloat ? 0x1p-22f : 0x1p-11f;
      const float bound = max / 254 + max * rounding;
      for (std::size_t i = head * 128; i < (head + 1) * 128; ++i) {
        CHECK(std::abs(plane.Get(i) - made.back.Get(i)) <= bound);
      }
    }
  }
}

TEST("normal values are off by less than 1% in all") {
  Random random(EnvironmentNumber("PAGEDKV_SEED", 6));
  for (const ElementType type : kTypes) {
    for (const std::size_t head_dim : {64, 128, 256}) {
      const HeadShape shape = {.type = type, .head_dim = head_dim, .heads = 200};
      std::vector<float> values(shape.heads * shape.head_dim);
      for (float& value : values) value = RandomNormal(random);
      Plane plane(type, values);
      RoundTrip made = ThereAndBack(shape, plane, arena::ThisCpu());
      double error = 0;
      double norm = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        error += std::pow(plane.Get(i) - made.back.Get(i), 2);
        norm += std::pow(plane.Get(i), 2);
      }
      CHECK(std::sqrt(error / norm) < 0.01);
    }
  }
}

TEST("what is not finite spoils its head, and no other") {
  for (const ElementType type : kTypes) {
    for (const float bad : {kNaN, kInfinity, -kInfinity}) {
      std::vector<float> values(3 * 40, 1.0f);
      values[40 + 17] = bad;
      Plane plane(type, values);
      RoundTrip made = ThereAndBack({type, 40, 3}, plane, arena::ThisCpu());
      for (std::size_t i = 0; i < values.size(); ++i) {
        const bool is_spoilt = i >= 40 && i < 80;
        CHECK_EQ(std::isnan(made.back.Get(i)), is_spoilt);
        if (!is_spoilt) CHECK_EQ(made.back.Get(i), 1.0f);
      }
    }
  }
}

TEST("zeros come back as zeros, and what is between values and scales is zero") {
  const HeadShape shape = {.type = ElementType::kFloat, .head_dim = 3, .heads = 3};
  Plane plane(shape.type, std::vector<float>(9));
  RoundTrip made = ThereAndBack(shape, plane, arena::ThisCpu());
  CHECK_EQ(shape.scales_offset(), 12);
  CHECK(made.record == Bytes(12 + 3 * 4));
  for (std::size_t i = 0; i < 9; ++i) CHECK_EQ(made.back.Get(i), 0.0f);
}

TEST("every half survives being a float") {
  for (std::uint32_t half = 0; half < 0x10000; ++half) {
    const float value = arena::FromHalf(static_cast<std::uint16_t>(half));
    const bool is_nan = (half & 0x7FFF) > 0x7C00;
    CHECK_EQ(std::isnan(value), is_nan);
    if (!is_nan) CHECK_EQ(arena::ToHalf(value), half);
  }
}

}  // namespace
}  // namespace pagedkv::test
