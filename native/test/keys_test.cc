// Extra keys: what blocks share when ranges of their positions stand under keys, and that keys go
// with the last who needs them. Blocks have 16 tokens.

#include "allocations.h"
#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

const KeyList kCat = {{20, 40, "cat"}};
const KeyList kDog = {{20, 40, "dog"}};

std::uint32_t Found(SimulatedDevice& device, const TokenList& prompt, const KeyList& keys) {
  return device.Lookup(prompt, "", keys).device_tokens;
}

std::uint32_t KnownKeys(SimulatedDevice& device) {
  std::uint32_t known = 0;
  for (std::uint32_t key = 1; key <= kMaxKeyRanges; ++key) {
    known += device.manager().KeyOf(key).has_value() ? 1 : 0;
  }
  return known;
}

TEST("the same tokens under the same key are shared") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 64), "", kCat);
  CHECK_EQ(Found(device, Text(1, 65), kCat), 64);
  CHECK_EQ(device.TryOpen(Text(1, 65), "", kCat).cached, 64);
  device.CloseAll();
}

TEST("the same tokens under another key are shared up to the first token under it") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 64), "", kCat);
  CHECK_EQ(Found(device, Text(1, 65), kDog), 20);
  CHECK_EQ(Found(device, Text(1, 65), {}), 20);
  device.Cache(Text(1, 64), "", kDog);
  device.Cache(Text(1, 64));
  CHECK_EQ(Found(device, Text(1, 65), kCat), 64);
  CHECK_EQ(Found(device, Text(1, 65), kDog), 64);
  CHECK_EQ(Found(device, Text(1, 65), {}), 64);
  // One block before the range, and three each of the others.
  CHECK_EQ(device.manager().GetStats().device.cached, 10);
}

TEST("blocks after a range differ as those in it do") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 64), "", {{0, 16, "cat"}});
  CHECK_EQ(Found(device, Text(1, 65), {{0, 16, "cat"}}), 64);
  CHECK_EQ(Found(device, Text(1, 65), {{0, 16, "dog"}}), 0);
  CHECK_EQ(Found(device, Text(1, 65), {}), 0);
}

TEST("blocks before a range are shared with prompts without keys") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 48));
  CHECK_EQ(device.TryOpen(Text(1, 64), "", {{32, kNone, "adapter"}}).cached, 32);
  CHECK_EQ(device.TryOpen(Text(1, 64), "", {{40, kNone, "adapter"}}).cached, 40);
  CHECK_EQ(device.TryOpen(Text(1, 64), "", {{48, kNone, "adapter"}}).cached, 48);
  device.CloseAll();
}

TEST("a range that ends earlier or later is another one, from where they differ") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 64), "", {{20, 40, "cat"}});
  CHECK_EQ(Found(device, Text(1, 65), {{20, 38, "cat"}}), 38);
  CHECK_EQ(Found(device, Text(1, 65), {{20, 44, "cat"}}), 40);
  CHECK_EQ(Found(device, Text(1, 65), {{24, 40, "cat"}}), 20);
}

TEST("of two blocks that begin alike, the one that agrees longer in tokens and keys is found") {
  SimulatedDevice device(Pool(64));
  device.Cache(Join(Text(1, 12), Text(2, 4)), "", {{0, 4, "cat"}});
  device.Cache(Join(Text(1, 6), Text(3, 10)));
  // The first agrees in 12 tokens but in no key, the second in 6 of both.
  CHECK_EQ(Found(device, Text(1, 16), {}), 6);
  CHECK_EQ(Found(device, Text(1, 16), {{0, 4, "cat"}}), 12);
  CHECK_EQ(Found(device, Text(1, 16), {{0, 4, "dog"}}), 0);
  CHECK_EQ(Found(device, Text(1, 16), {{4, 8, "dog"}}), 4);
}

TEST("two ranges that touch under one key are the same as one") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 48), "", {{4, 20, "cat"}, {20, 40, "cat"}});
  CHECK_EQ(Found(device, Text(1, 49), {{4, 40, "cat"}}), 48);
  CHECK_EQ(Found(device, Text(1, 49), {{4, 16, "cat"}, {16, 40, "cat"}}), 48);
}

TEST("one block may lie under many keys") {
  SimulatedDevice device(Pool(64));
  KeyList keys;
  for (std::uint32_t at = 0; at < 32; at += 2) keys.push_back({at, at + 1, std::to_string(at)});
  device.Cache(Text(1, 32), "", keys);
  CHECK_EQ(Found(device, Text(1, 33), keys), 32);
  keys[5].bytes = "another";
  CHECK_EQ(Found(device, Text(1, 33), keys), 10);
}

TEST("keys are bytes: zeros, prefixes of each other and 1024 bytes tell apart") {
  SimulatedDevice device(Pool(64));
  const std::string zero("a\0", 2);
  const std::string longest(kMaxKeyBytes, 'x');
  device.Cache(Text(1, 16), "", {{0, kNone, "a"}});
  device.Cache(Text(1, 16), "", {{0, kNone, longest}});
  CHECK_EQ(Found(device, Text(1, 17), {{0, kNone, "a"}}), 16);
  CHECK_EQ(Found(device, Text(1, 17), {{0, kNone, zero}}), 0);
  CHECK_EQ(Found(device, Text(1, 17), {{0, kNone, "aa"}}), 0);
  CHECK_EQ(Found(device, Text(1, 17), {{0, kNone, longest}}), 16);
}

TEST("keys hold within a namespace only") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 32), "one", {{0, kNone, "cat"}});
  CHECK_EQ(device.Lookup(Text(1, 33), "two", {{0, kNone, "cat"}}).device_tokens, 0);
  CHECK_EQ(device.Lookup(Text(1, 33), "one", {{0, kNone, "cat"}}).device_tokens, 32);
}

TEST("tokens generated later stand under a range without end") {
  SimulatedDevice device(Pool(64));
  const SequenceId chat = device.Chat(Text(1, 20), "", {{8, kNone, "adapter"}});
  device.Append(chat, Text(1, 44, 20));
  CHECK_EQ(Found(device, Text(1, 65), {{8, kNone, "adapter"}}), 64);
  CHECK_EQ(Found(device, Text(1, 65), {{8, 20, "adapter"}}), 20);
  device.CloseAll();
}

TEST("a fork has its parent's keys, from its first token on") {
  SimulatedDevice device(Pool(64));
  const SequenceId chat = device.Chat(Text(1, 20), "", {{8, kNone, "adapter"}});
  const SequenceId fork = device.Fork(chat, 10);
  device.Close(chat);
  device.Append(fork, Text(2, 22));
  device.Close(fork);
  const TokenList prompt = Join(Text(1, 10), Text(2, 22));
  CHECK_EQ(Found(device, Join(prompt, Text(3, 1)), {{8, kNone, "adapter"}}), 32);
  CHECK_EQ(Found(device, Join(prompt, Text(3, 1)), {}), 8);
}

TEST("a truncated sequence keeps its keys") {
  SimulatedDevice device(Pool(64));
  const SequenceId chat = device.Chat(Text(1, 32), "", {{8, kNone, "adapter"}});
  device.Truncate(chat, 4);
  device.Append(chat, Text(2, 12));
  device.Close(chat);
  const TokenList prompt = Join(Text(1, 4), Text(2, 12));
  CHECK_EQ(Found(device, Join(prompt, Text(3, 1)), {{8, kNone, "adapter"}}), 16);
  CHECK_EQ(Found(device, Join(prompt, Text(3, 1)), {}), 8);
}

TEST("a dropped sequence resumes under its keys, or under those that it is given") {
  SimulatedDevice device(Pool(64));
  const SequenceId chat = device.Chat(Text(1, 32), "", kCat);
  device.Preempt(chat, PreemptMode::kDrop);
  CHECK_EQ(device.TryResume(chat, Text(1, 33)).cached, 32);
  device.Preempt(chat, PreemptMode::kDrop);
  CHECK_EQ(device.TryResume(chat, Text(1, 33), kDog).cached, 20);
  device.Preempt(chat, PreemptMode::kDrop);
  CHECK_EQ(device.TryResume(chat, Text(1, 33), KeyList()).cached, 20);
  device.CloseAll();
}

TEST("a sequence that goes on as the block it found does copies it where the keys differ") {
  SimulatedDevice device(Pool(64));
  device.Cache(Text(1, 16), "", {{8, kNone, "cat"}});
  const auto opened = device.TryOpen(Text(1, 16), "", {{8, kNone, "dog"}});
  CHECK_EQ(opened.cached, 8);
  const StepId step = device.Append(opened.sequence, Text(1, 8, 8));
  CHECK_EQ(device.Copies(step).size(), 1);
  CHECK_EQ(device.Copies(step)[0].tokens, 8);
  CHECK_EQ(Found(device, Text(1, 17), {{8, kNone, "dog"}}), 16);
  CHECK_EQ(Found(device, Text(1, 17), {{8, kNone, "cat"}}), 16);
  device.CloseAll();
}

TEST("two sequences that compute the same block under the same key end with one") {
  SimulatedDevice device(Pool(64));
  const SequenceId one = device.Open(Text(1, 32), "", kCat);
  const SequenceId same = device.Open(Text(1, 32), "", kCat);
  const SequenceId other = device.Open(Text(1, 32), "", kDog);
  const StepId step =
      device.Schedule({{one, Text(1, 32)}, {same, Text(1, 32)}, {other, Text(1, 32)}});
  CHECK_EQ(device.Lookup(Text(1, 33), "", kCat).computing_tokens, 32);
  CHECK_EQ(device.Lookup(Text(1, 33), "", {{20, kNone, "cow"}}).computing_tokens, 20);
  device.Commit(step);
  // Twice the first block, which all three share, and once the second under the same key.
  CHECK_EQ(device.manager().GetStats().duplicates, 3);
  CHECK_EQ(device.Held(), 3);
  device.CloseAll();
}

TEST(
    "blocks computed since a prompt was opened are found when it is scheduled, if its keys agree") {
  SimulatedDevice device(Pool(64));
  const SequenceId same = device.Open(Text(1, 40), "", kCat);
  const SequenceId other = device.Open(Text(1, 40), "", kDog);
  device.Cache(Text(1, 32), "", kCat);
  const StepId step = device.Schedule({{same, Text(1, 40)}, {other, Text(1, 40)}});
  CHECK_EQ(device.Skipped(step, 0), 32);
  CHECK_EQ(device.Skipped(step, 1), 20);
  device.Commit(step);
  device.CloseAll();
}

TEST("keys are found on the host, and after a swap") {
  SimulatedDevice device(Pool(4, 8));
  device.Cache(Text(1, 32), "", kCat);
  device.Cache(Text(2, 64));
  CHECK_EQ(device.Lookup(Text(1, 33), "", kCat).host_tokens, 32);
  CHECK_EQ(device.Lookup(Text(1, 33), "", kDog).host_tokens, 20);
  const SequenceId chat = device.Chat(Text(1, 32), "", kCat);
  device.SwapOut(chat);
  device.Append(chat, Text(1, 16, 32));
  CHECK_EQ(Found(device, Text(1, 49), kCat), 48);
  device.CloseAll();
}

TEST("what is asked for a cached prompt is asked for what its keys find") {
  SimulatedDevice device(Pool(8, 8));
  device.Cache(Text(1, 48), "", kCat);
  const std::vector<KeyRange> cat = Ranges(kCat);
  const std::vector<KeyRange> dog = Ranges(kDog);
  CHECK_EQ(device.manager().RetainPrompt(Text(1, 49), "", {}, cat), 48);
  CHECK_EQ(device.manager().RetainPrompt(Text(1, 49), "", {}, dog), 16);
  const auto demoted = device.manager().Demote(Text(1, 49), "", cat);
  CHECK_EQ(demoted.moves, 3);
  CHECK_EQ(device.manager().BeginTransfer(demoted.ticket), Status::kOk);
  CHECK_EQ(device.manager().EndTransfer(demoted.ticket, true), Status::kOk);
  CHECK_EQ(device.Lookup(Text(1, 49), "", kCat).host_tokens, 48);
  const auto step = device.manager().Prefetch(Text(1, 49), "", cat);
  CHECK_EQ(step.status, Status::kOk);
  CHECK_EQ(device.manager().Commit(step.step, {}), Status::kOk);
  CHECK_EQ(device.Lookup(Text(1, 49), "", kCat).device_tokens, 48);
}

TEST("an aborted step that took a block over puts it back under its keys") {
  SimulatedDevice device(Pool(64));
  const SequenceId chat = device.Chat(Text(1, 32), "", kCat);
  device.Truncate(chat, 30);
  device.Abort(device.Schedule({{chat, Text(2, 2)}}));
  CHECK_EQ(Found(device, Text(1, 33), kCat), 32);
  CHECK_EQ(Found(device, Text(1, 33), kDog), 20);
  device.CloseAll();
}

TEST("a key is forgotten with the last block and the last sequence under it") {
  SimulatedDevice device(Pool(4));
  const SequenceId chat = device.Open(Text(1, 8), "", {{0, 4, "cat"}, {20, kNone, "dog"}});
  CHECK_EQ(KnownKeys(device), 2);
  const SequenceId fork = device.Fork(chat, 0);
  device.Close(chat);
  CHECK_EQ(KnownKeys(device), 2);
  device.Append(fork, Text(1, 16));
  device.Close(fork);
  CHECK_EQ(KnownKeys(device), 1);  // of the block that is cached
  device.Cache(Text(2, 64));
  CHECK_EQ(KnownKeys(device), 0);
  device.Cache(Text(3, 32), "", kCat);
  device.Clear(std::nullopt);
  CHECK_EQ(KnownKeys(device), 0);
}

TEST("asking for a key that nothing stands under keeps nothing of it") {
  SimulatedDevice device(Pool(4));
  device.Lookup(Text(1, 8), "", kCat);
  device.manager().Admission(Text(1, 8), "", Ranges(kCat));
  CHECK_EQ(device.TryOpen({}, "", kCat).status, Status::kEmptyTokens);
  CHECK_EQ(KnownKeys(device), 0);
}

TEST("numbers of keys are used again, a thousand at a time") {
  Config config = Pool(4);
  config.max_sequence_tokens = 4096;
  SimulatedDevice device(config);
  for (std::uint32_t round = 0; round < 8; ++round) {
    KeyList keys;
    for (std::uint32_t i = 0; i < kMaxKeyRanges; ++i) {
      keys.push_back({i * 8, i * 8 + 3, std::to_string(round * kMaxKeyRanges + i)});
    }
    device.Close(device.Open(Text(1, 8), "", keys));
  }
  CHECK_EQ(KnownKeys(device), 0);
  device.Open(Text(1, 8), "", kCat);
  CHECK_EQ(KnownKeys(device), 1);
  device.CloseAll();
}

TEST("a sequence under keys allocates nothing while it grows") {
  Config config = Pool(64);
  config.max_sequence_tokens = 1024;
  config.events = true;
  const SharedLayout layout = SharedLayout::For(config);
  std::vector<std::uint32_t> words(layout.words, 0);
  Manager manager(config, words.data());
  const KeyList keys = {{3, 20, "cat"}, {20, 70, "dog"}, {75, kNone, "adapter"}};
  const auto chat = manager.Open(Text(1, 1), "", Ranges(keys));
  std::uint64_t before = 0;
  for (std::uint32_t position = 0; position < 1024; ++position) {
    if (position == 2) before = Allocations();  // what is made once was made by the first steps
    std::uint32_t* entry = &words[layout.batch_entries];
    entry[0] = chat.handle.slot;
    entry[1] = chat.handle.generation;
    entry[2] = chat.handle.nonce;
    entry[3] = 1;
    words[layout.batch_tokens] = position;
    const auto scheduled = manager.Schedule(1);
    CHECK_EQ(scheduled.status, Status::kOk);
    CHECK_EQ(manager.Commit(scheduled.step, {}), Status::kOk);
  }
  CHECK_EQ(Allocations(), before);
  const auto hit = manager.Lookup(Join(Text(0, 1024), Text(2, 1)), "", Ranges(keys));
  CHECK_EQ(hit.device_tokens, 1024);
}

TEST(
    "ranges that are empty, unsorted, overlapping or too many, and keys of no byte or too many, "
    "are "
    "refused") {
  SimulatedDevice device(Pool(4));
  const SequenceId dropped = device.Open(Text(1, 4), "", kCat);
  device.Preempt(dropped, PreemptMode::kDrop);
  KeyList too_many;
  for (std::uint32_t i = 0; i <= kMaxKeyRanges; ++i) too_many.push_back({2 * i, 2 * i + 1, "x"});
  const std::vector<KeyList> refused = {
      {{4, 4, "x"}},
      {{5, 4, "x"}},
      {{kNone, kNone, "x"}},
      {{4, 8, "x"}, {7, 9, "x"}},
      {{8, 9, "x"}, {4, 8, "x"}},
      {{4, kNone, "x"}, {8, kNone, "x"}},
      {{0, 4, ""}},
      {{0, 4, std::string(kMaxKeyBytes + 1, 'x')}},
      too_many,
  };
  for (const KeyList& keys : refused) {
    CHECK_EQ(device.TryOpen(Text(1, 8), "", keys).status, Status::kInvalidKeys);
    CHECK_EQ(device.TryResume(dropped, Text(1, 8), keys).status, Status::kInvalidKeys);
    CHECK_EQ(device.Lookup(Text(1, 8), "", keys).status, Status::kInvalidKeys);
    CHECK_EQ(device.manager().Admission(Text(1, 8), "", Ranges(keys)).status, Status::kInvalidKeys);
    CHECK_EQ(device.manager().Demote(Text(1, 8), "", Ranges(keys)).status, Status::kInvalidKeys);
    CHECK_EQ(device.manager().Prefetch(Text(1, 8), "", Ranges(keys)).status, Status::kInvalidKeys);
    CHECK_EQ(device.manager().RetainPrompt(Text(1, 8), "", {}, Ranges(keys)), 0);
    device.manager().ExpectReuse(Text(1, 8), "", 0, Ranges(keys));
  }
  too_many.pop_back();
  device.Close(device.Open(Text(1, 8), "", too_many));
  device.CloseAll();
}

}  // namespace
}  // namespace pagedkv::test
