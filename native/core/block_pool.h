// The blocks of one cache group, on the device and on the host: which are free, and what each other
// one is for. Handing one out and taking it back cost O(1); the memory is allocated once.
//
// Invariant: a block is on its tier's free list exactly when its state is kFree.
#pragma once

#include <cassert>
#include <memory>

#include "quotas.h"
#include "types.h"
#include "zeroed.h"

namespace pagedkv {

enum class BlockState : std::uint8_t {
  kFree = 0,
  kPrivate,    // of a tail, of an open step, or on its way out of one
  kIndexed,    // of an entry of the prefix index
  kArriving,   // a host block that a copy is written to
  kForgotten,  // a host block that a copy is written to, and whose entry is gone: freed when the
               // copy ends
};

class BlockPool {
 public:
  BlockPool(std::uint32_t device_blocks, std::uint32_t host_blocks)
      : device_{kNone, 0, 0, device_blocks, device_blocks},
        host_{kNone, device_blocks, device_blocks, device_blocks + host_blocks, host_blocks},
        links_(Zeroed<std::uint32_t>(device_blocks + host_blocks)),
        copies_(Zeroed<std::uint32_t>(device_blocks + host_blocks)),
        states_(Zeroed<BlockState>(device_blocks + host_blocks)) {}

  static std::uint64_t BytesPerBlock() { return 2 * sizeof(std::uint32_t) + sizeof(BlockState); }

  bool IsHost(BlockId block) const { return block >= device_.end; }
  std::uint32_t HostNumber(BlockId block) const { return block - device_.end; }
  std::uint32_t device_total() const { return device_.end; }
  std::uint32_t host_total() const { return host_.end - device_.end; }
  std::uint32_t device_free() const { return device_.free; }
  std::uint32_t host_free() const { return host_.free; }

  // From now on, counts whose blocks are taken and given back; null: no more.
  void CountIn(Quotas* quotas) { quotas_ = quotas; }

  // Returns a private block; requires that one is free. Last in, first out: a warm block comes
  // first.
  BlockId TakeDevice(PartitionId owner) { return Take(device_, owner); }
  BlockId TakeHost(PartitionId owner) { return Take(host_, owner); }

  void Give(BlockId block) {
    assert(states_[block] != BlockState::kFree);
    if (quotas_ != nullptr) quotas_->Gave(block);
    Tier& tier = IsHost(block) ? host_ : device_;
    states_[block] = BlockState::kFree;
    copies_[block] = 0;
    links_[block] = tier.head;
    tier.head = block;
    tier.free++;
  }

  BlockState state(BlockId block) const { return states_[block]; }
  void set_state(BlockId block, BlockState state) { states_[block] = state; }

  // Of an indexed or arriving block: the run of its entry.
  std::uint32_t run(BlockId block) const { return links_[block]; }
  void set_run(BlockId block, std::uint32_t run) {
    links_[block] = run;
    states_[block] = BlockState::kIndexed;
  }

  // The block of the other tier that a planned or running copy pairs this one with, or kNone.
  BlockId copy(BlockId block) const { return copies_[block] - 1; }
  void set_copy(BlockId block, BlockId other) { copies_[block] = other + 1; }

  // Calls `visit` with each free block of both tiers, in the order in which they will be handed
  // out.
  template <typename Visit>
  void ForEachFree(Visit visit) const {
    for (const Tier* tier : {&device_, &host_}) {
      for (BlockId block = tier->head; block != kNone; block = links_[block]) visit(block);
      for (BlockId block = tier->fresh; block != tier->end; ++block) visit(block);
    }
  }

 private:
  struct Tier {
    BlockId head;   // of the list of blocks given back
    BlockId fresh;  // from here on, no block was ever handed out
    BlockId begin;
    BlockId end;
    std::uint32_t free;
  };

  BlockId Take(Tier& tier, PartitionId owner) {
    assert(tier.free > 0);
    tier.free--;
    BlockId block = tier.head;
    if (block == kNone) {
      block = tier.fresh++;
    } else {
      tier.head = links_[block];
      if (tier.head != kNone) __builtin_prefetch(&links_[tier.head]);  // for the next one
    }
    states_[block] = BlockState::kPrivate;
    if (quotas_ != nullptr) quotas_->Took(block, owner);
    return block;
  }

  Tier device_;
  Tier host_;
  Quotas* quotas_ = nullptr;           // of the first group, where there are any
  ZeroedArray<std::uint32_t> links_;   // free: the next free block; indexed: the run
  ZeroedArray<std::uint32_t> copies_;  // one more than the id, so that zeroed memory says kNone
  ZeroedArray<BlockState> states_;
};

}  // namespace pagedkv
