// How much memory there is to be had, before it is asked for: a machine that has promised more than
// it has kills the process that takes it at its word.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

namespace pagedkv::arena {

inline constexpr std::uint64_t kUnknownMemory = std::numeric_limits<std::uint64_t>::max();

// Where the kernel tells; tests put files of their own there.
struct MemoryFiles {
  std::string meminfo = "/proc/meminfo";
  std::string self_cgroup = "/proc/self/cgroup";
  std::string cgroup_root = "/sys/fs/cgroup";
};

// Bytes that can be had without swapping: what the machine has, or less where a control group of
// the process (v1 or v2), or one around it, is limited to less. Pages that only cache files count
// as available. kUnknownMemory where nothing tells.
std::uint64_t AvailableMemory(const MemoryFiles& files = {});

}  // namespace pagedkv::arena
