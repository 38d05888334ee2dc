// What an eviction takes, for a tool that counts instructions:
//
//   eviction_instructions POLICY BLOCKS [CHATS]
//
// A pool is full of prompts of 16 blocks, last used in random order. Chats of 256 blocks are
// computed, for each of which as many blocks are evicted; then the chat is cleared, and new prompts
// take its place. Only `ComputeChat` is to be counted. With 0 blocks the same chats are computed
// where nothing needs to be evicted. Prints the blocks computed and evicted there, and
// nanoseconds a block.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "core/manager.h"

namespace pagedkv {
namespace {

constexpr std::uint32_t kBlockTokens = 16;
constexpr std::uint32_t kPromptBlocks = 16;
constexpr std::uint32_t kPromptTokens = kPromptBlocks * kBlockTokens;
constexpr std::uint32_t kTogether = 16;  // prompts that are computed in one step
constexpr std::uint32_t kChatTokens = kTogether * kPromptTokens;
constexpr std::uint32_t kChatBlocks = kChatTokens / kBlockTokens;
constexpr std::uint32_t kUsualChats = 64;

Config ConfigOf(PolicyKind policy, std::uint32_t blocks) {
  Config config;
  config.block_size = kBlockTokens;
  config.groups = {{blocks, 0}};
  config.max_sequences = kTogether;
  config.max_sequence_tokens = kChatTokens;
  config.max_batch_sequences = kTogether;
  config.max_batch_tokens = kChatTokens;
  config.policy = policy;
  return config;
}

void Check(Status status) {
  if (status == Status::kOk) return;
  std::fprintf(stderr, "status %u\n", static_cast<unsigned>(status));
  std::exit(1);
}

class Engine {
 public:
  explicit Engine(const Config& config)
      : layout_(SharedLayout::For(config)), shared_(layout_.words), manager_(config, &shared_[0]) {}

  Manager& manager() { return manager_; }
  std::uint32_t prompts() const { return prompts_; }

  // Uses the prompt with this number, as far as it is cached.
  void Use(std::uint32_t number) {
    manager_.SetTime(++now_ms_);
    Check(manager_.Close(Open(number, kPromptTokens, "")));
  }

  void ComputePrompts() {
    for (std::uint32_t i = 0; i < kTogether; ++i) {
      open_[i] = Open(prompts_++, kPromptTokens, "");
      AddToBatch(i, open_[i], kPromptTokens);
    }
    ComputeBatch(kTogether);
    for (const SequenceHandle& each : open_) Check(manager_.Close(each));
  }

  SequenceHandle OpenChat() {
    const SequenceHandle chat = Open(0, kChatTokens, kChat);
    AddToBatch(0, chat, kChatTokens);
    return chat;
  }
  // What is to be counted.
  [[gnu::noinline]] void ComputeChat() { ComputeBatch(1); }
  void ClearChat(SequenceHandle chat) {
    Check(manager_.Close(chat));
    manager_.Clear(kChat);
  }

 private:
  static constexpr const char* kChat = "chat";

  SequenceHandle Open(std::uint32_t number, std::uint32_t length, const char* name) {
    std::minstd_rand random(number + 1);
    std::generate_n(ids_, length, [&] { return static_cast<Token>(random()); });
    ids_[0] = number;  // no two begin alike
    const Manager::OpenResult opened = manager_.Open({ids_, length}, name);
    Check(opened.status);
    return opened.handle;
  }

  void AddToBatch(std::uint32_t at, SequenceHandle sequence, std::uint32_t length) {
    const std::uint32_t entry[] = {sequence.slot, sequence.generation, sequence.nonce, length};
    std::copy_n(entry, kBatchEntryWords, &shared_[layout_.batch_entries + at * kBatchEntryWords]);
    std::copy_n(ids_, length, &shared_[layout_.batch_tokens + at * length]);
  }

  void ComputeBatch(std::uint32_t count) {
    const Manager::ScheduleResult planned = manager_.Schedule(count);
    Check(planned.status);
    Check(manager_.Commit(planned.step, {}));
  }

  const SharedLayout layout_;
  std::vector<std::uint32_t> shared_;
  Manager manager_;
  Token ids_[kChatTokens];
  SequenceHandle open_[kTogether];
  std::uint32_t prompts_ = 0;
  std::uint64_t now_ms_ = 0;
};

// Uses the last so many prompts, in random order.
void UseAll(Engine& engine, std::mt19937& random, std::uint32_t prompts) {
  std::vector<std::uint32_t> order(prompts);
  std::iota(order.begin(), order.end(), engine.prompts() - prompts);
  std::shuffle(order.begin(), order.end(), random);
  for (const std::uint32_t number : order) engine.Use(number);
}

struct Counted {
  std::uint64_t computed = 0;
  std::uint64_t evictions = 0;
  std::chrono::nanoseconds time{};
};

void CountChat(Engine& engine, Counted& counted) {
  const std::uint64_t before = engine.manager().GetStats().evictions;
  const SequenceHandle chat = engine.OpenChat();
  const auto begin = std::chrono::steady_clock::now();
  engine.ComputeChat();
  counted.time += std::chrono::steady_clock::now() - begin;
  counted.computed += kChatBlocks;
  counted.evictions += engine.manager().GetStats().evictions - before;
  engine.ClearChat(chat);
}

Counted Measure(PolicyKind policy, std::uint32_t blocks, std::uint32_t chats) {
  Engine engine(ConfigOf(policy, std::max(blocks, 2 * kChatBlocks)));
  std::mt19937 random(1);
  const std::uint32_t prompts = blocks / kPromptBlocks;
  while (engine.prompts() < prompts) engine.ComputePrompts();
  UseAll(engine, random, prompts);
  Counted counted;
  for (std::uint32_t chat = 0; chat < chats; ++chat) {
    CountChat(engine, counted);
    if (blocks == 0) continue;
    engine.ComputePrompts();
    UseAll(engine, random, kTogether);
    for (std::uint32_t i = 0; i < kTogether; ++i) {
      engine.Use(engine.prompts() - 1 - static_cast<std::uint32_t>(random() % prompts));
    }
  }
  if (const char* broken = engine.manager().Validate().broken) {
    std::fprintf(stderr, "broken: %s\n", broken);
    std::exit(1);
  }
  return counted;
}

int Run(PolicyKind policy, std::uint32_t blocks, std::uint32_t chats) {
  const Counted counted = Measure(policy, blocks, chats);
  std::printf("%llu blocks computed, %llu evicted, %.1f ns each\n",
              static_cast<unsigned long long>(counted.computed),
              static_cast<unsigned long long>(counted.evictions),
              static_cast<double>(counted.time.count()) / static_cast<double>(counted.computed));
  return 0;
}

}  // namespace
}  // namespace pagedkv

int main(int argc, char** argv) {
  const char* const policies[] = {"lru", "arc", "adaptive"};  // as in PolicyKind
  const auto number = [&](int at) {
    return static_cast<std::uint32_t>(std::strtoul(argv[at], nullptr, 10));
  };
  for (std::uint32_t policy = 0; argc >= 3 && policy < std::size(policies); ++policy) {
    if (std::strcmp(argv[1], policies[policy]) != 0) continue;
    const std::uint32_t chats = argc > 3 ? number(3) : pagedkv::kUsualChats;
    return pagedkv::Run(static_cast<pagedkv::PolicyKind>(policy), number(2), chats);
  }
  std::fprintf(stderr, "usage: eviction_instructions lru|arc|adaptive BLOCKS [CHATS]\n");
  return 2;
}
