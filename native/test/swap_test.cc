// Swapping whole sequences out and back: sharing is kept, nothing is lost, and others may go on
// meanwhile.

#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

TEST("a swapped-out sequence gives its device blocks back once the copy has finished") {
  SimulatedDevice device(Pool(4, 4));
  const SequenceId chat = device.Chat(Text(1, 40));
  const auto preempted = device.TryPreempt(chat, PreemptMode::kSwap);
  CHECK_EQ(preempted.moves, 3);
  CHECK(device.State(chat) == SequenceState::kSwapped);
  const SequenceId other = device.Open(Text(2, 64));
  const auto refused = device.TrySchedule({{other, Text(2, 64)}});
  CHECK_EQ(refused.status, Status::kOutOfBlocks);
  CHECK_EQ(refused.shortage.needed, 4);
  CHECK_EQ(refused.shortage.in_flight, 3);
  device.FinishTransfer(preempted.transfer);
  CHECK_EQ(device.HostHeld(), 3);
  CHECK_EQ(device.Held(), 0);
  device.Append(other, Text(2, 64));
  device.Close(other);
  const StepId back = device.Append(chat, Text(1, 1, 40));
  CHECK_EQ(device.Onboards(back).size(), 3);
  CHECK(device.State(chat) == SequenceState::kActive);
  CHECK_EQ(device.HostHeld(), 0);
  device.CloseAll();
}

TEST("two forks that share 100 blocks swap out 100 blocks and come back sharing them") {
  SimulatedDevice device(Pool(128, 100));
  const SequenceId one = device.Chat(Text(1, 1600));
  const SequenceId two = device.Fork(one, 1600);
  // The other still needs every block on the device.
  CHECK_EQ(device.Preempt(one), kNone);
  CHECK_EQ(device.Held(), 100);
  const auto preempted = device.TryPreempt(two, PreemptMode::kSwap);
  CHECK_EQ(preempted.moves, 100);
  device.FinishTransfer(preempted.transfer);
  CHECK_EQ(device.HostHeld(), 100);
  CHECK_EQ(device.Held(), 0);
  const StepId back = device.Append(one, Text(2, 1));
  CHECK_EQ(device.Onboards(back).size(), 100);
  const StepId also = device.Append(two, Text(3, 1));
  CHECK_EQ(device.Onboards(also).size(), 0);
  CHECK_EQ(device.Held(), 102);
  device.CloseAll();
}

TEST("two swapped forks that come back in one batch onboard what they share once") {
  SimulatedDevice device(Pool(32, 32));
  const SequenceId one = device.Chat(Text(1, 160));
  const SequenceId two = device.Fork(one, 160);
  device.SwapOut(one);
  device.SwapOut(two);
  const StepId back = device.Schedule({{one, Text(2, 1)}, {two, Text(3, 1)}});
  CHECK_EQ(device.Onboards(back).size(), 10);
  device.Execute(back);
  device.Commit(back);
  CHECK_EQ(device.Held(), 12);
  device.CloseAll();
}

TEST("a swap-out that does not fit the host is a result and leaves no trace") {
  SimulatedDevice device(Pool(8, 2));
  const SequenceId chat = device.Chat(Text(1, 40));
  const std::uint64_t digest = device.Digest();
  const auto refused = device.TryPreempt(chat, PreemptMode::kSwap);
  CHECK_EQ(refused.status, Status::kOutOfBlocks);
  CHECK_EQ(refused.shortage.needed, 3);
  CHECK_EQ(refused.shortage.free, 2);
  CHECK_EQ(device.Digest(), digest);
  device.Append(chat, Text(1, 1, 40));
  device.CloseAll();
}

TEST("with no host there is no swapping, only dropping") {
  SimulatedDevice device(Pool(8));
  const SequenceId chat = device.Chat(Text(1, 40));
  CHECK_EQ(device.TryPreempt(chat, PreemptMode::kSwap).status, Status::kOutOfBlocks);
  device.Preempt(chat, PreemptMode::kDrop);
  device.CloseAll();
}

TEST("on the host, cached blocks give way to a sequence that is swapped out") {
  SimulatedDevice device(Pool(4, 4));
  device.Cache(Text(1, 64));
  const SequenceId chat = device.Chat(Text(2, 64));
  CHECK_EQ(device.Lookup(Text(1, 65)).host_tokens, 64);
  device.SwapOut(chat);
  CHECK_EQ(device.HostHeld(), 4);
  CHECK_EQ(device.Lookup(Text(1, 65)).host_tokens, 0);
  CHECK_EQ(device.manager().GetStats().evictions, 4);
  device.Truncate(chat, 40);
  device.Append(chat, Text(3, 1));
  device.CloseAll();
}

TEST("blocks that only swapped-out sequences hold are never dropped") {
  SimulatedDevice device(Pool(4, 4));
  const SequenceId chat = device.Chat(Text(1, 60));
  device.SwapOut(chat);
  for (std::uint32_t text = 2; text < 8; ++text) device.Cache(Text(text, 64));
  CHECK_EQ(device.HostHeld(), 4);
  device.Append(chat, Text(1, 4, 60));
  device.CloseAll();
}

TEST("a sequence swapped out while another holds its prefix leaves the prefix on the device") {
  SimulatedDevice device(Pool(8, 8));
  const SequenceId one = device.Chat(Text(1, 40));
  const SequenceId two = device.Fork(one, 32);
  const auto preempted = device.TryPreempt(one, PreemptMode::kSwap);
  CHECK_EQ(preempted.moves, 1);
  device.FinishTransfer(preempted.transfer);
  device.Close(two);
  // Nobody active holds the prefix now; it may move, and is not lost.
  device.Cache(Text(2, 96));
  device.Append(one, Text(1, 1, 40));
  device.CloseAll();
}

TEST("what only swapped-out sequences hold follows them to the host when one is preempted again") {
  SimulatedDevice device(Pool(8, 8));
  const SequenceId one = device.Chat(Text(1, 40));
  const SequenceId two = device.Fork(one, 32);
  device.SwapOut(one);
  device.Close(two);
  const SequenceId large = device.Open(Text(2, 128));
  CHECK_EQ(device.TrySchedule({{large, Text(2, 128)}}).status, Status::kOutOfBlocks);
  const auto preempted = device.TryPreempt(one, PreemptMode::kSwap);
  CHECK_EQ(preempted.moves, 2);
  device.FinishTransfer(preempted.transfer);
  device.Append(large, Text(2, 128));
  CHECK_EQ(device.HostHeld(), 3);
  device.Close(large);
  device.Append(one, Text(1, 1, 40));
  device.CloseAll();
}

TEST("a sequence may come back while its swap-out runs, and be swapped out again") {
  SimulatedDevice device(Pool(8, 8));
  const SequenceId chat = device.Chat(Text(1, 40));
  std::uint32_t length = 40;
  for (int round = 0; round < 4; ++round) {  // copies that are done at once, and copies done late
    const TransferId first = device.Preempt(chat);
    device.BeginTransfer(first);
    device.Append(chat, Text(1, 1, length++));
    const TransferId second = device.Preempt(chat);
    device.EndTransfer(first);
    if (second != kNone) device.FinishTransfer(second);
    device.Append(chat, Text(1, 1, length++));
  }
  device.CloseAll();
}

TEST("a sequence that came back while its swap-out ran may be truncated and go on otherwise") {
  SimulatedDevice device(Pool(8, 8));
  const SequenceId chat = device.Chat(Text(1, 40));
  for (int round = 0; round < 4; ++round) {
    const TransferId transfer = device.Preempt(chat);
    device.BeginTransfer(transfer);
    device.Truncate(chat, 24);
    device.Append(chat, Text(2 + static_cast<std::uint32_t>(round), 16));
    device.EndTransfer(transfer);
    device.Append(chat, Text(9, 1));
    device.Truncate(chat, 40);
  }
  device.CloseAll();
}

TEST("a swapped-out sequence may be forked, truncated and closed") {
  SimulatedDevice device(Pool(8, 8));
  const SequenceId chat = device.Chat(Text(1, 60));
  device.SwapOut(chat);
  const auto fork = device.TryFork(chat, 40);
  CHECK_EQ(fork.status, Status::kOk);
  device.Truncate(chat, 20);
  device.Append(fork.sequence, Text(2, 1));
  device.Append(chat, Text(3, 1));
  device.SwapOut(chat);
  device.Close(chat);
  device.CloseAll();
}

TEST("a swapped-out fork whose shared block was filled meanwhile can be scheduled and undone") {
  SimulatedDevice device(Pool(8, 8));
  const SequenceId parent = device.Chat(Text(1, 18));
  const StepId filling = device.Schedule({{parent, Text(1, 30, 18)}});
  const SequenceId fork = device.Fork(parent, 17);
  CHECK_EQ(device.Preempt(fork), kNone);
  device.Commit(filling);
  device.Abort(device.Schedule({{fork, Text(1, 31, 17)}}));
  const StepId step = device.Schedule({{fork, Text(1, 31, 17)}});
  device.Execute(step);
  device.Abort(step);
  device.Append(fork, Text(1, 31, 17));
  CHECK_EQ(device.Held(), 3);
  device.CloseAll();
}

TEST("a swapped-out fork that was coming back when its shared block was filled goes out again") {
  SimulatedDevice device(Pool(8, 8));
  const SequenceId parent = device.Chat(Text(1, 18));
  const StepId filling = device.Schedule({{parent, Text(1, 30, 18)}});
  const SequenceId fork = device.Fork(parent, 17);
  CHECK_EQ(device.Preempt(fork), kNone);
  const StepId back = device.Schedule({{fork, Text(2, 1)}});
  device.Commit(filling);
  device.Abort(back);
  CHECK(device.State(fork) == SequenceState::kSwapped);
  device.Append(fork, Text(2, 1));
  device.CloseAll();
}

TEST("a swapped-out sequence may be dropped, and its blocks stay as cached") {
  SimulatedDevice device(Pool(4, 4));
  const SequenceId chat = device.Chat(Text(1, 40));
  device.SwapOut(chat);
  device.Preempt(chat, PreemptMode::kDrop);
  CHECK_EQ(device.HostHeld(), 0);
  CHECK_EQ(device.Lookup(Text(1, 41)).host_tokens, 32);
  CHECK_EQ(device.Resume(chat, Text(1, 41)), 32);
  device.Append(chat, Text(1, 9, 32));
  device.CloseAll();
}

TEST("a swap-out that failed leaves the sequence on the device") {
  SimulatedDevice device(Pool(4, 4));
  const SequenceId chat = device.Chat(Text(1, 40));
  device.FinishTransfer(device.Preempt(chat), false);
  CHECK_EQ(device.Held(), 3);
  CHECK_EQ(device.manager().GetStats().host.free, 4);
  CHECK_EQ(device.manager().GetStats().failed_transfers, 3);
  device.Append(chat, Text(1, 1, 40));
  device.SwapOut(chat);
  device.Append(chat, Text(1, 1, 41));
  device.CloseAll();
}

TEST("a sequence closed while its swap-out runs gives its blocks back when that ends") {
  SimulatedDevice device(Pool(4, 4));
  const SequenceId chat = device.Chat(Text(1, 40));
  const TransferId transfer = device.Preempt(chat);
  device.BeginTransfer(transfer);
  device.Close(chat);
  device.EndTransfer(transfer);
  device.CheckNothingHeld();
  device.Cache(Text(2, 64));
  device.Cache(Text(1, 40));
}

TEST("swap-outs that never end take nothing from those who come later but blocks") {
  Config config = Pool(64, 64);
  config.max_sequences = 2;
  config.max_batch_sequences = 2;
  SimulatedDevice device(config);
  for (std::uint32_t text = 1; text <= 12; ++text) {
    const SequenceId chat = device.Chat(Text(text, 20));
    const Status status = device.TryPreempt(chat, PreemptMode::kSwap).status;
    CHECK(status == Status::kOk || status == Status::kTooManyTransfers);
    device.Close(chat);
  }
  device.CloseAll();
}

TEST("a ticket is ended once") {
  SimulatedDevice device(Pool(4, 4));
  const SequenceId chat = device.Chat(Text(1, 40));
  device.SwapOut(chat);
  const std::uint64_t digest = device.Digest();
  for (const std::uint32_t ticket : {0u, 1u, 2u, 77u, kNone}) {
    CHECK_EQ(device.manager().BeginTransfer(ticket), Status::kTransferClosed);
    CHECK_EQ(device.manager().EndTransfer(ticket, true), Status::kTransferClosed);
  }
  CHECK_EQ(device.Digest(), digest);
  device.CloseAll();
}

TEST("a swapped-out sequence whose way back failed is still whole on the host") {
  SimulatedDevice device(Pool(4, 4));
  const SequenceId chat = device.Chat(Text(1, 40));
  device.SwapOut(chat);
  const StepId step = device.Schedule({{chat, Text(1, 1, 40)}});
  device.Execute(step, false);
  device.Abort(step);
  CHECK(device.State(chat) == SequenceState::kSwapped);
  device.Append(chat, Text(1, 1, 40));
  device.CloseAll();
}

TEST("swapping moves the blocks of every group") {
  Config config = Pool(8, 8);
  config.groups = {{8, 8}, {6, 4}};
  SimulatedDevice device(config);
  const SequenceId chat = device.Chat(Text(1, 40));
  const auto preempted = device.TryPreempt(chat, PreemptMode::kSwap);
  CHECK_EQ(preempted.moves, 6);
  device.FinishTransfer(preempted.transfer);
  CHECK_EQ(device.Onboards(device.Append(chat, Text(1, 1, 40))).size(), 6);
  device.CloseAll();
}

}  // namespace
}  // namespace pagedkv::test
