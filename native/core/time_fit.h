// How long something takes, learned from reports: a time as a sum of parts that are never negative.
//
// Weighted least squares in relative terms: a report counts by how many times it is off, so that
// small and large ones tell as much. What is estimated is the mean, not the median, since what many
// take together is a sum. Old reports are forgotten slowly, the first ones soon; one that is far
// off is believed only in part, and two in a row on the same side more than all before them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace pagedkv {

class TimeFit {
 public:
  static constexpr std::size_t kParts = 3;
  // What a report is about: 1, for what each takes whatever its size; its size; and what else adds.
  using Parts = std::array<double, kParts>;

  bool is_known() const { return reports_ > 0; }
  // A single report may be somebody's guess, or of a machine that was cold.
  bool is_guess() const { return reports_ == 1; }
  // In milliseconds, for each unit of each part.
  const Parts& costs() const { return costs_; }
  double Expect(const Parts& parts) const;
  // Requires a size and a time above 0. O(1).
  void Report(const Parts& parts, double milliseconds);
  // Time went by without a report: what is known grows old.
  void Age();
  // By how many times the estimate for a size may be off, as far as reports support it; at least 1.
  double Doubt(double size) const;

 private:
  void Forget(double share);
  void Solve();

  Parts costs_{};
  std::array<Parts, kParts> products_{};  // of parts with parts, summed by weight
  Parts times_{};                         // of parts with times
  double weight_ = 0;                     // reports that are not forgotten
  double size_ = 0;                       // their sizes together
  std::uint64_t reports_ = 0;             // all there ever were
  int surprise_ = 0;  // the last one was too long (1) or too short (-1) to be believed
};

}  // namespace pagedkv
