// Runs of one path that join or leave their lists together, from the end of the path up. Most of
// them stand one behind the other: what concerns a list is done once for all of these.
//
// No other change of the lists may come in between: Settle first.
#pragma once

#include "run_lists.h"

namespace pagedkv {

// They were used together, and join the ends of queues.
class RunLists::Arrivals {
 public:
  explicit Arrivals(RunLists& lists) : lists_(lists) {}
  ~Arrivals() { Settle(); }
  Arrivals(const Arrivals&) = delete;
  Arrivals& operator=(const Arrivals&) = delete;

  // Of a run in no list, with nothing hidden.
  void Join(RunId id, ListId queue) {
    Run& run = lists_.runs_[id];
    run.list = queue;
    if (queue != queue_) Begin(id);
    run.prev = last_;
    run.stamp = lists_.clock_ += kRunBlocks;
    if (last_ != kNone) lists_.runs_[last_].next = id;
    last_ = id;
    blocks_ += run.length;
  }
  void Settle();

 private:
  void Begin(RunId first);

  RunLists& lists_;
  ListId queue_ = kNoList;
  RunId first_ = kNone;
  RunId last_ = kNone;
  std::int32_t blocks_ = 0;
};

// They are used now, each of them and all above.
class RunLists::Departures {
 public:
  explicit Departures(RunLists& lists) : lists_(lists) {}
  ~Departures() { Settle(); }
  Departures(const Departures&) = delete;
  Departures& operator=(const Departures&) = delete;

  // Of a run that stands in the chain of a list.
  void Leave(RunId id) {
    Run& run = lists_.runs_[id];
    if (run.list != list_ || id != next_) Begin(id);
    blocks_ += run.length - run.hidden;
    next_ = run.next;
    run.prev = before_;  // a hint where it stood
    run.list = kNoList;
  }
  void Settle();

 private:
  void Begin(RunId first);

  RunLists& lists_;
  Lists* at_ = nullptr;
  ListId list_ = kNoList;
  RunId before_ = kNone;
  RunId next_ = kNone;
  std::int32_t blocks_ = 0;
};

}  // namespace pagedkv
