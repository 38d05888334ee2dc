// Many blocks on their way between a device's memory and records in the arena, as one job.
//
// A record holds all planes of a block end to end. On the device's side each plane is an array of
// blocks of its own; or records are packed there as they are in the arena, as if they were of one
// plane.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "copy.h"
#include "quantize.h"
#include "worker_pool.h"

namespace pagedkv::arena {

// What one plane has of every block.
struct Part {
  std::byte* near = nullptr;      // block 0 on the device's side
  std::size_t near_bytes = 0;     // of a block there
  std::size_t record_offset = 0;  // in the block's record
};

struct BlockPair {
  std::uint32_t near = 0;
  std::uint32_t host = 0;
};

enum class Direction { kStore, kLoad };  // to the arena, from it

// Every range lies in its memory, and no two pairs share a target.
struct TransferPlan {
  Direction direction = Direction::kStore;
  std::byte* records = nullptr;  // host block 0
  std::size_t record_bytes = 0;
  std::vector<Part> parts;
  std::vector<BlockPair> pairs;
  // Of the device's side, where records are int8.
  std::optional<ElementType> quantized;
  std::size_t head_dim = 0;

  // On the device's side.
  std::size_t bytes() const;
};

// Requires that memory stays until the job is finished or dropped.
class Transfer : public Job {
 public:
  explicit Transfer(TransferPlan plan, Cpu cpu = ThisCpu());

  std::size_t shares() const override;
  void RunShare(std::size_t share) noexcept override;

 private:
  struct Piece;
  struct Cursor;

  std::size_t pieces() const { return plan_.pairs.size() * plan_.parts.size(); }
  Piece At(const Cursor& cursor) const;
  template <typename Move>
  void ForEach(Cursor cursor, std::size_t count, Move move) const;
  void CopyPieces(Cursor cursor, std::size_t count) const;
  void CopyRuns(std::size_t first, std::size_t end) const;
  void Requantize(Cursor cursor, std::size_t count) const;

  const TransferPlan plan_;
  const Cpu cpu_;
  bool streams_;
  Copier copy_;
  std::size_t share_pieces_;  // numbered by pair, then by part
  std::size_t ahead_pieces_;
};

}  // namespace pagedkv::arena
