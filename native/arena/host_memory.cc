#include "host_memory.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace pagedkv::arena {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kSmallPage = 4096;
// Between two looks at whether to stop: some milliseconds at the worst.
constexpr std::size_t kTouchBytes = 4 * kHugePage;

// Bytes that memories of this process are about to touch, whichever thread made them: they still
// count as available, and are not.
std::atomic<std::uint64_t> g_pending{0};

std::size_t RoundUp(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

// As a write that changes nothing, whatever others write meanwhile.
void TouchByWriting(std::byte* begin, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += kSmallPage) {
    auto* byte = reinterpret_cast<unsigned char*>(begin + at);
    std::atomic_ref<unsigned char>(*byte).fetch_or(0, std::memory_order_relaxed);
  }
}

#if defined(__linux__)

#if !defined(MADV_POPULATE_WRITE)
#define MADV_POPULATE_WRITE 23
#endif

std::byte* Reserve(std::size_t bytes) {
  void* found = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (found == MAP_FAILED) throw std::bad_alloc();
  return static_cast<std::byte*>(found);
}

void Release(std::byte* reserved, std::size_t bytes) {
  munmap(reserved, bytes);
}

void AskForHugePages(std::byte* begin, std::size_t bytes) {
  madvise(begin, bytes, MADV_HUGEPAGE);
}

// False where the machine has no more pages.
bool Touch(std::byte* begin, std::size_t bytes) {
  if (madvise(begin, bytes, MADV_POPULATE_WRITE) == 0) return true;
  if (errno == ENOMEM || errno == EFAULT || errno == EHWPOISON) return false;
  TouchByWriting(begin, bytes);  // a kernel before 5.14
  return true;
}

void DiscardPages(std::byte* begin, std::size_t bytes) {
  madvise(begin, bytes, MADV_DONTNEED);
}

#else

std::byte* Reserve(std::size_t bytes) {
  void* found = ::operator new(bytes, std::align_val_t{kSmallPage});
  std::memset(found, 0, bytes);
  return static_cast<std::byte*>(found);
}

void Release(std::byte* reserved, std::size_t) {
  ::operator delete(reserved, std::align_val_t{kSmallPage});
}

void AskForHugePages(std::byte*, std::size_t) {}

bool Touch(std::byte* begin, std::size_t bytes) {
  TouchByWriting(begin, bytes);
  return true;
}

void DiscardPages(std::byte*, std::size_t) {}

#endif

}  // namespace

HostMemory::HostMemory(std::size_t bytes, std::uint64_t available) : bytes_(bytes) {
  const std::uint64_t free = available - std::min(g_pending.load(), available);
  if (bytes > free) throw NotEnoughMemory{free};
  const bool is_huge = bytes >= kHugePage;
  reserved_bytes_ =
      RoundUp(std::max<std::size_t>(bytes, 1), kSmallPage) + (is_huge ? kHugePage : 0);
  reserved_ = Reserve(reserved_bytes_);
  data_ = reserved_;
  if (is_huge) {
    const auto address = reinterpret_cast<std::uintptr_t>(reserved_);
    data_ += RoundUp(address, kHugePage) - address;
    AskForHugePages(data_, RoundUp(bytes, kSmallPage));
  }
}

HostMemory::~HostMemory() {
  StopTouching();
  Release(reserved_, reserved_bytes_);
}

void HostMemory::TouchAhead(std::function<void(bool)> done) {
  is_touched_ = true;
  pending_ = RoundUp(bytes_, kSmallPage);
  g_pending += pending_;
  toucher_ = std::thread([this, done = std::move(done)] { done(TouchAll()); });
}

void HostMemory::StopTouching() {
  stopping_ = true;
  if (toucher_.joinable()) toucher_.join();
  g_pending -= std::exchange(pending_, 0);
}

void HostMemory::Discard() {
  StopTouching();
  DiscardPages(reserved_, reserved_bytes_);
}

bool HostMemory::TouchAll() {
  const std::size_t end = RoundUp(bytes_, kSmallPage);
  for (std::size_t at = 0; at < end; at += kTouchBytes) {
    const std::size_t bytes = std::min(kTouchBytes, end - at);
    if (stopping_ || !Touch(data_ + at, bytes)) return false;
    pending_ -= bytes;
    g_pending -= bytes;
  }
  return true;
}

}  // namespace pagedkv::arena
