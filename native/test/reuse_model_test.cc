// The reuse model against its formula, evaluated as it stands: over all ends of a wait, the best.

#include "../core/reuse_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <string>

#include "test.h"

namespace pagedkv::test {
namespace {

constexpr std::uint32_t kAges = ReuseModel::kAges;
constexpr double kPriorTurns = 20;

struct Seen {
  std::array<double, kAges> waits{};
  std::array<double, kAges> returns{};
};

// The share that has not returned as each age begins. Few turns of a class count for less than all
// classes together.
std::array<double, kAges + 1> Left(const Seen& seen, const Seen& all) {
  std::array<double, kAges + 1> left{1};
  for (std::uint32_t age = 0; age < kAges; ++age) {
    const double usual = all.waits[age] > 0 ? all.returns[age] / all.waits[age] : 0;
    const double share =
        (seen.returns[age] + kPriorTurns * usual) / (seen.waits[age] + kPriorTurns);
    left[age + 1] = left[age] * (1 - std::min(share, 1.0));
  }
  return left;
}

double BestOf(const std::array<double, kAges + 1>& left, std::uint32_t age) {
  double best = 0;
  double cost = 0;
  for (std::uint32_t until = age; until < kAges && left[until] > 1e-12; ++until) {
    const double time = ReuseModel::Begin(until + 1) - ReuseModel::Begin(until);
    cost += time * (left[until] + left[until + 1]) / 2;
    best = std::max(best, (left[age] - left[until + 1]) / cost);
  }
  return best;
}

TEST("the worth of a turn is the most returns for the time that waiting for them takes") {
  const std::uint64_t seed = EnvironmentNumber("PAGEDKV_SEED", 1);
  SetContext("PAGEDKV_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t end) { return static_cast<std::uint32_t>(random() % end); };
  ReuseModel model;
  std::array<Seen, ReuseModel::kClasses> seen{};
  Seen all;
  for (std::uint32_t count = 0; count < 20000; ++count) {
    // Most of the classes see some ages only, and return at some of these only.
    const std::uint32_t turn_class = below(ReuseModel::kClasses);
    const std::uint32_t age = (below(kAges) + 7 * turn_class) % (6 + 6 * turn_class);
    model.Waits(turn_class, age);
    if (count % 5 == 0) {  // and was taken for another one at first
      const std::uint32_t other = below(ReuseModel::kClasses);
      model.Waits(other, age);
      model.Unwaits(other, age);
    }
    seen[turn_class].waits[age]++;
    all.waits[age]++;
    if (below(1 + age % 5) != 0 || below(3) == 0) continue;
    model.Returns(turn_class, age);
    seen[turn_class].returns[age]++;
    all.returns[age]++;
  }
  model.Learn();
  for (std::uint32_t turn_class = 0; turn_class < ReuseModel::kClasses; ++turn_class) {
    const std::array<double, kAges + 1> left = Left(seen[turn_class], all);
    for (std::uint32_t age = 0; age < kAges; ++age) {
      const double best = BestOf(left, age);
      CHECK(std::abs(model.Index(turn_class, age) - best) <= 1e-6 * best);
    }
  }
}

}  // namespace
}  // namespace pagedkv::test
