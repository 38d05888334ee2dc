#include "transfer.h"

#include <algorithm>
#include <utility>

namespace pagedkv::arena {
namespace {

// Large enough that taking a share costs nothing, small enough that threads end together.
constexpr std::size_t kShareBytes = std::size_t{512} << 10;

// What is smaller may well be read again before it has left the cache.
constexpr std::size_t kStreamBytes = std::size_t{1} << 20;

// Of int8 parts, which begin and end within lines: below, these lines cost more than is gained.
constexpr std::size_t kStreamValues = 4096;

}  // namespace

// One plane's part of one block.
struct Transfer::Piece {
  std::byte* near;
  std::byte* host;
  std::size_t near_bytes;
};

struct Transfer::Cursor {
  std::size_t pair;
  std::size_t part;

  void Advance(std::size_t parts) {
    if (++part < parts) return;
    part = 0;
    ++pair;
  }
};

std::size_t TransferPlan::bytes() const {
  std::size_t block = 0;
  for (const Part& part : parts) block += part.near_bytes;
  return block * pairs.size();
}

Transfer::Transfer(TransferPlan plan, Cpu cpu) : plan_(std::move(plan)), cpu_(cpu) {
  const std::size_t bytes = plan_.bytes();
  const std::size_t mean = std::max<std::size_t>(bytes / std::max<std::size_t>(pieces(), 1), 1);
  streams_ = bytes >= kStreamBytes;
  copy_ = streams_ ? StreamingCopier(cpu) : PlainCopier();
  share_pieces_ = std::max<std::size_t>(kShareBytes / mean, 1);
  ahead_pieces_ = (kAheadBytes + mean - 1) / mean;
}

std::size_t Transfer::shares() const {
  return (pieces() + share_pieces_ - 1) / share_pieces_;
}

void Transfer::RunShare(std::size_t share) noexcept {
  const std::size_t parts = plan_.parts.size();
  const std::size_t first = share * share_pieces_;
  const std::size_t end = std::min(first + share_pieces_, pieces());
  const Cursor cursor = {.pair = first / parts, .part = first % parts};
  if (plan_.quantized) {
    Requantize(cursor, end - first);
  } else if (parts == 1) {
    CopyRuns(first, end);
  } else {
    CopyPieces(cursor, end - first);
  }
  EndStreaming();
}

Transfer::Piece Transfer::At(const Cursor& cursor) const {
  const BlockPair& pair = plan_.pairs[cursor.pair];
  const Part& part = plan_.parts[cursor.part];
  return {.near = part.near + pair.near * part.near_bytes,
          .host = plan_.records + pair.host * plan_.record_bytes + part.record_offset,
          .near_bytes = part.near_bytes};
}

// `move` is given each of `count` pieces, and the one that comes kAheadBytes later.
template <typename Move>
void Transfer::ForEach(Cursor cursor, std::size_t count, Move move) const {
  const std::size_t parts = plan_.parts.size();
  const std::size_t lead = std::min(ahead_pieces_, count - 1);
  Cursor ahead = cursor;
  for (std::size_t i = 0; i < lead; ++i) ahead.Advance(parts);
  for (std::size_t i = 0; i < count; ++i) {
    move(At(cursor), At(ahead));
    cursor.Advance(parts);
    if (i + lead + 1 < count) ahead.Advance(parts);
  }
}

void Transfer::CopyPieces(Cursor cursor, std::size_t count) const {
  const bool is_store = plan_.direction == Direction::kStore;
  ForEach(cursor, count, [&](const Piece& piece, const Piece& later) {
    if (is_store) {
      copy_(piece.host, piece.near, piece.near_bytes, later.near);
    } else {
      copy_(piece.near, piece.host, piece.near_bytes, later.host);
    }
  });
}

// Of one part: neighbours on both sides are one piece, where records are nothing but that part.
void Transfer::CopyRuns(std::size_t first, std::size_t end) const {
  const bool is_whole = plan_.parts[0].near_bytes == plan_.record_bytes;
  const bool is_store = plan_.direction == Direction::kStore;
  const auto& pairs = plan_.pairs;
  while (first < end) {
    std::size_t next = first + 1;
    while (is_whole && next < end && pairs[next].near == pairs[next - 1].near + 1 &&
           pairs[next].host == pairs[next - 1].host + 1) {
      ++next;
    }
    const Piece piece = At({.pair = first, .part = 0});
    const Piece later = At({.pair = std::min(next, end - 1), .part = 0});
    const std::size_t bytes = (next - first) * piece.near_bytes;
    if (is_store) {
      copy_(piece.host, piece.near, bytes, later.near);
    } else {
      copy_(piece.near, piece.host, bytes, later.host);
    }
    first = next;
  }
}

void Transfer::Requantize(Cursor cursor, std::size_t count) const {
  const bool is_store = plan_.direction == Direction::kStore;
  ForEach(cursor, count, [&](const Piece& piece, const Piece& later) {
    const std::size_t values = piece.near_bytes / BytesOf(*plan_.quantized);
    const HeadShape shape = {
        .type = *plan_.quantized, .head_dim = plan_.head_dim, .heads = values / plan_.head_dim};
    const bool streams = streams_ && (!is_store || values >= kStreamValues);
    const Flow flow = {.ahead = is_store ? later.near : later.host, .streams = streams};
    if (is_store) {
      Quantize(shape, piece.near, piece.host, cpu_, flow);
    } else {
      Dequantize(shape, piece.host, piece.near, cpu_, flow);
    }
  });
}

}  // namespace pagedkv::arena
