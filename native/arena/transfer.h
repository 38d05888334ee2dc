// Many blocks on their way between a device's memory and records in the arena, as one job.
//
// A record holds all planes of a block end to end. On the device's side each plane is an array of
// blocks of its own, or the records are packed as they are in the arena and are one plane.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

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

struct TransferPlan {
  Direction direction = Direction::kStore;
  std::byte* records = nullptr;  // host block 0
  std::size_t record_bytes = 0;
  std::vector<Part> parts;
  std::vector<BlockPair> pairs;
  std::optional<ElementType>
      quantized;  // what the device's side consists of, where records are int8
  std::size_t head_dim = 0;
};

// Requires that every range lies in its memory, and that no two pairs share a target. Memory must
// stay until the job is finished or dropped.
class Transfer : public Job {
 public:
  explicit Transfer(TransferPlan plan, Cpu cpu = ThisCpu());

  std::size_t shares() const override;
  void RunShare(std::size_t share) noexcept override;

 private:
  void MovePiece(std::size_t pair, std::size_t part) const;
  void CopyRun(std::size_t first, std::size_t end) const;

  const TransferPlan plan_;
  const Cpu cpu_;
  std::size_t share_pieces_;  // pairs times parts, a block's parts together
};

}  // namespace pagedkv::arena
