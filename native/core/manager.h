// The manager ties the rooms below together: it opens sequences, plans steps, and moves blocks
// between tiers. It never touches the bytes of a key or a value: it emits plans, and is told how
// they ended.
//
// Invariant: after every public call, Validate() finds nothing broken; after a call that failed,
// the digest is what it was before.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "cost_model.h"
#include "shared_memory.h"
#include "types.h"

namespace pagedkv {

class Manager {
 public:
  struct OpenResult {
    Status status = Status::kOk;
    SequenceHandle handle;
    std::uint32_t cached_tokens = 0;
  };
  struct LookupResult {
    Status status = Status::kOk;
    std::uint32_t device_tokens = 0;  // the part of the hit that is on the device, from the start
    std::uint32_t host_tokens = 0;    // the part after it that must be onboarded
    std::uint32_t computing_tokens = 0;  // the part after that which open steps are computing now
    std::uint32_t worth_tokens = 0;      // of host_tokens, what is expected to be brought back
  };
  struct AdmissionResult {
    Status status = Status::kOk;
    std::uint64_t now_tokens = 0;    // fit beyond the hit without evicting
    std::uint64_t after_tokens = 0;  // fit once everything evictable is evicted
    bool admits = false;  // the prompt fits, and leaves as much as the watermarks ask for
  };
  struct ScheduleResult {
    Status status = Status::kOk;
    StepHandle step;
    Shortage shortage;  // when kOutOfBlocks
  };
  struct PreemptResult {
    Status status = Status::kOk;
    std::uint32_t ticket = kNone;  // kNone: nothing to move, nothing to end
    std::uint32_t moves =
        0;              // records at SharedLayout::transfer_moves: group, device block, host block
    Shortage shortage;  // host blocks, when kOutOfBlocks
  };
  // What it costs to preempt a sequence and to bring it back. What others hold too costs nothing.
  struct PreemptCost {
    std::uint32_t blocks = 0;               // of the device, that come free; 0: nothing to gain
    PreemptMode mode = PreemptMode::kSwap;  // the cheaper one
    double milliseconds = 0;                // of that
  };
  struct VictimResult {
    std::uint32_t index = kNone;  // kNone: none of them has anything to give
    PreemptCost cost;
  };
  struct EventsResult {
    Status status = Status::kOk;
    std::uint32_t words = 0;  // of whole records
    bool has_more = false;
  };
  struct Validation {
    const char* broken = nullptr;  // the invariant that does not hold, or null
    std::uint64_t digest = 0;      // of the whole logical state, list orders included
  };

  static Status CheckConfig(const Config& config);
  // Bytes of core metadata that a manager of this shape allocates at once, the shared memory not
  // counted. Names of namespaces and extra keys are the caller's to bound: each takes its bytes for
  // as long as anything stands under it.
  static std::uint64_t MetadataBytes(const Config& config);

  // Requires CheckConfig(config) == kOk and `shared` of SharedLayout::For(config).words zeroed
  // words that outlive the manager. Throws std::bad_alloc.
  Manager(const Config& config, std::uint32_t* shared);
  ~Manager();
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  const Config& config() const;
  const SharedLayout& layout() const;

  // Sequences. Costs are in blocks of the prompt (b) and runs of the index (r = b / 8 and more).
  // `keys`: extra keys on ranges of positions, sorted and apart, at most kMaxKeyRanges of at most
  // kMaxKeyBytes each; what is shared agrees in them. Forks have them too. A sequence that resumes
  // without any keeps those that it had.
  // What is on the host is left out where computing it again is expected to take less time.
  OpenResult Open(Tokens tokens, std::string_view name_space, KeyRanges keys = {});  // O(b)
  // As Open, but with all that is on the host.
  OpenResult Pin(Tokens tokens, std::string_view name_space, KeyRanges keys = {});  // O(b)
  LookupResult Lookup(Tokens tokens, std::string_view name_space,
                      KeyRanges keys = {}) const;  // O(b + open entries)
  AdmissionResult Admission(Tokens tokens, std::string_view name_space,
                            KeyRanges keys = {});                  // O(b)
  OpenResult Fork(SequenceHandle sequence, std::uint32_t at);      // O(r) + a copy of the row
  Status Truncate(SequenceHandle sequence, std::uint32_t length);  // O(runs given back)
  OpenResult Resume(SequenceHandle sequence, Tokens tokens,
                    std::optional<KeyRanges> keys = std::nullopt);  // as Open
  // `reuse`: milliseconds until what it leaves is expected to be used, kReuseNever or
  // kReuseUnknown.
  Status Close(SequenceHandle sequence, std::uint32_t reuse = kReuseUnknown);  // O(runs it holds)

  // Retention. A word on a sequence holds for what it has and for what it will compute, until a
  // later word on the same tokens by anyone. O(runs in range).
  Status Retain(SequenceHandle sequence, const Retention& retention);
  // The same for what is cached of a prompt. Returns the tokens found: none under invalid keys.
  std::uint32_t RetainPrompt(Tokens tokens, std::string_view name_space, const Retention& retention,
                             KeyRanges keys = {});
  // When a prompt that is cached is expected to be used, as Close tells it, but from now on. It is
  // told of the turn that used the end of what is found last; what a sequence holds waits for its
  // close. After kReuseNever only a use counts. O(b + runs used since that turn).
  void ExpectReuse(Tokens tokens, std::string_view name_space, std::uint32_t reuse,
                   KeyRanges keys = {});
  // Time passes, on a clock of the caller's that never goes back. O(log runs) for each run whose
  // life ends.
  void SetTime(std::uint64_t now_ms);

  // Quotas. A namespace may occupy up to `max` blocks of a tier, whatever they are for; to have
  // more, it gives up what it has cached itself. What it has cached is not evicted for the sake of
  // others while it occupies no more than `min`. A quota stays with the name until another is set;
  // one without limits is none. O(log quotas), and where the namespace has blocks and its first
  // quota comes, or its last goes, O(sequences + runs * log runs).
  Status SetQuota(std::string_view name_space, const Quota& quota);
  // Of a namespace with a quota; zeros of any other. O(log quotas).
  Usage GetUsage(std::string_view name_space) const;

  // Steps. The batch stands in shared memory: `entries` records, and their ids end to end.
  ScheduleResult Schedule(std::uint32_t entries);
  // A step with no token, that brings what is cached of a prompt to the device. O(blocks).
  ScheduleResult Prefetch(Tokens tokens, std::string_view name_space, KeyRanges keys = {});
  Status BeginExecute(StepHandle step);
  Status EndExecute(StepHandle step, bool ok);
  // Of an entry's query tokens only the first `count` are to be committed, once an entry and before
  // the commit; what lies behind was never there. A step that nobody has executed counts as
  // executed. A later step that was planned on top of what this rejects must be aborted first. O(1)
  // where no other batch with the sequence was scheduled since.
  Status Accept(StepHandle step, SequenceHandle sequence, std::uint32_t count);
  // `ids`: the ids of every entry scheduled as a count only, in batch order, those skipped and
  // those rejected left out.
  Status Commit(StepHandle step, Tokens ids);
  Status Abort(StepHandle step);

  PreemptResult Preempt(SequenceHandle sequence, PreemptMode mode);
  // Of these, the one that frees so many blocks at the least cost; where none frees as many, the
  // one that costs least for each. Those that no step may lose, or that have nothing to give, are
  // passed over. O(sequences * runs).
  VictimResult Victim(std::span<const SequenceHandle> sequences, std::uint32_t blocks) const;
  // What is cached of a prompt goes to the host, from its end up, as far as nobody holds it and
  // there is room. Nothing to move is no failure. O(blocks).
  PreemptResult Demote(Tokens tokens, std::string_view name_space, KeyRanges keys = {});
  Status BeginTransfer(std::uint32_t ticket);
  Status EndTransfer(std::uint32_t ticket, bool ok);

  // What transfers and passes took, by which onboarding and computing are weighed. No clock is
  // read.
  void ReportTransfer(Direction direction, std::uint32_t blocks, double milliseconds);
  void ReportPrefill(std::uint32_t tokens, std::uint32_t past, double milliseconds);
  const CostModel& costs() const;

  // Forgets what is cached under a name, in both tiers; with no name, under every name.
  void Clear(std::optional<std::string_view> name_space);

  // Tells what prompts can find that they could not when it was last asked, and what is gone for
  // good, as records (see EventKind) in `out`, which must have room for the longest one. With
  // `anew`, as if nothing had been told. What came and went meanwhile is left out. O(words).
  EventsResult TakeEvents(std::span<std::uint32_t> out, bool anew);
  static std::uint32_t LongestEvent(const Config& config);  // words
  // The names that records refer to, until the manager's next call.
  std::optional<std::string_view> NamespaceOf(std::uint32_t root) const;
  std::optional<std::string_view> KeyOf(std::uint32_t key) const;

  Stats GetStats() const;
  Validation Validate() const;  // O(everything)

  struct State;  // what the core is made of, for its own rooms only

 private:
  std::unique_ptr<State> state_;
};

}  // namespace pagedkv
