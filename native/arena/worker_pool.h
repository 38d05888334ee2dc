// A few threads that do jobs in shares, so that bytes move beside the thread that decodes.
//
// Invariant: a share is taken once, and a job is finished once, by whoever ends its last share. A
// job that was given to the pool is either finished or, where the pool ends first, dropped as a
// whole with none of its shares running.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace pagedkv::arena {

// Work that may be cut. Shares run in any order, and beside each other.
class Job {
 public:
  virtual ~Job() = default;
  virtual std::size_t shares() const = 0;
  // Threads that may be at it at once, at least 1.
  virtual unsigned most_threads() const { return std::numeric_limits<unsigned>::max(); }
  virtual void RunShare(std::size_t share) noexcept = 0;
  // On the thread that ended the last share, with no lock held.
  virtual void Finish() noexcept {}
};

class WorkerPool {
 public:
  // As many as a memory bus is filled by, and no more than there are processors.
  static unsigned DefaultThreads();

  // As many, where another thread is to have a processor of its own meanwhile.
  static unsigned ThreadsBesideAnother();

  // Threads begin with the first job.
  explicit WorkerPool(unsigned threads);
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;
  // Waits for shares that run; drops the others, and their jobs.
  ~WorkerPool();

  unsigned threads() const { return threads_; }

  // Jobs begin in the order they were given, but the next may begin before the last one has ended.
  void Submit(std::shared_ptr<Job> job);

  // Does the job at once, before those that wait, the caller being one of the threads; returns when
  // it is done.
  void Run(std::shared_ptr<Job> job);

  // Returns when no job is under way.
  void Drain();

 private:
  struct Entry {
    std::shared_ptr<Job> job;
    std::size_t shares = 0;
    unsigned most_threads = 0;
    std::size_t taken = 0;
    std::size_t ended = 0;
    bool is_finished = false;
    unsigned working = 0;  // threads, callers included
  };
  using EntryPtr = std::shared_ptr<Entry>;

  EntryPtr Enter(std::shared_ptr<Job> job, std::size_t shares) const;
  void Start();
  void Work();
  EntryPtr Next() const;
  void RunShareOf(const EntryPtr& entry, std::unique_lock<std::mutex>& lock);

  const unsigned threads_;
  std::mutex mutex_;
  std::condition_variable given_;  // a job, or the end
  std::condition_variable ended_;  // a job
  std::deque<EntryPtr> waiting_;   // with shares that nobody has taken
  std::size_t under_way_ = 0;      // jobs that were given and are not finished
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace pagedkv::arena
