// What callers ask of blocks, at the core: what an abort, a clear and a take-over do to it.

#include <random>

#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

std::uint32_t Blocks(SimulatedDevice& device, const TokenList& text) {
  return device.Lookup(Join(text, Text(99, 1))).device_tokens / 16;
}

TEST("a prefix is kept as long as its continuation, however little it is worth itself") {
  SimulatedDevice device(Pool(4));
  const SequenceId chat = device.Open(Text(1, 32));
  device.Retain(chat, {.from = 0, .to = 16, .priority = 0});
  device.Retain(chat, {.from = 16, .priority = 6});
  device.Append(chat, Text(1, 32));
  device.Close(chat);
  device.Cache(Text(2, 32));
  device.Cache(Text(3, 16));
  CHECK_EQ(Blocks(device, Text(1, 32)), 2);
  CHECK_EQ(Blocks(device, Text(2, 32)), 1);
  device.CloseAll();
}

TEST("what was set aside is evicted in its turn once its continuation is gone") {
  SimulatedDevice device(Pool(3));
  const SequenceId chat = device.Open(Text(1, 32));
  device.Retain(chat, {.from = 0, .to = 16, .priority = 0});
  device.Retain(chat, {.from = 16, .priority = 4});
  device.Append(chat, Text(1, 32));
  device.Close(chat);
  device.Cache(Text(2, 16));
  device.Cache(Text(3, 16));  // text 2 goes, as the prefix of text 1 is no leaf
  CHECK_EQ(Blocks(device, Text(1, 32)), 2);
  device.Cache(Text(4, 48));  // takes everything
  CHECK_EQ(Blocks(device, Text(1, 32)), 0);
  device.CloseAll();
}

TEST("a step that is aborted gives a block it took over back with what was asked for it") {
  SimulatedDevice device(Pool(4));
  const SequenceId chat = device.Open(Text(1, 32));
  device.Retain(chat, {.from = 16, .priority = 6, .life = 1000});
  device.Append(chat, Text(1, 32));
  device.Truncate(chat, 20);
  const std::uint64_t before = device.Digest();
  device.Abort(device.Schedule({{chat, Text(5, 2)}}));
  CHECK_EQ(device.Digest(), before);
  device.CloseAll();
}

TEST("a prefetch of a wholly cached prompt writes nothing, whatever the kernels do") {
  Config config = Pool(4, 4);
  config.always_writes = true;
  SimulatedDevice device(config);
  device.Cache(Text(1, 32));
  CHECK_EQ(device.Demote(Text(1, 32)), 2);
  device.Commit(device.Prefetch(Text(1, 32)));
  CHECK_EQ(Blocks(device, Text(1, 32)), 2);
  device.CloseAll();
}

TEST("clearing a namespace leaves what a prefetch is bringing in to the prefetch") {
  SimulatedDevice device(Pool(4, 4));
  device.Cache(Text(1, 16));
  CHECK_EQ(device.Demote(Text(1, 16)), 1);
  const StepId step = device.Prefetch(Text(1, 1));
  device.Clear("");
  device.Commit(step);
  CHECK_EQ(Blocks(device, Text(1, 16)), 0);
  CHECK_EQ(device.manager().GetStats().device.free, 4);
  device.CloseAll();
}

TEST("a prefetch that is aborted leaves everything where it stood") {
  SimulatedDevice device(Pool(4, 4));
  device.Cache(Text(1, 32));
  device.Cache(Text(2, 32));
  CHECK_EQ(device.Demote(Text(1, 32)), 2);
  const std::uint64_t before = device.Digest();
  device.Abort(device.Prefetch(Text(1, 33)));
  CHECK_EQ(device.Digest(), before);
  device.CloseAll();
}

TEST("time that a block is held does not count against its life") {
  SimulatedDevice device(Pool(2));
  const SequenceId chat = device.Open(Text(1, 16));
  device.Retain(chat, {.life = 100});
  device.Append(chat, Text(1, 16));
  device.Cache(Text(2, 16));
  device.SetTime(1000);
  device.Close(chat);
  device.SetTime(1099);
  device.Cache(Text(3, 16));
  CHECK_EQ(Blocks(device, Text(1, 16)), 1);
  CHECK_EQ(Blocks(device, Text(2, 16)), 0);
  device.SetTime(1100);
  device.Cache(Text(4, 16));
  CHECK_EQ(Blocks(device, Text(1, 16)), 0);
  CHECK_EQ(Blocks(device, Text(3, 16)), 1);
  device.CloseAll();
}

TEST("an ended conversation gives up to where others went on, and no further") {
  SimulatedDevice device(Pool(6));
  const TokenList system = Text(1, 32);
  device.Cache(Join(system, Text(2, 16)));
  const SequenceId ended = device.Chat(Join(system, Text(3, 16)));
  device.Close(ended, kReuseNever);
  device.Cache(Text(4, 48));
  CHECK_EQ(Blocks(device, Join(system, Text(2, 16))), 3);
  CHECK_EQ(Blocks(device, Join(system, Text(3, 16))), 2);
  device.CloseAll();
}

// Conversations that go on at random, told of either as they close or once they have rested a
// while.
class Conversations {
 public:
  Conversations(const Config& config, std::uint64_t seed, bool is_told_later)
      : device_(config), random_(seed), is_told_later_(is_told_later) {
    while (chats_.size() < 12) chats_.push_back({++texts_, 0});
  }

  std::uint64_t GoOn() {
    Chat& chat = chats_[Below(12)];
    if (chat.length > 300) chat = {++texts_, 0};
    chat.length += 1 + Below(60);
    const TokenList prompt = Join(Text(1, 40), Text(chat.text, chat.length));
    const SequenceId sequence = device_.Chat(prompt);
    const std::uint32_t rest_ms = Below(2) * Below(100);
    const std::uint32_t words[] = {kReuseUnknown, kReuseNever, Below(50), Below(9000)};
    const std::uint32_t reuse = words[Below(4)];
    const std::uint32_t from_close = reuse < kReuseNever ? rest_ms + reuse : reuse;
    device_.Close(sequence, is_told_later_ ? kReuseUnknown : from_close);
    Rest(rest_ms);
    if (is_told_later_) device_.ExpectReuse(prompt, reuse);
    const std::uint64_t digest = device_.Digest();
    Rest(Below(300));
    return digest;
  }

 private:
  struct Chat {
    std::uint32_t text;
    std::uint32_t length;
  };

  std::uint32_t Below(std::uint32_t end) { return static_cast<std::uint32_t>(random_() % end); }
  void Rest(std::uint32_t ms) { device_.SetTime(now_ms_ += ms); }

  SimulatedDevice device_;
  std::mt19937_64 random_;
  const bool is_told_later_;
  std::uint64_t now_ms_ = 0;
  std::vector<Chat> chats_;
  std::uint32_t texts_ = 1;
};

TEST("what is told after the close counts as if it had been told at the close") {
  const std::uint64_t seed = EnvironmentNumber("PAGEDKV_SEED", 1);
  SetContext("PAGEDKV_SEED=" + std::to_string(seed));
  for (const PolicyKind policy : {PolicyKind::kAdaptive, PolicyKind::kLru}) {
    Config config = Pool(64, 24);
    config.policy = policy;
    Conversations at_once(config, seed, false);
    Conversations later(config, seed, true);
    for (std::uint32_t turn = 0; turn < 300; ++turn) CHECK_EQ(later.GoOn(), at_once.GoOn());
  }
}

}  // namespace
}  // namespace pagedkv::test
