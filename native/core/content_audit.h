// The oracle's view of what entries are told apart by: counts again who counts on keys, patterns
// and lists, and recomputes what the event log should know.
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
  // Taken out of the index by an open step, from below `above`.
  void SeeLifted(TokenSlot slot, RunId above);
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
  void CheckEvents() const;

  const Manager::State& s_;
  Counts lists_;
  Counts extras_;
  std::uint32_t slots_ = 0;
  std::uint32_t findable_ = 0;
};

}  // namespace pagedkv
