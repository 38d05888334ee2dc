// What every manager of paged KV memory agrees on: sharing, copy-on-write, and what is given back.

#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

TEST("an empty manager holds nothing and has every block free") {
  SimulatedDevice device(Pool(64, 8));
  const Stats stats = device.manager().GetStats();
  CHECK_EQ(stats.device.free, 64);
  CHECK_EQ(stats.host.free, 8);
  device.CheckNothingHeld();
}

TEST("lengths 35, 88, 17, 4 take 12 blocks; truncating the 88 by 57 leaves 8; closing all, none") {
  SimulatedDevice device(Pool(64));
  std::vector<SequenceId> chats;
  std::uint32_t text = 0;
  for (const std::uint32_t length : {35u, 88u, 17u, 4u}) {
    chats.push_back(device.Chat(Text(++text, length)));
  }
  CHECK_EQ(device.Held(), 12);
  device.Truncate(chats[1], 88 - 57);
  CHECK_EQ(device.Held(), 8);
  for (const SequenceId chat : chats) device.Close(chat);
  CHECK_EQ(device.Held(), 0);
  device.CheckNothingHeld();
}

TEST("the four lengths in one batch take the same 12 blocks") {
  SimulatedDevice device(Pool(64));
  std::vector<Entry> batch;
  std::uint32_t text = 0;
  for (const std::uint32_t length : {35u, 88u, 17u, 4u}) {
    const TokenList prompt = Text(++text, length);
    batch.push_back({device.Open(prompt), prompt});
  }
  CHECK_EQ(device.Held(), 0);
  const StepId step = device.Schedule(batch);
  CHECK_EQ(device.QueryTokens(step), 35 + 88 + 17 + 4);
  device.Commit(step);
  CHECK_EQ(device.Held(), 12);
  device.CloseAll();
}

// Forks a parent of 60 tokens and appends one token that the parent does not have.
void ForkAt(std::uint32_t at, std::vector<std::uint32_t> copied) {
  SimulatedDevice device(Pool(64));
  const SequenceId parent = device.Chat(Text(1, 60));
  CHECK_EQ(device.Held(), 4);
  const SequenceId child = device.Fork(parent, at);
  CHECK_EQ(device.Held(), 4);
  const StepId step = device.Append(child, Text(2, 1));
  std::vector<std::uint32_t> slots;
  for (const Move& copy : device.Copies(step)) slots.push_back(copy.tokens);
  CHECK_EQ(Show(slots), Show(copied));
  CHECK_EQ(device.manager().GetStats().copies_on_write, copied.size());
  CHECK_EQ(device.Held(), 5);
  device.Close(parent);
  CHECK_EQ(device.Held(), at / 16 + 1);
  device.CloseAll();
}

TEST("a fork at 0 of 60 tokens copies nothing") {
  ForkAt(0, {});
}
TEST("a fork at 15 of 60 tokens copies 15 slots") {
  ForkAt(15, {15});
}
TEST("a fork at 16 of 60 tokens, a block boundary, copies nothing") {
  ForkAt(16, {});
}
TEST("a fork at 17 of 60 tokens copies 1 slot") {
  ForkAt(17, {1});
}
TEST("a fork at 32 of 60 tokens, a block boundary, copies nothing") {
  ForkAt(32, {});
}
TEST("a fork at 60 of 60 tokens copies 12 slots") {
  ForkAt(60, {12});
}

TEST("a shared partly filled block is copied once, and its last holder appends in place") {
  SimulatedDevice device(Pool(64));
  const SequenceId parent = device.Chat(Text(1, 60));
  const SequenceId child = device.Fork(parent, 60);
  const BlockId shared = device.Row(parent)[3];
  CHECK_EQ(device.Copies(device.Append(child, Text(2, 1))).size(), 1);
  CHECK(device.Row(child)[3] != shared);
  CHECK(device.Copies(device.Append(parent, Text(3, 1))).empty());
  CHECK_EQ(device.Row(parent)[3], shared);
  CHECK(device.Copies(device.Append(child, Text(4, 1))).empty());
  CHECK_EQ(device.Held(), 5);
  device.CloseAll();
}

TEST("the parent that appends first copies, and the fork then appends in place") {
  SimulatedDevice device(Pool(64));
  const SequenceId parent = device.Chat(Text(1, 60));
  const SequenceId child = device.Fork(parent, 60);
  CHECK_EQ(device.Copies(device.Append(parent, Text(2, 1))).size(), 1);
  CHECK(device.Copies(device.Append(child, Text(3, 1))).empty());
  CHECK_EQ(device.Held(), 5);
  device.CloseAll();
}

TEST("a fork whose parent was closed appends in place") {
  SimulatedDevice device(Pool(64));
  const SequenceId parent = device.Chat(Text(1, 60));
  const SequenceId child = device.Fork(parent, 60);
  device.Close(parent);
  CHECK_EQ(device.Held(), 4);
  CHECK(device.Copies(device.Append(child, Text(2, 1))).empty());
  CHECK_EQ(device.Held(), 4);
  device.CloseAll();
}

TEST("parent and fork appending in one batch copy one block between them") {
  SimulatedDevice device(Pool(64));
  const SequenceId parent = device.Chat(Text(1, 60));
  const SequenceId child = device.Fork(parent, 60);
  const StepId step = device.Schedule({{parent, Text(2, 1)}, {child, Text(3, 1)}});
  CHECK_EQ(device.Copies(step).size(), 1);
  device.Execute(step);
  device.Commit(step);
  CHECK_EQ(device.Held(), 5);
  device.CloseAll();
}

TEST("8 beams over a 3-block prompt whose last block is partial hold 2 shared and 8 own blocks") {
  SimulatedDevice device(Pool(64));
  std::vector<SequenceId> beams = {device.Chat(Text(1, 40))};
  while (beams.size() < 8) beams.push_back(device.Fork(beams[0], 40));
  CHECK_EQ(device.Held(), 3);
  std::vector<Entry> batch;
  for (std::uint32_t i = 0; i < 8; ++i) batch.push_back({beams[i], Text(2 + i, 1)});
  const StepId step = device.Schedule(batch);
  CHECK_EQ(device.Copies(step).size(), 7);
  device.Execute(step);
  device.Commit(step);
  CHECK_EQ(device.Held(), 2 + 8);
  device.CloseAll();
}

TEST("beams that are dropped and forked again at every step never hold more than they need") {
  SimulatedDevice device(Pool(64));
  std::vector<SequenceId> beams = {device.Chat(Text(1, 40))};
  for (int i = 0; i < 3; ++i) beams.push_back(device.Fork(beams[0], 40));
  std::uint32_t text = 2;
  for (int round = 0; round < 40; ++round) {
    std::vector<Entry> batch;
    for (const SequenceId beam : beams) batch.push_back({beam, Text(text++, 1)});
    device.Commit(device.Schedule(batch));
    // The best beam lives on twice; the worst is closed.
    const auto length = static_cast<std::uint32_t>(device.History(beams[1]).size());
    device.Close(beams[3]);
    beams[3] = device.Fork(beams[1], length);
    std::swap(beams[0], beams[3]);
  }
  CHECK(device.Held() <= 4 * 5);
  device.CloseAll();
}

TEST("blocks go back tail first, so a shorter prompt still hits what is left") {
  SimulatedDevice device(Pool(4));
  device.Cache(Text(1, 64));
  device.Chat(Text(2, 1));
  CHECK_EQ(device.Lookup(Text(1, 65)).device_tokens, 48);
  device.Chat(Text(3, 1));
  CHECK_EQ(device.Lookup(Text(1, 65)).device_tokens, 32);
  device.CloseAll();
}

TEST("freed blocks that hold nothing whole are taken before any cached block is evicted") {
  SimulatedDevice device(Pool(4));
  device.Cache(Text(1, 24));
  device.Chat(Text(2, 40));
  CHECK_EQ(device.Lookup(Text(1, 24)).device_tokens, 16);
  CHECK_EQ(device.manager().GetStats().evictions, 0);
  device.CloseAll();
}

TEST("a long chat appends token by token through many blocks") {
  SimulatedDevice device(Pool(64));
  const SequenceId chat = device.Chat(Text(1, 5));
  for (std::uint32_t i = 5; i < 200; ++i) device.Append(chat, Text(1, 1, i));
  CHECK_EQ(device.Held(), 13);
  CHECK_EQ(device.Lookup(Text(1, 200)).device_tokens, 192);
  device.CloseAll();
}

TEST("two groups have a table each, and what one lacks refuses both") {
  Config config = Pool(64);
  config.groups = {{8, 0}, {4, 0}};
  SimulatedDevice device(config);
  const SequenceId chat = device.Chat(Text(1, 60));
  CHECK_EQ(device.Row(chat, 0).size(), 4);
  CHECK_EQ(device.Row(chat, 1).size(), 4);
  const SequenceId other = device.Open(Text(2, 20));
  const auto refused = device.TrySchedule({{other, Text(2, 20)}});
  CHECK_EQ(refused.status, Status::kOutOfBlocks);
  CHECK_EQ(refused.shortage.needed, 2);
  CHECK_EQ(refused.shortage.free, 0);
  device.Close(chat);
  device.Append(other, Text(2, 20));
  device.CloseAll();
}

TEST("a fork copies its partly filled block in every group") {
  Config config = Pool(64);
  config.groups = {{16, 0}, {12, 0}};
  SimulatedDevice device(config);
  const SequenceId parent = device.Chat(Text(1, 20));
  const SequenceId child = device.Fork(parent, 20);
  const std::vector<Move> copies = device.Copies(device.Append(child, Text(2, 1)));
  CHECK_EQ(copies.size(), 2);
  CHECK(copies[0].group != copies[1].group);
  CHECK_EQ(copies[0].tokens, 4);
  CHECK_EQ(copies[1].tokens, 4);
  device.CloseAll();
}

TEST("blocks of one token work") {
  Config config = Pool(32);
  config.block_size = 1;
  config.max_sequence_tokens = 32;
  SimulatedDevice device(config);
  device.Cache(Text(1, 8));
  const SequenceId chat = device.Open(Text(1, 8));
  CHECK_EQ(device.History(chat).size(), 7);
  const StepId step = device.Append(chat, Text(1, 1, 7));
  CHECK_EQ(device.Slots(step)[0], kNone);
  device.Append(chat, Text(2, 3));
  CHECK_EQ(device.Held(), 11);
  device.CloseAll();
}

}  // namespace
}  // namespace pagedkv::test
