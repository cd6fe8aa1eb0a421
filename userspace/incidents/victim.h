// Victim: who waits for a CPU since another workload, which is told of, took it. A change whose moment is known needs less to be believed
// than one that has to be found: the waits since then are compared with those of the half minute before.
//
// Both are exchangeable if nothing happened, so that all m since are larger than all n before has the probability 1/C(n + m, m) (rank test,
// Wilcoxon 1945); besides, they have to be half as large again and 0.05 s/s more. Pure.
#pragma once
#include <cstdint>
#include <optional>

#include "userspace/incidents/history.h"
#include "userspace/incidents/open_incident.h"

namespace outlier {

// The waits (`feature`, s/s) of `slot` since `onset_ns`, or nothing: fewer than five values since, or than fifteen before, or no victim.
std::optional<Peak> WaitsSince(const History& history, int slot, int feature, uint64_t onset_ns);

}  // namespace outlier
