// Which instructions there are, found out when the program runs: one build serves every machine.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
#define PAGEDKV_X86_64 1
#else
#define PAGEDKV_X86_64 0
#endif

namespace pagedkv::arena {

// Each has what those before it have.
enum class Cpu {
  kAny,     // what the compiler makes of plain C++
  kAvx2,    // with F16C
  kAvx512,  // F and BW
};

// The most that this machine has.
Cpu ThisCpu();

}  // namespace pagedkv::arena
