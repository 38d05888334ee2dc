#include "environment.h"

#include <stdexcept>
#include <utility>

namespace pagedkv::binding {

Environment& Environment::Of(Napi::Env env) {
  auto* environment = new Environment;
  env.SetInstanceData<Environment>(environment);
  // Instance data is freed at a time when references may not be touched any more; hooks run before
  // that.
  env.AddCleanupHook([environment] {
    environment->managers_.clear();
    environment->arenas_.Clear();
  });
  return *environment;
}

void Environment::Open(Napi::Env env, Config config, Napi::Uint32Array memory) {
  if (next_id_ == kNone) throw std::length_error("every id was given");
  config.nonce = next_id_;
  OpenManager opened;
  opened.metadata_bytes = static_cast<std::int64_t>(Manager::MetadataBytes(config));
  opened.reply = memory.Data();
  opened.manager = std::make_unique<Manager>(config, memory.Data() + kReplyWords);
  opened.memory = Napi::Persistent(memory);
  const auto [entry, _] = managers_.emplace(next_id_, std::move(opened));
  entry->second.reply[kReplyManager] = next_id_;
  next_id_ += 1;
  // So that a manager which was forgotten makes the garbage collector look for it.
  Napi::MemoryManagement::AdjustExternalMemory(env, entry->second.metadata_bytes);
}

OpenManager* Environment::Find(std::uint32_t id) {
  const auto found = managers_.find(id);
  return found == managers_.end() ? nullptr : &found->second;
}

void Environment::Close(Napi::Env env, std::uint32_t id) {
  const auto found = managers_.find(id);
  if (found == managers_.end()) return;
  Napi::MemoryManagement::AdjustExternalMemory(env, -found->second.metadata_bytes);
  managers_.erase(found);
}

}  // namespace pagedkv::binding
