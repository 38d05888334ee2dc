#include "eviction_policy.h"

namespace pagedkv {
namespace {

// Least recently used: one queue, which is the list itself.
class Lru final : public EvictionPolicy {
 public:
  explicit Lru(const RunUse* uses) : EvictionPolicy(uses, Memory::kNothing) {}
  std::uint8_t Place(RunUse&, std::uint32_t) override { return 0; }
  RunId Choose(Tier, std::span<const Candidate> candidates) override {
    return std::min_element(
               candidates.begin(), candidates.end(),
               [](const Candidate& a, const Candidate& b) { return a.stamp < b.stamp; })
        ->run;
  }
};

}  // namespace

std::unique_ptr<EvictionPolicy> MakePolicy(PolicyKind kind, const RunUse* uses,
                                           std::uint32_t blocks) {
  switch (kind) {
    case PolicyKind::kArc:
      return MakeArc(uses, blocks);
    case PolicyKind::kAdaptive:
      return MakeAdaptive(uses, blocks);
    case PolicyKind::kLru:
      break;
  }
  return std::make_unique<Lru>(uses);
}

std::uint64_t PolicyBytes(PolicyKind kind, std::uint32_t blocks) {
  switch (kind) {
    case PolicyKind::kArc:
      return ArcBytes(blocks);
    case PolicyKind::kAdaptive:
      return AdaptiveBytes(blocks);
    case PolicyKind::kLru:
      break;
  }
  return 0;
}

}  // namespace pagedkv
