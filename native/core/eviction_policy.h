// The eviction policy decides two things: in which queue a run waits once nobody holds it any more,
// and which of several queues gives the next victim. Everything else (that only leaves go, that a
// lower level goes first, undo) is the lists' and the index's.
#pragma once

#include <memory>

#include "run.h"

namespace pagedkv {

class EvictionPolicy {
 public:
  // What a queue offers: its run of longest ago, and how many blocks wait in it.
  struct Candidate {
    const RunUse* front = nullptr;
    std::uint32_t blocks = 0;
  };

  virtual ~EvictionPolicy() = default;
  // A run was used and is given back: the queue that it joins. O(1).
  virtual std::uint8_t Place(RunUse& use) = 0;
  // Chooses among the queues whose bits are set, more than one; `candidates` by queue. O(kQueues).
  virtual std::uint8_t Choose(Tier tier, std::uint8_t queues, const Candidate* candidates) = 0;
};

// `blocks`: of both tiers together.
std::unique_ptr<EvictionPolicy> MakePolicy(PolicyKind kind, std::uint32_t blocks);

}  // namespace pagedkv
