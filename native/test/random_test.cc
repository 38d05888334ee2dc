// Random programs of every operation over small configurations, with the simulated device as the
// oracle after each. A program's seed is printed when it fails; PAGEDKV_SEED replays from it,
// PAGEDKV_OPS says how many operations to do in all, PAGEDKV_PROGRAM how many to a program,
// PAGEDKV_LOG=1 prints each.
//
// Does NOT cover: pools too large to walk at each operation, and limits near 32 bits.

#include <exception>

#include "random_program.h"
#include "test.h"

namespace pagedkv::test {
namespace {

void RunProgram(std::uint64_t seed, std::uint64_t operations) {
  SetContext("PAGEDKV_SEED=" + std::to_string(seed) +
             " PAGEDKV_PROGRAM=" + std::to_string(operations) + " PAGEDKV_OPS=1");
  Program program(seed);
  std::string what;
  try {
    return program.Run(operations);
  } catch (const Failure& failure) {
    what = failure.what;
  } catch (const std::exception& error) {
    what = std::string("threw ") + error.what();
  }
  const std::vector<std::string>& log = program.log();
  const std::size_t lines = EnvironmentNumber("PAGEDKV_LINES", 40);
  what += "\n    " + log[0];
  for (std::size_t i = log.size() > lines ? log.size() - lines : 1; i < log.size(); ++i) {
    what += "\n    " + log[i];
  }
  throw Failure{what};
}

// Short programs fail in few lines, long ones meet what takes long to build up.
std::uint64_t LengthOf(std::uint64_t seed) {
  static constexpr std::uint64_t kLengths[] = {12, 25, 60, 150, 400};
  return EnvironmentNumber("PAGEDKV_PROGRAM", kLengths[seed % 5]);
}

// About 20 seconds, when optimised.
#ifdef NDEBUG
constexpr std::uint64_t kOperationsInAll = 6'000'000;
#else
constexpr std::uint64_t kOperationsInAll = 1'000'000;
#endif

TEST("random programs keep every promise, at every operation") {
  const std::uint64_t operations = EnvironmentNumber("PAGEDKV_OPS", kOperationsInAll);
  std::uint64_t seed = EnvironmentNumber("PAGEDKV_SEED", 1);
  for (std::uint64_t done = 0; done < operations; ++seed) {
    RunProgram(seed, LengthOf(seed));
    done += LengthOf(seed);
  }
}

}  // namespace
}  // namespace pagedkv::test
