// Which instructions there are, found out when the program runs: one build serves every machine.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
#define PAGEDKV_X86_64 1
#else
#define PAGEDKV_X86_64 0
#endif

namespace pagedkv::arena {

enum class Cpu {
  kAny,   // what every processor of the kind has: SSE2, where it is x86-64
  kAvx2,  // and F16C
};

// The most that this machine has. AVX-512 was measured to move no byte faster.
Cpu ThisCpu();

}  // namespace pagedkv::arena
