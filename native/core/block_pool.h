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

enum class BlockState : std::uint32_t {
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
        records_(Zeroed<Record>(device_blocks + host_blocks)) {}

  static std::uint64_t BytesPerBlock() { return sizeof(Record); }

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
    assert(state(block) != BlockState::kFree);
    if (quotas_ != nullptr) quotas_->Gave(block);
    Tier& tier = IsHost(block) ? host_ : device_;
    Record& record = records_[block];
    record.link = tier.head;
    record.copy = 0;
    record.state = BlockState::kFree;
    tier.head = block;
    tier.free++;
  }

  BlockState state(BlockId block) const { return records_[block].state; }
  void set_state(BlockId block, BlockState state) { records_[block].state = state; }

  // Of an indexed or arriving block: the run of its entry.
  std::uint32_t run(BlockId block) const { return records_[block].link; }
  void set_run(BlockId block, std::uint32_t run) {
    records_[block].link = run;
    records_[block].state = BlockState::kIndexed;
  }

  // The block of the other tier that a planned or running copy pairs this one with, or kNone.
  BlockId copy(BlockId block) const {
    const std::uint32_t copy = records_[block].copy;
    return copy - 1;
  }
  void set_copy(BlockId block, BlockId other) { records_[block].copy = (other + 1) & kMostCopy; }

  // The block's state is about to be asked for, or changed.
  void Prefetch(BlockId block) const { __builtin_prefetch(&records_[block], 1); }

  // Calls `visit` with each free block of both tiers, in the order in which they will be handed
  // out.
  template <typename Visit>
  void ForEachFree(Visit visit) const {
    for (const Tier* tier : {&device_, &host_}) {
      for (BlockId block = tier->head; block != kNone; block = records_[block].link) visit(block);
      for (BlockId block = tier->fresh; block != tier->end; ++block) visit(block);
    }
  }

 private:
  static constexpr std::uint32_t kMostCopy = (1u << 29) - 1;
  struct Record {
    std::uint32_t link;       // free: the next free block; indexed: the run
    std::uint32_t copy : 29;  // one more than the id, so that zeroed memory says kNone
    BlockState state : 3;
  };
  static_assert(sizeof(Record) == 8 && 2 * kMaxBlocksPerPool < kMostCopy);

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
      tier.head = records_[block].link;
      if (tier.head != kNone) Prefetch(tier.head);  // for the next one
    }
    set_state(block, BlockState::kPrivate);
    if (quotas_ != nullptr) quotas_->Took(block, owner);
    return block;
  }

  Tier device_;
  Tier host_;
  Quotas* quotas_ = nullptr;  // of the first group, where there are any
  ZeroedArray<Record> records_;
};

}  // namespace pagedkv
