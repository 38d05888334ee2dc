// The default policy: what is expected back last goes first.
//
// Conversations pause for very different times. When a prompt goes on where a turn of lately ended,
// the pause is seen; turns are put into classes by how long their conversation pauses, against the
// median of all. For each class and age the reuse model tells what keeping it is worth. A block
// that turns of several conversations use goes by its own pauses.
//
// Candidates are the front of each queue (a queue a class), and the ends of the turns of lately:
// where more conversations are at work than fit, the one that has just ended is often the right
// victim, as it would be the last to return. A candidate must be worth clearly less than the least
// recently used one to go before it: where nothing is to be learned, this is LRU.
#include <cmath>
#include <utility>

#include "eviction_policy.h"
#include "octaves.h"
#include "reuse_model.h"
#include "turn_memory.h"

namespace pagedkv {
namespace {

// By gap: 0 not known, 1 to 3 short to long, an octave about the median being neither. And as many
// again for turns of which the caller has told that they return later than most.
constexpr std::uint8_t kGapClasses = 4;
static_assert(2 * kGapClasses <= ReuseModel::kClasses && 2 * kGapClasses <= kQueues);
constexpr std::uint32_t kTurnsBetweenLearning = 32;
constexpr float kClearlyLess = 0.8F;
constexpr std::uint32_t kLeastTurns = 1024;

std::uint32_t MostTurns(std::uint32_t blocks) {
  return std::max(kLeastTurns, blocks / 4);
}

class Adaptive final : public EvictionPolicy {
 public:
  Adaptive(const RunUse* uses, std::uint32_t blocks)
      : EvictionPolicy(uses, Memory::kTurns), turns_(MostTurns(blocks)) {}

  void Opened(Turn& turn, RunId deepest, std::span<const std::uint32_t> missing) override {
    ComeOfAge();
    TurnNumber before = kNoTurn;
    for (std::size_t i = missing.size(); i-- > 0 && before == kNoTurn;) {
      before = turns_.Find(missing[i]);
    }
    if (before == kNoTurn && deepest != kNone) before = TurnOf(deepest, turn.hit_blocks);
    if (before != kNoTurn) turn.gap = Return(turns_.At(before));
  }

  void BeginTurn(const Turn& turn, std::uint32_t blocks, std::uint32_t mark,
                 std::uint32_t reuse) override {
    model_.Forget();
    turn_ = turn;
    late_ = LateOffset(reuse);
    class_ = static_cast<std::uint8_t>(ClassOf(turn.gap) + late_);
    reused_ = Reuse({});
    // Several samples of one prompt are one turn: the last.
    if (const TurnNumber same = turns_.Find(mark); same != kNoTurn) turns_.At(same).waits = false;
    number_ = turns_.Add({.time = now_,
                          .blocks = blocks,
                          .gap = turn.gap,
                          .turn_class = class_,
                          .waits = reuse != kReuseNever},
                         mark);
    if (number_ % kTurnsBetweenLearning == 0) model_.Learn();
  }
  void EndTurn() override { number_ = kNoTurn; }

  void Expect(RunId end, std::uint32_t blocks, std::uint32_t reuse) override {
    const TurnNumber turn = TurnOf(end, blocks);
    if (turn == kNoTurn || !turns_.At(turn).waits) return;
    Ended& ended = turns_.At(turn);
    const std::uint8_t before =
        std::exchange(ended.turn_class, Expected(ended.turn_class, FromThen(ended.time, reuse)));
    ended.waits = reuse != kReuseNever;
    for (std::uint32_t age = 0; age < ReuseModel::kAges; ++age) {
      if (next_of_age_[age] <= turn) continue;
      model_.Unwaits(before, age);
      if (ended.waits) model_.Waits(ended.turn_class, age);
    }
  }

  std::uint8_t PlaceExpected(const RunUse& use, std::uint32_t reuse) const override {
    return Expected(use.queue, FromThen(use.last_use, reuse));
  }

  std::uint8_t Place(RunUse& use, std::uint32_t end) override {
    std::uint8_t queue = class_;
    if (number_ == kNoTurn) {
      queue = ClassOf(use.gap);
    } else if (end > turn_.hit_blocks) {
      use.gap = turn_.gap;
    } else {
      if (use.last_use != reused_.last_use || use.gap != reused_.gap) reused_ = Reuse(use);
      use.gap = reused_.pause;
      queue = reused_.queue;
    }
    use.last_use = now_;
    use.turn = number_;
    return queue;
  }

  RunId Choose(Tier, std::span<const Candidate> candidates) override {
    const Candidate* oldest = nullptr;
    const Candidate* least = nullptr;
    float least_worth = 0;
    for (const Candidate& each : candidates) {
      if (each.is_front && (oldest == nullptr || each.stamp < oldest->stamp)) oldest = &each;
      const float worth = WorthOf(each);
      if (least != nullptr && worth >= least_worth) continue;
      least = &each;
      least_worth = worth;
    }
    return least_worth < kClearlyLess * WorthOf(*oldest) ? least->run : oldest->run;
  }

 private:
  using Ended = TurnMemory::Ended;
  // What a run that was found is used again for: most runs of a turn were last used alike.
  struct Reused {
    std::uint32_t last_use;
    std::uint8_t gap;
    std::uint8_t pause;
    std::uint8_t queue;
  };

  Reused Reuse(const RunUse& use) const {
    const std::uint8_t pause = PauseOf(now_ - use.last_use);
    const std::uint8_t queue = ClassOf(Mean(pause, use.gap));
    return {use.last_use, use.gap, pause, static_cast<std::uint8_t>(queue + late_)};
  }

  static std::uint8_t PauseOf(std::uint32_t ms) { return std::max<std::uint8_t>(Octaves(ms), 1); }
  static std::uint8_t Mean(std::uint8_t pause, std::uint8_t before) {
    return before == 0 ? pause : static_cast<std::uint8_t>((pause + before) / 2);
  }

  // The turn that used a run last, if a prompt that found as much can be its continuation.
  TurnNumber TurnOf(RunId run, std::uint32_t hit_blocks) {
    const TurnNumber turn = uses_[run].turn;
    if (!turns_.Knows(turn)) return kNoTurn;
    return hit_blocks >= turns_.At(turn).blocks / 4 * 3 ? turn : kNoTurn;
  }

  // What is to be expected of a conversation that has just come back.
  std::uint8_t Return(Ended& before) {
    const std::uint8_t pause = PauseOf(now_ - before.time);
    if (before.waits) model_.Returns(before.turn_class, ReuseModel::AgeOf(now_ - before.time));
    before.waits = false;
    median_ += pause > std::lround(median_) ? kMedianStep : -kMedianStep;
    return Mean(pause, before.gap);
  }

  std::uint8_t ClassOf(std::uint8_t gap) const {
    if (gap == 0) return 0;
    if (gap <= median_ - kPerOctave / 2) return 1;
    return gap < median_ + kPerOctave / 2 ? 2 : 3;
  }

  // Of the classes of turns that return after more than twice the usual pause, or never.
  std::uint8_t LateOffset(std::uint32_t reuse) const {
    const bool is_late = reuse != kReuseUnknown && Octaves(reuse) > median_ + kPerOctave;
    return is_late ? kGapClasses : 0;
  }

  // The class, or queue, of what is told to be expected only after it was put into one.
  std::uint8_t Expected(std::uint8_t turn_class, std::uint32_t reuse) const {
    return static_cast<std::uint8_t>(turn_class % kGapClasses + LateOffset(reuse));
  }

  // What is told now, as it would have been told then.
  std::uint32_t FromThen(std::uint32_t then, std::uint32_t reuse) const {
    if (reuse == kReuseUnknown || reuse == kReuseNever) return reuse;
    const std::uint64_t pause = std::uint64_t{now_ - then} + reuse;
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(pause, kReuseNever - 1));
  }

  float WorthOf(const Candidate& candidate) const {
    const std::uint32_t age = ReuseModel::AgeOf(now_ - uses_[candidate.run].last_use);
    return model_.Index(candidate.queue, age);
  }

  // Turns that wait grow older: each passes every age once, the first as soon as it waits. Later
  // ages are looked at again once anyone can have come of one.
  void ComeOfAge() {
    Pass(0);
    if (now_ - looked_at_ < wait_ms_) return;
    looked_at_ = now_;
    wait_ms_ = kNone;
    for (std::uint32_t age = 1; age < ReuseModel::kAges; ++age) {
      const std::uint32_t waited_ms = Pass(age);
      const auto begin_ms = static_cast<std::uint32_t>(std::ceil(ReuseModel::Begin(age)));
      wait_ms_ = std::min(wait_ms_, begin_ms - waited_ms);
    }
  }

  // Returns for how long the next one to come of an age has waited.
  std::uint32_t Pass(std::uint32_t age) {
    TurnNumber& next = next_of_age_[age];
    // Beyond the newest only once the numbers have wrapped.
    const bool is_known = turns_.oldest() <= next && next <= turns_.newest() + 1;
    if (!is_known) next = turns_.oldest();
    for (; next <= turns_.newest(); ++next) {
      const Ended& ended = turns_.At(next);
      const std::uint32_t waited_ms = now_ - ended.time;
      if (waited_ms < ReuseModel::Begin(age)) return waited_ms;
      if (ended.waits) model_.Waits(ended.turn_class, age);
    }
    return 0;
  }

  static constexpr double kMedianStep = 0.25;  // of an eighth of an octave

  ReuseModel model_;
  TurnMemory turns_;
  std::array<TurnNumber, ReuseModel::kAges> next_of_age_{};
  std::uint32_t looked_at_ = 0;  // when, in milliseconds
  std::uint32_t wait_ms_ = 0;    // and for how long nothing can have changed then
  double median_ = 0;            // of all gaps, in the scale of Octaves
  Turn turn_;                    // the one that is given back now
  TurnNumber number_ = kNoTurn;
  Reused reused_{};
  std::uint8_t class_ = 0;
  std::uint8_t late_ = 0;  // the offset of its classes
};

}  // namespace

std::unique_ptr<EvictionPolicy> MakeAdaptive(const RunUse* uses, std::uint32_t blocks) {
  return std::make_unique<Adaptive>(uses, blocks);
}

std::uint64_t AdaptiveBytes(std::uint32_t blocks) {
  return TurnMemory::Bytes(MostTurns(blocks));
}

}  // namespace pagedkv
