// Copies on the host of what stays on the device: such a block leaves without being moved. They are
// made of what comes back from the host, and ahead of need, by the steps that follow its computing
// or its second use.
#include <algorithm>

#include "manager_state.h"

namespace pagedkv {

// A prompt has found what ends with `run`. O(runs without a mirror).
void Manager::State::QueueFound(RunId run) {
  if (config.host_write != HostWrite::kSecondUse) return;
  for (; index.run(run).parent != kNone; run = index.run(run).parent) {
    if (index.IsHost(run)) continue;
    if (pools[0].HasMirror(index.block(run, index.run(run).length - 1u, 0))) return;
    mirrors.Add(index.block(run, 0, 0));
  }
}

// The mirrors of an entry that leaves the device, for it to move into, if it has them and may.
bool Manager::State::ClaimMirrorSet(PartitionId owner, RunId run, std::uint32_t entry,
                                    BlockId* target) {
  if (quotas.ReachOf(Tier::kHost, owner) == Reach::kOwn) return false;
  for (std::uint32_t group = 0; group < groups; ++group) {
    if (!pools[group].HasMirror(index.block(run, entry, group))) return false;
  }
  for (std::uint32_t group = 0; group < groups; ++group) {
    target[group] = pools[group].TakeMirrorOf(index.block(run, entry, group), owner);
    pools[group].set_state(target[group], BlockState::kArriving);
  }
  return true;
}

// A host block that has what a device block has is needed no more.
void Manager::State::GiveOrMirror(std::uint32_t group, BlockId device, BlockId host) {
  if (config.has_mirrors() && pools[group].copy(device) == kNone) {
    pools[group].MakeMirror(device, host);
  } else {
    pools[group].Give(host);
  }
}

// A block stays on the device after all; whether the copy of it has come to an end well.
void Manager::State::KeepCopy(std::uint32_t group, BlockId device, bool ok) {
  BlockPool& pool = pools[group];
  const BlockId host = pool.copy(device);
  if (pool.IsMirrorOnLoan(host)) {
    pool.Return(host);
    return;
  }
  pool.set_copy(device, kNone);
  if (ok) {
    GiveOrMirror(group, device, host);
  } else {
    pool.Give(host);
  }
}

// --- Ahead of need ---

// Plans what is queued, as far as there is room. What is claimed for it comes after all that the
// step needs, and so is given back first.
void Manager::State::PlanMirrors(std::uint32_t slot) {
  for (; !mirrors.IsEmpty(); mirrors.Pop()) {
    const BlockId device = mirrors.Front();
    if (pools[0].state(device) != BlockState::kIndexed) continue;
    if (!PlanMirrorsOf(slot, pools[0].run(device))) return;
  }
}

// False: not all, for lack of room.
bool Manager::State::PlanMirrorsOf(std::uint32_t slot, RunId run) {
  if ((index.run(run).flags & (kRunHost | kRunLeaving | kRunDetached)) != 0) return true;
  for (std::uint32_t entry = 0; entry < index.Visible(run); ++entry) {
    bool has_copy = false;
    for (std::uint32_t group = 0; group < groups; ++group)
      has_copy = has_copy || pools[group].copy(index.block(run, entry, group)) != kNone;
    if (!has_copy && !PlanMirror(slot, run, entry)) return false;
  }
  return true;
}

bool Manager::State::PlanMirror(std::uint32_t slot, RunId run, std::uint32_t entry) {
  Step& step = steps[slot];
  const PartitionId owner = PartitionOf(run);
  if (quotas.ReachOf(Tier::kHost, owner) == Reach::kOwn) return false;
  const bool may_evict = config.host_mode == HostMode::kInclusive;
  const bool has_room =
      HasHostSet(false) || (may_evict && VictimFor(owner, Reach::kAll, Tier::kHost, slot) != kNone);
  BlockId target[kMaxGroups];
  std::uint8_t claimed = 0;
  if (!has_room || !ClaimTargetSet(slot, owner, target, claimed)) return false;
  step.offloads++;
  step.mirror_claims.push_back(claimed);
  for (std::uint32_t group = 0; group < groups; ++group) {
    const BlockId device = index.block(run, entry, group);
    step.mirror_sources.push_back(device);
    step.mirror_targets.push_back(target[group]);
    // Undone as soon as the entry goes, or changes.
    pools[group].set_copy(device, target[group]);
  }
  return true;
}

// Of a step that was not executed.
void Manager::State::UndoMirrors(std::uint32_t slot) {
  Step& step = steps[slot];
  for (std::size_t i = step.mirror_targets.size(); i-- > 0;) {
    const auto group = static_cast<std::uint32_t>(i % groups);
    const BlockId device = step.mirror_sources[i];
    const BlockId host = step.mirror_targets[i];
    if (pools[group].copy(device) == host) pools[group].set_copy(device, kNone);
    const bool is_claimed = (step.mirror_claims[i / groups] >> group & 1u) != 0;
    if (!is_claimed) pools[group].Return(host);
    if (group == 0) mirrors.Add(device);
  }
  step.ForgetMirrors();
}

// As the step's execution has ended.
void Manager::State::FinishMirrors(std::uint32_t slot, bool ok) {
  Step& step = steps[slot];
  for (std::size_t i = 0; i < step.mirror_targets.size(); ++i) {
    const auto group = static_cast<std::uint32_t>(i % groups);
    const BlockId device = step.mirror_sources[i];
    const BlockId host = step.mirror_targets[i];
    const bool is_there = pools[group].copy(device) == host;
    if (is_there) pools[group].set_copy(device, kNone);
    if (is_there && ok) {
      pools[group].MakeMirror(device, host);
      if (group == 0) stats.mirrored_blocks++;
    } else {
      pools[group].Give(host);
    }
  }
  step.ForgetMirrors();
}

}  // namespace pagedkv
