#include "call.h"

#include <chrono>
#include <cmath>

namespace pagedkv::binding {
namespace {

[[noreturn]] void Refuse() {
  throw Misuse{CallStatus::kInvalidArgument};
}

// What a broken string turns into on its way to UTF-8. Two such names would become the same, and
// what is cached under one would show under the other.
constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

}  // namespace

OpenManager& Call::manager() const {
  OpenManager* found = environment().Find(Word(0));
  if (found == nullptr) throw Misuse{CallStatus::kManagerClosed};
  return *found;
}

OpenManager& Call::manager_now() const {
  OpenManager& opened = manager();
  const double given = opened.reals()[kTimeReal];
  if (given >= 0 && given < 0x1p53) {
    opened.manager->SetTime(static_cast<std::uint64_t>(given));
  } else {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
    opened.manager->SetTime(static_cast<std::uint64_t>(ms));
  }
  return opened;
}

SequenceHandle Call::Sequence(const OpenManager& opened) const {
  return {.slot = Word(1), .generation = Word(2), .nonce = opened.manager->config().nonce};
}

StepHandle Call::Step(const OpenManager& opened) const {
  return {.slot = Word(1), .generation = Word(2), .nonce = opened.manager->config().nonce};
}

std::uint32_t Call::Word(std::size_t index) const {
  double value = 0;
  if (napi_get_value_double(info_.Env(), info_[index], &value) != napi_ok) Refuse();
  if (!(value >= 0 && value <= 0xFFFFFFFFu)) Refuse();  // NaN too
  const auto word = static_cast<std::uint32_t>(value);
  if (word != value) Refuse();
  return word;
}

std::uint64_t Call::Size(std::size_t index) const {
  double value = 0;
  if (napi_get_value_double(info_.Env(), info_[index], &value) != napi_ok) Refuse();
  if (!(value >= 0 && value < 0x1p53)) Refuse();  // NaN too
  const auto size = static_cast<std::uint64_t>(value);
  if (static_cast<double>(size) != value) Refuse();
  return size;
}

bool Call::Flag(std::size_t index) const {
  bool value = false;
  if (napi_get_value_bool(info_.Env(), info_[index], &value) != napi_ok) Refuse();
  return value;
}

double Call::Duration(std::size_t index) const {
  double value = 0;
  if (napi_get_value_double(info_.Env(), info_[index], &value) != napi_ok) Refuse();
  if (!(value >= 0 && std::isfinite(value))) Refuse();
  return value;
}

napi_value Call::TypedArray(std::size_t index, napi_typedarray_type type) const {
  const napi_value value = info_[index];
  napi_typedarray_type given{};
  napi_value buffer = nullptr;
  if (napi_get_typedarray_info(info_.Env(), value, &given, nullptr, nullptr, &buffer, nullptr) !=
          napi_ok ||
      given != type) {
    Refuse();
  }
  // Another thread could change a SharedArrayBuffer while the core reads it.
  bool is_private = false;
  if (napi_is_arraybuffer(info_.Env(), buffer, &is_private) != napi_ok || !is_private) Refuse();
  return value;
}

Tokens Call::Ids(std::size_t index) const {
  const napi_value value = TypedArray(index, napi_uint32_array);
  std::size_t length = 0;
  void* data = nullptr;
  napi_get_typedarray_info(info_.Env(), value, nullptr, &length, &data, nullptr, nullptr);
  return {static_cast<const Token*>(data), length};
}

Napi::Uint32Array Call::Words(std::size_t index) const {
  return {info_.Env(), TypedArray(index, napi_uint32_array)};
}

Napi::Float64Array Call::Reals(std::size_t index) const {
  return {info_.Env(), TypedArray(index, napi_float64_array)};
}

std::string_view Call::Bytes(std::size_t index) const {
  const napi_value value = TypedArray(index, napi_uint8_array);
  std::size_t length = 0;
  void* data = nullptr;
  napi_get_typedarray_info(info_.Env(), value, nullptr, &length, &data, nullptr, nullptr);
  return {static_cast<const char*>(data), length};
}

std::string_view Call::Name(std::size_t index, NameBuffer& buffer) const {
  std::size_t bytes = 0;
  // A name that is cut fills the buffer but for the bytes of one character, which is still too
  // long.
  if (napi_get_value_string_utf8(info_.Env(), info_[index], buffer.data(), buffer.size(), &bytes) !=
          napi_ok ||
      bytes > kMaxNamespaceBytes) {
    Refuse();
  }
  const std::string_view name(buffer.data(), bytes);
  if (name.find(kReplacementCharacter) != std::string_view::npos) Refuse();
  return name;
}

GivenKeys::GivenKeys(const Call& call, std::size_t index) {
  if (!call.Has(index)) return;
  constexpr std::size_t kRecordWords = 3;
  const Tokens words = call.Ids(index);
  std::string_view bytes = call.Bytes(index + 1);
  if (words.size() % kRecordWords != 0 || words.size() / kRecordWords > kMaxKeyRanges) Refuse();
  ranges_.reserve(words.size() / kRecordWords);
  for (std::size_t at = 0; at < words.size(); at += kRecordWords) {
    const std::uint32_t length = words[at + 2];
    if (length > bytes.size()) Refuse();
    ranges_.push_back({words[at], words[at + 1], bytes.substr(0, length)});
    bytes.remove_prefix(length);
  }
  if (!bytes.empty()) Refuse();
}

}  // namespace pagedkv::binding
