#include "arenas.h"

#include <stdexcept>
#include <utility>

#include "core/types.h"
#include "reply.h"

namespace pagedkv::binding {

// A job that says when it is done.
class Arenas::Tracked : public arena::Job {
 public:
  Tracked(Arenas& arenas, std::uint32_t ticket, std::shared_ptr<arena::Job> job)
      : arenas_(arenas), ticket_(ticket), job_(std::move(job)) {}

  std::size_t shares() const override { return job_->shares(); }
  unsigned most_threads() const override { return job_->most_threads(); }
  void RunShare(std::size_t share) noexcept override { job_->RunShare(share); }
  void Finish() noexcept override { arenas_.End(ticket_, static_cast<std::uint32_t>(Status::kOk)); }

 private:
  Arenas& arenas_;
  const std::uint32_t ticket_;
  const std::shared_ptr<arena::Job> job_;
};

std::uint32_t Arenas::Add(HostMemoryPtr memory) {
  if (next_id_ == kNone) throw std::length_error("every id was given");
  memories_.emplace(next_id_, std::move(memory));
  return next_id_++;
}

HostMemoryPtr Arenas::Find(std::uint32_t id) const {
  const auto found = memories_.find(id);
  return found == memories_.end() ? nullptr : found->second;
}

void Arenas::Close(std::uint32_t id) {
  const auto found = memories_.find(id);
  if (found == memories_.end()) return;
  Drain();
  found->second->Discard();
  memories_.erase(found);
}

Napi::Value Arenas::Begin(Napi::Env env, std::shared_ptr<arena::Job> job,
                          const std::vector<Napi::Object>& kept) {
  Napi::Value promise;
  const std::uint32_t ticket = Expect(env, kept, promise);
  pool().Submit(std::make_shared<Tracked>(*this, ticket, std::move(job)));
  return promise;
}

Napi::Value Arenas::Touch(Napi::Env env, const HostMemoryPtr& memory) {
  if (memory->is_touched()) return {};
  Napi::Value promise;
  const std::uint32_t ticket = Expect(env, {}, promise);
  memory->TouchAhead([this, ticket](bool is_whole) {
    const auto status = is_whole ? static_cast<std::uint32_t>(Status::kOk)
                                 : static_cast<std::uint32_t>(CallStatus::kOutOfMemory);
    End(ticket, status);
  });
  return promise;
}

void Arenas::Drain() {
  if (pool_) pool_->Drain();
}

void Arenas::SetThreads(unsigned threads) {
  Drain();
  pool_.emplace(threads);
}

void Arenas::Clear() {
  // Threads first: what they end refers to all that follows.
  for (const auto& [_, memory] : memories_) memory->StopTouching();
  pool_.reset();
  pending_.clear();
  memories_.clear();
}

arena::WorkerPool& Arenas::pool() {
  if (!pool_) pool_.emplace(arena::WorkerPool::DefaultThreads());
  return *pool_;
}

std::uint32_t Arenas::Expect(Napi::Env env, const std::vector<Napi::Object>& kept,
                             Napi::Value& promise) {
  OpenChannel(env);
  Pending pending;
  napi_value made = nullptr;
  if (napi_create_promise(env, &pending.deferred, &made) != napi_ok) throw std::bad_alloc();
  promise = {env, made};
  for (const Napi::Object& value : kept) pending.kept.push_back(Napi::Persistent(value));
  // The process stays until what is under way has ended.
  if (pending_.empty()) napi_ref_threadsafe_function(env, channel_);
  while (pending_.contains(next_ticket_)) ++next_ticket_;
  pending_.emplace(next_ticket_, std::move(pending));
  return next_ticket_++;
}

void Arenas::OpenChannel(Napi::Env env) {
  if (channel_ != nullptr) return;
  const napi_value name = Napi::String::New(env, "pagedkv");
  constexpr std::size_t kUnbounded = 0;
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, kUnbounded, 1, nullptr, nullptr,
                                      this, &OnEnded, &channel_) != napi_ok) {
    throw std::bad_alloc();
  }
  napi_unref_threadsafe_function(env, channel_);
  // Hooks run in reverse order: after the channel was made, so that no thread is left to use it
  // when it goes.
  env.AddCleanupHook([this] { Clear(); });
}

void Arenas::End(std::uint32_t ticket, std::uint32_t status) {
  bool is_first = false;
  {
    const std::lock_guard lock(mutex_);
    is_first = ended_.empty();
    ended_.push_back({ticket, status});
  }
  if (is_first) napi_call_threadsafe_function(channel_, nullptr, napi_tsfn_nonblocking);
}

void Arenas::OnEnded(napi_env env, napi_value, void* context, void*) {
  if (env == nullptr) return;  // the environment is going, and Clear() has been called
  static_cast<Arenas*>(context)->Settle(env);
}

void Arenas::Settle(Napi::Env env) {
  std::vector<Ended> ended;
  {
    const std::lock_guard lock(mutex_);
    ended.swap(ended_);
  }
  for (const Ended& each : ended) {
    const auto found = pending_.find(each.ticket);
    if (found == pending_.end()) continue;
    const Pending pending = std::move(found->second);
    pending_.erase(found);
    // Fails where the environment is being ended, and nobody waits any more.
    napi_value status = nullptr;
    if (napi_create_uint32(env, each.status, &status) != napi_ok) continue;
    napi_resolve_deferred(env, pending.deferred, status);
  }
  if (!ended.empty() && pending_.empty()) napi_unref_threadsafe_function(env, channel_);
}

}  // namespace pagedkv::binding
