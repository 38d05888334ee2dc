// Host memory: its life, the arrays that JavaScript sees it through, and moving blocks in and out.
//
// Sizes and offsets are whole numbers up to 2^53 - 1.
#include <time.h>

#include <algorithm>
#include <array>
#include <utility>

#include "arena/machine_memory.h"
#include "arena/transfer.h"
#include "arena/yardstick.h"
#include "operations.h"

namespace pagedkv::binding {
namespace {

using arena::Direction;
using arena::ElementType;

[[noreturn]] void Refuse(CallStatus status = CallStatus::kInvalidArgument) {
  throw Misuse{status};
}

HostMemoryPtr MemoryAt(const Call& call, std::size_t index) {
  HostMemoryPtr found = call.environment().arenas().Find(call.Word(index));
  if (!found) Refuse(CallStatus::kMemoryClosed);
  return found;
}

// Whether `count` times `each` bytes from `offset` on lie within `size`. No overflow.
bool Fits(std::uint64_t offset, std::uint64_t count, std::uint64_t each, std::uint64_t size) {
  if (offset > size) return false;
  return each == 0 || count <= (size - offset) / each;
}

// How blocks lie, as TypeScript tells it: see BlockShape in native.ts.
struct ShapeWords {
  enum : std::size_t {
    kHostOffset = 0,
    kHostBlocks = 1,
    kRecordBytes = 2,
    kNearBlocks = 3,
    kQuantized = 4,  // 0, or an ElementType
    kHeadDim = 5,
    kParts = 6,  // from here on three for each
    kPartWords = 3,
  };
};

class Shape {
 public:
  Shape(const Call& call, std::size_t index) {
    const Napi::Float64Array given = call.Reals(index);
    const std::size_t length = given.ElementLength();
    if (length <= ShapeWords::kParts || (length - ShapeWords::kParts) % ShapeWords::kPartWords) {
      Refuse();
    }
    words_.reserve(length);
    for (std::size_t i = 0; i < length; ++i) words_.push_back(ToSize(given.Data()[i]));
    if (words_[ShapeWords::kQuantized] > static_cast<std::uint64_t>(ElementType::kHalf)) Refuse();
  }

  std::uint64_t host_blocks() const { return words_[ShapeWords::kHostBlocks]; }
  std::uint64_t near_blocks() const { return words_[ShapeWords::kNearBlocks]; }

  // `near`: the device's memory, of which every block must lie within `near_size`.
  arena::TransferPlan Plan(arena::HostMemory& host, std::byte* near, std::uint64_t near_size,
                           std::uint64_t near_blocks) const {
    arena::TransferPlan plan;
    plan.record_bytes = words_[ShapeWords::kRecordBytes];
    const std::uint64_t offset = words_[ShapeWords::kHostOffset];
    if (!Fits(offset, host_blocks(), plan.record_bytes, host.size())) Refuse();
    plan.records = host.data() + offset;
    if (words_[ShapeWords::kQuantized] != 0) {
      plan.quantized = static_cast<ElementType>(words_[ShapeWords::kQuantized]);
    }
    plan.head_dim = words_[ShapeWords::kHeadDim];
    for (std::size_t at = ShapeWords::kParts; at < words_.size(); at += ShapeWords::kPartWords) {
      if (!Fits(words_[at], near_blocks, words_[at + 1], near_size)) Refuse();
      const arena::Part part = {near + words_[at], words_[at + 1], words_[at + 2]};
      if (!Fits(part.record_offset, 1, BytesInRecord(plan, part.near_bytes), plan.record_bytes)) {
        Refuse();
      }
      plan.parts.push_back(part);
    }
    return plan;
  }

 private:
  static std::uint64_t ToSize(double value) {
    if (!(value >= 0 && value < 0x1p53)) Refuse();
    const auto size = static_cast<std::uint64_t>(value);
    if (static_cast<double>(size) != value) Refuse();
    return size;
  }

  static std::uint64_t BytesInRecord(const arena::TransferPlan& plan, std::uint64_t near_bytes) {
    if (!plan.quantized) return near_bytes;
    const std::uint64_t element = BytesOf(*plan.quantized);
    if (plan.head_dim == 0 || near_bytes % element != 0) Refuse();
    if (near_bytes / element % plan.head_dim != 0) Refuse();
    const arena::HeadShape heads = {.type = *plan.quantized,
                                    .head_dim = plan.head_dim,
                                    .heads = near_bytes / element / plan.head_dim};
    return heads.quantized_bytes();
  }

  std::vector<std::uint64_t> words_;
};

// Records of group, source, target; some of them, all of one group.
class GivenMoves {
 public:
  GivenMoves(const Call& call, std::size_t index) {
    const Tokens words = call.Ids(index);
    const std::size_t first = call.Word(index + 1);
    const std::size_t end = call.Word(index + 2);
    if (first > end || end > words.size() / kMoveWords) Refuse();
    moves_ = words.subspan(first * kMoveWords, (end - first) * kMoveWords);
    for (std::size_t at = 0; at < moves_.size(); at += kMoveWords) {
      if (moves_[at] != moves_[0]) Refuse();
    }
  }

  std::size_t count() const { return moves_.size() / kMoveWords; }

  // `is_packed`: the device's side holds the records of these moves end to end, else blocks by id.
  std::vector<arena::BlockPair> Pairs(Direction direction, bool is_packed,
                                      const Shape& shape) const {
    const std::uint64_t near_blocks = is_packed ? count() : shape.near_blocks();
    const std::size_t near = direction == Direction::kStore ? 1 : 2;
    const std::size_t host = direction == Direction::kStore ? 2 : 1;
    std::vector<arena::BlockPair> pairs;
    pairs.reserve(count());
    for (std::uint32_t i = 0; i < count(); ++i) {
      const std::uint32_t* move = &moves_[i * kMoveWords];
      const arena::BlockPair pair = {is_packed ? i : move[near], move[host]};
      if (pair.near >= near_blocks || pair.host >= shape.host_blocks()) {
        Refuse(CallStatus::kOutOfRange);
      }
      pairs.push_back(pair);
    }
    return pairs;
  }

 private:
  static constexpr std::size_t kMoveWords = 3;
  Tokens moves_;
};

Direction ReadDirection(const Call& call, std::size_t index) {
  return call.Flag(index) ? Direction::kStore : Direction::kLoad;
}

std::uint32_t ReadThreads(const Call& call, std::size_t index) {
  constexpr std::uint32_t kMostThreads = 64;
  const std::uint32_t threads = call.Word(index);
  if (threads == 0 || threads > kMostThreads) Refuse();
  return threads;
}

// What is to be moved, and the memories that it is moved between.
struct GivenTransfer {
  arena::TransferPlan plan;
  HostMemoryPtr host;
  HostMemoryPtr near;  // null: an array of the caller's
};

// Keeps its memories for as long as it lasts.
class OwningTransfer : public arena::Transfer {
 public:
  explicit OwningTransfer(GivenTransfer given)
      : Transfer(std::move(given.plan)),
        host_(std::move(given.host)),
        near_(std::move(given.near)) {}

  // An array is filled or emptied meanwhile, by a GPU's driver on the caller's word.
  unsigned most_threads() const override {
    return near_ ? Transfer::most_threads() : arena::WorkerPool::ThreadsBesideAnother();
  }

 private:
  const HostMemoryPtr host_;
  const HostMemoryPtr near_;
};

// (memory, store, shape, moves, first, end, near): `near` is another memory, or packed records in a
// Uint8Array.
GivenTransfer ReadTransfer(const Call& call) {
  HostMemoryPtr host = MemoryAt(call, 0);
  const Direction direction = ReadDirection(call, 1);
  const Shape shape(call, 2);
  const GivenMoves moves(call, 3);
  const bool is_packed = call.IsObject(6);
  HostMemoryPtr near;
  std::byte* data = nullptr;
  std::uint64_t size = 0;
  if (is_packed) {
    const std::string_view bytes = call.Bytes(6);
    // Written where the direction is so: the array is the caller's to give.
    data = reinterpret_cast<std::byte*>(const_cast<char*>(bytes.data()));
    size = bytes.size();
  } else {
    near = MemoryAt(call, 6);
    data = near->data();
    size = near->size();
  }
  const std::uint64_t near_blocks = is_packed ? moves.count() : shape.near_blocks();
  arena::TransferPlan plan = shape.Plan(*host, data, size, near_blocks);
  plan.direction = direction;
  plan.pairs = moves.Pairs(direction, is_packed, shape);
  return {std::move(plan), std::move(host), std::move(near)};
}

}  // namespace

// (bytes, out): the memory's id is in the first double of `out`; where there is not enough, what
// there is.
Status CreateMemory(const Call& call) {
  const std::uint64_t bytes = call.Size(0);
  Napi::Float64Array out = call.Reals(1);
  if (out.ElementLength() < 1) Refuse();
  try {
    auto memory = std::make_shared<arena::HostMemory>(bytes, arena::AvailableMemory());
    out[0] = call.environment().arenas().Add(std::move(memory));
    return Status::kOk;
  } catch (const arena::NotEnoughMemory& refused) {
    out[0] = static_cast<double>(refused.available);
    Refuse(CallStatus::kOutOfMemory);
  }
}

// (memory, offset, bytes): the ArrayBuffer, which keeps the memory; each range once.
Napi::Value ViewMemory(const Call& call) {
  HostMemoryPtr memory = MemoryAt(call, 0);
  const std::uint64_t offset = call.Size(1);
  const std::uint64_t bytes = call.Size(2);
  if (!Fits(offset, 1, bytes, memory->size())) Refuse();
  std::byte* begin = memory->data() + offset;
  auto* owner = new HostMemoryPtr(std::move(memory));
  return Napi::ArrayBuffer::New(
      call.env(), begin, bytes, [](Napi::Env, void*, HostMemoryPtr* kept) { delete kept; }, owner);
}

// (memory): a promise of a status.
Napi::Value TouchMemory(const Call& call) {
  const Napi::Value promise = call.environment().arenas().Touch(call.env(), MemoryAt(call, 0));
  if (promise.IsEmpty()) Refuse();
  return promise;
}

// (memory); one that is closed stays closed.
Status CloseMemory(const Call& call) {
  call.environment().arenas().Close(call.Word(0));
  return Status::kOk;
}

// (memory): its views and jobs keep it.
Status ForgetMemory(const Call& call) {
  call.environment().arenas().Forget(call.Word(0));
  return Status::kOk;
}

Status MoveBlocks(const Call& call) {
  call.environment().arenas().Run(std::make_shared<OwningTransfer>(ReadTransfer(call)));
  return Status::kOk;
}

// As MoveBlocks, then (threads, out): seconds of plain copies, in the first double of `out`.
Status CopyPlainly(const Call& call) {
  const GivenTransfer given = ReadTransfer(call);
  const std::uint32_t threads = ReadThreads(call, 7);
  Napi::Float64Array out = call.Reals(8);
  if (given.plan.quantized || out.ElementLength() < 1) Refuse();
  out[0] = arena::PlainCopySeconds(given.plan, threads);
  return Status::kOk;
}

// Waits until nothing moves.
Status DrainMoves(const Call& call) {
  call.environment().arenas().Drain();
  return Status::kOk;
}

// (out): milliseconds that this thread has been on a processor, in the first double of `out`.
Status ReadThreadClock(const Call& call) {
  Napi::Float64Array out = call.Reals(0);
  if (out.ElementLength() < 1) Refuse();
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  out[0] = static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
  return Status::kOk;
}

// (threads): of this environment, for all that moves from now on.
Status SetCopyThreads(const Call& call) {
  call.environment().arenas().SetThreads(ReadThreads(call, 0));
  return Status::kOk;
}

// As MoveBlocks: a promise of a status.
Napi::Value BeginMoveBlocks(const Call& call) {
  auto job = std::make_shared<OwningTransfer>(ReadTransfer(call));
  std::vector<Napi::Object> kept;
  if (call.IsObject(6)) kept.push_back(call.Value(6).As<Napi::Object>());
  return call.environment().arenas().Begin(call.env(), std::move(job), kept);
}

}  // namespace pagedkv::binding
