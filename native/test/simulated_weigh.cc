// Swap or recompute: what the simulator knows of what was chosen.

#include <algorithm>

#include "simulated_device.h"
#include "test.h"

namespace pagedkv::test {

// Of a prompt that was looked up before, an opening finds what is worth bringing back, unless it
// explores.
void SimulatedDevice::CheckFound(const Manager::LookupResult& hit, const TokenList& tokens,
                                 std::uint32_t cached, const Stats& before) {
  const std::size_t most = tokens.size() - 1;
  CHECK(cached <= most);
  CHECK(cached <= hit.device_tokens + hit.host_tokens);
  CHECK(cached >= std::min<std::size_t>(hit.device_tokens, most));
  const Stats after = manager_->GetStats();
  const std::uint64_t chosen = after.onboard_choices + after.recompute_choices +
                               after.explorations - before.onboard_choices -
                               before.recompute_choices - before.explorations;
  CHECK(chosen <= 1);
  if (after.explorations != before.explorations) return;
  CHECK_EQ(cached, std::min<std::size_t>(hit.device_tokens + hit.worth_tokens, most));
}

std::vector<HostHit> SimulatedDevice::HostHits(StepId step) {
  std::vector<HostHit> hits(StepArray(step, 0)[kStepHostHits]);
  const std::uint32_t* record = StepArray(step, layout_.step_host_hits);
  for (HostHit& hit : hits) {
    hit = {record[0], record[1], record[2]};
    record += 3;
  }
  return hits;
}

// Who is named has blocks to give, and whoever frees enough goes before who does not.
Manager::VictimResult SimulatedDevice::Victim(const std::vector<SequenceId>& sequences,
                                              std::uint32_t blocks) const {
  std::vector<SequenceHandle> handles;
  for (const SequenceId id : sequences) handles.push_back(sequences_[id].handle);
  const std::uint64_t before = Digest();
  const Manager::VictimResult victim = manager_->Victim(handles, blocks);
  CHECK_EQ(Digest(), before);
  if (victim.index == kNone) return victim;
  CHECK(victim.index < sequences.size());
  const SequenceId id = sequences[victim.index];
  CHECK_EQ(State(id), SequenceState::kActive);
  CHECK(!IsInStep(id));
  CHECK(victim.cost.blocks > 0);
  CHECK(victim.cost.milliseconds >= 0);
  return victim;
}

void SimulatedDevice::ReportTransfer(Direction direction, std::uint32_t blocks, double ms) {
  const std::uint64_t before = Digest();
  manager_->ReportTransfer(direction, blocks, ms);
  CHECK_EQ(Digest(), before);
}

void SimulatedDevice::ReportPrefill(std::uint32_t tokens, std::uint32_t past, double ms) {
  const std::uint64_t before = Digest();
  manager_->ReportPrefill(tokens, past, ms);
  CHECK_EQ(Digest(), before);
}

}  // namespace pagedkv::test
