// What transfers and passes took, as callers report it, and what is made of it.
#include <limits>

#include "operations.h"

namespace pagedkv::binding {

// (manager, direction, blocks, milliseconds)
Status ReportTransfer(const Call& call) {
  const OpenManager& opened = call.manager();
  const std::uint32_t direction = call.Word(1);
  const std::uint32_t blocks = call.Word(2);
  if (direction > static_cast<std::uint32_t>(Direction::kOnboard) || blocks == 0) {
    throw Misuse{CallStatus::kInvalidArgument};
  }
  opened.manager->ReportTransfer(static_cast<Direction>(direction), blocks, call.Duration(3));
  return Status::kOk;
}

// (manager, tokens, past, milliseconds)
Status ReportPrefill(const Call& call) {
  const OpenManager& opened = call.manager();
  const std::uint32_t tokens = call.Word(1);
  if (tokens == 0) throw Misuse{CallStatus::kInvalidArgument};
  opened.manager->ReportPrefill(tokens, call.Word(2), call.Duration(3));
  return Status::kOk;
}

// (manager, out): the parts of what an offload, an onboard and a prefill take; NaN where not
// reported.
Status GetCosts(const Call& call) {
  const CostModel& costs = call.manager().manager->costs();
  Napi::Float64Array out = call.Reals(1);
  const TimeFit* const fits[] = {&costs.offload(), &costs.onboard(), &costs.prefill()};
  if (out.ElementLength() != std::size(fits) * TimeFit::kParts) {
    throw Misuse{CallStatus::kInvalidArgument};
  }
  double* part = out.Data();
  for (const TimeFit* fit : fits) {
    for (const double cost : fit->costs()) {
      *part++ = fit->is_known() ? cost : std::numeric_limits<double>::quiet_NaN();
    }
  }
  return Status::kOk;
}

}  // namespace pagedkv::binding
