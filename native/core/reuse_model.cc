#include "reuse_model.h"

#include <algorithm>
#include <cmath>

namespace pagedkv {
namespace {

constexpr double kForget = 0.9998;   // for each turn: half is forgotten after 3,500
constexpr double kPrior = 20;        // turns that all classes together weigh in each class
constexpr double kMostWeight = 1e6;  // then all counts are scaled back

}  // namespace

double ReuseModel::Begin(std::uint32_t age) {
  return age == 0 ? 0 : std::ldexp(age % 2 == 0 ? 1.0 : 1.5, static_cast<int>(age / 2));
}

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
  for (std::uint32_t age = 0; age < kAges; ++age) {
    double best = 0;
    double cost = 0;
    for (std::uint32_t until = age; until < kAges && left[age] > 1e-12; ++until) {
      cost += (Begin(until + 1) - Begin(until)) * (left[until] + left[until + 1]) / 2;
      best = std::max(best, (left[age] - left[until + 1]) / cost);
    }
    index_[turn_class][age] = static_cast<float>(best);
  }
}

}  // namespace pagedkv
