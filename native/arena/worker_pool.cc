#include "worker_pool.h"

#include <algorithm>
#include <utility>

namespace pagedkv::arena {

namespace {

constexpr unsigned kMostThreads = 4;

}  // namespace

unsigned WorkerPool::DefaultThreads() {
  return std::clamp(std::thread::hardware_concurrency(), 1u, kMostThreads);
}

unsigned WorkerPool::ThreadsBesideAnother() {
  const unsigned processors = std::max(std::thread::hardware_concurrency(), 2u);
  return std::min(processors - 1, kMostThreads);
}

WorkerPool::WorkerPool(unsigned threads) : threads_(std::max(threads, 1u)) {}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    waiting_.clear();
  }
  given_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void WorkerPool::Submit(std::shared_ptr<Job> job) {
  const std::size_t shares = job->shares();
  if (shares == 0) return job->Finish();
  const EntryPtr entry = Enter(std::move(job), shares);
  {
    const std::lock_guard lock(mutex_);
    Start();
    waiting_.push_back(entry);
    under_way_ += 1;
  }
  const bool is_for_one = shares == 1 || entry->most_threads == 1;
  is_for_one ? given_.notify_one() : given_.notify_all();
}

void WorkerPool::Run(std::shared_ptr<Job> job) {
  const std::size_t shares = job->shares();
  if (shares == 0) return job->Finish();
  const EntryPtr entry = Enter(std::move(job), shares);
  std::unique_lock lock(mutex_);
  if (shares > 1 && entry->most_threads > 1) {
    Start();
    waiting_.push_front(entry);
    given_.notify_all();
  }
  under_way_ += 1;
  while (entry->taken < entry->shares) RunShareOf(entry, lock);
  ended_.wait(lock, [&entry] { return entry->is_finished; });
}

void WorkerPool::Drain() {
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [this] { return under_way_ == 0; });
}

WorkerPool::EntryPtr WorkerPool::Enter(std::shared_ptr<Job> job, std::size_t shares) const {
  const unsigned most = std::clamp(job->most_threads(), 1u, threads_);
  return std::make_shared<Entry>(
      Entry{.job = std::move(job), .shares = shares, .most_threads = most});
}

void WorkerPool::Start() {
  if (!workers_.empty()) return;
  workers_.reserve(threads_);
  for (unsigned i = 0; i < threads_; ++i) workers_.emplace_back([this] { Work(); });
}

void WorkerPool::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    given_.wait(lock, [this] { return stopping_ || Next() != nullptr; });
    if (stopping_) return;
    RunShareOf(Next(), lock);
  }
}

// Who leaves a job looks here again, so that nobody has to be told when a job has room for one
// more.
WorkerPool::EntryPtr WorkerPool::Next() const {
  const auto found = std::find_if(waiting_.begin(), waiting_.end(), [](const EntryPtr& entry) {
    return entry->working < entry->most_threads;
  });
  return found == waiting_.end() ? nullptr : *found;
}

// Requires the lock, and a share that nobody has taken.
void WorkerPool::RunShareOf(const EntryPtr& entry, std::unique_lock<std::mutex>& lock) {
  const std::size_t share = entry->taken++;
  if (entry->taken == entry->shares) std::erase(waiting_, entry);
  entry->working += 1;
  lock.unlock();
  entry->job->RunShare(share);
  lock.lock();
  entry->working -= 1;
  if (++entry->ended < entry->shares) return;
  lock.unlock();
  entry->job->Finish();
  lock.lock();
  entry->is_finished = true;
  under_way_ -= 1;
  ended_.notify_all();
}

}  // namespace pagedkv::arena
