#include "cost_model.h"

#include <algorithm>

namespace pagedkv {
namespace {

// Of what the choices cost, exploring may take this share; of the first ones more, as little is
// known: of the n-th, one part in n and a few.
constexpr double kShare = 0.01;
constexpr double kFirstChoices = 4;
// What was not spent is kept up to this share of the last choice.
constexpr double kMostKept = 0.25;
// Of a hit, the part that is explored; where that is not allowed, as few blocks as this.
constexpr std::uint32_t kPart = 8;
constexpr std::uint32_t kLeast = 4;
// By how many times a single report of transfers may be off.
constexpr double kGuess = 8;
// Below what a clock can tell.
constexpr double kShortest = 1e-6;
// For a token, while there are no reports; a block is taken to be as fast.
constexpr double kUnknown = 1;

std::uint32_t PartOf(const CostModel::Hit& hit) {
  return std::max(hit.blocks / kPart, std::min(hit.blocks, kLeast));
}

TimeFit::Parts TransferParts(std::uint32_t blocks) {
  return {1, static_cast<double>(blocks), 0};
}

// Each token attends to all before it.
TimeFit::Parts PrefillParts(double fixed, std::uint32_t tokens, std::uint32_t past) {
  const double count = tokens;
  return {fixed, count, count * (past + count / 2)};
}

double TransferTime(const TimeFit& fit, std::uint32_t blocks) {
  if (blocks == 0) return 0;
  return fit.is_known() ? fit.Expect(TransferParts(blocks)) : kUnknown * blocks;
}

}  // namespace

void CostModel::ReportTransfer(Direction direction, std::uint32_t blocks, double milliseconds) {
  TimeFit& fit = direction == Direction::kOnboard ? onboard_ : offload_;
  fit.Report(TransferParts(blocks), std::max(milliseconds, kShortest));
}

void CostModel::ReportPrefill(std::uint32_t tokens, std::uint32_t past, double milliseconds) {
  prefill_.Report(PrefillParts(1, tokens, past), std::max(milliseconds, kShortest));
}

double CostModel::OnboardTime(std::uint32_t blocks) const {
  return TransferTime(onboard_, blocks);
}

double CostModel::OffloadTime(std::uint32_t blocks) const {
  return TransferTime(offload_, blocks);
}

double CostModel::PrefillTime(std::uint32_t tokens, std::uint32_t past) const {
  if (!prefill_.is_known()) return kUnknown * tokens;
  return prefill_.Expect(PrefillParts(0, tokens, past));
}

bool CostModel::IsWorth(const Hit& hit) const {
  if (policy_ != OnboardPolicy::kAuto) return policy_ == OnboardPolicy::kAlways;
  if (!is_known()) return true;
  return OnboardTime(hit.blocks) <= PrefillTime(hit.tokens, hit.past);
}

// Transfers have a fixed cost and a rate, and computing gets dearer with the position: so what pays
// for a part of a hit pays for all of it.
CostModel::Choice CostModel::Choose(const Hit& hit) {
  const bool brings = IsWorth(hit);
  if (policy_ != OnboardPolicy::kAuto) return {brings ? hit.blocks : 0, false};
  if (!is_known()) return FirstChoice(hit);
  const double onboard = OnboardTime(hit.blocks);
  const double prefill = PrefillTime(hit.tokens, hit.past);
  const double cheaper = std::min(onboard, prefill);
  const double share = std::max(kShare, 1 / (kFirstChoices + static_cast<double>(choices_++)));
  allowance_ = std::max(allowance_, std::min(allowance_ + cheaper * share, cheaper * kMostKept));
  onboard_.Age();
  prefill_.Age();
  const bool is_bold = onboard_.is_guess() && onboard * kGuess > prefill;
  if (brings && is_bold) return {PartOf(hit), true};
  const double doubt = brings ? prefill_.Doubt(hit.tokens) : onboard_.Doubt(hit.blocks);
  if (std::max(onboard, prefill) <= cheaper * doubt) return Explore(hit, brings);
  return {brings ? hit.blocks : 0, false};
}

// All is brought back, but that who tells of passes is twice given a part to tell of transfers too.
CostModel::Choice CostModel::FirstChoice(const Hit& hit) {
  if (!prefill_.is_known() || first_choices_ == 2) return {hit.blocks, false};
  first_choices_++;
  return {PartOf(hit), true};
}

// Chooses the other way for a part, where what that is expected to lose is allowed.
CostModel::Choice CostModel::Explore(const Hit& hit, bool brings) {
  const double alone = brings ? OnboardTime(hit.blocks) : PrefillTime(hit.tokens, hit.past);
  for (const std::uint32_t part : {PartOf(hit), std::min(hit.blocks, kLeast)}) {
    const std::uint32_t blocks = brings ? hit.blocks - part : part;
    const double loss = MixedTime(hit, blocks) - alone;
    if (loss > allowance_) continue;
    allowance_ -= std::max(0.0, loss);
    return {blocks, true};
  }
  return {brings ? hit.blocks : 0, false};
}

// Of bringing the first blocks back and computing the rest. Blocks hold as many tokens each, but
// for the last one.
double CostModel::MixedTime(const Hit& hit, std::uint32_t blocks) const {
  const auto tokens = static_cast<std::uint32_t>(std::uint64_t{hit.tokens} * blocks / hit.blocks);
  return OnboardTime(blocks) + PrefillTime(hit.tokens - tokens, hit.past + tokens);
}

}  // namespace pagedkv
