// What is counted, and what of it is the state now.
#include "manager_state.h"

namespace pagedkv {

Stats Manager::State::GetStats() const {
  Stats result = stats;
  const BlockPool& pool = pools[0];
  result.device.total = pool.device_total();
  result.device.free = pool.device_free();
  result.device.cached = index.lists().CachedBlocks(Tier::kDevice);
  result.host.total = pool.host_total();
  result.host.free = pool.host_free();
  result.host.mirrors = pool.mirrors();
  result.host.cached = index.lists().CachedBlocks(Tier::kHost);
  for (const Transfer& transfer : transfers) {
    result.device.in_flight += transfer.device_sets.size() / groups;
    result.host.in_flight += transfer.host_sets.size() / groups;
  }
  for (const std::uint32_t slot : open_steps) {
    const Step& step = steps[slot];
    result.host.in_flight += (step.arrivals.size() + step.mirror_targets.size()) / groups;
    for (std::size_t i = 0; i < step.onboard_hosts.size(); i += groups) {
      // One that was computed meanwhile is deferred, and counted there.
      result.host.in_flight += pool.state(step.onboard_hosts[i]) != BlockState::kPrivate ? 1 : 0;
    }
    for (const Deferred& deferred : step.deferred) {
      if (deferred.group != 0) continue;
      (pool.IsHost(deferred.block) ? result.host : result.device).in_flight++;
    }
  }
  result.device.held =
      result.device.total - result.device.free - result.device.cached - result.device.in_flight;
  result.host.held = result.host.total - result.host.free - result.host.cached -
                     result.host.in_flight - result.host.mirrors;
  return result;
}

}  // namespace pagedkv
