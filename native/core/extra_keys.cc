#include "extra_keys.h"

#include <algorithm>
#include <functional>

namespace pagedkv {

bool ExtraKeys::AreValid(KeyRanges ranges) {
  if (ranges.size() > kMaxKeyRanges) return false;
  std::uint32_t end = 0;
  for (const KeyRange& range : ranges) {
    if (range.from < end || range.from >= range.to) return false;
    if (range.key.empty() || range.key.size() > kMaxKeyBytes) return false;
    end = range.to;
  }
  return true;
}

// --- Lists ---

KeyListId ExtraKeys::AddList(KeyRanges ranges) {
  if (ranges.empty()) return kNone;
  // What is counted before the list counts on it itself; given back when this ends, however it
  // ends.
  struct Counted {
    ExtraKeys& keys;
    std::vector<Stretch> ranges;  // of positions
    std::vector<ExtraSpan> spans;
    ~Counted() {
      for (const Stretch& range : ranges) keys.Release(range.key);
      for (const ExtraSpan& span : spans) keys.Release(span.extra);
    }
  } counted{*this, {}, {}};
  counted.ranges.reserve(ranges.size());
  counted.spans.reserve(3 * ranges.size());
  for (const KeyRange& range : ranges) {
    const KeyId key = InternKey(range.key);
    // Two that follow each other under the same key are one: equal keys must have equal extras.
    Stretch* last = counted.ranges.empty() ? nullptr : &counted.ranges.back();
    if (last != nullptr && last->end == range.from && last->key == key) {
      last->end = range.to;
      keys_.Release(key);
    } else {
      counted.ranges.push_back({range.from, range.to, key});
    }
  }
  AddSpans(counted.ranges, counted.spans);
  if (free_list_ == kNone) {
    lists_.emplace_back();
    free_list_ = static_cast<KeyListId>(lists_.size() - 1);
  }
  const KeyListId id = free_list_;
  List& list = lists_[id];
  free_list_ = list.next_free;
  list = {1, kNone, std::move(counted.spans)};
  counted.spans.clear();
  return id;
}

KeyId ExtraKeys::InternKey(std::string_view bytes) {
  fingerprints_.reserve(keys_.size() + 2);  // numbers begin at 1
  const KeyId key = keys_.Intern(std::string(bytes));
  if (fingerprints_.size() <= key) fingerprints_.resize(key + 1);
  fingerprints_[key] = static_cast<std::uint32_t>(std::hash<std::string_view>()(bytes));
  return key;
}

// The blocks that ranges of positions touch: some lie wholly under one key, the others are mixed.
void ExtraKeys::AddSpans(std::span<const Stretch> ranges, std::vector<ExtraSpan>& spans) {
  const std::uint64_t size = block_size_;
  std::uint64_t next = 0;  // block
  for (std::size_t i = 0; i < ranges.size();) {
    const std::uint64_t block = std::max(next, ranges[i].begin / size);
    const std::uint64_t begin = block * size;
    const std::uint64_t end = begin + size;
    if (ranges[i].begin <= begin && ranges[i].end >= end) {
      next = ranges[i].end == kNone ? kNone : ranges[i].end / size;
      Hold(ranges[i].key);
      spans.push_back(
          {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(next), ranges[i].key});
      if (ranges[i].end == kNone || ranges[i].end == next * size) ++i;
      continue;
    }
    Pattern pattern;
    while (i < ranges.size() && ranges[i].begin < end) {
      const std::uint64_t from = std::max<std::uint64_t>(ranges[i].begin, begin);
      const std::uint64_t to = std::min<std::uint64_t>(ranges[i].end, end);
      pattern.push_back({static_cast<std::uint32_t>(from - begin),
                         static_cast<std::uint32_t>(to - begin), ranges[i].key});
      if (ranges[i].end > end) break;  // and goes on in the next block
      ++i;
    }
    next = block + 1;
    spans.push_back({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(next),
                     InternPattern(std::move(pattern))});
  }
}

void ExtraKeys::HoldList(KeyListId list) {
  if (list != kNone) lists_[list].count++;
}

void ExtraKeys::ReleaseList(KeyListId id) {
  if (id == kNone) return;
  List& list = lists_[id];
  assert(list.count > 0);
  if (--list.count > 0) return;
  for (const ExtraSpan& span : list.spans) Release(span.extra);
  list = {0, free_list_, {}};
  free_list_ = id;
}

Extra ExtraKeys::ExtraOf(KeyListId list, std::uint32_t block) const {
  const std::span<const ExtraSpan> spans = SpansOf(list);
  const auto first = std::partition_point(spans.begin(), spans.end(),
                                          [&](const ExtraSpan& span) { return span.end <= block; });
  return first == spans.end() || block < first->begin ? kNoExtra : first->extra;
}

// --- Extras ---

Extra ExtraKeys::InternPattern(Pattern pattern) {
  const std::uint32_t number = patterns_.Intern(std::move(pattern));
  if (patterns_.CountOf(number) == 1) {
    for (const Stretch& stretch : patterns_.ValueOf(number)) keys_.Hold(stretch.key);
  }
  return number | kMixed;
}

void ExtraKeys::Hold(Extra extra) {
  if (extra == kNoExtra) return;
  if (IsMixed(extra)) {
    patterns_.Hold(extra & ~kMixed);
  } else {
    keys_.Hold(extra);
  }
}

void ExtraKeys::Release(Extra extra) {
  if (extra == kNoExtra) return;
  if (!IsMixed(extra)) return keys_.Release(extra);
  const std::uint32_t number = extra & ~kMixed;
  if (patterns_.CountOf(number) == 1) {
    for (const Stretch& stretch : patterns_.ValueOf(number)) keys_.Release(stretch.key);
  }
  patterns_.Release(number);
}

namespace {

// The key of one offset after the other, and where it ends.
class StretchReader {
 public:
  StretchReader(std::span<const ExtraKeys::Stretch> stretches, std::uint32_t block_size)
      : left_(stretches), block_size_(block_size) {}

  ExtraKeys::Stretch At(std::uint32_t offset) {
    while (!left_.empty() && left_.front().end <= offset) left_ = left_.subspan(1);
    if (left_.empty()) return {offset, block_size_, 0};
    if (offset < left_.front().begin) return {offset, left_.front().begin, 0};
    return left_.front();
  }

 private:
  std::span<const ExtraKeys::Stretch> left_;
  std::uint32_t block_size_;
};

}  // namespace

std::uint32_t ExtraKeys::FingerprintOf(Extra extra) const {
  std::uint32_t mixed = 0;
  ForEachStretch(extra, [&](const Stretch& stretch) {
    mixed = (mixed ^ fingerprints_[stretch.key] ^ stretch.begin << 16 ^ stretch.end) * 0x9E3779B1u;
  });
  return mixed;
}

std::uint32_t ExtraKeys::Common(Extra a, Extra b) const {
  if (a == b) return block_size_;
  const Stretch whole[2] = {{0, block_size_, a}, {0, block_size_, b}};
  const auto stretches = [&](Extra extra, const Stretch& otherwise) {
    if (extra == kNoExtra) return std::span<const Stretch>();
    return IsMixed(extra) ? std::span<const Stretch>(PatternOf(extra))
                          : std::span<const Stretch>(&otherwise, 1);
  };
  StretchReader left(stretches(a, whole[0]), block_size_);
  StretchReader right(stretches(b, whole[1]), block_size_);
  std::uint32_t offset = 0;
  while (offset < block_size_) {
    const Stretch one = left.At(offset);
    const Stretch other = right.At(offset);
    if (one.key != other.key) return offset;
    offset = std::min(one.end, other.end);
  }
  return offset;
}

KeyId ExtraKeys::KeyAt(Extra extra, std::uint32_t offset) const {
  if (!IsMixed(extra)) return extra;
  for (const Stretch& stretch : PatternOf(extra)) {
    if (offset < stretch.end) return offset < stretch.begin ? 0 : stretch.key;
  }
  return 0;
}

}  // namespace pagedkv
