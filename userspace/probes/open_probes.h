// OpenProbes: the best this host allows, eBPF first, else /proc.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "userspace/stream/probe_set.h"

namespace outlier {

// `messages` says what is missing (root, BTF, leave to load BPF) and what is lost by it. Fails only where not even /proc
// can be read.
absl::StatusOr<std::unique_ptr<ProbeSet>> OpenProbes(const config::v1::Config& config, std::vector<std::string>* messages);

}  // namespace outlier
