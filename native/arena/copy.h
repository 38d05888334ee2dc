// Copies of pieces that are too many to stay in a cache: streaming stores write memory without
// reading it first, and what comes next is fetched while a piece is copied.
#pragma once

#include <cstddef>

#include "cpu.h"

namespace pagedkv::arena {

// Copies `bytes` that do not overlap. `ahead` is what will be read about kAheadBytes later, of the
// same length; for a piece at least as long as that, the next one. It is never dereferenced.
using Copier = void (*)(std::byte* to, const std::byte* from, std::size_t bytes,
                        const std::byte* ahead);

// About as far as memory is away, at the rate of one thread.
inline constexpr std::size_t kAheadBytes = 4096;

// Plain copies leave what they wrote in the cache.
Copier PlainCopier();
// After the last copy and before another thread is told of it: EndStreaming().
Copier StreamingCopier(Cpu cpu);
void EndStreaming();

}  // namespace pagedkv::arena
