// The index against a naive model: with room for everything, a prompt finds exactly what a list of
// all committed prompts says it should.

#include <algorithm>
#include <random>

#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

// A token and the key that it stands under.
using Word = std::pair<Token, std::string>;
using Words = std::vector<Word>;

struct Committed {
  std::string name;
  Words words;
};

Words WordsOf(const TokenList& tokens, const KeyList& keys) {
  Words words;
  for (const Token token : tokens) words.emplace_back(token, "");
  for (const Key& key : keys) {
    for (std::size_t at = key.from; at < std::min<std::size_t>(key.to, words.size()); ++at) {
      words[at].second = key.bytes;
    }
  }
  return words;
}

std::size_t SharedHead(const Words& a, const Words& b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<std::size_t>(end - a.begin());
}

class Model {
 public:
  explicit Model(std::uint32_t block_size) : block_size_(block_size) {}

  void Commit(const std::string& name, Words words) {
    words.resize(words.size() / block_size_ * block_size_);
    committed_.push_back({name, std::move(words)});
  }
  void Clear(const std::string& name) {
    std::erase_if(committed_, [&](const Committed& each) { return each.name == name; });
  }
  // The longest head that full blocks of committed prompts hold.
  std::size_t LongestHit(const std::string& name, const Words& prompt) const {
    std::size_t longest = 0;
    for (const Committed& each : committed_) {
      if (each.name == name) longest = std::max(longest, SharedHead(each.words, prompt));
    }
    return longest;
  }

 private:
  std::uint32_t block_size_;
  std::vector<Committed> committed_;
};

// Of the last block, a part is found where it is worth copying.
void CheckHit(std::size_t found, std::size_t longest, std::size_t prompt, std::uint32_t block_size,
              std::uint32_t min_partial_tokens) {
  const std::size_t part = longest % block_size;
  const std::size_t worth = part >= min_partial_tokens ? longest : longest - part;
  CHECK_EQ(found, std::min(worth, prompt - 1));
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
  std::vector<KeyList> lists(1);
  for (std::uint32_t i = 0; i < 3; ++i) {
    const auto from = static_cast<std::uint32_t>(random() % 40);
    const auto to = from + 1 + static_cast<std::uint32_t>(random() % 40);
    lists.push_back({{from, to, i == 0 ? "x" : "y"}, {to + i, kNone, "x"}});
  }
  for (int round = 0; round < 60; ++round) {
    TokenList prompt = texts[random() % texts.size()];
    prompt.resize(random() % (prompt.size() + 1));
    for (std::uint64_t more = 1 + random() % (config.block_size * 12); more > 0; --more) {
      prompt.push_back(static_cast<Token>(random() % 3));
    }
    if (prompt.size() > 600) prompt.resize(600);
    texts.push_back(prompt);
    const std::string name = random() % 3 == 0 ? "b" : "a";
    const KeyList& keys = lists[random() % lists.size()];
    const Words words = WordsOf(prompt, keys);
    const std::size_t longest = model.LongestHit(name, words);
    const auto opened = device.TryOpen(prompt, name, keys);
    CheckHit(opened.cached, longest, prompt.size(), config.block_size, config.min_partial_tokens);
    // In one step or in two, so that runs of blocks are cut at every place.
    const std::size_t middle = opened.cached + 1 + random() % (prompt.size() - opened.cached);
    device.Append(opened.sequence, Tail(Head(prompt, middle), opened.cached));
    if (middle < prompt.size()) device.Append(opened.sequence, Tail(prompt, middle));
    model.Commit(name, words);
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
