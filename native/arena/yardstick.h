// What a transfer is held against: the same pieces copied as any program would copy them.
#pragma once

#include "transfer.h"

namespace pagedkv::arena {

// Seconds that threads of its own take, each copying an equal part of the pieces with memcpy, from
// when all have begun until the last has ended. Requires a plan that is not quantized.
double PlainCopySeconds(const TransferPlan& plan, unsigned threads);

}  // namespace pagedkv::arena
