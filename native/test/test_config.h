// Configurations that tests share.
#pragma once

#include "../core/types.h"

namespace pagedkv::test {

// One group; blocks of 16 tokens; room enough for everything else.
inline Config Pool(std::uint32_t device_blocks, std::uint32_t host_blocks = 0) {
  Config config;
  config.groups = {{device_blocks, host_blocks}};
  config.max_sequences = 32;
  config.max_sequence_tokens = 2048;
  config.max_batch_sequences = 16;
  config.max_batch_tokens = 4096;
  config.max_open_steps = 4;
  config.max_step_transfers = 512;
  config.nonce = 7;
  return config;
}

}  // namespace pagedkv::test
