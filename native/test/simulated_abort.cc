// Undoing steps: which go together, what their sequences have after, and that nothing of them is
// left.

#include <algorithm>

#include "simulated_device.h"
#include "test.h"

namespace pagedkv::test {

// Lets the entry's sequence have the first `length` of its tokens, those given to this entry
// included.
void SimulatedDevice::SetHistory(const StepEntry& entry, std::size_t length) {
  Sequence& sequence = sequences_[entry.given.sequence];
  const std::size_t kept = std::min<std::size_t>(length, entry.base);
  sequence.tokens.resize(kept);
  const TokenList& given = entry.given.tokens;
  sequence.tokens = Join(std::move(sequence.tokens), Head(given, length - kept));
  sequence.values = {entry.values.begin(),
                     entry.values.begin() + static_cast<std::ptrdiff_t>(length)};
}

Status SimulatedDevice::TryAbort(StepId id) {
  const std::uint64_t before = Digest();
  const bool was_unchanged =
      steps_[id].changes_after == changes_ && steps_[id].stage == Stage::kScheduled;
  const Status status = manager_->Abort(steps_[id].handle);
  if (status != Status::kOk) return Failed(status, before);
  ++changes_;
  CHECK(steps_[id].stage != Stage::kClosed);
  if (was_unchanged) CHECK_EQ(Digest(), steps_[id].digest_before);
  if (was_unchanged && follows_events_) CHECK_EQ(Events().events(), steps_[id].events_before);
  std::vector<StepId> ended;
  for (const StepId later : OpenSteps()) {
    if (later < id) continue;
    // To end what never began answers whether the step is still open, and changes nothing.
    const Status probe = steps_[later].stage == Stage::kClosed
                             ? Status::kStepClosed
                             : manager_->EndExecute(steps_[later].handle, true);
    const bool must_end = later == id || DependsOn(later, ended, false);
    if (must_end) CHECK_EQ(probe, Status::kStepClosed);
    if (probe != Status::kStepClosed) continue;
    CHECK(must_end || DependsOn(later, ended, true));
    ended.push_back(later);
  }
  for (auto step = ended.rbegin(); step != ended.rend(); ++step) CloseStep(*step);
  Check();
  return status;
}

// Whether a step shares a sequence with one of `ended`; or also, when `counts_blocks`, uses a block
// that one of these was to bring from the host, or was to copy so as to leave it to others.
bool SimulatedDevice::DependsOn(StepId later, const std::vector<StepId>& ended,
                                bool counts_blocks) const {
  for (const StepId older : ended) {
    for (const StepEntry& entry : steps_[later].entries) {
      for (const StepEntry& other : steps_[older].entries) {
        if (entry.given.sequence == other.given.sequence) return true;
      }
    }
    if (!counts_blocks) continue;
    for (const auto& block : steps_[older].shared) {
      if (steps_[later].used.contains(block)) return true;
    }
    // It may append in a block that one of these was to leave to it, with no token of its own to
    // copy.
    for (const StepEntry& entry : steps_[later].entries) {
      for (const StepEntry& other : steps_[older].entries) {
        const bool left_nothing = other.base % config_.block_size == 0;
        const auto name_of = [&](const StepEntry& of) {
          return sequences_[of.given.sequence].name_space;
        };
        if (left_nothing && name_of(entry) == name_of(other)) return true;
      }
    }
    if (steps_[older].onboarded.empty()) continue;
    // It may have waited for a block that it then left without a trace, for lack of tokens to copy.
    for (const StepEntry& entry : steps_[later].entries) {
      if (sequences_[entry.given.sequence].was_on_host) return true;
    }
  }
  return false;
}

void SimulatedDevice::CloseStep(StepId id) {
  ForgetWritten(steps_[id]);
  steps_[id].stage = Stage::kClosed;
  for (const StepEntry& entry : steps_[id].entries) {
    Sequence& sequence = sequences_[entry.given.sequence];
    sequence.has_row = entry.had_row && !sequence.was_on_host;
    if (entry.skipped > 0) SetHistory(entry, entry.base);
  }
}

}  // namespace pagedkv::test
