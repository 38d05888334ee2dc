// Where the results of a call stand: the first words of a manager's memory, so that a call returns
// nothing but a status. Each result is valid until the next call of the same manager.
#pragma once

#include <cstdint>

namespace pagedkv::binding {

enum ReplyWord : std::uint32_t {
  kReplySlot = 0,  // of a sequence or a step, with its generation
  kReplyGeneration = 1,
  kReplyCached = 2,
  kReplyNeeded = 3,  // the shortage, when out of blocks
  kReplyFree = 4,
  kReplyInFlight = 5,
  kReplyTicket = 6,
  kReplyMoves = 7,
  kReplyDevice = 8,  // the parts of a lookup, in tokens
  kReplyHost = 9,
  kReplyComputing = 10,
  kReplyManager = 11,
  kReplyReals =
      12,  // from here on doubles: the two numbers of an admission, which may pass 32 bits
};
// Written by a caller with a clock of its own before each call that time matters to: milliseconds,
// a double. Negative: the system's steady clock tells.
inline constexpr std::uint32_t kTimeReal = 2;
// After it, of the last events taken.
inline constexpr std::uint32_t kReplyEventWords = 18;
inline constexpr std::uint32_t kReplyMoreEvents = 19;
// Whether an admission admits, and what of a lookup's host part is worth bringing back, in tokens.
inline constexpr std::uint32_t kReplyAdmits = 20;
inline constexpr std::uint32_t kReplyWorth = 21;
// Of a victim: its place among those named, the blocks it frees and the cheaper mode; what it costs
// is the first double.
inline constexpr std::uint32_t kReplyVictim = 22;
inline constexpr std::uint32_t kReplyVictimBlocks = 23;
inline constexpr std::uint32_t kReplyVictimMode = 24;
inline constexpr std::uint32_t kReplyWords = 28;

// What the binding itself answers; beyond the numbers of pagedkv::Status.
enum class CallStatus : std::uint32_t {
  kInvalidArgument = 100,
  kManagerClosed = 101,
  kOutOfMemory = 102,
  kInternal = 103,
  kMemoryClosed = 104,
  kOutOfRange = 105,  // a block that the layout does not have
};

}  // namespace pagedkv::binding
