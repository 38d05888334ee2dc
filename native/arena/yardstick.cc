#include "yardstick.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

namespace pagedkv::arena {
namespace {

void CopyPairs(const TransferPlan& plan, std::size_t first, std::size_t end) {
  const bool is_store = plan.direction == Direction::kStore;
  for (std::size_t i = first; i < end; ++i) {
    const BlockPair& pair = plan.pairs[i];
    std::byte* record = plan.records + pair.host * plan.record_bytes;
    for (const Part& part : plan.parts) {
      std::byte* near = part.near + pair.near * part.near_bytes;
      std::byte* host = record + part.record_offset;
      std::memcpy(is_store ? host : near, is_store ? near : host, part.near_bytes);
    }
  }
}

}  // namespace

double PlainCopySeconds(const TransferPlan& plan, unsigned threads) {
  using Clock = std::chrono::steady_clock;
  const std::size_t pairs = plan.pairs.size();
  std::barrier begin(threads);
  std::vector<Clock::time_point> begun(threads);
  std::vector<Clock::time_point> ended(threads);
  const auto work = [&](unsigned thread) {
    begin.arrive_and_wait();
    begun[thread] = Clock::now();
    CopyPairs(plan, pairs * thread / threads, pairs * (thread + 1) / threads);
    ended[thread] = Clock::now();
  };
  std::vector<std::thread> others;
  for (unsigned thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
  work(0);
  for (std::thread& other : others) other.join();
  const auto first = *std::min_element(begun.begin(), begun.end());
  const auto last = *std::max_element(ended.begin(), ended.end());
  return std::chrono::duration<double>(last - first).count();
}

}  // namespace pagedkv::arena
