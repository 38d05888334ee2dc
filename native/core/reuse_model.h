// How likely what was left at rest is to be used again, learned by watching: for each class of
// turns and each age, what share of the turns of that age return before they are much older.
//
// The value of keeping a turn of some class and age is Gittins' index of that gamble: over all
// times that one may wait, the most returns to be had for the memory that waiting costs.
//   index(class, age) = max over t of P(returns before age + t) / E[time until it returns, or t]
// (Gittins 1979; for caches see also hit density, Beckmann et al. 2018.) What a class has not seen
// yet is taken from all classes together.
#pragma once

#include <algorithm>
#include <array>

#include "octaves.h"

namespace pagedkv {

class ReuseModel {
 public:
  static constexpr std::uint32_t kClasses = 8;
  static constexpr std::uint32_t kAges = 48;  // half octaves of milliseconds

  static std::uint32_t AgeOf(std::uint64_t ms) {
    const std::uint32_t age = Octaves(ms) / (kPerOctave / 2);
    return age < kAges ? age : kAges - 1;
  }
  // Where an age begins, in milliseconds.
  static constexpr double Begin(std::uint32_t age) {
    return age == 0 ? 0 : (age % 2 == 0 ? 1.0 : 1.5) * static_cast<double>(1u << (age / 2));
  }

  // A turn that did not return yet comes of age; a turn returns. O(1).
  void Waits(std::uint32_t turn_class, std::uint32_t age) { Add(waits_, turn_class, age); }
  void Returns(std::uint32_t turn_class, std::uint32_t age) { Add(returns_, turn_class, age); }
  // It is known only now that a turn which came of age was not to be counted so. O(1).
  void Unwaits(std::uint32_t turn_class, std::uint32_t age) {
    for (const std::uint32_t each : {turn_class, kClasses}) {
      waits_[each][age] = std::max(waits_[each][age] - weight_, 0.0);
    }
  }
  // What was seen before counts a little less from now on. O(1), amortised.
  void Forget();

  // Computes every index anew from what was seen. O(classes x ages).
  void Learn();
  float Index(std::uint32_t turn_class, std::uint32_t age) const { return index_[turn_class][age]; }

 private:
  using Ages = std::array<double, kAges>;
  using Counts = std::array<Ages, kClasses + 1>;  // the last: all classes together

  void Add(Counts& counts, std::uint32_t turn_class, std::uint32_t age) {
    counts[turn_class][age] += weight_;
    counts[kClasses][age] += weight_;
  }
  void LearnClass(std::uint32_t turn_class);

  Counts waits_{};
  Counts returns_{};
  std::array<std::array<float, kAges>, kClasses> index_{};
  double weight_ = 1;  // grows, instead of all counts becoming less
};

}  // namespace pagedkv
