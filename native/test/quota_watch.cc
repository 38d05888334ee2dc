#include "quota_watch.h"

#include <algorithm>

#include "test.h"

namespace pagedkv::test {
namespace {

std::uint32_t Staying(const TierUsage& usage) {
  return usage.used - usage.leaving;
}

void CheckTier(const TierQuota& quota, const TierUsage& before, const TierUsage& now,
               bool is_acting) {
  // One that was set below what there was is not passed any further.
  CHECK(now.used <= std::max(quota.max, before.used));
  CHECK(now.cached + now.leaving <= now.used);
  const bool loses = now.cached < before.cached && Staying(now) < Staying(before);
  CHECK(is_acting || !loses || Staying(now) >= quota.min);
}

}  // namespace

void QuotaWatch::Set(std::string_view name_space, const Quota& quota) {
  quotas_.erase(std::string(name_space));
  if (quota != Quota{}) quotas_.emplace(name_space, quota);
}

void QuotaWatch::Check(const Manager& manager, const std::optional<std::set<std::string>>& acting) {
  std::map<std::string, Usage, std::less<>> usages;
  for (const auto& [name, quota] : quotas_) {
    const Usage now = manager.GetUsage(name);
    usages.emplace(name, now);
    const auto before = before_.find(name);
    if (before == before_.end()) continue;  // its quota has just come
    const bool is_acting = !acting || acting->contains(name);
    CheckTier(quota.device, before->second.device, now.device, is_acting);
    // What stood on the host below a device block that went has gone with it.
    const bool lost_prefix = now.device.used < before->second.device.used;
    CheckTier(quota.host, before->second.host, now.host, is_acting || lost_prefix);
  }
  before_ = std::move(usages);
}

}  // namespace pagedkv::test
