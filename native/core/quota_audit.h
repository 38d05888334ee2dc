// The part of the oracle that knows quotas.
#pragma once

#include "manager_state.h"
#include "oracle.h"

namespace pagedkv {

// Recomputes whose every block is, what each partition occupies and what of it is leaving, and that
// nobody has more than it may. Throws Broken. O(blocks + claims * blocks of open steps).
void AuditQuotas(const Manager::State& state, Digest& digest);

}  // namespace pagedkv
