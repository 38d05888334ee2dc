// When what nobody holds stops being worth keeping: a heap of runs by the time at which they do.
//
// Invariant: places_[run] is one more than the run's index in the heap, or 0 where it is in none;
// no run's time is before that of the run above it. The memory costs nothing until it is used.
#pragma once

#include "run.h"
#include "zeroed.h"

namespace pagedkv {

using Milliseconds = std::uint64_t;

class Expiry {
 public:
  explicit Expiry(std::uint32_t runs)
      : lives_(Zeroed<std::uint32_t>(runs)),
        times_(Zeroed<Milliseconds>(runs)),
        heap_(Zeroed<RunId>(runs)),
        places_(Zeroed<std::uint32_t>(runs)) {}

  static std::uint64_t BytesPerRun() {
    return 2 * sizeof(std::uint32_t) + sizeof(RunId) + sizeof(Milliseconds);
  }

  // How long a run lives after its last use; 0: for ever.
  std::uint32_t life(RunId run) const { return lives_[run]; }
  void set_life(RunId run, std::uint32_t life) { lives_[run] = life; }
  Milliseconds time(RunId run) const { return times_[run]; }
  void set_time(RunId run, Milliseconds time) { times_[run] = time; }

  bool Contains(RunId run) const { return places_[run] != 0; }

  // By the time that was set. O(log runs), both.
  void Add(RunId run) {
    Put(size_++, run);
    Raise(size_ - 1);
  }
  void Remove(RunId run) {
    const std::uint32_t at = places_[run] - 1;
    places_[run] = 0;
    const RunId last = heap_[--size_];
    if (last == run) return;
    Put(at, last);
    Raise(at);
    Sink(places_[last] - 1);
  }

  // The run whose time is over, or kNone. O(1).
  RunId Due(Milliseconds now) const {
    return size_ > 0 && times_[heap_[0]] <= now ? heap_[0] : kNone;
  }

 private:
  void Put(std::uint32_t at, RunId run) {
    heap_[at] = run;
    places_[run] = at + 1;
  }

  void Raise(std::uint32_t at) {
    const RunId run = heap_[at];
    while (at > 0 && times_[heap_[(at - 1) / 2]] > times_[run]) {
      Put(at, heap_[(at - 1) / 2]);
      at = (at - 1) / 2;
    }
    Put(at, run);
  }

  void Sink(std::uint32_t at) {
    const RunId run = heap_[at];
    for (std::uint32_t child = 2 * at + 1; child < size_; child = 2 * at + 1) {
      if (child + 1 < size_ && times_[heap_[child + 1]] < times_[heap_[child]]) child++;
      if (times_[heap_[child]] >= times_[run]) break;
      Put(at, heap_[child]);
      at = child;
    }
    Put(at, run);
  }

  ZeroedArray<std::uint32_t> lives_;
  ZeroedArray<Milliseconds> times_;
  ZeroedArray<RunId> heap_;
  ZeroedArray<std::uint32_t> places_;
  std::uint32_t size_ = 0;
};

}  // namespace pagedkv
