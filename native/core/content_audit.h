// The oracle's view of what entries are told apart by: counts again who counts on keys, patterns
// and lists.
#pragma once

#include <map>
#include <vector>

#include "manager_state.h"

namespace pagedkv {

class ContentAudit {
 public:
  explicit ContentAudit(const Manager::State& state) : s_(state) {}

  void SeeList(KeyListId list) {
    if (list != kNone) lists_[list]++;
  }
  void SeeEntry(RunId run, std::uint32_t entry);
  void SeeLifted(TokenSlot slot);
  // Requires that everything was seen.
  void Check() const;

  // Whether one block stands before another among siblings, told offset by offset.
  bool Precedes(Content a, Content b) const;
  std::uint64_t DigestOf(Extra extra) const;
  std::uint64_t DigestOfList(KeyListId list) const;

  std::uint32_t slots() const { return slots_; }

 private:
  using Counts = std::map<std::uint32_t, std::uint32_t>;

  void CheckLists(Counts& extras) const;
  void CheckPatterns(const Counts& extras, Counts& keys) const;

  const Manager::State& s_;
  Counts lists_;
  Counts extras_;
  std::uint32_t slots_ = 0;
};

}  // namespace pagedkv
