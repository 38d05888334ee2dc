// What native code has allocated, for tests that look for leaks.
#include <cstdlib>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "operations.h"

namespace pagedkv::binding {
namespace {

// By the whole process, and not freed; 0 where the C library does not tell. Host memory is reserved
// otherwise, and not counted. O(arenas of the C library).
double AllocatedBytes() {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
  const struct mallinfo2 info = mallinfo2();
  return static_cast<double>(info.uordblks) + static_cast<double>(info.hblkhd);
#else
  return 0;
#endif
}

}  // namespace

// (out): of length 1.
Status MeasureHeap(const Call& call) {
  Napi::Float64Array out = call.Reals(0);
  if (out.ElementLength() < 1) throw Misuse{CallStatus::kInvalidArgument};
  out[0] = AllocatedBytes();
  return Status::kOk;
}

}  // namespace pagedkv::binding
