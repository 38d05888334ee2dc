// The children of a run: a treap ordered by the content of their first block.
#include "prefix_index.h"

namespace pagedkv {

// Drawn from the token slot of the first entry, which a run keeps however it is split and merged.
std::uint32_t PrefixIndex::TreapPriority(RunId run) const {
  const std::uint64_t mixed = (SlotOf(run, 0) + secret_) * 0x9E3779B97F4A7C15ull;
  return static_cast<std::uint32_t>((mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9ull >> 32);
}

void PrefixIndex::SplitTreap(RunId root, Content key, RunId& left, RunId& right) {
  if (root == kNone) {
    left = right = kNone;
  } else if (slots_.Compare(key, SlotOf(root, 0)) > 0) {
    left = root;
    SplitTreap(runs_[root].right, key, runs_[root].right, right);
  } else {
    right = root;
    SplitTreap(runs_[root].left, key, left, runs_[root].left);
  }
}

RunId PrefixIndex::JoinTreaps(RunId left, RunId right) {
  if (left == kNone) return right;
  if (right == kNone) return left;
  if (TreapPriority(left) > TreapPriority(right)) {
    runs_[left].right = JoinTreaps(runs_[left].right, right);
    return left;
  }
  runs_[right].left = JoinTreaps(left, runs_[right].left);
  return right;
}

RunId PrefixIndex::Insert(RunId root, RunId node) {
  if (root == kNone) return node;
  if (TreapPriority(node) > TreapPriority(root)) {
    RunId left;
    RunId right;
    SplitTreap(root, slots_.ContentOf(SlotOf(node, 0)), left, right);
    runs_[node].left = left;
    runs_[node].right = right;
    return node;
  }
  const int order = slots_.Compare(slots_.ContentOf(SlotOf(node, 0)), SlotOf(root, 0));
  RunId& side = order < 0 ? runs_[root].left : runs_[root].right;
  side = Insert(side, node);
  return root;
}

RunId* PrefixIndex::TreapLink(RunId parent, RunId child) {
  RunId* link = &runs_[parent].child;
  if (*link == child) return link;
  const Content key = slots_.ContentOf(SlotOf(child, 0));
  while (*link != child) {
    assert(*link != kNone);
    Run& node = runs_[*link];
    link = slots_.Compare(key, SlotOf(*link, 0)) < 0 ? &node.left : &node.right;
  }
  return link;
}

void PrefixIndex::Replace(RunId parent, RunId old_child, RunId new_child) {
  Run& run = runs_[new_child];
  run.left = runs_[old_child].left;
  run.right = runs_[old_child].right;
  *TreapLink(parent, old_child) = new_child;
}

}  // namespace pagedkv
