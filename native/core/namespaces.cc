// Namespaces: the roots of the index, and what clearing one leaves behind.
#include <algorithm>

#include "manager_state.h"

namespace pagedkv {

RunId Manager::State::FindRoot(std::string_view name) const {
  if (name.empty()) return default_root;
  const auto found = roots.find(name);
  return found == roots.end() ? kNone : found->second;
}

RunId Manager::State::MakeRoot(std::string_view name) {
  const RunId known = FindRoot(name);
  if (known != kNone) return known;
  if (!EnsureRuns(1)) return kNone;
  const auto place = roots.emplace(std::string(name), kNone).first;
  const RunId root = index.AddRoot();
  if (quotas.any()) index.lists().set_partition(root, quotas.Find(name));
  try {
    root_names.emplace(root, place->first);
  } catch (...) {
    roots.erase(place);
    index.RemoveRoot(root);
    throw;
  }
  place->second = root;
  if (name.empty()) default_root = root;
  return root;
}

void Manager::State::MaybeForgetRoot(RunId root) {
  const Run& run = index.run(root);
  if (run.parent != kNone || run.length > 0 || root == default_root || run.child != kNone ||
      index.IsHeld(root)) {
    return;
  }
  const auto named = root_names.find(root);
  if (!index.IsDetached(root)) roots.erase(named->second);
  root_names.erase(named);
  index.RemoveRoot(root);
}

RunId Manager::State::RootOf(RunId run) const {
  while (index.run(run).parent != kNone) run = index.run(run).parent;
  return run;
}

// Drops what nobody holds below `root`, and marks the rest so that it goes with its last holder.
void Manager::State::Detach(RunId root) {
  // All that can fail comes first. Parents stand before their children.
  std::vector<RunId> runs{root};
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const RunId at = runs[i];
    index.ForEachChild(at, [&](RunId child) { runs.push_back(child); });
  }
  for (std::size_t i = runs.size(); i-- > 0;) {
    if (index.IsHeld(runs[i])) {
      index.Detach(runs[i]);
    } else {
      DropLeaf(runs[i]);
    }
  }
}

// What open steps took out of the index stands in no run; after an abort it would stand on what is
// cleared.
void Manager::State::TellLiftedGone(RunId root) {
  if (!index.events().is_on()) return;
  for (const std::uint32_t slot : open_steps) {
    for (const EntryChange& change : steps[slot].changes) {
      if (change.lifted == kNone) continue;
      const std::uint32_t number = TokenSlots::NumberOf(change.lifted);
      if (index.events().IsKnown(number) && index.events().RootOf(number) == root)
        index.events().Removed(number);
    }
  }
}

void Manager::State::ClearRoot(RunId root) {
  if (!index.IsHeld(root)) {
    DropChildren(root);
    MaybeForgetRoot(root);
    return;
  }
  // Those who hold it keep their blocks, and what they compute from now on stays theirs: it stands
  // on what was cleared. Those who have nothing yet begin anew.
  TellLiftedGone(root);
  Detach(root);
  roots.erase(root_names.at(root));
  if (root == default_root) {
    default_root = kNone;
    MakeRoot("");
  }
  for (SequenceId id = 0; id < sequences.size(); ++id) {
    const Sequence& sequence = sequences[id];
    if (sequence.state == SequenceState::kClosed || sequence.planned > 0 || sequence.steps != 0)
      continue;
    if (RootOf(sequence.run) != root) continue;
    BeginAnew(id);
    if (!root_names.contains(root)) return;
  }
}

// A sequence that holds nothing of a cleared namespace belongs to the one that is open under its
// name now.
void Manager::State::BeginAnew(SequenceId id) {
  Sequence& sequence = sequences[id];
  if (!index.IsDetached(sequence.run)) return;
  if (sequence.blocks > 0) MoveHold(id, 0);  // the source of a match that it has no token of
  const RunId cleared = sequence.run;
  const RunId root = MakeRoot(root_names.at(cleared));
  if (root == kNone) return;
  index.Acquire(root, KindOf(sequence));
  sequence.run = root;
  ReleaseHold(cleared, KindOf(sequence));
}

void Manager::State::Clear(std::optional<std::string_view> name) {
  if (name) {
    const RunId root = FindRoot(*name);
    if (root != kNone) ClearRoot(root);
    return;
  }
  std::vector<RunId> all;
  for (const auto& [_, root] : roots) all.push_back(root);
  for (const RunId root : all) ClearRoot(root);
}

}  // namespace pagedkv
