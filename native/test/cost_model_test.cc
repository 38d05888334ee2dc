// The cost model alone: what it learns from reports, and what it makes of a hit.

#include "../core/cost_model.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "test.h"

namespace pagedkv::test {
namespace {

using Hit = CostModel::Hit;

constexpr Hit kHit = {.blocks = 100, .tokens = 1600, .past = 0};

class Noise {
 public:
  explicit Noise(std::uint64_t seed) : engine_(seed) {}
  // Lognormal, with a mean of 1.
  double Factor(double deviation) {
    std::normal_distribution<double> normal(-deviation * deviation / 2, deviation);
    return std::exp(normal(engine_));
  }
  std::uint32_t Between(std::uint32_t least, std::uint32_t most) {
    return least + static_cast<std::uint32_t>(engine_() % (most - least + 1));
  }

 private:
  std::mt19937_64 engine_;
};

// Reports of a machine that computes a token in so many milliseconds, and moves a block in so many.
void Teach(CostModel& model, double token_ms, double block_ms, int reports = 10) {
  for (int i = 0; i < reports; ++i) {
    model.ReportPrefill(1000, 0, 1000 * token_ms);
    model.ReportTransfer(Direction::kOnboard, 100, 100 * block_ms);
  }
}

bool IsNear(double value, double expected, double share) {
  return std::abs(value - expected) <= share * expected;
}

TEST("before anything is reported, all of a hit is brought back") {
  CostModel model(OnboardPolicy::kAuto);
  CHECK(model.IsWorth(kHit));
  const auto choice = model.Choose(kHit);
  CHECK_EQ(choice.blocks, kHit.blocks);
  CHECK(!choice.explores);
}

TEST("who never reports transfers has all brought back, after two parts to report of") {
  CostModel model(OnboardPolicy::kAuto);
  model.ReportPrefill(1000, 0, 100);
  CHECK(model.Choose(kHit).explores);
  CHECK(model.Choose(kHit).explores);
  for (int i = 0; i < 20; ++i) CHECK_EQ(model.Choose(kHit).blocks, kHit.blocks);
}

TEST("what is said to be done always, or never, is done whatever it takes") {
  CostModel always(OnboardPolicy::kAlways);
  CostModel never(OnboardPolicy::kNever);
  Teach(always, 0.001, 1000);
  Teach(never, 1000, 0.001);
  for (int i = 0; i < 100; ++i) {
    CHECK_EQ(always.Choose(kHit).blocks, kHit.blocks);
    CHECK_EQ(never.Choose(kHit).blocks, 0);
  }
  CHECK(always.IsWorth(kHit));
  CHECK(!never.IsWorth(kHit));
}

TEST(
    "a hit is brought back where that takes less time than computing it, and not where it does "
    "not") {
  CostModel fast(OnboardPolicy::kAuto);
  Teach(fast, 0.1, 0.5);  // a block of 16 tokens is computed in 1.6 ms
  CHECK(fast.IsWorth(kHit));
  CHECK_EQ(fast.Choose(kHit).blocks, kHit.blocks);
  CostModel slow(OnboardPolicy::kAuto);
  Teach(slow, 0.1, 5);
  CHECK(!slow.IsWorth(kHit));
}

TEST("what a transfer costs whatever its size makes small hits not worth it") {
  CostModel model(OnboardPolicy::kAuto);
  for (const std::uint32_t blocks : {1u, 2u, 10u, 50u, 200u, 1u, 2u, 10u, 50u, 200u}) {
    model.ReportTransfer(Direction::kOnboard, blocks, 20 + blocks * 0.5);
    model.ReportPrefill(blocks * 16, 0, 10 + blocks * 1.6);
  }
  CHECK(IsNear(model.onboard().costs()[0], 20, 0.2));
  CHECK(IsNear(model.onboard().costs()[1], 0.5, 0.2));
  CHECK(!model.IsWorth({.blocks = 2, .tokens = 32, .past = 0}));
  CHECK(model.IsWorth({.blocks = 200, .tokens = 3200, .past = 0}));
}

TEST("a hit far behind in its prompt is worth more, as its tokens attend to more") {
  CostModel model(OnboardPolicy::kAuto);
  for (int round = 0; round < 10; ++round) {
    for (const std::uint32_t past : {0u, 10000u, 30000u, 60000u}) {
      for (const std::uint32_t tokens : {200u, 1000u, 4000u}) {
        const double attended = (past + tokens / 2.0) / 30000;
        model.ReportPrefill(tokens, past, 5 + tokens * 0.1 * (1 + attended));
      }
    }
    model.ReportTransfer(Direction::kOnboard, 100, 300);
  }
  CHECK(IsNear(model.PrefillTime(1600, 0), 164, 0.1));
  CHECK(IsNear(model.PrefillTime(1600, 60000), 484, 0.1));
  CHECK(!model.IsWorth({.blocks = 100, .tokens = 1600, .past = 0}));
  CHECK(model.IsWorth({.blocks = 100, .tokens = 1600, .past = 60000}));
}

TEST("no cost is ever below zero, whatever is reported") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SetContext("seed " + std::to_string(seed));
    Noise noise(seed);
    CostModel model(OnboardPolicy::kAuto);
    for (int i = 0; i < 200; ++i) {
      const std::uint32_t size = noise.Between(1, 1000);
      const double ms = noise.Factor(3);
      model.ReportTransfer(Direction::kOnboard, size, noise.Between(0, 9) == 0 ? 0 : ms);
      model.ReportPrefill(size, noise.Between(0, 100000), ms);
      for (const TimeFit* fit : {&model.onboard(), &model.prefill()}) {
        for (const double cost : fit->costs()) CHECK(std::isfinite(cost) && cost >= 0);
      }
      CHECK(model.Choose({noise.Between(1, 50), noise.Between(0, 800), 0}).blocks <= 50);
    }
  }
}

TEST("the mean is learned through noise with heavy tails") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SetContext("seed " + std::to_string(seed));
    Noise noise(seed);
    CostModel model(OnboardPolicy::kAuto);
    for (int i = 0; i < 300; ++i) {
      const std::uint32_t blocks = noise.Between(1, 200);
      model.ReportTransfer(Direction::kOnboard, blocks, (10 + blocks) * noise.Factor(0.6));
    }
    CHECK(IsNear(model.OnboardTime(100), 110, 0.35));
  }
}

TEST("a transfer that hung for seconds is believed only in part") {
  CostModel model(OnboardPolicy::kAuto);
  Teach(model, 0.1, 0.5, 50);
  model.ReportTransfer(Direction::kOnboard, 100, 50'000);
  CHECK(model.OnboardTime(100) < 80);
  CHECK(model.IsWorth(kHit));
}

TEST("a machine that became a hundred times slower is believed at the second report") {
  CostModel model(OnboardPolicy::kAuto);
  Teach(model, 0.1, 0.5, 50);
  for (int i = 0; i < 4; ++i) model.ReportTransfer(Direction::kOnboard, 100, 5000);
  CHECK(!model.IsWorth(kHit));
}

TEST("rates that drift are followed, up and down") {
  for (const double drift : {4.0, 0.25}) {
    CostModel model(OnboardPolicy::kAuto);
    double block = 1;
    for (int i = 0; i < 1000; ++i) {
      block = std::pow(drift, i / 1000.0);
      model.ReportTransfer(Direction::kOnboard, 50, 50 * block);
    }
    CHECK(IsNear(model.OnboardTime(100), 100 * block, 0.15));
  }
}

TEST("a first report that was far off is soon forgotten") {
  CostModel model(OnboardPolicy::kAuto);
  model.ReportTransfer(Direction::kOnboard, 100, 1600);
  for (int i = 0; i < 5; ++i) model.ReportTransfer(Direction::kOnboard, 100, 100);
  CHECK(model.OnboardTime(100) < 200);
}

// What choices cost on a machine that tells how long all took.
struct Played {
  double chosen = 0;
  double always = 0;
  double never = 0;
  std::uint32_t explored = 0;
};

Played Play(CostModel& model, double block_ms, int hits, Noise& noise) {
  Played played;
  for (int i = 0; i < hits; ++i) {
    const Hit hit = {noise.Between(1, 200), 0, 0};
    const double moving = 1 + hit.blocks * block_ms;
    const double computing = hit.blocks * 1.6;
    const auto choice = model.Choose({hit.blocks, hit.blocks * 16, 0});
    const double moved = choice.blocks == 0 ? 0 : (1 + choice.blocks * block_ms);
    const double computed = (hit.blocks - choice.blocks) * 1.6;
    if (moved > 0)
      model.ReportTransfer(Direction::kOnboard, choice.blocks, moved * noise.Factor(0.5));
    // Each prompt has a rest that nobody had.
    const std::uint32_t rest = noise.Between(1, 400);
    const std::uint32_t tokens = (hit.blocks - choice.blocks) * 16 + rest;
    model.ReportPrefill(tokens, 0, (5 + tokens * 0.1) * noise.Factor(0.3));
    played.chosen += moved + computed;
    played.always += moving;
    played.never += computing;
    played.explored += choice.explores ? 1 : 0;
  }
  return played;
}

TEST("at any ratio of rates, choosing costs hardly more than the better of always and never") {
  const std::uint64_t seed = EnvironmentNumber("PAGEDKV_SEED", 1);
  for (const double ratio : {0.1, 0.3, 0.7, 1.0, 1.5, 3.0, 10.0, 100.0}) {
    SetContext("PAGEDKV_SEED=" + std::to_string(seed) + ", ratio " + std::to_string(ratio));
    Noise noise(seed);
    CostModel model(OnboardPolicy::kAuto);
    const Played played = Play(model, 1.6 / ratio, 3000, noise);
    CHECK(played.chosen <= 1.05 * std::min(played.always, played.never));
  }
}

TEST("it notices when what it does not choose becomes the better choice") {
  Noise noise(EnvironmentNumber("PAGEDKV_SEED", 1));
  CostModel model(OnboardPolicy::kAuto);
  Play(model, 8, 1000, noise);  // recomputing is five times cheaper …
  CHECK(!model.IsWorth(kHit));
  Play(model, 0.16, 1000, noise);  // … and now ten times dearer
  CHECK(model.IsWorth(kHit));
}

TEST("exploring gets rare where one choice is clearly better") {
  Noise noise(EnvironmentNumber("PAGEDKV_SEED", 1));
  CostModel model(OnboardPolicy::kAuto);
  Play(model, 16, 1000, noise);
  const Played later = Play(model, 16, 1000, noise);
  CHECK(later.explored < 100);
  CHECK(later.explored > 0);
}

}  // namespace
}  // namespace pagedkv::test
