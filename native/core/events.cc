// Telling what the event log holds, in records of words.
#include <algorithm>

#include "manager_state.h"

namespace pagedkv {

std::uint32_t Manager::LongestEvent(const Config& config) {
  return kStoredWords + config.block_size +
         kStoredKeyWords * std::min(config.block_size, kMaxKeyRanges);
}

Manager::EventsResult Manager::State::TakeEvents(std::span<std::uint32_t> out, bool anew) {
  EventLog& events = index.events();
  if (!events.is_on()) return {Status::kEventsOff, 0, false};
  EventsResult result;
  const std::uint32_t longest = LongestEvent(config);
  const auto has_room = [&] { return out.size() - result.words >= longest; };
  if (anew && has_room()) {
    events.ForgetTold();
    out[result.words++] = static_cast<std::uint32_t>(EventKind::kReset);
  }
  for (; events.NextGone() != kNone && has_room(); events.TellGone()) {
    out[result.words++] = static_cast<std::uint32_t>(EventKind::kRemoved);
    out[result.words++] = events.NextGone();
  }
  for (; events.NextStored() != kNone && has_room(); events.TellStored()) {
    result.words += WriteStored(events.NextStored(), &out[result.words]);
  }
  result.has_more = events.NextGone() != kNone || events.NextStored() != kNone;
  return result;
}

// Returns how many words it wrote.
std::uint32_t Manager::State::WriteStored(std::uint32_t number, std::uint32_t* out) const {
  const Content block = index.slots().ContentOfNumber(number);
  out[0] = static_cast<std::uint32_t>(EventKind::kStored);
  out[1] = number;
  out[2] = index.events().ParentOf(number);
  out[3] = index.events().RootOf(number);
  std::copy_n(block.tokens, config.block_size, out + kStoredWords);
  std::uint32_t* key = out + kStoredWords + config.block_size;
  out[4] = 0;
  keys.ForEachStretch(block.extra, [&](const ExtraKeys::Stretch& stretch) {
    *key++ = stretch.begin;
    *key++ = stretch.end;
    *key++ = stretch.key;
    out[4]++;
  });
  return static_cast<std::uint32_t>(key - out);
}

Manager::EventsResult Manager::TakeEvents(std::span<std::uint32_t> out, bool anew) {
  return state_->TakeEvents(out, anew);
}

std::optional<std::string_view> Manager::NamespaceOf(std::uint32_t root) const {
  const auto found = state_->root_names.find(root);
  if (found == state_->root_names.end()) return std::nullopt;
  return found->second;
}

std::optional<std::string_view> Manager::KeyOf(std::uint32_t key) const {
  if (!state_->keys.Has(key)) return std::nullopt;
  return state_->keys.BytesOf(key);
}

}  // namespace pagedkv
