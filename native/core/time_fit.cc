#include "time_fit.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace pagedkv {
namespace {

// What is left of a report after each that follows, or each choice: as if the last 64 counted.
constexpr double kMemory = 1 - 1.0 / 64;
// Of the first reports less is left: of n, n parts in n and so many.
constexpr double kWarmup = 2;
// A report is believed up to so many times the estimate, or down to that part of it.
constexpr double kMostSurprise = 8;
// What is left of what was known when two reports in a row surprise alike.
constexpr double kAfterSurprises = 1.0 / 16;
// Where reports hardly tell parts apart, the size explains all.
constexpr double kRidge = 0.1;
constexpr int kSweeps = 16;
// Of a single report; of n, its n-th root's share: some three standard deviations of the noise of a
// machine with other things to do.
constexpr double kDoubt = 1.75;
// Reports speak for sizes up to so many times theirs together.
constexpr double kReach = 4;

constexpr std::size_t kSize = 1;  // the part that is the size

}  // namespace

double TimeFit::Expect(const Parts& parts) const {
  double sum = 0;
  for (std::size_t i = 0; i < kParts; ++i) sum += costs_[i] * parts[i];
  return sum;
}

double TimeFit::Doubt(double size) const {
  if (reports_ <= 1) return std::numeric_limits<double>::infinity();
  return std::exp(kDoubt / std::sqrt(std::min(weight_, kReach * size_ / size)));
}

void TimeFit::Age() {
  Forget(kMemory);
}

void TimeFit::Report(const Parts& parts, double milliseconds) {
  const double expected = is_known() ? Expect(parts) : milliseconds;
  const double most = expected * kMostSurprise;
  const double least = expected / kMostSurprise;
  const int surprise = milliseconds > most ? 1 : milliseconds < least ? -1 : 0;
  const auto before = static_cast<double>(reports_);
  const bool is_another_time = surprise != 0 && surprise == surprise_;
  Forget(is_another_time ? kAfterSurprises : std::min(kMemory, before / (before + kWarmup)));
  surprise_ = surprise;

  const double time = std::clamp(milliseconds, least, most);
  const double weight = 1 / (expected * expected);
  for (std::size_t i = 0; i < kParts; ++i) {
    for (std::size_t j = 0; j < kParts; ++j) products_[i][j] += weight * parts[i] * parts[j];
    times_[i] += weight * parts[i] * time;
  }
  weight_ += 1;
  size_ += parts[kSize];
  reports_++;
  Solve();
  // Weights are by the estimate as it is, not by what it was when each report came.
  const double change = Expect(parts) / expected;
  for (std::size_t i = 0; i < kParts; ++i) {
    for (double& product : products_[i]) product /= change * change;
    times_[i] /= change * change;
  }
}

void TimeFit::Forget(double share) {
  for (std::size_t i = 0; i < kParts; ++i) {
    for (double& product : products_[i]) product *= share;
    times_[i] *= share;
  }
  weight_ *= share;
  size_ *= share;
}

// Each cost in turn is set to what fits best beside the others, and not below 0; that of the size
// first, so that it explains what others could explain as well.
void TimeFit::Solve() {
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (const std::size_t i : {kSize, std::size_t{0}, std::size_t{2}}) {
      double rest = times_[i];
      for (std::size_t j = 0; j < kParts; ++j) rest -= i == j ? 0 : products_[i][j] * costs_[j];
      const double own = products_[i][i] * (i == kSize ? 1 : 1 + kRidge);
      costs_[i] = own > 0 ? std::max(0.0, rest / own) : 0;
    }
  }
}

}  // namespace pagedkv
