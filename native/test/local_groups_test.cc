// Groups that read only what is near: what lies behind is given back, and what is left says how far
// a prompt, a fork or a truncate may go.
#include "simulated_device.h"
#include "test.h"
#include "test_config.h"

namespace pagedkv::test {
namespace {

constexpr std::uint32_t kBlock = 4;

// One group that reads all, in plenty of blocks, and one that is local.
Config WithLocal(GroupConfig local) {
  Config config = Pool(64);
  config.block_size = kBlock;
  config.groups.push_back(local);
  config.max_sequence_tokens = 200;
  config.max_batch_tokens = 64;
  return config;
}

GroupConfig Sliding(std::uint32_t blocks, std::uint32_t window, std::uint32_t sinks = 0,
                    std::uint32_t rollback = 1) {
  return {.device_blocks = blocks, .window = window, .sinks = sinks, .rollback = rollback};
}

GroupConfig Chunked(std::uint32_t blocks, std::uint32_t chunk) {
  return {.device_blocks = blocks, .chunk = chunk};
}

void Decode(SimulatedDevice& device, SequenceId sequence, std::uint32_t tokens) {
  for (std::uint32_t i = 0; i < tokens; ++i) device.Append(sequence, Text(9, 1, i));
}

TEST("a sliding window needs blocks for what it reads, however long the sequence gets") {
  SimulatedDevice device(WithLocal(Sliding(4, 8)));
  const SequenceId sequence = device.Chat(Text(1, 3));
  Decode(device, sequence, 150);
  CHECK_EQ(device.History(sequence).size(), 153u);
}

TEST("so does attention within chunks, once a chunk is full") {
  SimulatedDevice device(WithLocal(Chunked(4, 8)));
  const SequenceId sequence = device.Chat(Text(1, 3));
  Decode(device, sequence, 150);
}

TEST("the first tokens stay where attention sinks into them") {
  SimulatedDevice device(WithLocal(Sliding(6, 8, 6)));
  const SequenceId sequence = device.Chat(Text(1, 3));
  const std::vector<BlockId> first = device.Row(sequence, 1);
  Decode(device, sequence, 100);
  CHECK_EQ(device.Row(sequence, 1)[0], first[0]);
}

TEST("a conversation goes on where it ended, with what its window holds") {
  SimulatedDevice device(WithLocal(Sliding(12, 8)));
  const TokenList said = Text(1, 40);
  device.Cache(said);
  const auto hit = device.Lookup(Join(said, Text(2, 5)));
  CHECK_EQ(hit.device_tokens, 40u);
  const SequenceId next = device.Chat(Join(said, Text(2, 5)));
  Decode(device, next, 30);
}

TEST("a prompt that ends behind what a window holds finds nothing there") {
  SimulatedDevice device(WithLocal(Sliding(12, 8)));
  const TokenList said = Text(1, 40);
  device.Cache(said);
  CHECK_EQ(device.Lookup(Join(Head(said, 20), Text(2, 5))).device_tokens, 0u);
  // What is computed again is known, but for what the window lacks.
  const SequenceId again = device.Chat(Join(Head(said, 20), Text(2, 5)));
  CHECK_EQ(device.Lookup(Join(Head(said, 20), Text(2, 5))).device_tokens, 24u);
  Decode(device, again, 10);
}

TEST("a prefix that several hold keeps all its blocks, for those who begin alike") {
  SimulatedDevice device(WithLocal(Sliding(40, 8)));
  const TokenList shared = Text(1, 16);
  const SequenceId one = device.Open(Join(shared, Text(2, 4)));
  device.Append(one, shared);
  const SequenceId other = device.Fork(one, 16);
  Decode(device, one, 30);
  device.Append(other, Text(3, 30));
  CHECK_EQ(device.Lookup(Join(shared, Text(4, 4))).device_tokens, 16u);
}

TEST("what may be taken back is kept, and a truncate beyond it tells from where to compute") {
  SimulatedDevice device(WithLocal(Sliding(20, 8, 0, 10)));
  const SequenceId sequence = device.Chat(Text(1, 60));
  device.Truncate(sequence, 50);
  CHECK_EQ(device.History(sequence).size(), 50u);
  device.Truncate(sequence, 30);
  CHECK_EQ(device.History(sequence).size(), 0u);
}

TEST("a fork from behind a window begins where it still can") {
  SimulatedDevice device(WithLocal(Sliding(20, 8)));
  const SequenceId sequence = device.Chat(Text(1, 40));
  CHECK_EQ(device.History(device.Fork(sequence, 40)).size(), 40u);
  CHECK_EQ(device.History(device.Fork(sequence, 12)).size(), 0u);
}

TEST("a full window pool is made room in by what was cached first") {
  SimulatedDevice device(WithLocal(Sliding(8, 8)));
  for (std::uint32_t text = 1; text < 6; ++text) device.Cache(Text(text, 12));
  CHECK_EQ(device.Lookup(Join(Text(5, 12), Text(9, 1))).device_tokens, 12u);
  CHECK_EQ(device.Lookup(Join(Text(1, 12), Text(9, 1))).device_tokens, 0u);
}

TEST("groups are refused that would leave an entry without any block, or move what lies behind") {
  const auto refused = [](const std::vector<GroupConfig>& groups) {
    Config config = WithLocal(Sliding(4, 8));
    config.groups = groups;
    return Manager::CheckConfig(config) == Status::kInvalidConfig;
  };
  const GroupConfig full{.device_blocks = 8, .host_blocks = 8};
  CHECK(refused({Sliding(4, 8)}));
  CHECK(refused({full, {.device_blocks = 8, .host_blocks = 8, .window = 8}}));
  CHECK(refused({{.device_blocks = 8}, {.device_blocks = 8, .window = 8, .chunk = 8}}));
  CHECK(refused({{.device_blocks = 8}, {.device_blocks = 8, .window = 8, .rollback = 0}}));
}

}  // namespace
}  // namespace pagedkv::test
