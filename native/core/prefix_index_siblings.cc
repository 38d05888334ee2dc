// The children of a run: a treap ordered by the content of their first block. Each but its root
// knows the one above, so that one is taken out without a search.
#include "prefix_index.h"

namespace pagedkv {

// Drawn from the token slot of the first entry, which a run keeps however it is split and merged.
std::uint32_t PrefixIndex::TreapPriority(RunId run) const {
  const std::uint64_t mixed = (SlotOf(run, 0) + secret_) * 0x9E3779B97F4A7C15ull;
  return static_cast<std::uint32_t>((mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9ull >> 32);
}

void PrefixIndex::SetLeft(RunId node, RunId below) {
  runs_[node].left = below;
  if (below != kNone) ups_[below] = node;
}

void PrefixIndex::SetRight(RunId node, RunId below) {
  runs_[node].right = below;
  if (below != kNone) ups_[below] = node;
}

void PrefixIndex::SplitTreap(RunId root, Content key, RunId& left, RunId& right) {
  if (root == kNone) {
    left = right = kNone;
  } else if (slots_.Compare(key, SlotOf(root, 0)) > 0) {
    left = root;
    RunId below;
    SplitTreap(runs_[root].right, key, below, right);
    SetRight(root, below);
  } else {
    right = root;
    RunId below;
    SplitTreap(runs_[root].left, key, left, below);
    SetLeft(root, below);
  }
}

RunId PrefixIndex::JoinTreaps(RunId left, RunId right) {
  if (left == kNone) return right;
  if (right == kNone) return left;
  if (TreapPriority(left) > TreapPriority(right)) {
    SetRight(left, JoinTreaps(runs_[left].right, right));
    return left;
  }
  SetLeft(right, JoinTreaps(left, runs_[right].left));
  return right;
}

RunId PrefixIndex::Insert(RunId root, RunId node) {
  if (root == kNone) return node;
  if (TreapPriority(node) > TreapPriority(root)) {
    RunId left;
    RunId right;
    SplitTreap(root, slots_.ContentOf(SlotOf(node, 0)), left, right);
    SetLeft(node, left);
    SetRight(node, right);
    return node;
  }
  if (slots_.Compare(slots_.ContentOf(SlotOf(node, 0)), SlotOf(root, 0)) < 0) {
    SetLeft(root, Insert(runs_[root].left, node));
  } else {
    SetRight(root, Insert(runs_[root].right, node));
  }
  return root;
}

void PrefixIndex::Replace(RunId old_child, RunId new_child) {
  SetLeft(new_child, runs_[old_child].left);
  SetRight(new_child, runs_[old_child].right);
  SetPlace(old_child, new_child);
}

void PrefixIndex::Remove(RunId child) {
  SetPlace(child, JoinTreaps(runs_[child].left, runs_[child].right));
}

// Whoever leads to `child` leads to `other` instead.
void PrefixIndex::SetPlace(RunId child, RunId other) {
  Run& parent = runs_[runs_[child].parent];
  if (parent.child == child) {
    parent.child = other;
    return;
  }
  const RunId up = ups_[child];
  runs_[up].left == child ? SetLeft(up, other) : SetRight(up, other);
}

bool PrefixIndex::KnowsPlace(RunId child) const {
  const Run& up = runs_[ups_[child]];
  return runs_[runs_[child].parent].child == child || up.left == child || up.right == child;
}

}  // namespace pagedkv
