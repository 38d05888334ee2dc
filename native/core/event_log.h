// What those who follow the index from outside have not been told yet.
//
// It keeps no list of what happened, which would grow for as long as nobody asks, but two sets:
// what is in the index and was not told, and what was told and is gone. What came and went between
// two questions is in neither. So its memory is bounded by the index, it never has to drop
// anything, and telling all that is there anew costs nothing to prepare.
//
// An entry is named by its token slot, which stays the same wherever its blocks are, and which no
// other has before it is gone.
//
// Invariant: the list holds each entry that a prompt could find, in the order in which they came,
// so that a parent stands before its children; those before `first_untold_` were told.
#pragma once

#include <cassert>
#include <vector>

#include "run.h"
#include "types.h"
#include "zeroed.h"

namespace pagedkv {

// A record of an event begins with its kind.
enum class EventKind : std::uint32_t {
  kReset = 0,    // alone: forget what was told before
  kRemoved = 1,  // the entry's id
  // The entry's id, its parent's or kNone, its namespace, how many keys, its tokens, and for each
  // key its first offset in the block, the one after its last, and its id.
  kStored = 2,
};
inline constexpr std::uint32_t kStoredWords = 5;  // before the tokens
inline constexpr std::uint32_t kStoredKeyWords = 3;

class EventLog {
 public:
  // Keeps nothing, at no cost, where `slots` is 0.
  explicit EventLog(std::uint32_t slots) : records_(Zeroed<Record>(slots)), is_on_(slots > 0) {
    gone_.reserve(slots);
  }
  static std::uint64_t BytesPerSlot() { return sizeof(Record) + sizeof(std::uint32_t); }

  bool is_on() const { return is_on_; }

  // An entry may be found from now on: below that of `parent`, or, where this is kNone, of `root`.
  // One that is known as such already stays where it is.
  void Stored(std::uint32_t slot, std::uint32_t parent, RunId root) {
    if (!is_on_ || records_[slot].state != State::kAbsent) return;
    Record& record = records_[slot];
    record = {parent, parent == kNone ? root : records_[parent].root, last_, kNone, State::kUntold};
    (last_ == kNone ? first_ : records_[last_].next) = slot;
    last_ = slot;
    if (first_untold_ == kNone) first_untold_ = slot;
  }

  // Nobody finds it any more. One that is known as such already stays so.
  void Removed(std::uint32_t slot) {
    if (!is_on_ || records_[slot].state == State::kAbsent) return;
    Record& record = records_[slot];
    if (record.state == State::kTold) gone_.push_back(slot);
    if (first_untold_ == slot) first_untold_ = record.next;
    (record.previous == kNone ? first_ : records_[record.previous].next) = record.next;
    (record.next == kNone ? last_ : records_[record.next].previous) = record.previous;
    record.state = State::kAbsent;
  }

  // Begins anew: as if nothing had been told. O(entries told).
  void ForgetTold() {
    for (std::uint32_t slot = first_; slot != first_untold_; slot = records_[slot].next) {
      records_[slot].state = State::kUntold;
    }
    first_untold_ = first_;
    gone_.clear();
    next_gone_ = 0;
  }

  // Tells what is gone, in the order in which it went, before what has come, in which ids may be
  // used again. kNone when there is no more.
  std::uint32_t NextGone() const { return next_gone_ < gone_.size() ? gone_[next_gone_] : kNone; }
  void TellGone() {
    if (++next_gone_ < gone_.size()) return;
    gone_.clear();
    next_gone_ = 0;
  }
  std::uint32_t NextStored() const { return first_untold_; }
  void TellStored() {
    records_[first_untold_].state = State::kTold;
    first_untold_ = records_[first_untold_].next;
  }

  bool IsKnown(std::uint32_t slot) const { return records_[slot].state != State::kAbsent; }
  std::uint32_t ParentOf(std::uint32_t slot) const { return records_[slot].parent; }
  RunId RootOf(std::uint32_t slot) const { return records_[slot].root; }
  std::uint32_t First() const { return first_; }
  std::uint32_t NextOf(std::uint32_t slot) const { return records_[slot].next; }

 private:
  enum class State : std::uint8_t { kAbsent = 0, kUntold, kTold };

  struct Record {
    std::uint32_t parent;
    RunId root;
    std::uint32_t previous;
    std::uint32_t next;
    State state;
  };

  ZeroedArray<Record> records_;
  bool is_on_;
  std::uint32_t first_ = kNone;
  std::uint32_t last_ = kNone;
  std::uint32_t first_untold_ = kNone;
  std::vector<std::uint32_t> gone_;
  std::size_t next_gone_ = 0;
};

}  // namespace pagedkv
