// The probes of last resort: everything from /proc by polling, for hosts or users that may not load BPF.
//
// Blind to: processes that live less than one tick, how processes ended (unless their parent has not waited for them
// yet), durations of system calls, the run delay and switches of threads other than the leading one.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "userspace/stream/probe_set.h"

namespace outlier {

// `messages` gains what a person should know. FAILED_PRECONDITION: the configuration demands a probe that /proc cannot
// stand in for; UNAVAILABLE: `proc_root` cannot be read.
absl::StatusOr<std::unique_ptr<ProbeSet>> OpenProcProbes(const config::v1::Config& config, std::vector<std::string>* messages,
                                                         const std::string& proc_root = "/proc");

}  // namespace outlier
