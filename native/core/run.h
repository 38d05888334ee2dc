// A run: up to kRunBlocks full blocks of one path, the node of the prefix index and the unit of its
// lists.
#pragma once

#include "types.h"

namespace pagedkv {

inline constexpr std::uint32_t kRunBlocks = 8;

using RunId = std::uint32_t;

enum class Tier : std::uint8_t { kDevice = 0, kHost = 1 };
inline constexpr std::uint32_t kTiers = 2;

// Within a tier, what nobody holds waits in queues: kQueues for each level. A lower level is
// evicted before a higher one; among the queues of a level the eviction policy chooses.
inline constexpr std::uint32_t kQueues = 8;
inline constexpr std::uint32_t kLevels = kPriorities + 1;
inline constexpr std::uint8_t kWorthlessLevel = 0;  // its time is over, or its conversation

constexpr std::uint8_t LevelOf(std::uint8_t priority) {
  return static_cast<std::uint8_t>(priority + 1);
}

// The lists that a run can stand in, at most one at a time.
using ListId = std::uint8_t;
inline constexpr ListId kNoList = 0;
inline constexpr ListId kParkedList = 1;  // on the device, held by swapped-out sequences only
inline constexpr ListId kFirstQueue = 2;
inline constexpr std::uint32_t kQueuesPerTier = kLevels * kQueues;
inline constexpr std::uint32_t kLists = kFirstQueue + kTiers * kQueuesPerTier;
static_assert(kQueuesPerTier <= 64, "a tier's queues are bits of one word");

enum RunFlag : std::uint8_t {
  kRunHost = 1,        // lives on the host
  kRunLeaving = 2,     // a transfer copies it to the host; the device copy is still the true one
  kRunArriving = 4,    // a step copies it to the host, where it is true once that has ended
  kRunOnboarding = 8,  // an open step brings it to the device; the host copy is the true one
  kRunDetached =
      16,          // cleared: nothing finds it, it shares nothing, and it goes with its last holder
  kRunAside = 32,  // taken out of its queue, and still counted there: see run_lists.h
  kRunBranched = 64,  // two continuations were seen below its end, once
  kRunTimed = 128,    // its life after its last use is limited
};

struct Run {
  RunId parent = kNone;
  RunId child = kNone;  // root of the treap of children
  RunId left = kNone;   // in the parent's treap
  RunId right = kNone;
  RunId prev = kNone;  // in the list; of a run in no list, a hint where it stood
  RunId next = kNone;
  std::uint32_t active = 0;             // active holders here, and children with any
  std::uint32_t parked = 0;             // parked holders here, and children with any
  std::uint32_t holders = 0;            // holders of both kinds that end here
  std::uint32_t device_children = 0;    // children on the device …
  std::uint32_t visible_on_device = 0;  // … of these, with a visible entry
  std::uint32_t visible_children = 0;   // children with a visible entry, in any tier
  std::uint32_t depth = 0;              // blocks above the first entry
  std::uint8_t length = 0;              // entries
  std::uint8_t hidden = 0;
  ListId list = kNoList;
  std::uint8_t flags = 0;
  std::uint64_t stamp = 0;  // of the deepest entry; each one above it counts one more
};
static_assert(sizeof(Run) == 64);

// What decides when a run is evicted, beside its place in a list. Apart from Run, as matching does
// not need it.
struct RunUse {
  std::uint32_t last_use = 0;     // milliseconds, which wrap
  std::uint32_t turn = 0;         // the policy's own: who used it last
  std::uint32_t fingerprint = 0;  // of the prefix before it, where the policy remembers
  std::uint8_t gap = 0;           // the policy's own: how often it is used
  std::uint8_t queue = 0;         // where the policy put it last
  std::uint8_t priority = kDefaultPriority;
  std::uint8_t level = LevelOf(kDefaultPriority);
};
static_assert(sizeof(RunUse) == 16);

}  // namespace pagedkv
