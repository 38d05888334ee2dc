// Whether to bring blocks back from the host or to compute their tokens again: arithmetic on what
// the caller reports of both, without a clock. docs/offload.md tells the formula, and what it rests
// on.
//
// It learns only of what is chosen, so it now and then chooses the other for a part, where an old
// or thin estimate could be wrong enough to matter: never for more than a share of what the choices
// cost.
#pragma once

#include <cstdint>

#include "time_fit.h"
#include "types.h"

namespace pagedkv {

class CostModel {
 public:
  // Blocks on the host that continue what is on the device, and what computing them again would be.
  struct Hit {
    std::uint32_t blocks = 0;
    std::uint32_t tokens = 0;  // in them
    std::uint32_t past = 0;    // tokens before them
  };
  struct Choice {
    std::uint32_t blocks = 0;  // to bring back, from the first
    bool explores = false;
  };

  explicit CostModel(OnboardPolicy policy) : policy_(policy) {}

  void ReportTransfer(Direction direction, std::uint32_t blocks, double milliseconds);
  // Of a pass that computed so many tokens of one sequence after others.
  void ReportPrefill(std::uint32_t tokens, std::uint32_t past, double milliseconds);

  // Whether both sides of a choice were reported.
  bool is_known() const { return onboard_.is_known() && prefill_.is_known(); }
  const TimeFit& onboard() const { return onboard_; }
  const TimeFit& offload() const { return offload_; }
  const TimeFit& prefill() const { return prefill_; }

  // Milliseconds; before anything was reported, as if transfers were the faster by far.
  double OnboardTime(std::uint32_t blocks) const;
  double OffloadTime(std::uint32_t blocks) const;
  // What computing these tokens adds to a pass that runs anyway.
  double PrefillTime(std::uint32_t tokens, std::uint32_t past) const;

  bool IsWorth(const Hit& hit) const;
  // What to bring back of a hit, and what it takes is counted.
  Choice Choose(const Hit& hit);

 private:
  Choice FirstChoice(const Hit& hit);
  Choice Explore(const Hit& hit, bool brings);
  double MixedTime(const Hit& hit, std::uint32_t blocks) const;

  const OnboardPolicy policy_;
  TimeFit onboard_;
  TimeFit offload_;
  TimeFit prefill_;
  std::uint32_t first_choices_ = 0;  // before anything was reported of transfers
  std::uint64_t choices_ = 0;
  double allowance_ = 0;  // milliseconds that exploring may cost now
};

}  // namespace pagedkv
