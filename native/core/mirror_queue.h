// Blocks of the device that are to be copied to the host when there is room: a ring, in which the
// oldest give way where there are too many. It is a list of wishes: what a block is by the time
// its turn comes is for its reader to find out.
#pragma once

#include <bit>
#include <cassert>

#include "types.h"
#include "zeroed.h"

namespace pagedkv {

class MirrorQueue {
 public:
  // With room for none, it takes none.
  explicit MirrorQueue(std::uint32_t room)
      : mask_(room == 0 ? 0 : std::bit_ceil(room) - 1),
        is_on_(room > 0),
        blocks_(Zeroed<BlockId>(is_on_ ? std::size_t{mask_} + 1 : 0)) {}

  bool IsEmpty() const { return front_ == back_; }
  BlockId Front() const {
    assert(!IsEmpty());
    return blocks_[front_ & mask_];
  }
  void Pop() { front_++; }
  void Add(BlockId block) {
    if (!is_on_) return;
    if (back_ - front_ > mask_) front_++;
    blocks_[back_++ & mask_] = block;
  }

 private:
  const std::uint32_t mask_;
  const bool is_on_;
  ZeroedArray<BlockId> blocks_;
  std::uint64_t front_ = 0;
  std::uint64_t back_ = 0;
};

}  // namespace pagedkv
