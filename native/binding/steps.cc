// Steps and transfers: one call to plan a whole batch, one to commit it.
#include <vector>

#include "operations.h"

namespace pagedkv::binding {
namespace {

void Reply(const OpenManager& opened, const Shortage& shortage) {
  opened.reply[kReplyNeeded] = shortage.needed;
  opened.reply[kReplyFree] = shortage.free;
  opened.reply[kReplyInFlight] = shortage.in_flight;
}

Status Reply(const OpenManager& opened, const Manager::ScheduleResult& result) {
  opened.reply[kReplySlot] = result.step.slot;
  opened.reply[kReplyGeneration] = result.step.generation;
  Reply(opened, result.shortage);
  return result.status;
}

Status Reply(const OpenManager& opened, const Manager::PreemptResult& result) {
  opened.reply[kReplyTicket] = result.ticket;
  opened.reply[kReplyMoves] = result.moves;
  Reply(opened, result.shortage);
  return result.status;
}

}  // namespace

// (manager, entries): the batch stands in the memory.
Status Schedule(const Call& call) {
  const OpenManager& opened = call.manager_now();
  return Reply(opened, opened.manager->Schedule(call.Word(1)));
}

// (manager, ids, prompt)
Status Prefetch(const Call& call) {
  const OpenManager& opened = call.manager_now();
  const GivenPrompt prompt(call, 2);
  return Reply(opened, opened.manager->Prefetch(call.Ids(1), prompt.name(), prompt.keys()));
}

// (manager, slot, generation)
Status BeginExecute(const Call& call) {
  const OpenManager& opened = call.manager();
  return opened.manager->BeginExecute(call.Step(opened));
}

// (manager, slot, generation, ok)
Status EndExecute(const Call& call) {
  const OpenManager& opened = call.manager();
  return opened.manager->EndExecute(call.Step(opened), call.Flag(3));
}

// (manager, slot, generation, slot and generation of the sequence, count)
Status Accept(const Call& call) {
  const OpenManager& opened = call.manager();
  const SequenceHandle sequence{
      .slot = call.Word(3), .generation = call.Word(4), .nonce = opened.manager->config().nonce};
  return opened.manager->Accept(call.Step(opened), sequence, call.Word(5));
}

// (manager, slot, generation, ids?)
Status Commit(const Call& call) {
  const OpenManager& opened = call.manager_now();
  return opened.manager->Commit(call.Step(opened), call.Has(3) ? call.Ids(3) : Tokens());
}

// (manager, slot, generation)
Status Abort(const Call& call) {
  const OpenManager& opened = call.manager_now();
  return opened.manager->Abort(call.Step(opened));
}

// (manager, slot, generation, mode)
Status Preempt(const Call& call) {
  const OpenManager& opened = call.manager_now();
  const std::uint32_t mode = call.Word(3);
  if (mode > static_cast<std::uint32_t>(PreemptMode::kAuto)) {
    throw Misuse{CallStatus::kInvalidArgument};
  }
  return Reply(opened,
               opened.manager->Preempt(call.Sequence(opened), static_cast<PreemptMode>(mode)));
}

// (manager, sequences, blocks): of each sequence its slot and generation.
Status Victim(const Call& call) {
  const OpenManager& opened = call.manager();
  const Tokens words = call.Ids(1);
  const std::uint32_t nonce = opened.manager->config().nonce;
  std::vector<SequenceHandle> handles;
  handles.reserve(words.size() / 2);
  for (std::size_t at = 0; at + 1 < words.size(); at += 2) {
    handles.push_back({.slot = words[at], .generation = words[at + 1], .nonce = nonce});
  }
  const auto [index, cost] = opened.manager->Victim(handles, call.Word(2));
  opened.reply[kReplyVictim] = index;
  opened.reply[kReplyVictimBlocks] = cost.blocks;
  opened.reply[kReplyVictimMode] = static_cast<std::uint32_t>(cost.mode);
  opened.reals()[0] = cost.milliseconds;
  return Status::kOk;
}

// (manager, ids, prompt)
Status Demote(const Call& call) {
  const OpenManager& opened = call.manager_now();
  const GivenPrompt prompt(call, 2);
  return Reply(opened, opened.manager->Demote(call.Ids(1), prompt.name(), prompt.keys()));
}

// (manager, ticket)
Status BeginTransfer(const Call& call) {
  const OpenManager& opened = call.manager();
  return opened.manager->BeginTransfer(call.Word(1));
}

// (manager, ticket, ok)
Status EndTransfer(const Call& call) {
  const OpenManager& opened = call.manager_now();
  return opened.manager->EndTransfer(call.Word(1), call.Flag(2));
}

}  // namespace pagedkv::binding
