// ARC (after Megiddo and Modha, 2003): what was used once waits in one queue, what was used again
// in another. Fingerprints of what either has lost lately tell which of the two should have been
// longer.
//
// The unit is a run, the fingerprint that of a run's first block; sizes are counted in blocks.
#include "eviction_policy.h"
#include "ghosts.h"

namespace pagedkv {
namespace {

constexpr std::uint8_t kOnce = 0;
constexpr std::uint8_t kAgain = 1;

std::uint32_t MostLost(std::uint32_t blocks) {
  return blocks / kRunBlocks;
}

class Arc final : public EvictionPolicy {
 public:
  Arc(const RunUse* uses, std::uint32_t blocks)
      : EvictionPolicy(uses, Memory::kTurnsAndDrops),
        blocks_(blocks),
        lost_once_(MostLost(blocks)),
        lost_again_(MostLost(blocks)) {}

  void Opened(Turn& turn, RunId, std::span<const std::uint32_t> missing) override {
    turn.known_blocks = turn.hit_blocks;
    for (std::size_t i = 0; i < missing.size(); ++i) {
      if (lost_once_.Take(missing[i])) {
        Favour(kOnce);
      } else if (lost_again_.Take(missing[i])) {
        Favour(kAgain);
      } else {
        continue;
      }
      // The fingerprint is that of a run's first block: the rest of the run was there too.
      turn.known_blocks = turn.hit_blocks + std::min(static_cast<std::uint32_t>(i) + kRunBlocks,
                                                     static_cast<std::uint32_t>(missing.size()));
    }
  }

  void BeginTurn(const Turn& turn, std::uint32_t, std::uint32_t, std::uint32_t) override {
    turn_ = turn;
  }
  void EndTurn() override { turn_ = {}; }

  std::uint8_t Place(RunUse& use, std::uint32_t end) override {
    if (use.gap == 0 && end > turn_.known_blocks) return kOnce;
    use.gap = 1;  // a run that was used again stays so
    return kAgain;
  }

  RunId Choose(Tier, std::span<const Candidate> candidates) override {
    const Candidate* fronts[2] = {};
    for (const Candidate& each : candidates) {
      if (!each.is_front) continue;
      const Candidate*& front = fronts[each.queue];
      if (front == nullptr || each.stamp < front->stamp) front = &each;
    }
    if (fronts[kAgain] == nullptr) return fronts[kOnce]->run;
    if (fronts[kOnce] == nullptr) return fronts[kAgain]->run;
    return fronts[fronts[kOnce]->blocks > once_target_ ? kOnce : kAgain]->run;
  }

  void Dropped(const RunUse& use, std::uint32_t fingerprint) override {
    (use.gap == 0 ? lost_once_ : lost_again_).Add(fingerprint);
  }

 private:
  void Favour(std::uint8_t queue) {
    const std::uint32_t once = std::max(lost_once_.size(), 1u);
    const std::uint32_t again = std::max(lost_again_.size(), 1u);
    if (queue == kOnce) {
      once_target_ = std::min(blocks_, once_target_ + kRunBlocks * std::max(1u, again / once));
      return;
    }
    const std::uint32_t less = kRunBlocks * std::max(1u, once / again);
    once_target_ -= std::min(once_target_, less);
  }

  const std::uint32_t blocks_;
  Ghosts lost_once_;
  Ghosts lost_again_;
  std::uint32_t once_target_ = 0;  // blocks that what was used once may fill
  Turn turn_;
};

}  // namespace

std::unique_ptr<EvictionPolicy> MakeArc(const RunUse* uses, std::uint32_t blocks) {
  return std::make_unique<Arc>(uses, blocks);
}

std::uint64_t ArcBytes(std::uint32_t blocks) {
  return 2 * Ghosts::Bytes(MostLost(blocks));
}

}  // namespace pagedkv
