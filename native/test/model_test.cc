// The index against a naive model: with room for everything, a prompt finds exactly what a list of
// all committed prompts says it should.

#include <algorithm>
#include <random>

#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

struct Committed {
  std::string name;
  TokenList tokens;
};

std::size_t SharedHead(const TokenList& a, const TokenList& b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<std::size_t>(end - a.begin());
}

class Model {
 public:
  explicit Model(std::uint32_t block_size) : block_size_(block_size) {}

  void Commit(const std::string& name, const TokenList& tokens) {
    committed_.push_back({name, Head(tokens, tokens.size() / block_size_ * block_size_)});
  }
  void Clear(const std::string& name) {
    std::erase_if(committed_, [&](const Committed& each) { return each.name == name; });
  }
  // The longest head that full blocks of committed prompts hold.
  std::size_t LongestHit(const std::string& name, const TokenList& prompt) const {
    std::size_t longest = 0;
    for (const Committed& each : committed_) {
      if (each.name == name) longest = std::max(longest, SharedHead(each.tokens, prompt));
    }
    return longest;
  }

 private:
  std::uint32_t block_size_;
  std::vector<Committed> committed_;
};

// Parts of blocks are found in bounded probes: some may be missed where many siblings are alike.
void CheckHit(std::size_t found, std::size_t longest, std::size_t prompt, std::uint32_t block_size,
              std::uint32_t min_partial_tokens) {
  const std::size_t whole = std::min(longest / block_size * block_size, prompt - 1);
  CHECK(found <= longest);
  CHECK(found >= whole);
  const std::size_t part = found % block_size;
  if (found < prompt - 1 && part > 0) CHECK(part >= min_partial_tokens);
}

void RunModel(std::uint64_t seed) {
  SetContext("PAGEDKV_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  Config config = Pool(4096);
  config.block_size = static_cast<std::uint32_t>(1 + random() % 20);
  config.min_partial_tokens = static_cast<std::uint32_t>(1 + random() % config.block_size);
  config.always_writes = random() % 4 == 0;
  SimulatedDevice device(config);
  Model model(config.block_size);
  std::vector<TokenList> texts(1, Text(1, 1));
  for (int round = 0; round < 60; ++round) {
    TokenList prompt = texts[random() % texts.size()];
    prompt.resize(random() % (prompt.size() + 1));
    for (std::uint64_t more = 1 + random() % (config.block_size * 12); more > 0; --more) {
      prompt.push_back(static_cast<Token>(random() % 3));
    }
    if (prompt.size() > 600) prompt.resize(600);
    texts.push_back(prompt);
    const std::string name = random() % 3 == 0 ? "b" : "a";
    const std::size_t longest = model.LongestHit(name, prompt);
    const auto opened = device.TryOpen(prompt, name);
    CheckHit(opened.cached, longest, prompt.size(), config.block_size, config.min_partial_tokens);
    // In one step or in two, so that runs of blocks are cut at every place.
    const std::size_t middle = opened.cached + 1 + random() % (prompt.size() - opened.cached);
    device.Append(opened.sequence, Tail(Head(prompt, middle), opened.cached));
    if (middle < prompt.size()) device.Append(opened.sequence, Tail(prompt, middle));
    model.Commit(name, prompt);
    if (random() % 2 == 0 || device.OpenSequences().size() > 20) {
      device.Close(device.OpenSequences()[random() % device.OpenSequences().size()]);
    }
    if (random() % 40 == 0) {
      for (const SequenceId id : device.OpenSequences()) device.Close(id);
      device.Clear("a");
      model.Clear("a");
    }
  }
  device.CloseAll();
}

TEST("with room for everything, a prompt finds what a list of all prompts says it should") {
  const std::uint64_t seed = EnvironmentNumber("PAGEDKV_SEED", 1);
  for (std::uint64_t i = 0; i < EnvironmentNumber("PAGEDKV_MODELS", 20); ++i) RunModel(seed + i);
}

}  // namespace
}  // namespace pagedkv::test
