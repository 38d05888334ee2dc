// The words of the core: ids, limits, configuration, status codes. Everything else includes this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace pagedkv {

using Token = std::uint32_t;
using Tokens = std::span<const Token>;

// A block of one cache group. Ids below the group's device_blocks are device blocks; the host block
// h has the id device_blocks + h, so that one number says where a block lives.
using BlockId = std::uint32_t;
inline constexpr std::uint32_t kNone = 0xFFFFFFFFu;

inline constexpr std::uint32_t kMaxBlocksPerPool = 1u << 24;
inline constexpr std::uint32_t kMaxBlockSize = 1024;
inline constexpr std::uint32_t kMaxGroups = 8;
inline constexpr std::uint32_t kMaxSequences = 1u << 20;
inline constexpr std::uint32_t kMaxSequenceTokens = 1u << 28;
inline constexpr std::uint32_t kMaxOpenSteps = 16;
inline constexpr std::uint32_t kMaxKeyRanges = 256;
inline constexpr std::uint32_t kMaxKeyBytes = 1024;

// How long a block is kept is first a matter of its priority; the default lies in the middle.
inline constexpr std::uint8_t kPriorities = 7;
inline constexpr std::uint8_t kDefaultPriority = 3;

// What is asked for the blocks whose last token stands at a position from `from` on, and before
// `to`.
struct Retention {
  std::uint32_t from = 0;
  std::uint32_t to = kNone;
  std::uint8_t priority = kDefaultPriority;  // a lower one goes first, however lately it was used
  std::uint32_t life = 0;  // in milliseconds after its last use, then it goes before all; 0: no end
};
// Of one sequence, each for a range of its own.
inline constexpr std::uint32_t kMaxRetentions = 4;

// How many blocks of a tier a namespace may occupy, and how many of its own it keeps: up to `min`,
// what it has cached is not evicted for the sake of others.
struct TierQuota {
  std::uint32_t min = 0;
  std::uint32_t max = kNone;
  bool operator==(const TierQuota&) const = default;
};
struct Quota {
  TierQuota device;
  TierQuota host;
  bool operator==(const Quota&) const = default;
};
using PartitionId = std::uint8_t;  // see quotas.h
inline constexpr std::uint32_t kMaxQuotas = 255;

// What is known of the next use of what a closing sequence leaves behind.
inline constexpr std::uint32_t kReuseUnknown = kNone;
inline constexpr std::uint32_t kReuseNever = kNone - 1;  // else in milliseconds

// Which gives way first where the host is full: copies of what is on the device, so that both tiers
// together hold as much as they can, or what is on the host alone, so that copies stay.
enum class HostMode : std::uint32_t { kExclusive = 0, kInclusive = 1 };
// When a block of the device is copied to the host: as it leaves, as soon as it is computed, or
// once it was found a second time.
enum class HostWrite : std::uint32_t { kBack = 0, kThrough = 1, kSecondUse = 2 };

enum class PolicyKind : std::uint32_t { kLru = 0, kArc = 1, kAdaptive = 2 };

// Whether what a prompt finds on the host is brought back, or computed again: as costs less time.
enum class OnboardPolicy : std::uint32_t { kAuto = 0, kAlways = 1, kNever = 2 };
enum class Direction : std::uint32_t { kOffload = 0, kOnboard = 1 };

// The blocks of a group, and which keys its attention reads: all, or, of the query at position p,
// those from p + 1 - window on, or those from the begin of its chunk on, and always the first
// sinks.
struct GroupConfig {
  std::uint32_t device_blocks = 0;
  std::uint32_t host_blocks = 0;
  std::uint32_t window = 0;  // tokens, the query's own among them; 0: all
  std::uint32_t chunk = 0;   // tokens; 0: no chunks
  std::uint32_t sinks = 0;   // tokens
  // How many tokens can be taken back with all that the rest needs still there.
  std::uint32_t rollback = 1;

  // Whether what lies behind is given back.
  bool is_local() const { return window > 0 || chunk > 0; }
  // The first key, sinks aside, that the query at a position reads.
  std::uint32_t NeededFrom(std::uint32_t position) const {
    if (chunk > 0) return position / chunk * chunk;
    return window > 0 && position + 1 > window ? position + 1 - window : 0;
  }
};

struct Config {
  std::uint32_t block_size = 16;
  std::vector<GroupConfig> groups;
  std::uint32_t max_sequences = 256;
  std::uint32_t max_sequence_tokens = 32768;
  std::uint32_t max_batch_sequences = 256;
  std::uint32_t max_batch_tokens = 8192;
  std::uint32_t max_open_steps = 2;
  // Offloads and onboards that one step may plan, each; counted in blocks of one group.
  std::uint32_t max_step_transfers = 4096;
  // From how many tokens on a part of a cached block is worth copying.
  std::uint32_t min_partial_tokens = 1;
  PolicyKind policy = PolicyKind::kLru;
  HostMode host_mode = HostMode::kExclusive;
  HostWrite host_write = HostWrite::kBack;
  OnboardPolicy onboard = OnboardPolicy::kAuto;
  // Device blocks that stay free beside what is admitted; more of them once the device was full.
  std::uint32_t low_water = 0;
  std::uint32_t high_water = 0;
  // Whether TakeEvents tells what becomes findable and what is lost.
  bool events = false;
  // Kernels without slot mapping write every token: copy the block of a cached last token first.
  bool always_writes = false;
  // Of the fingerprints by which eviction policies know prefixes. Tests weaken them.
  std::uint32_t fingerprint_mask = ~0u;
  // Told apart in handles, so that a handle of another manager is an error.
  std::uint32_t nonce = 1;

  // Whether blocks of the device may have a copy on the host.
  bool has_mirrors() const {
    return groups[0].host_blocks > 0 &&
           (host_mode == HostMode::kInclusive || host_write != HostWrite::kBack);
  }
  bool has_local_groups() const {
    for (const GroupConfig& group : groups) {
      if (group.is_local()) return true;
    }
    return false;
  }
  std::uint32_t max_blocks_per_sequence() const {
    return (max_sequence_tokens + block_size - 1) / block_size;
  }
};

// What a sequence's positions stand under from one up to, but not including, another: see
// extra_keys.h.
struct KeyRange {
  std::uint32_t from = 0;
  std::uint32_t to = kNone;  // kNone: for ever
  std::string_view key;
};
using KeyRanges = std::span<const KeyRange>;

// Every public operation answers with one of these. kOutOfBlocks is a result; the rest is misuse,
// and leaves the state as it was.
enum class Status : std::uint32_t {
  kOk = 0,
  kOutOfBlocks = 1,         // not now: see needed, free and in_flight
  kInvalidConfig = 2,       // a limit is zero, too large, or contradicts another
  kSequenceClosed = 3,      // the handle's sequence was closed
  kSequenceForeign = 4,     // the handle belongs to another manager, or to none
  kSequenceDropped = 5,     // preempted by dropping: resume it first
  kSequenceNotDropped = 6,  // resume needs a dropped sequence
  kSequenceInStep = 7,      // a step that holds it is open
  kTooManySequences = 8,    // max_sequences are open
  kTooManyOpenSteps = 9,    // max_open_steps are open
  kTooManyNamespaces =
      10,           // every name holds blocks or sequences, and no room is left for one more
  kBeyondEnd = 11,  // fork or truncate past the committed length
  kEmptyBatch = 12,
  kEmptyTokens = 13,       // an entry of a batch with no token, or a prompt with none
  kBatchTooLarge = 14,     // more sequences or tokens than the limits given at construction
  kSequenceTooLong = 15,   // the sequence would pass max_sequence_tokens
  kDuplicateInBatch = 16,  // one sequence twice in a batch
  kStepClosed = 17,        // committed or aborted before
  kStepForeign = 18,
  kStepOutOfOrder = 19,  // an older step is still open, or was not executed yet
  kStepExecuted = 20,    // begin or end of execution told twice, or end before begin
  kIdsMissing = 21,      // tokens were scheduled as a count, and commit brought no ids, or too few
  kTransferClosed = 22,  // the ticket was ended before, or was never given
  kTransferOpen = 23,    // the sequence's swap-out has not ended yet
  kTooManyTransfers = 24,   // the moves would pass max_step_transfers
  kStepFailed = 25,         // its execution failed: abort it
  kIndexFull = 26,          // the prefix index has no run left, and nothing to evict for one
  kStepExecuting = 27,      // a device is at it: not before its execution has ended
  kTooManyRetentions = 28,  // kMaxRetentions ranges of the sequence were asked for already
  kInvalidKeys = 29,        // too many ranges, or unsorted, overlapping, empty, or a key too long
  kEventsOff = 30,          // the configuration says that no events are kept
  kNotInStep = 31,          // the step has no entry of the sequence
  kAcceptedTwice = 32,      // what of the entry is to be committed was told before
  kInvalidPath = 33,        // the entry has no such query tokens
  kBuiltUpon = 34,          // a later open step was planned on top of tokens that this rejects
  kQuotaTooLarge = 40,      // what is kept for namespaces would be more than a pool has
  kTooManyQuotas = 41,      // kMaxQuotas namespaces have one
  kQuotaInUse = 42,         // the namespace has blocks, and a step or a transfer is open
};

struct SequenceHandle {
  std::uint32_t slot = kNone;
  std::uint32_t generation = 0;
  std::uint32_t nonce = 0;
};

struct StepHandle {
  std::uint32_t slot = kNone;
  std::uint32_t generation = 0;
  std::uint32_t nonce = 0;
};

enum class SequenceState : std::uint32_t { kClosed = 0, kActive = 1, kSwapped = 2, kDropped = 3 };

// kAuto: as costs less time to bring back; by dropping where the host has no room.
enum class PreemptMode : std::uint32_t { kSwap = 0, kDrop = 1, kAuto = 2 };

// What stood in the way of an allocation, in blocks of the group that was short.
struct Shortage {
  std::uint32_t needed = 0;
  std::uint32_t free = 0;       // can be had now: free and evictable
  std::uint32_t in_flight = 0;  // come free once open steps and transfers end
};

struct TierStats {
  std::uint64_t total = 0;
  std::uint64_t free = 0;       // on the free list
  std::uint64_t cached = 0;     // indexed, held by nobody, evictable
  std::uint64_t held = 0;       // held by sequences or open steps
  std::uint64_t in_flight = 0;  // source or target of a transfer that has not ended
  std::uint64_t mirrors = 0;    // on the host: copies of what is on the device
};

// What a namespace with a quota occupies of a tier now, in blocks.
struct TierUsage {
  std::uint32_t used = 0;
  std::uint32_t cached = 0;   // of these held by nobody, and evictable
  std::uint32_t leaving = 0;  // of these promised to open steps, beside the cached ones
};
struct Usage {
  TierUsage device;
  TierUsage host;
};

// Counters since construction, but for the tiers, which are the state now (group 0).
struct Stats {
  TierStats device;
  TierStats host;
  std::uint64_t sequences = 0;  // open now
  std::uint64_t opens = 0;
  std::uint64_t prompt_tokens = 0;  // given to open and resume
  std::uint64_t hit_tokens = 0;  // of these found in memory; grows again when schedule finds more
  std::uint64_t host_hit_tokens = 0;
  std::uint64_t recomputed_tokens = 0;  // found on the host too, and computed: that took less time
  std::uint64_t onboard_choices = 0;    // prompts whose part on the host was brought back
  std::uint64_t recompute_choices = 0;  // … was computed
  std::uint64_t explorations = 0;       // … was split between the two, to learn what each takes
  std::uint64_t forks = 0;
  std::uint64_t copies_on_write = 0;
  std::uint64_t evictions = 0;         // cached blocks lost for good
  std::uint64_t offloaded_blocks = 0;  // device → host, cached blocks
  std::uint64_t spared_offloads = 0;   // of these without a copy, as the host had one
  std::uint64_t mirrored_blocks = 0;   // copied to the host ahead of leaving the device
  std::uint64_t onboarded_blocks = 0;  // host → device, cached or swapped
  std::uint64_t swapped_out_blocks = 0;
  std::uint64_t swapped_in_blocks = 0;
  std::uint64_t preemptions = 0;
  std::uint64_t drops = 0;       // of these by dropping
  std::uint64_t duplicates = 0;  // blocks computed twice and freed at commit
  std::uint64_t steps = 0;       // committed
  std::uint64_t aborts = 0;
  std::uint64_t committed_tokens = 0;
  std::uint64_t rejected_tokens = 0;   // computed by steps that were committed without them
  std::uint64_t out_of_blocks = 0;     // schedules and preemptions that did not fit
  std::uint64_t failed_transfers = 0;  // blocks
};

}  // namespace pagedkv
