#include "run_lists_paths.h"

namespace pagedkv {

void RunLists::Arrivals::Begin(RunId first) {
  Settle();
  const Run& run = lists_.runs_[first];
  queue_ = run.list;
  first_ = first;
  last_ = lists_.ListsOf(run).of[queue_].tail;
  if (lists_.turn_begins_) lists_.BeginTurnAt(first);
}

void RunLists::Arrivals::Settle() {
  if (queue_ == kNoList) return;
  Run& last = lists_.runs_[last_];
  last.next = kNone;
  Lists& lists = lists_.ListsOf(last);
  List& list = lists.of[queue_];
  if (list.tail == kNone) list.head = first_;
  list.tail = last_;
  FilledQueues(lists, queue_) |= BitOf(queue_);
  lists_.Count(lists, queue_, blocks_);
  queue_ = kNoList;
  blocks_ = 0;
}

void RunLists::Departures::Begin(RunId first) {
  Settle();
  const Run& run = lists_.runs_[first];
  at_ = &lists_.ListsOf(run);
  list_ = run.list;
  before_ = run.prev;
}

// Where one of them was the end of a turn, or chosen, all above it that could take its place have
// left too.
void RunLists::Departures::Settle() {
  if (list_ == kNoList) return;
  List& list = at_->of[list_];
  (before_ == kNone ? list.head : lists_.runs_[before_].next) = next_;
  (next_ == kNone ? list.tail : lists_.runs_[next_].prev) = before_;
  if (list.head == kNone && IsQueue(list_)) FilledQueues(*at_, list_) &= ~BitOf(list_);
  lists_.Count(*at_, list_, -blocks_);
  const auto has_left = [&](RunId id) { return id != kNone && lists_.runs_[id].list == kNoList; };
  for (RunId& recent : at_->recent) {
    if (has_left(recent)) recent = kNone;
  }
  for (RunId& chosen : at_->chosen) {
    if (has_left(chosen)) chosen = kNone;
  }
  list_ = kNoList;
  blocks_ = 0;
}

}  // namespace pagedkv
