#include "machine_memory.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

namespace pagedkv::arena {
namespace {

// What a control group is called, and what tells its limit and use, in each version.
struct Names {
  const char* limit;
  const char* usage;
  const char* cached[2];  // of memory.stat: pages of files
};
constexpr Names kVersion1 = {
    "memory.limit_in_bytes", "memory.usage_in_bytes", {"total_inactive_file", "total_active_file"}};
constexpr Names kVersion2 = {"memory.max", "memory.current", {"inactive_file", "active_file"}};

// The number after `key` in lines of keys and numbers.
std::optional<std::uint64_t> ValueOf(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string name;
    std::uint64_t value = 0;
    if (words >> name >> value && name == key) return value;
  }
  return std::nullopt;
}

// None where there is no such file, or no number in it, as where it says "max".
std::optional<std::uint64_t> NumberIn(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  if (!(file >> value)) return std::nullopt;
  return value;
}

bool HasWord(const std::string& list, const std::string& word) {
  std::istringstream words(list);
  std::string found;
  while (std::getline(words, found, ',')) {
    if (found == word) return true;
  }
  return false;
}

std::uint64_t AvailableIn(const std::string& group, const Names& names) {
  const auto limit = NumberIn(group + "/" + names.limit);
  const auto usage = NumberIn(group + "/" + names.usage);
  if (!limit || !usage) return kUnknownMemory;
  std::uint64_t cached = 0;
  for (const char* key : names.cached) cached += ValueOf(group + "/memory.stat", key).value_or(0);
  const std::uint64_t used = *usage - std::min(cached, *usage);
  return *limit - std::min(used, *limit);
}

// The least of a group and all those around it.
std::uint64_t AvailableUpwards(const std::string& root, std::string path, const Names& names) {
  std::uint64_t least = AvailableIn(root, names);
  while (path.size() > 1) {
    least = std::min(least, AvailableIn(root + path, names));
    path.resize(path.rfind('/'));
  }
  return least;
}

// A line is `number:controllers:path`; version 2 has the number 0 and no controllers.
std::uint64_t AvailableInGroups(const MemoryFiles& files) {
  std::uint64_t least = kUnknownMemory;
  std::ifstream file(files.self_cgroup);
  std::string line;
  while (std::getline(file, line)) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos || line[second + 1] != '/') continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      least = std::min(least, AvailableUpwards(files.cgroup_root, path, kVersion2));
    } else if (HasWord(controllers, "memory")) {
      least = std::min(least, AvailableUpwards(files.cgroup_root + "/memory", path, kVersion1));
    }
  }
  return least;
}

}  // namespace

std::uint64_t AvailableMemory(const MemoryFiles& files) {
  constexpr std::uint64_t kKiB = 1024;
  const auto machine = ValueOf(files.meminfo, "MemAvailable:");
  return std::min(machine ? *machine * kKiB : kUnknownMemory, AvailableInGroups(files));
}

}  // namespace pagedkv::arena
