// Preemption: a sequence's blocks move to the host, or are let go.
#include <algorithm>

#include "manager_state.h"

namespace pagedkv {

Manager::PreemptResult Manager::State::Preempt(SequenceHandle handle, PreemptMode mode) {
  SequenceId id;
  if (const Status status = Check(handle, id); status != Status::kOk) return {status, kNone, 0, {}};
  if (sequences[id].state == SequenceState::kDropped)
    return {Status::kSequenceDropped, kNone, 0, {}};
  if (sequences[id].steps != 0) return {Status::kSequenceInStep, kNone, 0, {}};
  if (mode == PreemptMode::kAuto) mode = CheaperMode(id);
  if (mode == PreemptMode::kSwap) return SwapOut(id);
  is_pressed = true;
  Drop(id);
  return {};
}

void Manager::State::Drop(SequenceId id) {
  Sequence& sequence = sequences[id];
  LetGo(id);
  if (sequence.state == SequenceState::kSwapped) {
    index.Acquire(sequence.run, HoldKind::kActive);
    index.Release(sequence.run, HoldKind::kParked);
  }
  sequence.state = SequenceState::kDropped;
  BeginAnew(id);
  sequence.length = sequence.planned = sequence.cached = sequence.recomputed_end = 0;
  sequence.computed = false;
  sequence.resident = true;
  stats.preemptions++;
  stats.drops++;
  TellSequence(id);
}

// A run moves to the host only when nothing below it stays on the device.
bool Manager::State::CanMove(RunId id, bool child_moves) const {
  const Run& run = index.run(id);
  return run.parent != kNone && !index.IsHost(id) && (run.flags & kRunLeaving) == 0 &&
         run.hidden == 0 && run.device_children == (child_moves ? 1u : 0u);
}

// All that can fail comes first.
Manager::State::Transfer Manager::State::NewTransfer() {
  ReserveTails(config.max_sequences + transfers.size() + 1);
  transfers.reserve(transfers.size() + 1);
  Transfer transfer;
  const std::size_t most = std::min(row_cells + 1, pools[0].host_total());
  transfer.pins.reserve(most);
  transfer.device_sets.reserve(most * groups);
  transfer.host_sets.reserve(most * groups);
  return transfer;
}

// All runs of the path are pinned first: making room on the host may merge runs that only their
// children hold.
void Manager::State::SendPath(Transfer& transfer) {
  for (const RunId run : path) PinRun(transfer, run);
  for (; !path.empty(); path.pop_back()) SendRun(transfer, path.back());
}

Manager::PreemptResult Manager::State::StartTransfer(Transfer transfer) {
  if (transfer.device_sets.empty()) return {};
  if (++next_ticket == kNone) next_ticket = 0;
  transfer.ticket = next_ticket;
  const std::uint32_t moves = TellTransfer(transfer);
  transfers.push_back(std::move(transfer));
  if (moves == 0) {  // the host has it all
    EndTransfer(next_ticket, true);
    return {};
  }
  return {Status::kOk, next_ticket, moves, {}};
}

Manager::PreemptResult Manager::State::SwapOut(SequenceId id) {
  Sequence& sequence = sequences[id];
  Transfer transfer = NewTransfer();
  ResolveTail(id);
  const bool was_active = sequence.state == SequenceState::kActive;
  path.clear();
  std::uint32_t needed = 0;
  bool moves_tail = false;
  if (was_active) {
    bool child_moves = false;
    for (RunId run = sequence.run; index.run(run).parent != kNone; run = index.run(run).parent) {
      if (index.run(run).active > 1) break;
      if (index.IsHost(run)) continue;
      if (!CanMove(run, child_moves)) break;
      child_moves = true;
      path.push_back(run);
      needed += index.run(run).length;
    }
    if (sequence.tail != kNone) {
      const Tail& tail = tails[sequence.tail];
      moves_tail = tail.active == 1 && (tail.flags & kRunLeaving) == 0 &&
                   !pools[0].IsHost(TailSet(sequence.tail)[0]);
      needed += moves_tail ? 1 : 0;
    }
    const PartitionId whom = PartitionOf(sequence.run);
    for (std::uint32_t group = 0; group < groups; ++group) {
      const std::uint32_t room = HostRoom(whom, group);
      if (room >= needed) continue;
      stats.out_of_blocks++;
      return {Status::kOutOfBlocks, kNone, 0, {needed, room, InFlightHost()}};
    }
    index.Acquire(sequence.run, HoldKind::kParked);
    index.Release(sequence.run, HoldKind::kActive);
    if (sequence.tail != kNone) tails[sequence.tail].active--;
    sequence.state = SequenceState::kSwapped;
    sequence.resident = false;
    is_pressed = true;
    stats.preemptions++;
    TellSequence(id);
  }
  SendPath(transfer);
  if (moves_tail) SendTail(transfer, sequence.tail);
  SweepParked(transfer);
  return StartTransfer(std::move(transfer));
}

// From its end up, as far as nobody holds it, nothing that continues it stays on the device, and
// there is room on the host.
Manager::PreemptResult Manager::State::Demote(Tokens tokens, std::string_view name,
                                              KeyRanges ranges) {
  if (!ExtraKeys::AreValid(ranges)) return {Status::kInvalidKeys, kNone, 0, {}};
  if (FindRoot(name) == kNone || !EnsureRuns(1)) return {};
  const PrefixIndex::Match match = FindPrompt(name, tokens, ranges);
  if (match.tokens == 0) return {};
  Transfer transfer = NewTransfer();
  std::uint32_t room = HostRoomOfSets(PartitionOf(match.run));
  path.clear();
  RunId run = index.EndAfter(match.run, match.count);
  for (; index.run(run).parent != kNone && !index.IsHeld(run); run = index.run(run).parent) {
    if (index.IsHost(run)) continue;
    if (!CanMove(run, !path.empty()) || index.run(run).length > room) break;
    room -= index.run(run).length;
    path.push_back(run);
  }
  SendPath(transfer);
  return StartTransfer(std::move(transfer));
}

std::uint32_t Manager::State::InFlightHost() const {
  std::size_t blocks = 0;
  for (const std::uint32_t slot : open_steps)
    blocks += steps[slot].arrivals.size() + steps[slot].mirror_targets.size() +
              steps[slot].onboard_hosts.size();
  return static_cast<std::uint32_t>(blocks / groups);
}

void Manager::State::PinRun(Transfer& transfer, RunId id) {
  if (index.run(id).list != kNoList) index.Unlist(id);
  index.run(id).flags |= kRunLeaving;
  index.Acquire(id, HoldKind::kParked);
  transfer.pins.push_back(id);
}

void Manager::State::SendRun(Transfer& transfer, RunId id) {
  BlockId device[kMaxGroups];
  for (std::uint32_t entry = 0; entry < index.run(id).length; ++entry) {
    for (std::uint32_t group = 0; group < groups; ++group)
      device[group] = index.block(id, entry, group);
    SendSet(transfer, PartitionOf(id), device);
  }
}

void Manager::State::SendSet(Transfer& transfer, PartitionId owner, const BlockId* device) {
  BlockId host[kMaxGroups];
  TakeHostNow(owner, device, host);
  transfer.device_sets.insert(transfer.device_sets.end(), device, device + groups);
  transfer.host_sets.insert(transfer.host_sets.end(), host, host + groups);
}

void Manager::State::SendTail(Transfer& transfer, TailId id) {
  tails[id].flags |= kRunLeaving;
  tails[id].holders++;
  transfer.tail = id;
  SendSet(transfer, quotas.owner(TailSet(id)[0]), TailSet(id));
}

// What only swapped-out sequences hold, and was left on the device when others still used it.
void Manager::State::SweepParked(Transfer& transfer) {
  for (RunId run = index.lists().Front(kParkedList); run != kNone;) {
    const std::uint32_t length = index.run(run).length;
    const std::size_t sets = transfer.device_sets.size() / groups + length;
    if (sets > row_cells) return;
    const std::uint32_t room = HostRoomOfSets(PartitionOf(run));
    if (room < length && !quotas.any()) return;
    if (room < length || !CanMove(run, false)) {
      run = index.run(run).next;
      continue;
    }
    PinRun(transfer, run);
    SendRun(transfer, run);
    run = index.lists().Front(kParkedList);  // making room may have merged the next one away
  }
}

// Returns how many records there are: what the host has needs none.
std::uint32_t Manager::State::TellTransfer(const Transfer& transfer) {
  std::uint32_t* record = shared + layout.transfer_moves;
  std::uint32_t moves = 0;
  for (std::size_t i = 0; i < transfer.device_sets.size(); ++i) {
    const auto group = static_cast<std::uint32_t>(i % groups);
    if (pools[group].IsMirrorOnLoan(transfer.host_sets[i])) continue;
    record[0] = group;
    record[1] = transfer.device_sets[i];
    record[2] = pools[group].HostNumber(transfer.host_sets[i]);
    record += 3;
    moves++;
  }
  return moves;
}

Status Manager::State::BeginTransfer(std::uint32_t ticket) {
  for (Transfer& transfer : transfers) {
    if (transfer.ticket != ticket) continue;
    if (transfer.executing) return Status::kStepExecuted;
    transfer.executing = true;
    return Status::kOk;
  }
  return Status::kTransferClosed;
}

Status Manager::State::EndTransfer(std::uint32_t ticket, bool ok) {
  const auto place =
      std::find_if(transfers.begin(), transfers.end(),
                   [&](const Transfer& transfer) { return transfer.ticket == ticket; });
  if (place == transfers.end()) return Status::kTransferClosed;
  const Transfer transfer = std::move(*place);
  transfers.erase(place);
  if (!ok) stats.failed_transfers += transfer.device_sets.size() / groups;
  // A run that was split meanwhile counts as several, all of them leaving: deepest first.
  for (std::size_t i = transfer.device_sets.size(); i > 0;) {
    i -= groups;
    const BlockId device = transfer.device_sets[i];
    if (pools[0].state(device) != BlockState::kIndexed) continue;
    const RunId run = pools[0].run(device);
    if ((index.run(run).flags & kRunLeaving) != 0) SettleRun(run, ok);
  }
  if (transfer.tail != kNone) SettleTail(transfer.tail, ok);
  for (const RunId run : transfer.pins) ReleaseHold(run, HoldKind::kParked);
  return Status::kOk;
}

// The host copy of a leaving run becomes the true one, unless somebody uses the run on the device
// again.
void Manager::State::SettleRun(RunId id, bool ok) {
  const Run& run = index.run(id);
  const bool moves = ok && run.active == 0 && run.device_children == 0;
  for (std::uint32_t entry = 0; entry < run.length; ++entry) {
    for (std::uint32_t group = 0; group < groups; ++group) {
      const BlockId device = index.block(id, entry, group);
      if (moves) {
        const BlockId host = pools[group].copy(device);
        pools[group].set_copy(device, kNone);
        index.SetBlock(id, entry, group, host);
        pools[group].Give(device);
      } else {
        KeepCopy(group, device, ok);
      }
    }
  }
  if (moves) stats.swapped_out_blocks += run.length;
  index.run(id).flags &= static_cast<std::uint8_t>(~kRunLeaving);
  if (moves) index.SetHost(id, true);
  index.Enlist(id, Entrance::kMoved);
}

void Manager::State::SettleTail(TailId id, bool ok) {
  Tail& tail = tails[id];
  const bool moves = ok && tail.active == 0 && tail.run == kNone;
  for (std::uint32_t group = 0; group < groups; ++group) {
    const BlockId device = TailSet(id)[group];
    const BlockId host = pools[group].copy(device);
    pools[group].set_copy(device, kNone);
    if (moves) TailSet(id)[group] = host;
    pools[group].Give(moves ? device : host);
  }
  if (moves) stats.swapped_out_blocks++;
  tail.flags &= static_cast<std::uint8_t>(~kRunLeaving);
  ReleaseTail(id, false);
}

}  // namespace pagedkv
