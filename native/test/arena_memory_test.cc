// Host memory: refused before it is asked for, zeroed, touched ahead, and given back.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "arena/host_memory.h"
#include "arena/machine_memory.h"
#include "test.h"

namespace pagedkv::test {
namespace {

using arena::AvailableMemory;
using arena::HostMemory;
using arena::kUnknownMemory;
using arena::MemoryFiles;
namespace fs = std::filesystem;

constexpr std::size_t kMiB = std::size_t{1} << 20;

bool IsZero(const HostMemory& memory) {
  return std::all_of(memory.data(), memory.data() + memory.size(),
                     [](std::byte byte) { return byte == std::byte{0}; });
}

// Files as a kernel would show them.
class FakeKernel {
 public:
  FakeKernel() : root_(fs::temp_directory_path() / "pagedkv_memory_test") {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~FakeKernel() { fs::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) const {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  std::uint64_t Available() const {
    return AvailableMemory({.meminfo = root_ / "meminfo",
                            .self_cgroup = root_ / "cgroup",
                            .cgroup_root = root_ / "groups"});
  }

 private:
  const fs::path root_;
};

constexpr const char* kMemInfo = "MemTotal:  9000 kB\nMemFree: 100 kB\nMemAvailable:  8000 kB\n";

TEST("memory is as much as the machine has available") {
  FakeKernel kernel;
  CHECK_EQ(kernel.Available(), kUnknownMemory);
  kernel.Write("meminfo", kMemInfo);
  CHECK_EQ(kernel.Available(), 8000 * 1024);
  CHECK(AvailableMemory() > 0);
}

TEST("a control group that leaves less counts, without the files that it caches") {
  FakeKernel kernel;
  kernel.Write("meminfo", kMemInfo);
  kernel.Write("cgroup", "0::/pods/one\n");
  kernel.Write("groups/pods/one/memory.max", "max\n");
  kernel.Write("groups/pods/one/memory.current", "1000\n");
  kernel.Write("groups/pods/memory.max", "700000\n");
  kernel.Write("groups/pods/memory.current", "600000\n");
  kernel.Write("groups/pods/memory.stat", "anon 1\ninactive_file 50000\nactive_file 20000\n");
  CHECK_EQ(kernel.Available(), 170'000);
}

TEST("a control group of the first version counts, too, and one that is full leaves nothing") {
  FakeKernel kernel;
  kernel.Write("meminfo", kMemInfo);
  kernel.Write("cgroup", "9:cpu,memoryless:/x\n4:hugetlb,memory:/box\n0::/\n");
  kernel.Write("groups/memory/box/memory.limit_in_bytes", "500000");
  kernel.Write("groups/memory/box/memory.usage_in_bytes", "200000");
  kernel.Write("groups/memory/box/memory.stat", "total_inactive_file 1000\n");
  CHECK_EQ(kernel.Available(), 301'000);
  kernel.Write("groups/memory/box/memory.usage_in_bytes", "600000");
  CHECK_EQ(kernel.Available(), 0);
}

TEST("memory that is not there is refused, with what there is") {
  try {
    HostMemory memory(kMiB + 1, kMiB);
    Fail(__FILE__, __LINE__, "not refused");
  } catch (const arena::NotEnoughMemory& refused) {
    CHECK_EQ(refused.available, kMiB);
  }
}

TEST("memory that is about to be touched is promised, and no longer available") {
  HostMemory large(64 * kMiB, kUnknownMemory);
  std::atomic<bool> may_go_on{false};
  std::atomic<bool> was_refused{false};
  large.TouchAhead([&](bool) {
    while (!may_go_on) std::this_thread::yield();
  });
  // At worst all was touched before this line.
  try {
    HostMemory small(1, 1);
  } catch (const arena::NotEnoughMemory&) {
    was_refused = true;
  }
  may_go_on = true;
  large.StopTouching();
  HostMemory after(1, 1);
}

TEST("memory is zeroed, of any size, and zeroed again once it was discarded") {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, kMiB, 5 * kMiB + 3}) {
    HostMemory memory(bytes, kUnknownMemory);
    CHECK(IsZero(memory));
    std::memset(memory.data(), 7, bytes);
    memory.Discard();
#if defined(__linux__)
    CHECK(IsZero(memory));
#endif
  }
}

TEST("touching changes no byte that is written meanwhile") {
  HostMemory memory(64 * kMiB, kUnknownMemory);
  bool is_whole = false;
  CHECK(!memory.is_touched());
  memory.TouchAhead([&](bool whole) { is_whole = whole; });
  CHECK(memory.is_touched());
  for (std::size_t at = memory.size(); at >= 4096; at -= 4096) memory.data()[at - 1] = std::byte{9};
  memory.StopTouching();
  for (std::size_t at = memory.size(); at >= 4096; at -= 4096) {
    CHECK(memory.data()[at - 1] == std::byte{9});
  }
}

TEST("touching can be stopped at any time, and memory destroyed meanwhile") {
  for (int i = 0; i < 20; ++i) {
    HostMemory memory(256 * kMiB, kUnknownMemory);
    std::atomic<int> told{0};
    memory.TouchAhead([&](bool) { told += 1; });
    if (i % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds(i * 50));
    memory.StopTouching();
    CHECK_EQ(told.load(), 1);
    memory.StopTouching();
    HostMemory forgotten(64 * kMiB, kUnknownMemory);
    forgotten.TouchAhead([](bool) {});
  }
}

}  // namespace
}  // namespace pagedkv::test
