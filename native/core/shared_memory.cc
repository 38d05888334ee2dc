// Lays out the memory that the core shares with its caller.
//
// Invariant: arrays do not overlap, and each begins on a multiple of 16 bytes of a step or of the
// whole. All arithmetic is 64-bit, and no configuration within the limits of types.h can overflow
// it.
#include "shared_memory.h"

namespace pagedkv {
namespace {

constexpr std::uint64_t kAlignmentWords = 4;

class Cursor {
 public:
  // The offset of an array of so many words, put after the last one.
  std::uint64_t Take(std::uint64_t words) {
    const std::uint64_t offset = end_;
    end_ += (words + kAlignmentWords - 1) / kAlignmentWords * kAlignmentWords;
    return offset;
  }
  std::uint64_t end() const { return end_; }

 private:
  std::uint64_t end_ = 0;
};

}  // namespace

SharedLayout SharedLayout::For(const Config& config) {
  const std::uint64_t groups = config.groups.size();
  const std::uint64_t sequences = config.max_sequences;
  const std::uint64_t cells = config.max_blocks_per_sequence();
  const std::uint64_t batch = config.max_batch_sequences;
  const std::uint64_t tokens = config.max_batch_tokens;
  const std::uint64_t transfers = config.max_step_transfers;
  SharedLayout layout;

  Cursor step;
  step.Take(kStepHeaderWords);
  layout.step_rows = step.Take(batch);
  layout.step_past = step.Take(batch);
  layout.step_cumulative = step.Take(batch + 1);
  layout.step_skipped = step.Take(batch);
  layout.step_slots = step.Take(groups * tokens);
  layout.step_updates = step.Take(batch * 3);
  layout.step_copies = step.Take(groups * batch * 4);
  layout.step_offloads = step.Take(groups * transfers * 3);
  layout.step_onboards = step.Take(groups * transfers * 3);
  layout.step_host_hits = step.Take(batch * 3);
  layout.step_words = step.end();

  Cursor all;
  layout.batch_entries = all.Take(batch * kBatchEntryWords);
  layout.batch_tokens = all.Take(tokens);
  layout.sequence_generation = all.Take(sequences);
  layout.sequence_length = all.Take(sequences);
  layout.sequence_cached = all.Take(sequences);
  layout.sequence_state = all.Take(sequences);
  layout.row_serials = all.Take(sequences);
  layout.transfer_moves = all.Take(groups * (cells + 1) * 3);
  layout.block_tables = all.Take(groups * sequences * cells);
  layout.steps = all.Take(config.max_open_steps * layout.step_words);
  layout.words = all.end();
  return layout;
}

}  // namespace pagedkv
