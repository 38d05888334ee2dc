// Threads that do jobs in shares: each share once, each job finished once, and an end in any state.

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "arena/worker_pool.h"
#include "test.h"

namespace pagedkv::test {
namespace {

using arena::Job;
using arena::WorkerPool;

class Counting : public Job {
 public:
  explicit Counting(std::size_t shares, unsigned most_threads = 64)
      : counts_(shares), most_threads_(most_threads) {}

  std::size_t shares() const override { return counts_.size(); }
  unsigned most_threads() const override { return most_threads_; }
  void RunShare(std::size_t share) noexcept override {
    if (++working_ > most_threads_) is_crowded_ = true;
    counts_[share] += 1;
    ran_ += 1;
    while (is_held_) std::this_thread::yield();
    working_ -= 1;
  }
  void Finish() noexcept override {
    finished_with_ = ran_.load();
    finished_ += 1;
  }

  void Hold() { is_held_ = true; }
  void LetGo() { is_held_ = false; }
  std::size_t ran() const { return ran_; }
  int finished() const { return finished_; }
  bool is_crowded() const { return is_crowded_; }

  void CheckDone() const {
    for (const std::atomic<int>& count : counts_) CHECK_EQ(count.load(), 1);
    CHECK_EQ(finished_.load(), 1);
    CHECK_EQ(finished_with_.load(), counts_.size());
  }

 private:
  std::vector<std::atomic<int>> counts_;
  const unsigned most_threads_;
  std::atomic<unsigned> working_{0};
  std::atomic<bool> is_crowded_{false};
  std::atomic<std::size_t> ran_{0};
  std::atomic<int> finished_{0};
  std::atomic<std::size_t> finished_with_{0};
  std::atomic<bool> is_held_{false};
};

TEST("every share of every job runs once, and then the job is finished") {
  for (const unsigned threads : {1u, 2u, 4u}) {
    WorkerPool pool(threads);
    std::vector<std::shared_ptr<Counting>> jobs;
    for (std::size_t i = 0; i < 60; ++i) {
      jobs.push_back(std::make_shared<Counting>(i % 13));
      i % 3 == 0 ? pool.Run(jobs.back()) : pool.Submit(jobs.back());
      if (i % 3 == 0) jobs.back()->CheckDone();
    }
    pool.Drain();
    for (const auto& job : jobs) job->CheckDone();
  }
}

TEST("a job that is run at once does not wait for those that were given before") {
  WorkerPool pool(2);
  auto slow = std::make_shared<Counting>(8);
  slow->Hold();
  pool.Submit(slow);
  auto urgent = std::make_shared<Counting>(100);
  pool.Run(urgent);
  urgent->CheckDone();
  CHECK_EQ(slow->finished(), 0);
  slow->LetGo();
  pool.Drain();
  slow->CheckDone();
}

TEST("a job is done by no more threads than it takes, the caller included, and others beside it") {
  for (const unsigned most : {1u, 2u}) {
    WorkerPool pool(4);
    auto narrow = std::make_shared<Counting>(200, most);
    narrow->Hold();
    pool.Submit(narrow);
    while (narrow->ran() < most) std::this_thread::yield();
    auto beside = std::make_shared<Counting>(50);
    pool.Submit(beside);
    while (beside->finished() == 0) std::this_thread::yield();
    narrow->LetGo();
    auto at_once = std::make_shared<Counting>(200, most);
    pool.Run(at_once);
    pool.Drain();
    for (const auto& job : {narrow, beside, at_once}) {
      job->CheckDone();
      CHECK(!job->is_crowded());
    }
  }
}

TEST("a pool that ends waits for the shares that run, and drops the rest") {
  auto running = std::make_shared<Counting>(50);
  auto waiting = std::make_shared<Counting>(5);
  std::thread release;
  running->Hold();
  {
    WorkerPool pool(2);
    pool.Submit(running);
    pool.Submit(waiting);
    while (running->ran() < 2) std::this_thread::yield();
    release = std::thread([&running] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      running->LetGo();
    });
  }
  release.join();
  CHECK(running->ran() < 50);
  CHECK_EQ(running->finished(), 0);
  CHECK_EQ(waiting->ran(), 0);
}

TEST("a pool ends at once when nothing was ever given to it") {
  WorkerPool pool(3);
  pool.Drain();
}

TEST("there is a thread for each of a few processors") {
  CHECK(WorkerPool::DefaultThreads() >= 1);
  CHECK(WorkerPool::DefaultThreads() <= 4);
  CHECK(WorkerPool::ThreadsBesideAnother() >= 1);
  CHECK(WorkerPool::ThreadsBesideAnother() <= WorkerPool::DefaultThreads());
}

}  // namespace
}  // namespace pagedkv::test
