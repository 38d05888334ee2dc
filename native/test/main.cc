// Runs the registered tests. Arguments are parts of names or files: a test runs when it contains
// one of them. --list prints the names and runs nothing.

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string_view>

#include "test.h"

namespace pagedkv::test {
namespace {

// Plain memory: the handler of SIGABRT may not allocate.
char g_test[256];
char g_context[8192];

template <std::size_t kSize>
void Keep(char (&target)[kSize], std::string_view text) {
  const std::size_t length = text.size() < kSize - 1 ? text.size() : kSize - 1;
  std::memcpy(target, text.data(), length);
  target[length] = '\0';
}

void Write(const char* text) {
  const ssize_t written = ::write(STDERR_FILENO, text, std::strlen(text));
  static_cast<void>(written);
}

// An assertion of the core stops the process: say in which test, and with which seed.
void OnAbort(int) {
  Write("\nstopped in: ");
  Write(g_test);
  Write("\n");
  Write(g_context);
  Write("\n");
  std::signal(SIGABRT, SIG_DFL);
  std::raise(SIGABRT);
}

bool IsWanted(const Case& test, int argc, char** argv) {
  bool has_filter = false;
  for (int i = 1; i < argc; ++i) {
    if (argv[i][0] == '-') continue;
    has_filter = true;
    if (std::strstr(test.name, argv[i]) || std::strstr(test.file, argv[i])) return true;
  }
  return !has_filter;
}

// The message of the failure, empty when the test passed.
std::string RunOne(const Case& test) {
  Keep(g_test, test.name);
  Keep(g_context, "");
  try {
    test.run();
    return "";
  } catch (const Failure& failure) {
    return failure.what;
  } catch (const std::exception& error) {
    return std::string("threw ") + error.what();
  }
}

int RunAll(int argc, char** argv) {
  std::vector<std::string> failures;
  int passed = 0;
  for (const Case& test : Cases()) {
    if (!IsWanted(test, argc, argv)) continue;
    const auto start = std::chrono::steady_clock::now();
    std::string message = RunOne(test);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (message.empty()) {
      ++passed;
      if (seconds.count() > 1) std::printf("  %.1f s: %s\n", seconds.count(), test.name);
      continue;
    }
    if (g_context[0] != '\0') message += std::string("\n    ") + g_context;
    failures.push_back(std::string(test.name) + "\n    " + message);
    std::printf("FAILED %s\n", failures.back().c_str());
    std::fflush(stdout);
  }
  if (!failures.empty()) std::printf("\nfailed:\n");
  for (const std::string& failure : failures) {
    std::printf("  %s\n", failure.substr(0, failure.find('\n')).c_str());
  }
  std::printf("%d passed, %zu failed\n", passed, failures.size());
  return failures.empty() ? 0 : 1;
}

}  // namespace

std::vector<Case>& Cases() {
  static std::vector<Case> cases;
  return cases;
}

void SetContext(const std::string& context) {
  Keep(g_context, context);
}

std::uint64_t EnvironmentNumber(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::strtoull(text, nullptr, 0);
}

void Fail(const char* file, int line, const std::string& what) {
  const char* slash = std::strrchr(file, '/');
  throw Failure{std::string(slash ? slash + 1 : file) + ":" + std::to_string(line) + ": " + what};
}

}  // namespace pagedkv::test

int main(int argc, char** argv) {
  using pagedkv::test::Cases;
  if (argc == 2 && std::string_view(argv[1]) == "--list") {
    for (const auto& test : Cases()) std::printf("%s\n", test.name);
    return 0;
  }
  std::signal(SIGABRT, pagedkv::test::OnAbort);
  return pagedkv::test::RunAll(argc, argv);
}
