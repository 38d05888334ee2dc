// One reservation of host memory, on huge pages where the system gives them, zeroed, and touched
// ahead of its use by a thread of its own: the first touch of a page costs far more than a copy.
//
// Invariant: touching changes no byte, so that memory can be used meanwhile.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>

namespace pagedkv::arena {

// Beside std::bad_alloc, which has nothing to tell.
struct NotEnoughMemory {
  std::uint64_t available = 0;
};

class HostMemory {
 public:
  // Throws NotEnoughMemory, before anything is asked for, where so many bytes are not to be had now
  // (`available`: as AvailableMemory() tells); else std::bad_alloc where the system refuses.
  HostMemory(std::size_t bytes, std::uint64_t available);
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;
  ~HostMemory();

  std::byte* data() const { return data_; }
  std::size_t size() const { return bytes_; }

  // Touches all pages on another thread; `done` is called there, with whether all were. Requires
  // that it was not asked for before.
  void TouchAhead(std::function<void(bool is_whole)> done);
  bool is_touched() const { return is_touched_; }  // or about to be
  // Returns when no page is being touched any more. Harmless when none was.
  void StopTouching();

  // Gives the pages back to the system, at the cost of what they hold; what reads them finds zeros.
  void Discard();

 private:
  bool TouchAll();

  std::size_t bytes_;
  std::byte* reserved_ = nullptr;
  std::size_t reserved_bytes_ = 0;
  std::byte* data_ = nullptr;
  bool is_touched_ = false;
  std::thread toucher_;
  std::atomic<bool> stopping_{false};
  std::uint64_t pending_ = 0;  // bytes that are about to be touched
};

}  // namespace pagedkv::arena
