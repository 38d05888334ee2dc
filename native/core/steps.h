// Open steps, and the claims they have on cached blocks.
#pragma once

#include <vector>

#include "prefix_index.h"
#include "sequences.h"
#include "types.h"

namespace pagedkv {

enum EntryFlag : std::uint8_t {
  kEntryKnown = 1,       // ids were given
  kEntryCopied = 2,      // its first block set takes the place of a shared block
  kEntryLeftTail = 4,    // … of its tail; else of an indexed block
  kEntryGuessed = 8,     // its tokens may be rejected: none is left out, and nobody hears of them
  kEntryActivated = 16,  // it was swapped out
  kEntryOnboarded = 32,  // it was not resident
  kEntryAccepted = 64,   // it ends where the tokens end that are to be committed
};

inline constexpr std::uint64_t kNoStamp = ~0ull;

// One sequence of a step: the tokens that were planned. Most append one to a block that they hold
// alone, and there is no more to know of them.
struct StepEntry {
  SequenceId sequence = kNone;
  std::uint32_t begin = 0;  // position of the first query token
  std::uint32_t end = 0;
  std::uint32_t token_offset = 0;  // into the step's tokens
  std::uint32_t skipped = 0;       // leading tokens of those given that were found in memory
  std::uint32_t change = kNone;    // into the step's changes, of those that need more than that
  std::uint8_t flags = 0;
  bool old_writable = false;
  bool old_diverged = false;
};

// What else an entry needs, and what to go back to.
struct EntryChange {
  SequenceId sequence = kNone;
  std::uint32_t first_set = 0;  // into the step's block sets
  std::uint32_t sets = 0;
  RunId old_run =
      kNone;  // held beside the sequence's own, where schedule found more of it in memory
  std::uint64_t old_stamp = kNoStamp;  // of the run of one block that it took over
  // Of the indexed block at its end, which was taken out of the index to be written in place.
  TokenSlot lifted = kNone;
  std::uint32_t old_life = 0;
  std::uint32_t old_length = 0;
  std::uint32_t old_planned = 0;
  std::uint32_t old_blocks = 0;
  std::uint32_t old_cached = 0;
  std::uint32_t old_recomputed_end = 0;
  std::uint32_t update_begin = kNone;  // the cells that the step tells as changed
  std::uint32_t update_end = 0;
  std::uint8_t old_priority = kDefaultPriority;
  bool old_resident = false;
};

// A promise of a cached entry to an open step: on the device to take its block, on the host to make
// room. The entry stays in the index, hidden, until the step executes. Claims stand in a queue:
// schedule adds at the back, execution makes them true from the front, abort gives back from the
// back. So what was claimed last is restored first, and what lies deepest in the index goes first.
struct Claim {
  RunId run = kNone;  // kNone: the entry went otherwise, the blocks remain
  std::uint32_t step =
      kNone;  // kNone: an orphan: its step was aborted, but a later claim stands behind it
  bool host = false;
  bool offloads = false;            // a device block that moves to the host
  bool is_mirrored = false;         // … which has a copy of it already
  std::uint8_t used_groups = 0;     // bit per group whose block the step has put to use
  PartitionId user = 0;             // for whom, in the first group
  std::uint8_t target_claimed = 0;  // bit per group whose host target comes from a claim of its own
};

struct Onboard {
  std::uint32_t set = 0;  // into the step's block sets: the device blocks
  TailId tail = kNone;    // kNone: an entry of a run
  bool swapped = false;   // for a sequence that was swapped out
};

struct Deferred {
  std::uint32_t group = 0;
  BlockId block = kNone;
};

enum class StepState : std::uint8_t { kFree, kPlanned, kExecuting, kExecuted, kFailed };

struct Step {
  StepState state = StepState::kFree;
  std::uint32_t generation = 0;
  std::uint32_t depends_on = 0;  // bit per open step that must not be aborted alone
  std::uint32_t copies = 0;
  std::uint32_t offloads = 0;  // sets copied to the host
  std::uint32_t host_hits = 0;
  std::uint32_t reserved_runs = 0;
  std::uint32_t first_mark = 0;  // of its sequences, in the order of its entries
  std::uint32_t queries = 0;     // its query tokens, without those that were rejected
  std::uint32_t rejected = 0;
  std::uint32_t missing_ids = 0;  // that commit must bring
  bool has_redundant = false;     // it brought in a block that was computed meanwhile
  std::vector<StepEntry> entries;
  std::vector<EntryChange> changes;
  std::vector<Token> ids;
  // Block sets, one block a group each, in order of allocation. kFromClaim marks those claimed.
  std::vector<BlockId> sets;
  std::vector<Onboard> onboards;
  std::vector<BlockId> onboard_hosts;    // a set for each
  std::vector<BlockId> offload_sources;  // device sets that move to the host; kNone: not copied …
  std::vector<BlockId> arrivals;         // … and the host sets that they go to
  std::vector<BlockId> mirror_sources;   // device sets that are copied to the host, and stay …
  std::vector<BlockId> mirror_targets;   // … and the host sets that they are copied to
  std::vector<std::uint8_t> mirror_claims;  // of each, a bit per group that a claim has given
  std::vector<Deferred> redundant;          // those blocks
  std::vector<Deferred> deferred;           // to be freed when this step ends

  void ForgetMirrors() {
    mirror_sources.clear();
    mirror_targets.clear();
    mirror_claims.clear();
  }
  EntryChange& ChangeOf(const StepEntry& entry) { return changes[entry.change]; }
};

inline constexpr BlockId kFromClaim = 1u << 31;

}  // namespace pagedkv
