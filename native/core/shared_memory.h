// The memory that the core shares with its caller: the batch goes in, the step's tables come out,
// and no call passes an array. Everything is 32-bit words at offsets fixed at construction.
#pragma once

#include "types.h"

namespace pagedkv {

// Words of a batch entry: slot, generation, nonce, count. A count with kCountOnly set brings no
// ids; one with kGuesses, tokens that may be rejected before the commit: all of them are computed,
// those too that are found in memory.
inline constexpr std::uint32_t kBatchEntryWords = 4;
inline constexpr std::uint32_t kCountOnly = 1u << 31;
inline constexpr std::uint32_t kGuesses = 1u << 30;
inline constexpr std::uint32_t kCountMask = (1u << 29) - 1;

// Words of the header of a step.
enum StepWord : std::uint32_t {
  kStepGeneration = 0,
  kStepBatch = 1,     // sequences
  kStepTokens = 2,    // query tokens
  kStepOffloads = 3,  // records of each kind
  kStepOnboards = 4,
  kStepCopies = 5,
  kStepUpdates = 6,
  kStepHostHits = 7,
  kStepSerial = 8,  // which of all steps it is
  kStepHeaderWords = 9,
};

// Offsets in words. Arrays of a step stand at `step(i) + offset`.
struct SharedLayout {
  std::uint64_t batch_entries = 0;  // [max_batch_sequences][4]
  std::uint64_t batch_tokens = 0;   // [max_batch_tokens], the entries' ids end to end
  std::uint64_t sequence_generation =
      0;                              // [max_sequences]; what follows is valid for this generation
  std::uint64_t sequence_length = 0;  // [max_sequences] committed tokens
  std::uint64_t sequence_cached = 0;  // [max_sequences] tokens found at open or resume
  std::uint64_t sequence_state = 0;   // [max_sequences] SequenceState
  std::uint64_t row_serials = 0;      // [max_sequences] the step that last changed a row
  std::uint64_t transfer_moves =
      0;  // [groups * (max_blocks_per_sequence + 1)][3], of the last preempt
  std::uint64_t block_tables = 0;  // [groups][max_sequences][max_blocks_per_sequence]
  std::uint64_t steps = 0;         // [max_open_steps] of step_words
  std::uint64_t step_words = 0;
  // Within a step:
  std::uint64_t step_rows = 0;        // [max_batch_sequences]
  std::uint64_t step_past = 0;        // [max_batch_sequences]
  std::uint64_t step_cumulative = 0;  // [max_batch_sequences + 1]
  std::uint64_t step_skipped = 0;     // [max_batch_sequences]
  std::uint64_t step_slots = 0;       // [groups][max_batch_tokens]
  std::uint64_t step_updates =
      0;  // [max_batch_sequences][3]: row, first cell, cells; for every group
  std::uint64_t step_copies = 0;    // [groups * max_batch_sequences][4]: group, from, to, tokens
  std::uint64_t step_offloads = 0;  // [groups * max_step_transfers][3]: group, device, host
  std::uint64_t step_onboards = 0;  // [groups * max_step_transfers][3]: group, host, device
  std::uint64_t step_host_hits =
      0;  // [max_batch_sequences][3]: entry, blocks brought back, tokens computed all the same
  std::uint64_t words = 0;  // of all

  static SharedLayout For(const Config& config);
};

}  // namespace pagedkv
