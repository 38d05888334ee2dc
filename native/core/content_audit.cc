#include "content_audit.h"

#include <functional>
#include <string_view>

#include "oracle.h"

namespace pagedkv {

void ContentAudit::SeeEntry(RunId run, std::uint32_t entry) {
  const PrefixIndex& index = s_.index;
  slots_++;
  extras_[index.ExtraOf(run, entry)]++;
  const EventLog& events = index.events();
  if (!events.is_on()) return;
  const std::uint32_t number = TokenSlots::NumberOf(index.SlotOf(run, entry));
  Require(events.IsKnown(number) == !index.IsDetached(run),
          "events do not know what can be found, or know what cannot");
  if (index.IsDetached(run)) return;
  findable_++;
  const RunId above = index.run(run).parent;
  std::uint32_t parent = kNone;
  if (entry > 0) {
    parent = TokenSlots::NumberOf(index.SlotOf(run, entry - 1));
  } else if (index.run(above).parent != kNone) {
    parent = TokenSlots::NumberOf(index.SlotOf(above, index.run(above).length - 1u));
  }
  Require(events.ParentOf(number) == parent && events.RootOf(number) == s_.RootOf(run),
          "events tell another parent or namespace");
}

void ContentAudit::SeeLifted(TokenSlot slot, RunId above) {
  slots_++;
  extras_[s_.index.slots().ExtraOf(slot)]++;
  const EventLog& events = s_.index.events();
  if (!events.is_on()) return;
  // An abort, which tells nothing, would put it back.
  const bool is_known = events.IsKnown(TokenSlots::NumberOf(slot));
  Require(is_known == !s_.index.IsDetached(above), "events know of what was cleared");
  if (is_known) findable_++;
}

void ContentAudit::Check() const {
  Counts extras = extras_;
  Counts keys;
  CheckLists(extras);
  CheckPatterns(extras, keys);
  std::size_t used = 0;
  s_.keys.keys_.ForEach([&](KeyId key) {
    used++;
    Require(keys[key] > 0 && s_.keys.keys_.CountOf(key) == keys[key], "a key's count is off");
  });
  Require(used == keys.size(), "a key is lost");
  CheckEvents();
}

void ContentAudit::CheckLists(Counts& extras) const {
  const auto& lists = s_.keys.lists_;
  std::size_t free = 0;
  for (KeyListId id = s_.keys.free_list_; id != kNone; id = lists[id].next_free) free++;
  Require(free + lists_.size() == lists.size(), "a list of keys is lost");
  for (const auto& [id, count] : lists_) {
    Require(lists[id].count == count, "the count of a list of keys is off");
    std::uint32_t end = 0;
    for (const ExtraSpan& span : lists[id].spans) {
      Require(span.begin >= end && span.begin < span.end, "a list of keys is out of order");
      end = span.end;
      extras[span.extra]++;
    }
  }
}

void ContentAudit::CheckPatterns(const Counts& extras, Counts& keys) const {
  std::size_t used = 0;
  for (const auto& [extra, count] : extras) {
    if (extra == kNoExtra) continue;
    if (!ExtraKeys::IsMixed(extra)) {
      keys[extra] += count;
      continue;
    }
    used++;
    Require(s_.keys.patterns_.CountOf(extra & ~ExtraKeys::kMixed) == count,
            "a pattern's count is off");
    ExtraKeys::Stretch last;
    for (const ExtraKeys::Stretch& stretch : s_.keys.PatternOf(extra)) {
      Require(stretch.begin >= last.end && stretch.begin < stretch.end &&
                  stretch.end <= s_.config.block_size &&
                  (stretch.begin != last.end || stretch.key != last.key) &&
                  stretch.end - stretch.begin < s_.config.block_size,
              "a pattern is not the only one for its keys");
      last = stretch;
      keys[stretch.key]++;
    }
  }
  Require(used == s_.keys.patterns_.size(), "a pattern is lost");
}

void ContentAudit::CheckEvents() const {
  const EventLog& events = s_.index.events();
  if (!events.is_on()) return;
  std::vector<bool> seen(s_.index.slots().capacity());
  std::uint32_t known = 0;
  for (std::uint32_t slot = events.First(); slot != kNone; slot = events.NextOf(slot)) {
    known++;
    seen[slot] = true;
    const std::uint32_t parent = events.ParentOf(slot);
    Require(parent == kNone || seen[parent], "events tell a child before its parent");
  }
  Require(known == findable_, "events know more than can be found");
}

bool ContentAudit::Precedes(Content a, Content b) const {
  for (std::uint32_t i = 0; i < s_.config.block_size; ++i) {
    if (a.tokens[i] != b.tokens[i]) return a.tokens[i] < b.tokens[i];
    const KeyId one = s_.keys.KeyAt(a.extra, i);
    const KeyId other = s_.keys.KeyAt(b.extra, i);
    if (one != other) return one < other;
  }
  return false;
}

std::uint64_t ContentAudit::DigestOf(Extra extra) const {
  Digest digest;
  s_.keys.ForEachStretch(extra, [&](const ExtraKeys::Stretch& stretch) {
    digest.Add(stretch.begin);
    digest.Add(stretch.end);
    digest.Add(std::hash<std::string_view>()(s_.keys.BytesOf(stretch.key)));
  });
  return digest.value();
}

std::uint64_t ContentAudit::DigestOfList(KeyListId list) const {
  Digest digest;
  for (const ExtraSpan& span : s_.keys.SpansOf(list)) {
    digest.Add(span.begin);
    digest.Add(span.end);
    digest.Add(DigestOf(span.extra));
  }
  return digest.value();
}

}  // namespace pagedkv
