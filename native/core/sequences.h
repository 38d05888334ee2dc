// Sequences and their tails: what the manager knows of each, and nothing that it decides.
//
// A sequence of n tokens holds its full blocks through the prefix index (`run`, up to its end,
// `blocks` in all) and stands in one of three places:
// - at a boundary:        n == blocks * block_size, no tail;
// - in a private tail:    n >  blocks * block_size, the rest stands in the tail's block;
// - inside an indexed block: n < blocks * block_size, after a truncate, a fork or a partial match.
// Its last
//   held block is read up to n and never written.
// What open steps add stands in `planned`, and in the steps.
#pragma once

#include "eviction_policy.h"
#include "prefix_index.h"
#include "types.h"

namespace pagedkv {

using SequenceId = std::uint32_t;
using TailId = std::uint32_t;

// What every step asks for stands in the first cache line.
struct alignas(64) Sequence {
  std::uint32_t generation = 0;
  SequenceState state = SequenceState::kClosed;
  std::uint32_t length = 0;   // committed tokens
  std::uint32_t planned = 0;  // with those of open steps
  std::uint32_t blocks = 0;   // held through the index
  RunId run = kNone;
  TailId tail = kNone;
  std::uint32_t steps = 0;            // bit per open step that holds it
  std::uint32_t dirty_begin = kNone;  // cells of its row changed since they were last told
  std::uint32_t dirty_end = 0;
  std::uint32_t batch_mark = 0;  // of the schedule that saw it last, and of its place there
  KeyListId keys = kNone;
  std::uint32_t recomputed_end = 0;     // up to here the host had it, and computing it was chosen
  std::uint8_t retentions = 0;          // ranges that something was asked for
  bool computed = false;                // a token was committed since open, fork or resume
  bool resident = false;                // every held block is on the device, and in the row
  bool writable = false;                // in a step: the block at `planned` is of one of its steps
  bool diverged = false;                // an open step has left the held indexed block
  bool truncated = false;               // it stands inside an indexed block that it filled once
  bool closing = false;                 // closes when its last open step ends
  bool prefetches = false;              // it holds what a step without tokens brings to the device
  std::uint32_t cached = 0;             // found in memory at open or resume
  std::uint32_t reuse = kReuseUnknown;  // told at close
  Turn turn;
};

// A partly filled block and those who hold it: forks share it until one of them appends.
struct Tail {
  std::uint32_t holders = 0;
  std::uint32_t active = 0;        // of these not swapped out
  std::uint32_t leavers = 0;       // of these with a planned copy, so that they let go at commit
  std::uint32_t leaver_steps = 0;  // bit per step that planned one
  std::uint32_t used = 0;          // slots that any holder needs
  RunId run = kNone;       // set once the block was filled and indexed: the run that it ends
  std::uint8_t flags = 0;  // kRunLeaving, kRunOnboarding, as for runs
  TailId next_free = kNone;
};

}  // namespace pagedkv
