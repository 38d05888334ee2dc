// A test harness of one header: TEST("a sentence about behaviour") { ... } registers itself, and
// the first CHECK that does not hold ends the test. Nothing but a compiler is needed to build it.
#pragma once

#include <cstdint>
#include <functional>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace pagedkv::test {

// What a CHECK throws; the runner catches it.
struct Failure {
  std::string what;
};

struct Case {
  const char* name;
  const char* file;
  void (*run)();
};

// All tests, in the order their files were linked.
std::vector<Case>& Cases();

struct Registration {
  Registration(const char* name, const char* file, void (*run)()) {
    Cases().push_back({name, file, run});
  }
};

// A word on what is being done now, a seed for example. Printed when the test fails, and also when
// an assertion of the core stops the process. Forgotten when the test ends.
void SetContext(const std::string& context);

// An environment variable as a number, or `otherwise` when it is not set.
std::uint64_t EnvironmentNumber(const char* name, std::uint64_t otherwise);

template <typename T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };

template <typename T>
std::string Show(const T& value) {
  std::ostringstream out;
  if constexpr (Printable<T>) {
    out << value;
  } else if constexpr (std::is_enum_v<T>) {
    out << static_cast<std::int64_t>(value);
  } else {
    out << '[';
    const char* separator = "";
    for (const auto& item : value) {
      out << separator << Show(item);
      separator = " ";
    }
    out << ']';
  }
  return out.str();
}

template <typename A, typename B>
bool IsEqual(const A& a, const B& b) {
  constexpr bool kNumbers = std::is_integral_v<A> && std::is_integral_v<B> &&
                            !std::is_same_v<A, bool> && !std::is_same_v<B, bool>;
  if constexpr (kNumbers) {
    return std::cmp_equal(a, b);
  } else {
    return a == b;
  }
}

[[noreturn]] void Fail(const char* file, int line, const std::string& what);

template <typename A, typename B>
void CheckEqual(const char* file, int line, const char* text, const A& actual, const B& expected) {
  if (IsEqual(actual, expected)) return;
  Fail(file, line, std::string(text) + ": is " + Show(actual) + ", should be " + Show(expected));
}

}  // namespace pagedkv::test

#define PAGEDKV_TEST_JOIN2(a, b) a##b
#define PAGEDKV_TEST_JOIN(a, b) PAGEDKV_TEST_JOIN2(a, b)

#define TEST(name)                                                                         \
  static void PAGEDKV_TEST_JOIN(TestAtLine, __LINE__)();                                   \
  static const ::pagedkv::test::Registration PAGEDKV_TEST_JOIN(kRegistrationAt, __LINE__)( \
      name, __FILE__, &PAGEDKV_TEST_JOIN(TestAtLine, __LINE__));                           \
  static void PAGEDKV_TEST_JOIN(TestAtLine, __LINE__)()

#define CHECK(condition)                                                                \
  do {                                                                                  \
    if (!(condition)) ::pagedkv::test::Fail(__FILE__, __LINE__, "not so: " #condition); \
  } while (false)

// CHECK_EQ(actual, expected)
#define CHECK_EQ(actual, expected) \
  ::pagedkv::test::CheckEqual(__FILE__, __LINE__, #actual, (actual), (expected))
