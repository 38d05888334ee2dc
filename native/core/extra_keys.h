// Extra keys: what a range of a sequence's positions stands under beside its tokens, such as an
// image's content, or an adapter that starts part-way. Two blocks are the same where their tokens
// are and, position by position, their keys.
//
// No hash is trusted: equal bytes are interned to one number, and the keys of a block to one word,
// its *extra*: 0 for none, the number of the key that all its positions stand under, or, with
// kMixed set, that of a *pattern* which tells the keys apart by offset. So blocks without keys cost
// a comparison with zero, and equal extras mean equal keys.
//
// What a sequence was given becomes a *list* when it is opened, with the extra of every block that
// it will ever have: nothing is interned, and nothing allocated, while it grows.
//
// Invariant: keys, patterns and lists are counted, and go with the last who counts on them. Lists
// count on extras, patterns on keys; sequences count on lists, entries of the index on extras.
#pragma once

#include <compare>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "intern_table.h"
#include "types.h"

namespace pagedkv {

using KeyId = std::uint32_t;  // 0: no key
using Extra = std::uint32_t;
using KeyListId = std::uint32_t;

inline constexpr Extra kNoExtra = 0;

// The extras of a sequence's blocks, asked for in ascending order.
struct ExtraSpan {
  std::uint32_t begin = 0;  // blocks
  std::uint32_t end = 0;    // kNone: for ever
  Extra extra = kNoExtra;
};

class ExtraCursor {
 public:
  ExtraCursor() = default;
  explicit ExtraCursor(std::span<const ExtraSpan> spans)
      : at_(spans.data()), end_(spans.data() + spans.size()) {}

  bool IsAtEnd() const { return at_ == end_; }  // no block from here on has an extra

  // No block before one that was asked for may follow.
  Extra At(std::uint32_t block) {
    while (at_ != end_ && at_->end <= block) ++at_;
    return at_ == end_ || block < at_->begin ? kNoExtra : at_->extra;
  }

 private:
  const ExtraSpan* at_ = nullptr;
  const ExtraSpan* end_ = nullptr;
};

class ExtraKeys {
 public:
  // Some offsets of a block, and their key.
  struct Stretch {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    KeyId key = 0;
    auto operator<=>(const Stretch&) const = default;
  };

  explicit ExtraKeys(std::uint32_t block_size) : block_size_(block_size) {}

  // Not too many, sorted, none empty, none over another, and their keys of 1 to kMaxKeyBytes bytes.
  static bool AreValid(KeyRanges ranges);

  // Lists. One of no range is kNone, which every call takes. Throws std::bad_alloc, and has changed
  // nothing then. O(ranges * log keys).
  KeyListId AddList(KeyRanges ranges);
  void HoldList(KeyListId list);
  void ReleaseList(KeyListId list);
  std::span<const ExtraSpan> SpansOf(KeyListId list) const {
    return list == kNone ? std::span<const ExtraSpan>() : lists_[list].spans;
  }
  ExtraCursor CursorOf(KeyListId list) const { return ExtraCursor(SpansOf(list)); }
  Extra ExtraOf(KeyListId list, std::uint32_t block) const;  // O(log ranges)

  // Extras.
  void Hold(Extra extra);
  void Release(Extra extra);
  // A hash of the keys' bytes, for guesses: nothing is shared for it.
  std::uint32_t FingerprintOf(Extra extra) const;
  // How many offsets from the start of a block stand under the same keys. O(stretches).
  std::uint32_t Common(Extra a, Extra b) const;
  KeyId KeyAt(Extra extra, std::uint32_t offset) const;
  // Calls `visit` with each Stretch of a block, in order.
  template <typename Visit>
  void ForEachStretch(Extra extra, Visit visit) const {
    if (extra == kNoExtra) return;
    if (!IsMixed(extra)) return visit(Stretch{0, block_size_, extra});
    for (const Stretch& stretch : PatternOf(extra)) visit(stretch);
  }

  bool Has(KeyId key) const { return keys_.CountOf(key) > 0; }
  std::string_view BytesOf(KeyId key) const { return keys_.ValueOf(key); }

 private:
  friend class ContentAudit;  // which counts again

  static constexpr Extra kMixed = 1u << 31;

  using Pattern = std::vector<Stretch>;

  struct List {
    std::uint32_t count = 0;
    KeyListId next_free = kNone;
    std::vector<ExtraSpan> spans;
  };

  static bool IsMixed(Extra extra) { return (extra & kMixed) != 0; }
  const Pattern& PatternOf(Extra extra) const { return patterns_.ValueOf(extra & ~kMixed); }
  KeyId InternKey(std::string_view bytes);
  Extra InternPattern(Pattern pattern);
  void AddSpans(std::span<const Stretch> ranges, std::vector<ExtraSpan>& spans);

  const std::uint32_t block_size_;
  InternTable<std::string> keys_;
  std::vector<std::uint32_t> fingerprints_;  // by key
  InternTable<Pattern> patterns_;
  std::vector<List> lists_;
  KeyListId free_list_ = kNone;
};

// A list that was just added, until a sequence takes it.
class NewKeyList {
 public:
  NewKeyList(ExtraKeys& keys, KeyRanges ranges) : keys_(keys), id_(keys.AddList(ranges)) {}
  ~NewKeyList() { keys_.ReleaseList(id_); }
  NewKeyList(const NewKeyList&) = delete;
  NewKeyList& operator=(const NewKeyList&) = delete;

  KeyListId id() const { return id_; }
  KeyListId Take() { return std::exchange(id_, kNone); }

 private:
  ExtraKeys& keys_;
  KeyListId id_;
};

}  // namespace pagedkv
