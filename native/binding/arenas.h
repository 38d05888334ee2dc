// What the binding keeps of host memory for one JavaScript environment: memories by id, the threads
// that copy, and the promises of what they have under way.
//
// Invariant: a job's promise is settled on the JavaScript thread, and the arrays that it reads or
// writes are referenced until then. When the environment ends, its threads end first.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "arena/host_memory.h"
#include "arena/worker_pool.h"

namespace pagedkv::binding {

using HostMemoryPtr = std::shared_ptr<arena::HostMemory>;

class Arenas {
 public:
  Arenas() = default;
  Arenas(const Arenas&) = delete;
  Arenas& operator=(const Arenas&) = delete;

  std::uint32_t Add(HostMemoryPtr memory);
  HostMemoryPtr Find(std::uint32_t id) const;  // null when it was closed, or never was
  // Waits until nothing moves, then gives the pages back. What views are left read zeros.
  void Close(std::uint32_t id);
  // The memory stays for as long as views or jobs keep it.
  void Forget(std::uint32_t id) { memories_.erase(id); }

  // Does the job on other threads; the promise becomes `status` when it has been done. `kept` holds
  // what must not be collected before.
  Napi::Value Begin(Napi::Env env, std::shared_ptr<arena::Job> job,
                    const std::vector<Napi::Object>& kept);
  // Does it now, on this thread too.
  void Run(std::shared_ptr<arena::Job> job) { pool().Run(std::move(job)); }
  void Drain();  // returns when nothing moves
  void SetThreads(unsigned threads);
  // The promise tells how it went once all pages were touched, or it was stopped. Null where it was
  // asked for before.
  Napi::Value Touch(Napi::Env env, const HostMemoryPtr& memory);

  // Lets go of everything, promises unsettled. Before the environment ends.
  void Clear();

 private:
  struct Pending {
    napi_deferred deferred = nullptr;
    std::vector<Napi::ObjectReference> kept;
  };
  struct Ended {
    std::uint32_t ticket = 0;
    std::uint32_t status = 0;
  };
  class Tracked;

  arena::WorkerPool& pool();
  std::uint32_t Expect(Napi::Env env, const std::vector<Napi::Object>& kept, Napi::Value& promise);
  void OpenChannel(Napi::Env env);
  void End(std::uint32_t ticket, std::uint32_t status);  // on any thread
  void Settle(Napi::Env env);
  static void OnEnded(napi_env env, napi_value, void* context, void*);

  std::unordered_map<std::uint32_t, HostMemoryPtr> memories_;
  std::unordered_map<std::uint32_t, Pending> pending_;
  std::uint32_t next_id_ = 1;
  std::uint32_t next_ticket_ = 1;
  napi_threadsafe_function channel_ = nullptr;
  std::mutex mutex_;
  std::vector<Ended> ended_;
  std::optional<arena::WorkerPool> pool_;
};

}  // namespace pagedkv::binding
