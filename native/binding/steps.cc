// Steps and transfers: one call to plan a whole batch, one to commit it.
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
  if (mode > static_cast<std::uint32_t>(PreemptMode::kDrop)) {
    throw Misuse{CallStatus::kInvalidArgument};
  }
  return Reply(opened,
               opened.manager->Preempt(call.Sequence(opened), static_cast<PreemptMode>(mode)));
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
