#include "cpu.h"

namespace pagedkv::arena {

Cpu ThisCpu() {
#if PAGEDKV_X86_64
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("f16c")) return Cpu::kAny;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")) return Cpu::kAvx2;
  return Cpu::kAvx512;
#else
  return Cpu::kAny;
#endif
}

}  // namespace pagedkv::arena
