// The public face of a manager: each call goes to the room that answers it.
#include "manager.h"
#include "manager_state.h"

namespace pagedkv {

Manager::Manager(const Config& config, std::uint32_t* shared)
    : state_(std::make_unique<State>(config, shared)) {}
Manager::~Manager() = default;
const Config& Manager::config() const {
  return state_->config;
}
const SharedLayout& Manager::layout() const {
  return state_->layout;
}
Manager::OpenResult Manager::Open(Tokens tokens, std::string_view name, KeyRanges ranges) {
  return state_->Open(tokens, name, ranges);
}
Manager::OpenResult Manager::Pin(Tokens tokens, std::string_view name, KeyRanges ranges) {
  return state_->Pin(tokens, name, ranges);
}
Manager::LookupResult Manager::Lookup(Tokens tokens, std::string_view name,
                                      KeyRanges ranges) const {
  return state_->Lookup(tokens, name, ranges);
}
Manager::AdmissionResult Manager::Admission(Tokens tokens, std::string_view name,
                                            KeyRanges ranges) {
  return state_->Admission(tokens, name, ranges);
}
Manager::OpenResult Manager::Fork(SequenceHandle sequence, std::uint32_t at) {
  return state_->Fork(sequence, at);
}
Status Manager::Truncate(SequenceHandle sequence, std::uint32_t length) {
  return state_->Truncate(sequence, length);
}
Manager::OpenResult Manager::Resume(SequenceHandle sequence, Tokens tokens,
                                    std::optional<KeyRanges> ranges) {
  return state_->Resume(sequence, tokens, ranges);
}
Status Manager::Close(SequenceHandle sequence, std::uint32_t reuse) {
  return state_->Close(sequence, reuse);
}
Status Manager::Retain(SequenceHandle sequence, const Retention& retention) {
  return state_->Retain(sequence, retention);
}
std::uint32_t Manager::RetainPrompt(Tokens tokens, std::string_view name,
                                    const Retention& retention, KeyRanges ranges) {
  return state_->RetainPrompt(tokens, name, retention, ranges);
}
void Manager::ExpectReuse(Tokens tokens, std::string_view name, std::uint32_t reuse,
                          KeyRanges ranges) {
  state_->ExpectReuse(tokens, name, reuse, ranges);
}
Manager::PreemptResult Manager::Demote(Tokens tokens, std::string_view name, KeyRanges ranges) {
  return state_->Demote(tokens, name, ranges);
}
Manager::ScheduleResult Manager::Prefetch(Tokens tokens, std::string_view name, KeyRanges ranges) {
  return state_->Prefetch(tokens, name, ranges);
}
Status Manager::SetQuota(std::string_view name, const Quota& quota) {
  return state_->SetQuota(name, quota);
}
Usage Manager::GetUsage(std::string_view name) const {
  return state_->GetUsage(name);
}
void Manager::SetTime(std::uint64_t now_ms) {
  state_->index.SetTime(now_ms);
}
Manager::ScheduleResult Manager::Schedule(std::uint32_t entries) {
  return state_->Schedule(entries);
}
Status Manager::BeginExecute(StepHandle step) {
  return state_->BeginExecute(step);
}
Status Manager::EndExecute(StepHandle step, bool ok) {
  return state_->EndExecute(step, ok);
}
Status Manager::Accept(StepHandle step, SequenceHandle sequence, std::uint32_t count) {
  return state_->Accept(step, sequence, count);
}
Status Manager::Commit(StepHandle step, Tokens ids) {
  return state_->Commit(step, ids);
}
Status Manager::Abort(StepHandle step) {
  return state_->Abort(step);
}
Manager::PreemptResult Manager::Preempt(SequenceHandle sequence, PreemptMode mode) {
  return state_->Preempt(sequence, mode);
}
Manager::VictimResult Manager::Victim(std::span<const SequenceHandle> handles,
                                      std::uint32_t blocks) const {
  return state_->Victim(handles, blocks);
}
void Manager::ReportTransfer(Direction direction, std::uint32_t blocks, double milliseconds) {
  state_->costs.ReportTransfer(direction, blocks, milliseconds);
}
void Manager::ReportPrefill(std::uint32_t tokens, std::uint32_t past, double milliseconds) {
  state_->costs.ReportPrefill(tokens, past, milliseconds);
}
const CostModel& Manager::costs() const {
  return state_->costs;
}
Status Manager::BeginTransfer(std::uint32_t ticket) {
  return state_->BeginTransfer(ticket);
}
Status Manager::EndTransfer(std::uint32_t ticket, bool ok) {
  return state_->EndTransfer(ticket, ok);
}
void Manager::Clear(std::optional<std::string_view> name) {
  state_->Clear(name);
}
Stats Manager::GetStats() const {
  return state_->GetStats();
}
Manager::Validation Manager::Validate() const {
  return state_->Validate();
}

}  // namespace pagedkv
