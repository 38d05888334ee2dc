// Sequences: opened, forked, cut, resumed and closed; and what a prompt would find.
#include <optional>

#include "operations.h"

namespace pagedkv::binding {
namespace {

Status Reply(const OpenManager& opened, const Manager::OpenResult& result) {
  opened.reply[kReplySlot] = result.handle.slot;
  opened.reply[kReplyGeneration] = result.handle.generation;
  opened.reply[kReplyCached] = result.cached_tokens;
  return result.status;
}

Retention ReadRetention(const Call& call, std::size_t index) {
  const std::uint32_t priority = call.Word(index + 2);
  if (priority >= kPriorities) throw Misuse{CallStatus::kInvalidArgument};
  return {.from = call.Word(index),
          .to = call.Word(index + 1),
          .priority = static_cast<std::uint8_t>(priority),
          .life = call.Word(index + 3)};
}

}  // namespace

// (manager, ids, prompt)
Status Open(const Call& call) {
  const OpenManager& opened = call.manager_now();
  const GivenPrompt prompt(call, 2);
  return Reply(opened, opened.manager->Open(call.Ids(1), prompt.name(), prompt.keys()));
}

// (manager, ids, prompt)
Status Pin(const Call& call) {
  const OpenManager& opened = call.manager_now();
  const GivenPrompt prompt(call, 2);
  return Reply(opened, opened.manager->Pin(call.Ids(1), prompt.name(), prompt.keys()));
}

// (manager, ids, prompt)
Status Lookup(const Call& call) {
  const OpenManager& opened = call.manager();
  const GivenPrompt prompt(call, 2);
  const auto found = opened.manager->Lookup(call.Ids(1), prompt.name(), prompt.keys());
  opened.reply[kReplyDevice] = found.device_tokens;
  opened.reply[kReplyHost] = found.host_tokens;
  opened.reply[kReplyComputing] = found.computing_tokens;
  opened.reply[kReplyWorth] = found.worth_tokens;
  return found.status;
}

// (manager, ids, prompt): two doubles.
Status Admission(const Call& call) {
  const OpenManager& opened = call.manager();
  const GivenPrompt prompt(call, 2);
  const auto fit = opened.manager->Admission(call.Ids(1), prompt.name(), prompt.keys());
  opened.reals()[0] = static_cast<double>(fit.now_tokens);
  opened.reals()[1] = static_cast<double>(fit.after_tokens);
  opened.reply[kReplyAdmits] = fit.admits ? 1 : 0;
  return fit.status;
}

// (manager, slot, generation, at)
Status Fork(const Call& call) {
  const OpenManager& opened = call.manager();
  return Reply(opened, opened.manager->Fork(call.Sequence(opened), call.Word(3)));
}

// (manager, slot, generation, length)
Status Truncate(const Call& call) {
  const OpenManager& opened = call.manager();
  return opened.manager->Truncate(call.Sequence(opened), call.Word(3));
}

// (manager, slot, generation, ids, keys?, key bytes?)
Status Resume(const Call& call) {
  const OpenManager& opened = call.manager_now();
  const GivenKeys keys(call, 4);
  const auto given = call.Has(4) ? std::optional(keys.ranges()) : std::nullopt;
  return Reply(opened, opened.manager->Resume(call.Sequence(opened), call.Ids(3), given));
}

// (manager, slot, generation, from, to, priority, life)
Status Retain(const Call& call) {
  const OpenManager& opened = call.manager_now();
  return opened.manager->Retain(call.Sequence(opened), ReadRetention(call, 3));
}

// (manager, ids, from, to, priority, life, prompt): the tokens found are in the reply.
Status RetainPrompt(const Call& call) {
  const OpenManager& opened = call.manager_now();
  const Retention retention = ReadRetention(call, 2);
  const GivenPrompt prompt(call, 6);
  opened.reply[kReplyCached] =
      opened.manager->RetainPrompt(call.Ids(1), prompt.name(), retention, prompt.keys());
  return Status::kOk;
}

// (manager, ids, reuse, prompt)
Status ExpectReuse(const Call& call) {
  const OpenManager& opened = call.manager_now();
  const GivenPrompt prompt(call, 3);
  opened.manager->ExpectReuse(call.Ids(1), prompt.name(), call.Word(2), prompt.keys());
  return Status::kOk;
}

// (manager, slot, generation, reuse)
Status CloseSequence(const Call& call) {
  const OpenManager& opened = call.manager_now();
  return opened.manager->Close(call.Sequence(opened), call.Word(3));
}

}  // namespace pagedkv::binding
