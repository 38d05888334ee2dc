// What callers ask and tell of the time after a sequence: retention, reuse, demotion and prefetch.

#include <algorithm>

#include "simulated_device.h"
#include "test.h"

namespace pagedkv::test {

Status SimulatedDevice::TryRetain(SequenceId id, const Retention& retention) {
  const std::uint64_t before = Digest();
  const Status status = manager_->Retain(sequences_[id].handle, retention);
  if (status != Status::kOk) return Failed(status, before);
  ++changes_;
  Check();
  return status;
}

void SimulatedDevice::Retain(SequenceId id, const Retention& retention) {
  CHECK_EQ(TryRetain(id, retention), Status::kOk);
}

std::uint32_t SimulatedDevice::RetainPrompt(const TokenList& tokens, const Retention& retention,
                                            std::string_view name_space, const KeyList& keys) {
  const std::uint32_t found = manager_->RetainPrompt(tokens, name_space, retention, Ranges(keys));
  ++changes_;
  Check();
  return found;
}

void SimulatedDevice::ExpectReuse(const TokenList& tokens, std::uint32_t reuse,
                                  std::string_view name_space, const KeyList& keys) {
  manager_->ExpectReuse(tokens, name_space, reuse, Ranges(keys));
  ++changes_;
  Check();
}

void SimulatedDevice::SetTime(std::uint64_t now_ms) {
  manager_->SetTime(now_ms);
  ++changes_;
  Check();
}

SimulatedDevice::Preempted SimulatedDevice::TryDemote(const TokenList& tokens,
                                                      std::string_view name_space,
                                                      const KeyList& keys) {
  const Manager::LookupResult hit = Lookup(tokens, name_space, keys);
  const std::uint64_t before = Digest();
  const Preempted preempted =
      AdoptTransfer(manager_->Demote(tokens, name_space, Ranges(keys)), kNone, before);
  const Manager::LookupResult now = Lookup(tokens, name_space, keys);
  // It leaves the device when its transfer ends, or at once where the host has it already. On the
  // host it may have pushed out what continues it.
  CHECK(now.device_tokens <= hit.device_tokens);
  if (preempted.transfer != kNone) CHECK_EQ(hit.device_tokens, now.device_tokens);
  acting_ = {std::string(name_space)};
  Check();
  return preempted;
}

std::uint32_t SimulatedDevice::Demote(const TokenList& tokens) {
  const Preempted preempted = TryDemote(tokens);
  CHECK_EQ(preempted.status, Status::kOk);
  if (preempted.transfer != kNone) FinishTransfer(preempted.transfer);
  return preempted.moves;
}

// Its step has an entry with no token, for a sequence that is nobody's.
SimulatedDevice::Scheduled SimulatedDevice::TryPrefetch(const TokenList& tokens,
                                                        std::string_view name_space,
                                                        const KeyList& keys) {
  const Manager::LookupResult hit = Lookup(tokens, name_space, keys);
  const std::uint64_t before = Digest();
  const std::uint64_t events = follows_events_ ? Events().events() : 0;
  const bool is_on_device = IsHostEmpty();
  const Manager::ScheduleResult result = manager_->Prefetch(tokens, name_space, Ranges(keys));
  if (result.status != Status::kOk) {
    return {Failed(result.status, before), kNone, result.shortage};
  }
  Step step;
  step.handle = result.step;
  step.digest_before = before;
  step.events_before = events;
  step.changes_after = ++changes_;
  Sequence& sequence = sequences_.emplace_back();
  sequence.handle.slot = StepWordAt(step, layout_.step_rows);
  sequence.name_space = name_space;
  sequence.keys = keys;
  sequence.is_closed = sequence.prefetches = true;
  sequence.was_on_host = !is_on_device;
  const std::size_t found =
      std::min<std::size_t>(hit.device_tokens + hit.host_tokens, tokens.size() - 1);
  const auto id = static_cast<SequenceId>(sequences_.size() - 1);
  const std::vector<Value> values = ValuesFor({id, Head(tokens, found)});
  sequences_[id].values = values;
  sequences_[id].tokens = Head(tokens, found);
  StepEntry& entry = step.entries.emplace_back();
  entry.given.sequence = id;
  entry.values = values;
  entry.base = static_cast<std::uint32_t>(values.size());
  ReadPlan(step);
  NoteBlocks(step);
  ActFor(step);
  steps_.push_back(std::move(step));
  Check();
  return {Status::kOk, static_cast<StepId>(steps_.size() - 1), {}};
}

StepId SimulatedDevice::Prefetch(const TokenList& tokens) {
  const Scheduled scheduled = TryPrefetch(tokens);
  CHECK_EQ(scheduled.status, Status::kOk);
  return scheduled.step;
}

std::size_t SimulatedDevice::OpenPrefetches() const {
  const std::vector<StepId> open = OpenSteps();
  return static_cast<std::size_t>(std::count_if(open.begin(), open.end(), [&](StepId id) {
    return sequences_[steps_[id].entries[0].given.sequence].prefetches;
  }));
}

}  // namespace pagedkv::test
