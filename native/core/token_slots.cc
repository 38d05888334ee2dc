#include "token_slots.h"

namespace pagedkv {

TokenSlot TokenSlots::Add(Content content) {
  assert(free_count_ > 0);
  free_count_--;
  std::uint32_t number = fresh_;
  if (freed_count_ == 0) {
    fresh_++;
  } else {
    number = freed_[--freed_count_];
    if (freed_count_ >= kAhead) {
      __builtin_prefetch(&tokens_[std::size_t{freed_[freed_count_ - kAhead]} * block_size_], 1);
    }
  }
  std::memcpy(&tokens_[std::size_t{number} * block_size_], content.tokens,
              block_size_ * sizeof(Token));
  if (content.extra == kNoExtra) return number;
  keys_.Hold(content.extra);
  extras_[number] = content.extra;
  return number | kHasExtra;
}

void TokenSlots::Remove(TokenSlot slot) {
  const std::uint32_t number = NumberOf(slot);
  if ((slot & kHasExtra) != 0) {
    keys_.Release(extras_[number]);
    extras_[number] = kNoExtra;
  }
  freed_[freed_count_++] = number;
  free_count_++;
}

// Keys that differ before the tokens do decide.
TokenSlots::Order TokenSlots::WithExtras(Order order, Extra block, Extra other) const {
  const std::uint32_t common = keys_.Common(block, other);
  if (common >= order.common) return order;
  return {common, keys_.KeyAt(block, common) > keys_.KeyAt(other, common)};
}

}  // namespace pagedkv
