// One call from JavaScript: its arguments, each checked when it is read, and its answer.
//
// Invariant: no C++ exception leaves an entry. A bad argument is a Misuse, which the entry turns
// into its status before anything was changed.
#pragma once

#include <napi.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string_view>
#include <type_traits>
#include <vector>

#include "environment.h"
#include "reply.h"

namespace pagedkv::binding {

inline constexpr std::size_t kMaxNamespaceBytes = 1024;

struct Misuse {
  CallStatus status;
};

class Call {
 public:
  explicit Call(const Napi::CallbackInfo& info) : info_(info) {}

  Napi::Env env() const { return info_.Env(); }
  Environment& environment() const { return *static_cast<Environment*>(info_.Data()); }
  bool Has(std::size_t index) const { return index < info_.Length(); }
  bool IsObject(std::size_t index) const { return info_[index].IsObject(); }
  Napi::Value Value(std::size_t index) const { return info_[index]; }

  OpenManager& manager() const;      // the one whose id is the first argument
  OpenManager& manager_now() const;  // … told what time it is, for what depends on it
  // What the second and third argument name, slot and generation. The nonce is the manager's own:
  // callers tell managers apart by identity before they take a handle apart.
  SequenceHandle Sequence(const OpenManager& opened) const;
  StepHandle Step(const OpenManager& opened) const;
  std::uint32_t Word(std::size_t index) const;  // a whole number from 0 to 2^32 - 1
  std::uint64_t Size(std::size_t index) const;  // a whole number from 0 to 2^53 - 1
  bool Flag(std::size_t index) const;
  double Duration(std::size_t index) const;  // a finite number from 0 up
  Tokens Ids(std::size_t index) const;       // a Uint32Array; valid during the call only
  Napi::Uint32Array Words(std::size_t index) const;
  Napi::Float64Array Reals(std::size_t index) const;
  std::string_view Bytes(std::size_t index) const;  // a Uint8Array; valid during the call only
  // UTF-8, in a buffer of the caller's.
  using NameBuffer = std::array<char, kMaxNamespaceBytes + 8>;
  std::string_view Name(std::size_t index, NameBuffer& buffer) const;
  std::string_view NameOrDefault(std::size_t index, NameBuffer& buffer) const {
    return Has(index) ? Name(index, buffer) : std::string_view();
  }

 private:
  napi_value TypedArray(std::size_t index, napi_typedarray_type type) const;

  const Napi::CallbackInfo& info_;
};

// Extra keys, where a call has them: records of three words, from, to and the bytes of the key; and
// the bytes of the keys, end to end.
class GivenKeys {
 public:
  GivenKeys(const Call& call, std::size_t index);
  KeyRanges ranges() const { return ranges_; }

 private:
  std::vector<KeyRange> ranges_;
};

// Where a prompt stands, at the end of a call: (name?, keys?, key bytes?).
class GivenPrompt {
 public:
  GivenPrompt(const Call& call, std::size_t index)
      : name_(call.NameOrDefault(index, buffer_)), keys_(call, index + 1) {}
  GivenPrompt(const GivenPrompt&) = delete;
  GivenPrompt& operator=(const GivenPrompt&) = delete;

  std::string_view name() const { return name_; }
  KeyRanges keys() const { return keys_.ranges(); }

 private:
  Call::NameBuffer buffer_;
  std::string_view name_;
  GivenKeys keys_;
};

// What JavaScript calls: answers with the status of the body, or with its value.
template <auto kBody>
Napi::Value Entry(const Napi::CallbackInfo& info) {
  const auto answer = [&info](auto status) {
    napi_value number = nullptr;
    napi_create_uint32(info.Env(), static_cast<std::uint32_t>(status), &number);
    return Napi::Value(info.Env(), number);
  };
  const Call call(info);
  try {
    if constexpr (std::is_same_v<decltype(kBody(call)), Status>) {
      return answer(kBody(call));
    } else {
      return kBody(call);
    }
  } catch (const Misuse& misuse) {
    return answer(misuse.status);
  } catch (const std::bad_alloc&) {
    return answer(CallStatus::kOutOfMemory);
  } catch (...) {
    return answer(CallStatus::kInternal);
  }
}

}  // namespace pagedkv::binding
