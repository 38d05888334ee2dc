// What the binding keeps for one JavaScript environment, that is for one thread: its open managers
// by id, and its host memory.
//
// Invariant: a manager's memory is referenced for exactly as long as the manager lives, and an id
// is never given twice, so that a stale one finds nothing.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "arenas.h"
#include "core/manager.h"
#include "reply.h"

namespace pagedkv::binding {

struct OpenManager {
  Napi::Reference<Napi::Uint32Array>
      memory;                      // before `manager`, which writes to it until it is gone
  std::uint32_t* reply = nullptr;  // the first kReplyWords words of the memory
  std::unique_ptr<Manager> manager;
  std::int64_t metadata_bytes = 0;

  double* reals() const { return reinterpret_cast<double*>(reply + kReplyReals); }
};

class Environment {
 public:
  // Makes the one of this JavaScript environment, which owns it; its managers go when the
  // environment does.
  static Environment& Of(Napi::Env env);

  // Requires a memory of kReplyWords and SharedLayout::For(config).words zeroed words that cannot
  // be detached. Puts the id into the reply. Throws std::bad_alloc.
  void Open(Napi::Env env, Config config, Napi::Uint32Array memory);
  OpenManager* Find(std::uint32_t id);  // null when it was closed, or never was
  void Close(Napi::Env env, std::uint32_t id);

  Arenas& arenas() { return arenas_; }

 private:
  std::unordered_map<std::uint32_t, OpenManager> managers_;
  std::uint32_t next_id_ = 1;
  Arenas arenas_;
};

}  // namespace pagedkv::binding
