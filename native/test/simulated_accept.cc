// Accepting a part of a step: what the sequences have after, and that what was rejected is nowhere.

#include <algorithm>

#include "simulated_device.h"
#include "test.h"

namespace pagedkv::test {

SimulatedDevice::StepEntry* SimulatedDevice::FindEntry(Step& step, SequenceId sequence) {
  const auto found =
      std::find_if(step.entries.begin(), step.entries.end(),
                   [&](const StepEntry& entry) { return entry.given.sequence == sequence; });
  return found == step.entries.end() ? nullptr : &*found;
}

Status SimulatedDevice::TryAccept(StepId id, SequenceId sequence, std::uint32_t count) {
  const std::uint64_t before = Digest();
  Step& step = steps_[id];
  const Status status = manager_->Accept(step.handle, sequences_[sequence].handle, count);
  if (status != Status::kOk) return Failed(status, before);
  ++changes_;
  if (step.stage == Stage::kScheduled) {
    // It counts as executed, so it was.
    Perform(step);
    step.stage = Stage::kExecuted;
    ActFor(step);
  }
  StepEntry* entry = FindEntry(step, sequence);
  CHECK(entry != nullptr && !entry->is_accepted);
  Narrow(step, *entry, count);
  Check();
  return status;
}

// From now on the entry has that many query tokens. What the others wrote is nobody's.
void SimulatedDevice::Narrow(Step& step, StepEntry& entry, std::uint32_t count) {
  const std::size_t end = entry.base + entry.skipped + count;
  CHECK(end <= entry.values.size());
  for (std::uint32_t g = 0; g < config_.groups.size(); ++g) {
    for (std::size_t at = end; at < entry.values.size(); ++at) {
      const std::uint32_t slot = entry.rows[g][at / config_.block_size] * config_.block_size +
                                 static_cast<std::uint32_t>(at % config_.block_size);
      const auto written = std::find(step.written[g].begin(), step.written[g].end(), slot);
      if (written == step.written[g].end()) continue;  // it was there before
      device_[g][slot] = kPoison;
      step.written[g].erase(written);
    }
  }
  entry.values.resize(end);
  entry.given.tokens.resize(entry.skipped + count);
  entry.is_accepted = true;
}

std::uint32_t SimulatedDevice::QueryTokens(StepId step, SequenceId sequence) const {
  for (const StepEntry& entry : steps_[step].entries) {
    if (entry.given.sequence == sequence)
      return static_cast<std::uint32_t>(entry.given.tokens.size()) - entry.skipped;
  }
  return kNone;
}

bool SimulatedDevice::IsAccepted(StepId step, SequenceId sequence) const {
  return std::any_of(steps_[step].entries.begin(), steps_[step].entries.end(),
                     [&](const StepEntry& entry) {
                       return entry.given.sequence == sequence && entry.is_accepted;
                     });
}

bool SimulatedDevice::IsBuiltUpon(StepId step, SequenceId sequence) const {
  const std::vector<StepId> open = OpenSteps();
  return std::any_of(open.begin(), open.end(), [&](StepId later) {
    return later > step && QueryTokens(later, sequence) != kNone;
  });
}

}  // namespace pagedkv::test
