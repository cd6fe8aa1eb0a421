// Suspects: who may be the cause, with the evidence in sentences. Pure.
#pragma once
#include <span>
#include <vector>

#include "outlier/v1/feed.pb.h"
#include "userspace/incidents/open_incident.h"
#include "userspace/stream/workload.h"

namespace outlier {

// A workload that waits for a CPU suspects the processes of others that gained CPU since the onset; one that burns CPU
// suspects its own. Shares are of the whole gain. Empty where CPU is not the matter.
std::vector<v1::Suspect> SuspectsOf(const OpenIncident& open, const WorkloadTick& tick, std::span<const NamedWorkload> names);

}  // namespace outlier
