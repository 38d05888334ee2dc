// How often the process has asked for memory: what must not grow is measured by it.
#pragma once

#include <cstdint>

namespace pagedkv::test {

std::uint64_t Allocations();

}  // namespace pagedkv::test
