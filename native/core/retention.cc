// How long blocks are kept: what callers ask for, where it is written down, and what the eviction
// policy is told. The index keeps
// each run's priority and life; a sequence keeps what was asked for ranges that it has yet to
// compute.
#include <algorithm>

#include "manager_state.h"

namespace pagedkv {

// A block is found by those who have all its tokens, so it belongs to the range of its last one.
// Null where nothing was asked.
const Retention* Manager::State::RetentionOf(SequenceId id, std::uint32_t block) const {
  const std::uint32_t last = (block + 1) * config.block_size - 1;
  const Retention* asked = Retentions(id);
  for (std::uint32_t i = sequences[id].retentions; i-- > 0;) {
    if (asked[i].from <= last && last < asked[i].to) return &asked[i];
  }
  return nullptr;
}

// Requires two free runs: a path is split where the range begins and ends.
void Manager::State::RetainPath(RunId run, const Retention& retention) {
  const std::uint32_t bs = config.block_size;
  // Blocks whose last token is in the range.
  const std::uint32_t first = retention.from / bs;
  const std::uint32_t end = retention.to == kNone ? kNone : retention.to / bs;
  if (first >= end) return;
  while (index.run(run).parent != kNone) {
    const std::uint32_t depth = index.run(run).depth;
    const std::uint32_t below = index.blocks_above_end(run);
    if (below <= first) return;
    if (depth >= end) {
      run = index.run(run).parent;
      continue;
    }
    if (below > end) run = index.Split(run, end - depth);
    if (depth < first) index.Split(run, first - depth);
    const RunId parent = index.run(run).parent;
    index.Retain(run, retention.priority, retention.life);
    run = parent;
  }
}

Status Manager::State::Retain(SequenceHandle handle, const Retention& retention) {
  SequenceId id;
  if (const Status status = Check(handle, id); status != Status::kOk) return status;
  Sequence& sequence = sequences[id];
  if (sequence.steps != 0) return Status::kSequenceInStep;
  Retention* asked = Retentions(id);
  // A word on the same or a wider range takes the place of an older one.
  const auto is_covered = [&](const Retention& older) {
    return retention.from <= older.from && older.to <= retention.to;
  };
  const auto kept = static_cast<std::uint32_t>(
      std::count_if(asked, asked + sequence.retentions,
                    [&](const Retention& older) { return !is_covered(older); }));
  if (kept == kMaxRetentions) return Status::kTooManyRetentions;
  if (!EnsureRuns(2)) return Status::kIndexFull;
  std::remove_if(asked, asked + sequence.retentions, is_covered);
  asked[kept] = retention;
  sequence.retentions = static_cast<std::uint8_t>(kept + 1);
  RetainPath(sequence.run, retention);
  return Status::kOk;
}

// Whether the next block that a sequence publishes may stand in the same run as the last one.
bool Manager::State::IsRetainedAlike(SequenceId id, RunId run) const {
  const Retention* asked = RetentionOf(id, sequences[id].blocks);
  return asked == nullptr ? index.IsRetained(run, kDefaultPriority, 0)
                          : index.IsRetained(run, asked->priority, asked->life);
}

// A block that a sequence found or published at the end of `run` gets what was asked for it.
void Manager::State::RetainBlock(SequenceId id, RunId run, std::uint32_t block) {
  const Retention* asked = RetentionOf(id, block);
  if (asked != nullptr) index.Retain(run, asked->priority, asked->life);
}

// The blocks that a sequence has found, from one on, get what was asked for them.
void Manager::State::RetainFound(SequenceId id, std::uint32_t from_block) {
  for (std::uint32_t i = 0; i < sequences[id].retentions; ++i) {
    Retention asked = Retentions(id)[i];
    asked.from = std::max(asked.from, from_block * config.block_size);
    if (asked.from < asked.to) RetainPath(sequences[id].run, asked);
  }
}

std::uint32_t Manager::State::RetainPrompt(Tokens tokens, std::string_view name,
                                           const Retention& retention, KeyRanges ranges) {
  if (FindRoot(name) == kNone || !EnsureRuns(3)) return 0;
  const PrefixIndex::Match match = FindPrompt(name, tokens, ranges);
  if (match.tokens == 0) return 0;
  RetainPath(index.EndAfter(match.run, match.count), retention);
  return match.tokens;
}

void Manager::State::ExpectReuse(Tokens tokens, std::string_view name, std::uint32_t reuse,
                                 KeyRanges ranges) {
  const PrefixIndex::Match match = FindPrompt(name, tokens, ranges);
  if (match.run == kNone) return;
  index.policy().Expect(match.run, match.tokens / config.block_size, reuse);
  index.Expect(match.run, reuse);
  const bool is_end = match.count == index.run(match.run).length && IsEnd(match.run);
  if (reuse == kReuseNever && is_end) ForgetEnd(match.run);
}

// From the end of a path up, as far as nobody holds it and it never led anywhere else.
void Manager::State::ForgetEnd(RunId run) {
  while (RunLists::IsQueue(index.run(run).list)) {
    const RunId parent = index.run(run).parent;
    index.MakeWorthless(run);
    if ((index.run(parent).flags & kRunBranched) != 0) return;
    run = parent;
  }
}

// --- What the eviction policy is told ---

void Manager::State::TellOpened(SequenceId id, const PrefixIndex::Match& match, Tokens tokens) {
  Turn& turn = sequences[id].turn;
  const std::uint32_t bs = config.block_size;
  turn.hit_blocks = match.tokens / bs;
  turn.prompt_blocks = static_cast<std::uint32_t>(tokens.size() / bs);
  missing.clear();
  if (turn.hit_blocks < turn.prompt_blocks) {
    ExtraCursor extras = keys.CursorOf(sequences[id].keys);
    std::uint32_t prefix = index.FingerprintAfter(match.run, match.count);
    for (std::uint32_t block = turn.hit_blocks; block < turn.prompt_blocks; ++block) {
      const Content content{tokens.data() + std::size_t{block} * bs, extras.At(block)};
      prefix = index.Fingerprint(prefix, content);
      missing.push_back(prefix);
    }
  }
  index.policy().Opened(turn, turn.hit_blocks > 0 ? match.run : kNone, missing);
}

void Manager::State::TellClosing(const Sequence& sequence) {
  if (!index.policy().remembers()) return;
  index.policy().BeginTurn(sequence.turn, sequence.blocks, MarkOf(sequence), sequence.reuse);
  index.lists().BeginTurn();
}

// By its last eighth a prompt may differ, and still be known as the one that went before: what
// stands at its end is often rewritten.
std::uint32_t Manager::State::MarkOf(const Sequence& sequence) const {
  const std::uint32_t blocks = std::min(sequence.turn.prompt_blocks, sequence.blocks);
  const std::uint32_t marked = blocks == 0 ? 0 : blocks - (blocks - 1) / 8;
  RunId run = sequence.run;
  while (index.run(run).depth > 0 && index.run(run).depth >= marked) run = index.run(run).parent;
  const Run& at = index.run(run);
  return index.FingerprintAfter(run, std::min<std::uint32_t>(marked - at.depth, at.length));
}

// As its last block goes.
void Manager::State::TellDropped(RunId run) {
  if (!index.policy().remembers_drops() || index.run(run).length > 1) return;
  index.policy().Dropped(index.use(run), index.FingerprintAfter(run, 1));
}

}  // namespace pagedkv
