// The turns of lately: when each ended, and by which prefix it is known again when its conversation
// goes on, even if nothing of it is in memory any more. Bounded: the oldest are forgotten.
//
// A turn's number is given once. To know a turn again by its mark, a 32-bit fingerprint, costs
// O(1).
#pragma once

#include <bit>
#include <vector>

#include "sets_of_four.h"

namespace pagedkv {

using TurnNumber = std::uint32_t;
inline constexpr TurnNumber kNoTurn = 0;

class TurnMemory {
 public:
  struct Ended {
    std::uint32_t time = 0;    // milliseconds, which wrap
    std::uint32_t blocks = 0;  // of its whole path
    std::uint8_t gap = 0;      // how long its conversation pauses, as Turn has it
    std::uint8_t turn_class = 0;
    bool waits = false;  // it is expected to return, and has not yet
  };

  explicit TurnMemory(std::uint32_t turns)
      : turns_(std::bit_ceil(turns)), marks_(std::bit_ceil(turns) / 2) {}

  static std::uint64_t Bytes(std::uint32_t turns) {
    const std::uint32_t all = std::bit_ceil(turns);
    return std::uint64_t{all} * sizeof(Ended) + SetsOfFour<TurnNumber>::Bytes(all / 2);
  }

  TurnNumber newest() const { return newest_; }
  TurnNumber oldest() const {
    const auto most = static_cast<TurnNumber>(turns_.size());
    return newest_ < most ? 1 : newest_ - most + 1;
  }
  bool Knows(TurnNumber turn) const { return turn >= oldest() && turn <= newest_; }
  Ended& At(TurnNumber turn) { return turns_[turn & (turns_.size() - 1)]; }

  TurnNumber Add(const Ended& ended, std::uint32_t mark) {
    At(++newest_) = ended;
    marks_.OldestFor(mark) = {mark, newest_};
    return newest_;
  }

  // The newest turn with this mark, or kNoTurn.
  TurnNumber Find(std::uint32_t mark) const {
    TurnNumber found = kNoTurn;
    for (const auto& [fingerprint, turn] : marks_.SetOf(mark)) {
      if (fingerprint == mark && turn > found && Knows(turn)) found = turn;
    }
    return found;
  }

 private:
  std::vector<Ended> turns_;
  SetsOfFour<TurnNumber> marks_;
  TurnNumber newest_ = kNoTurn;
};

}  // namespace pagedkv
