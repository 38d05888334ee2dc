#include "transfer.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace pagedkv::arena {
namespace {

// Large enough that taking a share costs nothing, small enough that threads end together.
constexpr std::size_t kShareBytes = std::size_t{512} << 10;

}  // namespace

Transfer::Transfer(TransferPlan plan, Cpu cpu) : plan_(std::move(plan)), cpu_(cpu) {
  std::size_t bytes = 0;
  for (const Part& part : plan_.parts) bytes += part.near_bytes;
  const std::size_t mean =
      std::max<std::size_t>(bytes / std::max<std::size_t>(plan_.parts.size(), 1), 1);
  share_pieces_ = std::max<std::size_t>(kShareBytes / mean, 1);
}

std::size_t Transfer::shares() const {
  const std::size_t pieces = plan_.pairs.size() * plan_.parts.size();
  return (pieces + share_pieces_ - 1) / share_pieces_;
}

void Transfer::RunShare(std::size_t share) noexcept {
  const std::size_t parts = plan_.parts.size();
  const std::size_t first = share * share_pieces_;
  const std::size_t end = std::min(first + share_pieces_, plan_.pairs.size() * parts);
  if (parts == 1 && !plan_.quantized) return CopyRun(first, end);
  for (std::size_t piece = first; piece < end; ++piece) MovePiece(piece / parts, piece % parts);
}

void Transfer::MovePiece(std::size_t pair, std::size_t index) const {
  const BlockPair& blocks = plan_.pairs[pair];
  const Part& part = plan_.parts[index];
  std::byte* near = part.near + blocks.near * part.near_bytes;
  std::byte* host = plan_.records + blocks.host * plan_.record_bytes + part.record_offset;
  const bool is_store = plan_.direction == Direction::kStore;
  if (!plan_.quantized) {
    std::memcpy(is_store ? host : near, is_store ? near : host, part.near_bytes);
    return;
  }
  const HeadShape shape = {.type = *plan_.quantized,
                           .head_dim = plan_.head_dim,
                           .heads = part.near_bytes / BytesOf(*plan_.quantized) / plan_.head_dim};
  if (is_store) {
    Quantize(shape, near, host, cpu_);
  } else {
    Dequantize(shape, host, near, cpu_);
  }
}

// Whole records: neighbours on both sides are one piece.
void Transfer::CopyRun(std::size_t first, std::size_t end) const {
  const Part& part = plan_.parts[0];
  while (first < end) {
    const BlockPair& begin = plan_.pairs[first];
    std::size_t blocks = 1;
    const bool is_whole = part.near_bytes == plan_.record_bytes;
    while (is_whole && first + blocks < end &&
           plan_.pairs[first + blocks].near == begin.near + blocks &&
           plan_.pairs[first + blocks].host == begin.host + blocks) {
      ++blocks;
    }
    std::byte* near = part.near + begin.near * part.near_bytes;
    std::byte* host = plan_.records + begin.host * plan_.record_bytes + part.record_offset;
    const bool is_store = plan_.direction == Direction::kStore;
    std::memcpy(is_store ? host : near, is_store ? near : host, blocks * part.near_bytes);
    first += blocks;
  }
}

}  // namespace pagedkv::arena
