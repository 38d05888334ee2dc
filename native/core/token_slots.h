// What the entries of the prefix index are told apart by: a block's tokens, and the extra keys that
// they stand under. Each stands in a token slot, which an entry has for as long as it lives, in
// whatever tier and run.
//
// Blocks are ordered as words of pairs, a token and its key at each offset, so that those that
// agree longest with a block are its neighbours.
//
// Invariant: the highest bit of a slot says whether its block has an extra: of one without, none is
// read.
#pragma once

#include <cassert>
#include <cstring>

#include "extra_keys.h"
#include "types.h"
#include "zeroed.h"

namespace pagedkv {

using TokenSlot = std::uint32_t;

// Of one block: as many tokens as a block has.
struct Content {
  const Token* tokens = nullptr;
  Extra extra = kNoExtra;
};

class TokenSlots {
 public:
  // How a block, of which the first `limit` offsets are known, stands to another: they agree on
  // `common` offsets, and if these are not all, it comes after the other or before.
  struct Order {
    std::uint32_t common = 0;
    bool is_after = false;
  };

  TokenSlots(std::uint32_t block_size, std::uint32_t slots, ExtraKeys& keys)
      : block_size_(block_size),
        capacity_(slots),
        keys_(keys),
        tokens_(Zeroed<Token>(std::size_t{slots} * block_size)),
        extras_(Zeroed<Extra>(slots)),
        freed_(Zeroed<std::uint32_t>(slots)),
        free_count_(slots) {}

  static std::uint64_t BytesPerSlot(std::uint32_t block_size) {
    return block_size * sizeof(Token) + sizeof(Extra) + sizeof(std::uint32_t);
  }

  std::uint32_t capacity() const { return capacity_; }
  std::uint32_t free_count() const { return free_count_; }

  // Counts on the extra. Requires that a slot is free.
  TokenSlot Add(Content content);
  void Remove(TokenSlot slot);

  // From 0 to capacity - 1.
  static std::uint32_t NumberOf(TokenSlot slot) { return slot & ~kHasExtra; }
  const Token* TokensOf(TokenSlot slot) const {
    return &tokens_[std::size_t{NumberOf(slot)} * block_size_];
  }
  Extra ExtraOf(TokenSlot slot) const {
    return (slot & kHasExtra) == 0 ? kNoExtra : extras_[NumberOf(slot)];
  }
  Content ContentOf(TokenSlot slot) const { return {TokensOf(slot), ExtraOf(slot)}; }
  // By its number alone.
  Content ContentOfNumber(std::uint32_t number) const {
    return {TokensOf(number), extras_[number]};
  }

  bool Same(Content block, TokenSlot other) const {
    Count();
    const Token* known = TokensOf(other);
    const bool same_tokens = block_size_ == 16 ? SameTokens<16>(block.tokens, known, 16)
                                               : SameTokens<0>(block.tokens, known, block_size_);
    return same_tokens && block.extra == ExtraOf(other);
  }
  // How many of `count` blocks that stand end to end at `tokens`, the first of which is a
  // sequence's block number `block`, are the same as those of as many slots, up to the first that
  // differs.
  std::uint32_t CountSame(const Token* tokens, ExtraCursor& extras, std::uint32_t block,
                          const TokenSlot* others, std::uint32_t count) const;

  Order OrderOf(Content block, std::uint32_t limit, TokenSlot other) const {
    Count();
    const Token* tokens = TokensOf(other);
    const std::uint32_t common = CommonTokens(block.tokens, tokens, limit);
    const bool is_after = common < limit && block.tokens[common] > tokens[common];
    const Extra extra = ExtraOf(other);
    if (block.extra == extra) return {common, is_after};
    return WithExtras({common, is_after}, block.extra, extra);
  }

  // Below zero, zero or above.
  int Compare(Content block, TokenSlot other) const {
    const Order order = OrderOf(block, block_size_, other);
    if (order.common == block_size_) return 0;
    return order.is_after ? 1 : -1;
  }

#ifdef PAGEDKV_INSTRUMENTS
  // Blocks compared since the process began: what tests bound instead of time.
  static inline std::uint64_t comparisons = 0;
#endif

 private:
  static constexpr TokenSlot kHasExtra = 1u << 31;
  static constexpr std::uint32_t kAhead = 8;  // slots that are loaded before they are written

  static void Count() {
#ifdef PAGEDKV_INSTRUMENTS
    ++comparisons;
#endif
  }

  // `kSize` is the size where that is known beforehand, and 0 elsewhere. Compilers compare a known
  // size eight bytes at a time: this takes sixteen, in half the time.
  template <std::size_t kSize>
  static bool SameTokens(const Token* a, const Token* b, std::size_t size) {
    using Words = std::uint64_t __attribute__((vector_size(16)));
    static_assert(kSize * sizeof(Token) % sizeof(Words) == 0);
    if (kSize == 0) return std::memcmp(a, b, size * sizeof(Token)) == 0;
    Words differences{};
    for (std::size_t at = 0; at < kSize * sizeof(Token); at += sizeof(Words)) {
      Words x;
      Words y;
      std::memcpy(&x, reinterpret_cast<const char*>(a) + at, sizeof(Words));
      std::memcpy(&y, reinterpret_cast<const char*>(b) + at, sizeof(Words));
      differences |= x ^ y;
    }
    return (differences[0] | differences[1]) == 0;
  }
  template <bool kHasExtras, std::uint32_t kBlockSize>
  std::uint32_t CountSameOf(const Token* tokens, ExtraCursor& extras, std::uint32_t block,
                            const TokenSlot* others, std::uint32_t count) const;
  std::uint32_t CommonTokens(const Token* a, const Token* b, std::uint32_t limit) const;
  Order WithExtras(Order order, Extra block, Extra other) const;

  const std::uint32_t block_size_;
  const std::uint32_t capacity_;
  ExtraKeys& keys_;
  ZeroedArray<Token> tokens_;
  ZeroedArray<Extra> extras_;  // 0 but for those in use that have one
  // A stack, apart from what was freed: the tokens there are touched again only to be written.
  ZeroedArray<std::uint32_t> freed_;
  std::uint32_t freed_count_ = 0;
  std::uint32_t fresh_ = 0;  // from here on, no slot was ever used
  std::uint32_t free_count_;
};

// --- What matching spends its time in ---

template <bool kHasExtras, std::uint32_t kBlockSize>
std::uint32_t TokenSlots::CountSameOf(const Token* tokens, ExtraCursor& extras, std::uint32_t block,
                                      const TokenSlot* others, std::uint32_t count) const {
  const std::size_t size = kBlockSize == 0 ? block_size_ : kBlockSize;
  const Token* const all = tokens_.get();
  std::uint32_t same = 0;
  for (; same < count; ++same, tokens += size) {
    Count();
    const TokenSlot other = others[same];
    const Token* known = &all[NumberOf(other) * size];
    if (!SameTokens<kBlockSize>(tokens, known, size)) break;
    if constexpr (kHasExtras) {
      if (extras.At(block + same) != ExtraOf(other)) break;
    } else if ((other & kHasExtra) != 0) {
      break;
    }
  }
  return same;
}

// The usual case gets code of its own: no keys, and a size of which a comparison is a few vector
// instructions.
inline std::uint32_t TokenSlots::CountSame(const Token* tokens, ExtraCursor& extras,
                                           std::uint32_t block, const TokenSlot* others,
                                           std::uint32_t count) const {
  if (!extras.IsAtEnd()) return CountSameOf<true, 0>(tokens, extras, block, others, count);
  return block_size_ == 16 ? CountSameOf<false, 16>(tokens, extras, block, others, count)
                           : CountSameOf<false, 0>(tokens, extras, block, others, count);
}

inline std::uint32_t TokenSlots::CommonTokens(const Token* a, const Token* b,
                                              std::uint32_t limit) const {
  std::uint32_t common = 0;
  while (common + 4 <= limit && std::memcmp(a + common, b + common, 16) == 0) common += 4;
  while (common < limit && a[common] == b[common]) common++;
  return common;
}

}  // namespace pagedkv
