#include "eviction_policy.h"

namespace pagedkv {
namespace {

// Least recently used: one queue, which is the list itself.
class LruPolicy final : public EvictionPolicy {
 public:
  std::uint8_t Place(RunUse&) override { return 0; }
  std::uint8_t Choose(Tier, std::uint8_t, const Candidate*) override { return 0; }
};

}  // namespace

std::unique_ptr<EvictionPolicy> MakePolicy(PolicyKind, std::uint32_t) {
  return std::make_unique<LruPolicy>();
}

}  // namespace pagedkv
