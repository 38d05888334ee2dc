// Sequences: opened, forked, cut, resumed and closed; and what a prompt would find.
#include "operations.h"

namespace pagedkv::binding {
namespace {

Status Reply(const OpenManager& opened, const Manager::OpenResult& result) {
  opened.reply[kReplySlot] = result.handle.slot;
  opened.reply[kReplyGeneration] = result.handle.generation;
  opened.reply[kReplyCached] = result.cached_tokens;
  return result.status;
}

std::string_view NameOrDefault(const Call& call, std::size_t index, Call::NameBuffer& buffer) {
  return call.Has(index) ? call.Name(index, buffer) : std::string_view();
}

}  // namespace

// (manager, ids, name?)
Status Open(const Call& call) {
  const OpenManager& opened = call.manager();
  Call::NameBuffer buffer;
  return Reply(opened, opened.manager->Open(call.Ids(1), NameOrDefault(call, 2, buffer)));
}

// (manager, ids, name?)
Status Lookup(const Call& call) {
  const OpenManager& opened = call.manager();
  Call::NameBuffer buffer;
  const auto found = opened.manager->Lookup(call.Ids(1), NameOrDefault(call, 2, buffer));
  opened.reply[kReplyDevice] = found.device_tokens;
  opened.reply[kReplyHost] = found.host_tokens;
  opened.reply[kReplyComputing] = found.computing_tokens;
  return Status::kOk;
}

// (manager, ids, name?): two doubles.
Status Admission(const Call& call) {
  const OpenManager& opened = call.manager();
  Call::NameBuffer buffer;
  const auto fit = opened.manager->Admission(call.Ids(1), NameOrDefault(call, 2, buffer));
  opened.reals()[0] = static_cast<double>(fit.now_tokens);
  opened.reals()[1] = static_cast<double>(fit.after_tokens);
  return Status::kOk;
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

// (manager, slot, generation, ids)
Status Resume(const Call& call) {
  const OpenManager& opened = call.manager();
  return Reply(opened, opened.manager->Resume(call.Sequence(opened), call.Ids(3)));
}

// (manager, slot, generation)
Status CloseSequence(const Call& call) {
  const OpenManager& opened = call.manager();
  return opened.manager->Close(call.Sequence(opened));
}

}  // namespace pagedkv::binding
