#include "reuse_model.h"

namespace pagedkv {
namespace {

constexpr double kForget = 0.9998;   // for each turn: half is forgotten after 3,500
constexpr double kPrior = 20;        // turns that all classes together weigh in each class
constexpr double kMostWeight = 1e6;  // then all counts are scaled back
constexpr double kNothing = 1e-12;   // a share

}  // namespace

void ReuseModel::Forget() {
  weight_ /= kForget;
  if (weight_ < kMostWeight) return;
  for (Counts* counts : {&waits_, &returns_}) {
    for (Ages& ages : *counts) {
      for (double& count : ages) count /= weight_;
    }
  }
  weight_ = 1;
}

void ReuseModel::Learn() {
  for (std::uint32_t turn_class = 0; turn_class < kClasses; ++turn_class) LearnClass(turn_class);
}

void ReuseModel::LearnClass(std::uint32_t turn_class) {
  const double prior = kPrior * weight_;
  std::array<double, kAges + 1> left{1};  // the share that has not returned as an age begins
  for (std::uint32_t age = 0; age < kAges; ++age) {
    const double all = waits_[kClasses][age];
    const double all_share = all > 0 ? returns_[kClasses][age] / all : 0;
    const double share =
        (returns_[turn_class][age] + prior * all_share) / (waits_[turn_class][age] + prior);
    left[age + 1] = left[age] * (1 - std::min(share, 1.0));
  }
  // What waiting until an age has cost, seen from age 0.
  std::array<double, kAges + 1> cost{};
  for (std::uint32_t age = 0; age < kAges; ++age) {
    const double time = Begin(age + 1) - Begin(age);
    cost[age + 1] = cost[age] + time * (left[age] + left[age + 1]) / 2;
  }
  std::uint32_t end = 0;  // nothing is left to return from here on
  while (end < kAges && left[end] > kNothing) end++;
  // The best end of a wait lies where the line from its begin is steepest: at the next corner of
  // the lower convex hull of the points that follow. The hull grows from the last point to the
  // first.
  std::array<std::uint32_t, kAges + 1> hull;
  std::size_t corners = 0;
  const auto share_per_cost = [&](std::uint32_t from, std::uint32_t to) {
    return (left[from] - left[to]) / (cost[to] - cost[from]);
  };
  index_[turn_class].fill(0);
  hull[corners++] = end;
  for (std::uint32_t age = end; age-- > 0;) {
    while (corners > 1 && share_per_cost(age, hull[corners - 1]) <=
                              share_per_cost(hull[corners - 1], hull[corners - 2])) {
      corners--;
    }
    index_[turn_class][age] = static_cast<float>(share_per_cost(age, hull[corners - 1]));
    hull[corners++] = age;
  }
}

}  // namespace pagedkv
