// What a router would keep: a picture of the index, built from events alone.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../core/event_log.h"
#include "../core/manager.h"
#include "test.h"

namespace pagedkv::test {

// Of a block: the offsets from one up to another, and their key.
struct BlockKey {
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::string key;
  auto operator<=>(const BlockKey&) const = default;
};

// A block as it was told, but for its id.
struct ToldBlock {
  std::uint32_t parent = kNone;
  std::string name_space;  // of the first block of a prefix; else its parent tells
  std::vector<Token> tokens;
  std::vector<BlockKey> keys;
  auto operator<=>(const ToldBlock&) const = default;
};

class EventMirror {
 public:
  // Reads every event, or no more than one page of the least size. Checks that each fits those
  // before.
  void Follow(Manager& manager, bool is_all = true, bool anew = false) {
    const std::uint32_t longest = Manager::LongestEvent(manager.config());
    page_.resize(is_all ? 3 * longest : longest);
    for (bool has_more = true; has_more; anew = false) {
      const Manager::EventsResult result = manager.TakeEvents(page_, anew);
      CHECK_EQ(result.status, Status::kOk);
      CHECK(result.words <= page_.size());
      Read(manager, result.words);
      has_more = result.has_more && is_all;
    }
  }

  // Everything told anew must make the same picture.
  void Compare(Manager& manager) const {
    EventMirror other;
    other.Follow(manager, true, true);
    CHECK(other.blocks_ == blocks_);
  }

  // The blocks of the longest known prefix.
  std::size_t Known(std::string_view name_space, std::span<const ToldBlock> path,
                    std::uint32_t parent = kNone) const {
    if (path.empty()) return 0;
    ToldBlock block = path.front();
    block.parent = parent;
    block.name_space = parent == kNone ? std::string(name_space) : "";
    const auto found = ids_.find(block);
    if (found == ids_.end()) return 0;
    std::size_t known = 0;
    for (const std::uint32_t id : found->second) {
      known = std::max(known, 1 + Known(name_space, path.subspan(1), id));
    }
    return known;
  }

  std::size_t size() const { return blocks_.size(); }
  std::uint64_t events() const { return stored_ + removed_; }
  std::uint64_t stored() const { return stored_; }
  std::uint64_t removed() const { return removed_; }
  std::uint64_t resets() const { return resets_; }

 private:
  void Read(const Manager& manager, std::uint32_t words) {
    for (std::uint32_t at = 0; at < words;) {
      const std::uint32_t* record = &page_[at];
      switch (static_cast<EventKind>(record[0])) {
        case EventKind::kReset:
          blocks_.clear();
          ids_.clear();
          resets_++;
          at += 1;
          break;
        case EventKind::kRemoved:
          Remove(record[1]);
          at += 2;
          break;
        default:
          at += Store(manager, record);
      }
    }
  }

  void Remove(std::uint32_t id) {
    const auto found = blocks_.find(id);
    CHECK(found != blocks_.end());
    for (const auto& [_, block] : blocks_) CHECK(block.parent != id);
    const auto alike = ids_.find(found->second);
    alike->second.erase(id);
    if (alike->second.empty()) ids_.erase(alike);
    blocks_.erase(found);
    removed_++;
  }

  std::uint32_t Store(const Manager& manager, const std::uint32_t* record) {
    const std::uint32_t block_size = manager.config().block_size;
    ToldBlock block;
    block.parent = record[2];
    CHECK(block.parent == kNone || blocks_.contains(block.parent));
    const auto name = manager.NamespaceOf(record[3]);
    CHECK(name.has_value());
    if (block.parent == kNone) block.name_space = *name;
    const std::uint32_t* tokens = record + kStoredWords;
    block.tokens.assign(tokens, tokens + block_size);
    const std::uint32_t* key = tokens + block_size;
    for (std::uint32_t i = 0; i < record[4]; ++i, key += kStoredKeyWords) {
      const auto bytes = manager.KeyOf(key[2]);
      CHECK(bytes.has_value());
      block.keys.push_back({key[0], key[1], std::string(*bytes)});
    }
    CHECK(blocks_.emplace(record[1], block).second);
    ids_[std::move(block)].insert(record[1]);
    stored_++;
    return static_cast<std::uint32_t>(key - record);
  }

  std::vector<std::uint32_t> page_;
  std::map<std::uint32_t, ToldBlock> blocks_;
  // While a block is out of the index to be written in place, others may publish its like.
  std::map<ToldBlock, std::set<std::uint32_t>> ids_;
  std::uint64_t stored_ = 0;
  std::uint64_t removed_ = 0;
  std::uint64_t resets_ = 0;
};

}  // namespace pagedkv::test
