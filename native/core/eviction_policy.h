// The eviction policy decides two things: in which queue a run waits once nobody holds it any more,
// and which of several candidates goes first. Everything else (that only leaves go, that a lower
// level goes first, undo) is the lists' and the index's. Nothing of it is needed for correctness.
//
// A *turn* is what one sequence used from its opening to its close. Its runs are given back
// together.
#pragma once

#include <algorithm>
#include <memory>
#include <span>

#include "run.h"

namespace pagedkv {

// What a policy knows of the turn of an open sequence; kept with the sequence.
struct Turn {
  std::uint32_t hit_blocks = 0;     // found when it was opened
  std::uint32_t prompt_blocks = 0;  // full blocks of its prompt
  std::uint32_t known_blocks = 0;   // of these, found or remembered
  bool is_told = false;             // its opening was, so its end will be
  std::uint8_t gap = 0;             // how long its conversation pauses: Octaves of milliseconds
};

class EvictionPolicy {
 public:
  struct Candidate {
    RunId run = kNone;
    std::uint8_t queue = 0;
    bool is_front = false;     // of its queue; else the end of a turn of lately
    std::uint64_t stamp = 0;   // a smaller one was used longer ago
    std::uint32_t blocks = 0;  // that wait in its queue
  };

  // What a policy wants to be told beside uses.
  enum class Memory { kNothing, kTurns, kTurnsAndDrops };

  EvictionPolicy(const RunUse* uses, Memory memory) : memory_(memory), uses_(uses) {}
  virtual ~EvictionPolicy() = default;

  // Whether it wants the fingerprints of prefixes: 32-bit hashes, by which it knows again what is
  // in memory no more. Two prefixes may share one: then it errs, and nothing else does.
  bool remembers() const { return memory_ != Memory::kNothing; }
  bool remembers_drops() const { return memory_ == Memory::kTurnsAndDrops; }
  void SetTime(std::uint64_t now_ms) { now_ = static_cast<std::uint32_t>(now_ms); }

  // A prompt was opened. `deepest`: the last run that it found, or kNone. `missing`: fingerprints
  // of its prefixes that end with each full block not found. O(missing).
  virtual void Opened(Turn&, RunId /*deepest*/, std::span<const std::uint32_t> /*missing*/) {}
  // What follows is given back by a sequence that closes with so many blocks. `mark`: the
  // fingerprint of most of its prompt. `reuse`: milliseconds, or kReuseUnknown. O(1), amortised.
  virtual void BeginTurn(const Turn&, std::uint32_t /*blocks*/, std::uint32_t /*mark*/,
                         std::uint32_t /*reuse*/) {}
  virtual void EndTurn() {}

  // The prompt that ends with `end`, after so many blocks, is expected again in so many
  // milliseconds, or never, or nobody knows: for what is learned. O(1).
  virtual void Expect(RunId /*end*/, std::uint32_t /*blocks*/, std::uint32_t /*reuse*/) {}
  // The queue of a run that is expected so, and was placed before. O(1).
  virtual std::uint8_t PlaceExpected(const RunUse& use, std::uint32_t /*reuse*/) const {
    return use.queue;
  }

  // A run was used and is given back: the queue that it joins. `end`: the blocks of the path up to
  // its end. O(1).
  virtual std::uint8_t Place(RunUse& use, std::uint32_t end) = 0;
  // Chooses among two or more, of one level. O(candidates).
  virtual RunId Choose(Tier tier, std::span<const Candidate> candidates) = 0;
  // The last block of a run is dropped for good. O(1).
  virtual void Dropped(const RunUse&, std::uint32_t /*fingerprint*/) {}

 protected:
  const Memory memory_;
  const RunUse* const uses_;
  std::uint32_t now_ = 0;  // milliseconds, which wrap
};

// `blocks`: of both tiers together.
std::unique_ptr<EvictionPolicy> MakePolicy(PolicyKind kind, const RunUse* uses,
                                           std::uint32_t blocks);
std::unique_ptr<EvictionPolicy> MakeArc(const RunUse* uses, std::uint32_t blocks);
std::unique_ptr<EvictionPolicy> MakeAdaptive(const RunUse* uses, std::uint32_t blocks);
// What it remembers by.
std::uint64_t PolicyBytes(PolicyKind kind, std::uint32_t blocks);
std::uint64_t ArcBytes(std::uint32_t blocks);
std::uint64_t AdaptiveBytes(std::uint32_t blocks);

}  // namespace pagedkv
