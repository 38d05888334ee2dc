// Values that are equal get the same number, from 1 on, for as long as somebody counts on it: two
// of them are compared by their numbers. Costs O(log values) comparisons to find one; counting is
// O(1) and allocates nothing.
//
// Invariant: a number stands for a value exactly while its count is above zero.
#pragma once

#include <cassert>
#include <map>
#include <utility>
#include <vector>

#include "types.h"

namespace pagedkv {

template <typename Value>
class InternTable {
 public:
  // The number of an equal value, counted once more. Throws std::bad_alloc, and has changed nothing
  // then.
  std::uint32_t Intern(Value value) {
    const auto found = numbers_.find(value);
    if (found != numbers_.end()) {
      Hold(found->second);
      return found->second;
    }
    if (free_ == 0) {
      records_.emplace_back();
      free_ = static_cast<std::uint32_t>(records_.size());
    }
    const std::uint32_t number = free_;
    const auto place = numbers_.emplace(std::move(value), number).first;
    Record& record = RecordOf(number);
    free_ = record.next_free;
    record = {1, 0, place};
    return number;
  }

  void Hold(std::uint32_t number) { RecordOf(number).count++; }

  void Release(std::uint32_t number) {
    Record& record = RecordOf(number);
    assert(record.count > 0);
    if (--record.count > 0) return;
    numbers_.erase(record.place);
    record.next_free = free_;
    free_ = number;
  }

  const Value& ValueOf(std::uint32_t number) const { return records_[number - 1].place->first; }
  std::uint32_t CountOf(std::uint32_t number) const {
    return number == 0 || number > records_.size() ? 0 : records_[number - 1].count;
  }
  std::size_t size() const { return numbers_.size(); }

  // Calls `visit` with each value's number.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const auto& [_, number] : numbers_) visit(number);
  }

 private:
  using Numbers = std::map<Value, std::uint32_t>;

  struct Record {
    std::uint32_t count = 0;
    std::uint32_t next_free = 0;
    typename Numbers::iterator place = {};
  };

  Record& RecordOf(std::uint32_t number) { return records_[number - 1]; }

  Numbers numbers_;
  std::vector<Record> records_;
  std::uint32_t free_ = 0;
};

}  // namespace pagedkv
