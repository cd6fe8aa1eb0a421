// Privileges: what the daemon gives up once its probes are attached.
#pragma once
#include "absl/status/status.h"

namespace outlier {

// Keeps only the capabilities that ticks need (reading other users' processes, BPF statistics) and forbids new
// privileges. An ordinary user has nothing to give up: OK.
absl::Status DropPrivileges();

}  // namespace outlier
