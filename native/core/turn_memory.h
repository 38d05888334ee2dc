// The turns of lately: when each ended, and by which prefix it is known again when its conversation
// goes on, even if nothing of it is in memory any more. Bounded: the oldest are forgotten.
//
// A turn's number is given once. Marks are 32-bit fingerprints in sets of four, the oldest of which
// gives way: to know a turn again costs O(1).
#pragma once

#include <array>
#include <bit>
#include <vector>

#include "types.h"

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
      : turns_(std::bit_ceil(turns)), marks_(turns_.size() / 2) {}

  TurnNumber newest() const { return newest_; }
  TurnNumber oldest() const {
    const auto most = static_cast<TurnNumber>(turns_.size());
    return newest_ < most ? 1 : newest_ - most + 1;
  }
  bool Knows(TurnNumber turn) const { return turn >= oldest() && turn <= newest_; }
  Ended& At(TurnNumber turn) { return turns_[turn & (turns_.size() - 1)]; }

  TurnNumber Add(const Ended& ended, std::uint32_t mark) {
    At(++newest_) = ended;
    std::array<Mark, 4>& set = SetOf(mark);
    Mark* place = &set[0];
    for (Mark& each : set) {
      if (each.turn < place->turn) place = &each;
    }
    *place = {mark, newest_};
    return newest_;
  }

  // The newest turn with this mark, or kNoTurn.
  TurnNumber Find(std::uint32_t mark) const {
    TurnNumber found = kNoTurn;
    for (const Mark& each : SetOf(mark)) {
      if (each.mark == mark && each.turn > found && Knows(each.turn)) found = each.turn;
    }
    return found;
  }

 private:
  struct Mark {
    std::uint32_t mark = 0;
    TurnNumber turn = kNoTurn;
  };

  std::array<Mark, 4>& SetOf(std::uint32_t mark) { return marks_[mark & (marks_.size() - 1)]; }
  const std::array<Mark, 4>& SetOf(std::uint32_t mark) const {
    return marks_[mark & (marks_.size() - 1)];
  }

  std::vector<Ended> turns_;
  std::vector<std::array<Mark, 4>> marks_;
  TurnNumber newest_ = kNoTurn;
};

}  // namespace pagedkv
