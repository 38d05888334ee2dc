// A manager as a whole: its configuration and memory, its life, and what it tells about itself.
#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <string_view>

#include "operations.h"

namespace pagedkv::binding {
namespace {

// Words of a configuration before its groups, and of each of these.
constexpr std::size_t kConfigWords = 16;
constexpr std::size_t kGroupWords = 6;

Config ReadConfig(Napi::Uint32Array words) {
  const std::size_t length = words.ElementLength();
  const std::size_t groups = length < kConfigWords ? 0 : (length - kConfigWords) / kGroupWords;
  if (groups == 0 || groups > kMaxGroups || length != kConfigWords + groups * kGroupWords) {
    throw Misuse{CallStatus::kInvalidArgument};
  }
  Config config;
  config.block_size = words[0];
  config.max_sequences = words[1];
  config.max_sequence_tokens = words[2];
  config.max_batch_sequences = words[3];
  config.max_batch_tokens = words[4];
  config.max_open_steps = words[5];
  config.max_step_transfers = words[6];
  config.min_partial_tokens = words[7];
  config.always_writes = words[8] != 0;
  config.policy = static_cast<PolicyKind>(words[9]);
  config.events = words[10] != 0;
  config.host_mode = static_cast<HostMode>(words[11]);
  config.host_write = static_cast<HostWrite>(words[12]);
  config.onboard = static_cast<OnboardPolicy>(words[13]);
  config.low_water = words[14];
  config.high_water = words[15];
  for (std::size_t group = 0; group < groups; ++group) {
    const std::size_t at = kConfigWords + group * kGroupWords;
    config.groups.push_back({.device_blocks = words[at],
                             .host_blocks = words[at + 1],
                             .window = words[at + 2],
                             .chunk = words[at + 3],
                             .sinks = words[at + 4],
                             .rollback = words[at + 5]});
  }
  return config;
}

// Writes a struct of nothing but 64-bit counters from `begin` on; it must end where `out` does.
template <typename Counters>
void WriteReals(const Counters& counters, std::size_t begin, Napi::Float64Array out) {
  static_assert(sizeof(Counters) % sizeof(std::uint64_t) == 0);
  using Words = std::array<std::uint64_t, sizeof(Counters) / sizeof(std::uint64_t)>;
  const auto words = std::bit_cast<Words>(counters);
  if (out.ElementLength() != begin + words.size()) throw Misuse{CallStatus::kInvalidArgument};
  std::transform(words.begin(), words.end(), out.Data() + begin,
                 [](std::uint64_t word) { return static_cast<double>(word); });
}

Napi::Value Text(const Call& call, std::optional<std::string_view> text) {
  if (!text) throw Misuse{CallStatus::kInvalidArgument};
  return Napi::String::New(call.env(), text->data(), text->size());
}

}  // namespace

// (config, out): the bytes of metadata, then SharedLayout in the order of its declaration.
Status Measure(const Call& call) {
  const Config config = ReadConfig(call.Words(0));
  Napi::Float64Array out = call.Reals(1);
  if (const Status status = Manager::CheckConfig(config); status != Status::kOk) return status;
  WriteReals(SharedLayout::For(config), 1, out);
  out[0] = static_cast<double>(Manager::MetadataBytes(config));
  return Status::kOk;
}

// (config, memory): the memory as measured, zeroed, of a kind that cannot be detached.
Status Create(const Call& call) {
  const Config config = ReadConfig(call.Words(0));
  const Napi::Uint32Array memory = call.Words(1);
  if (const Status status = Manager::CheckConfig(config); status != Status::kOk) return status;
  if (memory.ElementLength() != kReplyWords + SharedLayout::For(config).words) {
    throw Misuse{CallStatus::kInvalidArgument};
  }
  call.environment().Open(call.env(), config, memory);
  return Status::kOk;
}

// (manager); one that is closed stays closed.
Status CloseManager(const Call& call) {
  call.environment().Close(call.env(), call.Word(0));
  return Status::kOk;
}

// (manager, name?): without a name, everything that is cached.
Status Clear(const Call& call) {
  OpenManager& opened = call.manager();
  if (!call.Has(1)) {
    opened.manager->Clear(std::nullopt);
    return Status::kOk;
  }
  Call::NameBuffer buffer;
  opened.manager->Clear(call.Name(1, buffer));
  return Status::kOk;
}

// (manager, name, device min, device max, host min, host max)
Status SetQuota(const Call& call) {
  const OpenManager& opened = call.manager();
  Call::NameBuffer buffer;
  const std::string_view name = call.Name(1, buffer);
  const Quota quota = {.device = {.min = call.Word(2), .max = call.Word(3)},
                       .host = {.min = call.Word(4), .max = call.Word(5)}};
  return opened.manager->SetQuota(name, quota);
}

// (manager, out): every number of Stats in the order of its declaration.
Status GetStats(const Call& call) {
  const OpenManager& opened = call.manager();
  WriteReals(opened.manager->GetStats(), 0, call.Reals(1));
  return Status::kOk;
}

// (manager, out, anew): the records in `out`, which has room for the longest one.
Status TakeEvents(const Call& call) {
  const OpenManager& opened = call.manager();
  Napi::Uint32Array out = call.Words(1);
  if (out.ElementLength() < Manager::LongestEvent(opened.manager->config())) {
    throw Misuse{CallStatus::kInvalidArgument};
  }
  const auto taken = opened.manager->TakeEvents({out.Data(), out.ElementLength()}, call.Flag(2));
  opened.reply[kReplyEventWords] = taken.words;
  opened.reply[kReplyMoreEvents] = taken.has_more ? 1 : 0;
  return taken.status;
}

// (manager, number): a name of records of events, as a string.
Napi::Value NamespaceOf(const Call& call) {
  return Text(call, call.manager().manager->NamespaceOf(call.Word(1)));
}

Napi::Value KeyOf(const Call& call) {
  return Text(call, call.manager().manager->KeyOf(call.Word(1)));
}

// (manager): the digest as a bigint, or what is broken as a string.
Napi::Value Validate(const Call& call) {
  const Manager::Validation found = call.manager_now().manager->Validate();
  if (found.broken != nullptr) return Napi::String::New(call.env(), found.broken);
  return Napi::BigInt::New(call.env(), found.digest);
}

}  // namespace pagedkv::binding
