// A part of a step is accepted, and the rest was never there.

#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

TEST("what is rejected is never found, and its blocks are given back at the commit") {
  SimulatedDevice device(Pool(8));
  const SequenceId chat = device.Chat(Text(1, 20));
  const StepId step = device.Schedule({{chat, Text(2, 50), false, true}});
  device.Execute(step);
  device.Accept(step, chat, 3);
  CHECK_EQ(device.Lookup(Join(Text(1, 20), Text(2, 50))).device_tokens, 20 - 20 % 16);
  CHECK_EQ(device.Held(), 5);
  device.Commit(step);
  CHECK_EQ(device.Held(), 2);
  CHECK_EQ(device.History(chat).size(), 23);
  device.Append(chat, Text(3, 9));
  CHECK_EQ(device.Lookup(Join(Join(Text(1, 20), Text(2, 3)), Text(3, 10))).device_tokens, 32);
  CHECK_EQ(device.manager().GetStats().rejected_tokens, 47);
  device.CloseAll();
}

TEST("an abort after tokens were accepted leaves nothing of them") {
  SimulatedDevice device(Pool(8));
  const SequenceId chat = device.Chat(Text(1, 20));
  const StepId step = device.Schedule({{chat, Text(2, 50), false, true}});
  device.Execute(step);
  device.Accept(step, chat, 40);
  device.Abort(step);
  CHECK_EQ(device.Held(), 2);
  CHECK_EQ(device.History(chat).size(), 20);
  CHECK_EQ(device.manager().GetStats().rejected_tokens, 0);
  device.Append(chat, Text(3, 20));
  device.CloseAll();
}

TEST("none of an entry's tokens need be accepted") {
  SimulatedDevice device(Pool(8));
  const SequenceId chat = device.Chat(Text(1, 20));
  const SequenceId fork = device.Fork(chat, 20);
  const StepId step = device.Schedule({{fork, Text(2, 5)}, {chat, Text(3, 1)}});
  CHECK_EQ(device.Copies(step).size(), 1);
  device.Execute(step);
  device.Accept(step, fork, 0);
  device.Accept(step, chat, 0);
  device.Commit(step);
  CHECK_EQ(device.Held(), 3);  // the copy stands
  device.Append(fork, Text(4, 5));
  device.Append(chat, Text(5, 20));
  device.CloseAll();
}

TEST("an accepted sequence is scheduled again before the commit, on top of what was accepted") {
  SimulatedDevice device(Pool(8));
  const SequenceId chat = device.Chat(Text(1, 20));
  const StepId first = device.Schedule({{chat, Text(2, 50), false, true}});
  device.Execute(first);
  device.Accept(first, chat, 3);
  const StepId second = device.Schedule({{chat, Text(3, 30)}});
  device.Execute(second);
  device.Commit(first);
  device.Commit(second);
  CHECK_EQ(device.History(chat).size(), 53);
  CHECK_EQ(device.Held(), 4);
  device.CloseAll();
}

TEST("what a later open step was planned on is not rejected, but may be accepted whole") {
  SimulatedDevice device(Pool(8));
  const SequenceId chat = device.Chat(Text(1, 20));
  const StepId first = device.Schedule({{chat, Text(2, 3)}});
  const StepId second = device.Schedule({{chat, Text(3, 3)}});
  device.Execute(first);
  CHECK_EQ(device.TryAccept(first, chat, 2), Status::kBuiltUpon);
  device.Abort(second);
  device.Accept(first, chat, 2);
  const StepId third = device.Schedule({{chat, Text(3, 3)}});
  device.Execute(third);
  CHECK_EQ(device.TryAccept(first, chat, 2), Status::kAcceptedTwice);
  device.Commit(first);
  device.Accept(third, chat, 3);
  device.Commit(third);
  CHECK_EQ(device.History(chat).size(), 25);
  device.CloseAll();
}

TEST("ids come with the commit for accepted tokens only") {
  SimulatedDevice device(Pool(8));
  const SequenceId one = device.Chat(Text(1, 20));
  const SequenceId two = device.Chat(Text(2, 20));
  const StepId step = device.Schedule({{one, Text(3, 9), true}, {two, Text(4, 9), true}});
  device.Execute(step);
  device.Accept(step, one, 2);
  const std::uint64_t digest = device.Digest();
  const StepHandle handle = device.HandleOfStep(step);
  CHECK_EQ(device.manager().Commit(handle, Text(3, 18)), Status::kIdsMissing);
  CHECK_EQ(device.Digest(), digest);
  device.Commit(step);
  CHECK_EQ(device.History(one).size(), 22);
  CHECK_EQ(device.History(two).size(), 29);
  device.CloseAll();
}

TEST("guesses are computed though they are found, and nobody waits for them") {
  SimulatedDevice device(Pool(16));
  const SequenceId early = device.Open(Text(1, 40));
  device.Cache(Text(1, 40));
  const StepId step = device.Schedule({{early, Text(1, 40), false, true}});
  CHECK_EQ(device.QueryTokens(step), 40);
  device.Execute(step);
  device.Accept(step, early, 20);
  device.Commit(step);
  const SequenceId chat = device.Chat(Text(2, 32));
  const StepId guessing = device.Schedule({{chat, Text(3, 9), false, true}});
  CHECK_EQ(device.Lookup(Join(Text(2, 32), Text(3, 9))).computing_tokens, 0);
  device.Execute(guessing);
  device.Accept(guessing, chat, 5);
  CHECK_EQ(device.Lookup(Join(Text(2, 32), Text(3, 9))).computing_tokens, 5);
  device.Commit(guessing);
  device.CloseAll();
}

TEST("a sequence that was closed meanwhile is accepted for all that") {
  SimulatedDevice device(Pool(8));
  const SequenceId chat = device.Chat(Text(1, 16));
  const StepId step = device.Schedule({{chat, Text(2, 40), false, true}});
  device.Close(chat);
  device.Accept(step, chat, 16);
  device.Commit(step);
  CHECK_EQ(device.Held(), 0);
  CHECK_EQ(device.Lookup(Join(Text(1, 16), Text(2, 40))).device_tokens, 32);
  CHECK_EQ(device.TryAccept(step, chat, 16), Status::kStepClosed);
  device.CloseAll();
}

TEST("an entry is found though other batches with its sequence were refused meanwhile") {
  SimulatedDevice device(Pool(4));
  const SequenceId one = device.Chat(Text(1, 16));
  const SequenceId two = device.Chat(Text(2, 16));
  const StepId step = device.Schedule({{one, Text(3, 4)}, {two, Text(4, 4)}});
  CHECK_EQ(device.TrySchedule({{two, Text(5, 40)}}).status, Status::kOutOfBlocks);
  device.Accept(step, two, 1);
  device.Accept(step, one, 2);
  device.Commit(step);
  CHECK_EQ(device.History(one).size(), 18);
  CHECK_EQ(device.History(two).size(), 17);
  device.CloseAll();
}

}  // namespace
}  // namespace pagedkv::test
