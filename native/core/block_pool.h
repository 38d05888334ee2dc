// The blocks of one cache group, on the device and on the host: which are free, and what each other
// one is for. Handing one out and taking it back cost O(1); the memory is allocated once.
//
// An indexed device block may have a *mirror*: a host block with the same content. A mirror is as
// good as free: whoever takes the last free block takes the oldest mirror instead.
//
// Invariants: a block is on its tier's free list exactly when its state is kFree. A host block is a
// mirror exactly when its state is kMirror; then it and its device block name each other as copies.
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
  kMirror,     // a host block that has what a device block has, and that nobody else counts on
};

class BlockPool {
 public:
  BlockPool(std::uint32_t device_blocks, std::uint32_t host_blocks, bool has_mirrors)
      : device_{kNone, 0, 0, device_blocks, device_blocks},
        host_{kNone, device_blocks, device_blocks, device_blocks + host_blocks, host_blocks},
        records_(Zeroed<Record>(device_blocks + host_blocks)),
        links_(Zeroed<Links>(has_mirrors ? host_blocks : 0)) {}

  static std::uint64_t BytesPerBlock() { return sizeof(Record); }
  static std::uint64_t BytesPerMirror() { return sizeof(Links); }

  bool IsHost(BlockId block) const { return block >= device_.end; }
  std::uint32_t HostNumber(BlockId block) const { return block - device_.end; }
  std::uint32_t device_total() const { return device_.end; }
  std::uint32_t host_total() const { return host_.end - device_.end; }
  std::uint32_t device_free() const { return device_.free; }
  std::uint32_t host_free() const { return host_.free; }
  std::uint32_t mirrors() const { return mirrors_; }
  // What can be taken of the host at once.
  std::uint32_t host_room() const { return host_.free + mirrors_; }

  // From now on, counts whose blocks are taken and given back; null: no more.
  void CountIn(Quotas* quotas) { quotas_ = quotas; }

  // Returns a private block; requires that one is free. Last in, first out: a warm block comes
  // first.
  BlockId TakeDevice(PartitionId owner) { return Take(device_, owner); }
  // The oldest mirror where none is free: requires room.
  BlockId TakeHost(PartitionId owner) {
    return host_.free > 0 ? Take(host_, owner) : TakeMirror(oldest_, owner);
  }

  void Give(BlockId block) {
    if (block == kNone) return;  // an entry has none in this group any more
    assert(state(block) != BlockState::kFree && state(block) != BlockState::kMirror);
    Unpair(block);
    if (quotas_ != nullptr) quotas_->Gave(block);
    Free(block);
  }
  // As Give, of a host block that nothing was written to since it was taken: a mirror is one again,
  // unless its device block has changed meanwhile.
  void Return(BlockId host) {
    if (!IsMirrorOnLoan(host)) return Give(host);
    if (quotas_ != nullptr) quotas_->Gave(host);
    set_state(host, BlockState::kMirror);
    Link(host, kNone, oldest_);
  }

  BlockState state(BlockId block) const { return records_[block].state; }
  void set_state(BlockId block, BlockState state) {
    if (block != kNone) records_[block].state = state;
  }

  // Of an indexed or arriving block: the run of its entry.
  std::uint32_t run(BlockId block) const { return records_[block].link; }
  void set_run(BlockId block, std::uint32_t run) {
    if (block == kNone) return;
    if (state(block) == BlockState::kArriving) Unpair(block);
    records_[block].link = run;
    records_[block].state = BlockState::kIndexed;
  }

  // The block of the other tier that a planned or running copy pairs this one with, or kNone.
  BlockId copy(BlockId block) const {
    const std::uint32_t copy = records_[block].copy;
    return copy - 1;
  }
  void set_copy(BlockId block, BlockId other) { records_[block].copy = (other + 1) & kMostCopy; }

  // --- Mirrors ---

  bool HasMirror(BlockId device) const {
    const BlockId host = copy(device);
    return host != kNone && state(host) == BlockState::kMirror;
  }
  // A host block that was taken has what a device block without a copy has. From now on nobody owns
  // it.
  void MakeMirror(BlockId device, BlockId host) {
    Unpair(host);
    assert(copy(device) == kNone);
    if (quotas_ != nullptr) quotas_->Gave(host);
    set_copy(device, host);
    set_copy(host, device);
    set_state(host, BlockState::kMirror);
    Link(host, newest_, kNone);
  }
  // The mirror of a block, to take its place on the host.
  BlockId TakeMirrorOf(BlockId device, PartitionId owner) {
    return TakeMirror(copy(device), owner);
  }
  // Whether a host block was taken as a mirror, and still has what its device block has.
  bool IsMirrorOnLoan(BlockId host) const {
    const BlockId device = copy(host);
    return device != kNone && !IsHost(device) && copy(device) == host &&
           state(host) != BlockState::kMirror;
  }
  // A device block is about to be written, or given away; or a host block that was taken is.
  void Unpair(BlockId block) {
    if (block == kNone) return;
    const BlockId other = copy(block);
    if (other == kNone) return;
    set_copy(block, kNone);
    if (copy(other) != block) return;
    set_copy(other, kNone);
    if (state(other) != BlockState::kMirror) return;
    Unlink(other);
    Free(other);
  }
  // Calls `visit` with each mirror, the oldest first.
  template <typename Visit>
  void ForEachMirror(Visit visit) const {
    for (BlockId host = oldest_; host != kNone; host = LinksOf(host).next) visit(host);
  }

  // The block's state is about to be asked for, or changed.
  void Prefetch(BlockId block) const {
    if (block != kNone) __builtin_prefetch(&records_[block], 1);
  }

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

  // Of mirrors, from the oldest to the newest.
  struct Links {
    BlockId previous;
    BlockId next;
  };
  Links& LinksOf(BlockId host) { return links_[HostNumber(host)]; }
  const Links& LinksOf(BlockId host) const { return links_[HostNumber(host)]; }
  void Link(BlockId host, BlockId previous, BlockId next) {
    LinksOf(host) = {previous, next};
    (previous == kNone ? oldest_ : LinksOf(previous).next) = host;
    (next == kNone ? newest_ : LinksOf(next).previous) = host;
    mirrors_++;
  }
  void Unlink(BlockId host) {
    const auto [previous, next] = LinksOf(host);
    (previous == kNone ? oldest_ : LinksOf(previous).next) = next;
    (next == kNone ? newest_ : LinksOf(next).previous) = previous;
    mirrors_--;
  }
  BlockId TakeMirror(BlockId host, PartitionId owner) {
    Unlink(host);
    set_state(host, BlockState::kPrivate);
    if (quotas_ != nullptr) quotas_->Took(host, owner);
    return host;
  }

  void Free(BlockId block) {
    Tier& tier = IsHost(block) ? host_ : device_;
    Record& record = records_[block];
    record.link = tier.head;
    record.copy = 0;
    record.state = BlockState::kFree;
    tier.head = block;
    tier.free++;
  }

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
  ZeroedArray<Links> links_;  // by host number
  BlockId oldest_ = kNone;
  BlockId newest_ = kNone;
  std::uint32_t mirrors_ = 0;
};

}  // namespace pagedkv
