#include "cpu.h"

namespace pagedkv::arena {

Cpu ThisCpu() {
#if PAGEDKV_X86_64
  const bool has_all = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
  return has_all ? Cpu::kAvx2 : Cpu::kAny;
#else
  return Cpu::kAny;
#endif
}

}  // namespace pagedkv::arena
