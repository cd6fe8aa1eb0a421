// `outlier-relay check` and `outlier-relay setup SINK`: one-shot conversations with sinks, for a person at a terminal. Both want a configuration that
// CheckRelayConfig takes.
#pragma once
#include <string>

#include "absl/status/status.h"
#include "outlier/config/v1/relay.pb.h"
#include "userspace/delivery/finding.h"

namespace outlier {

// Reaches every source and sink, prints one line each, and what it would do. Returns the exit status: 0 all well, 1 some not.
int CheckSinks(const config::v1::Relay& config, const std::string& version, const std::string& host, WallTime now);

// Installs what the sink needs, step by step, each printed. Idempotent.
absl::Status SetUpSink(const config::v1::Relay& config, const std::string& sink, const std::string& version, const std::string& host, bool dry_run);

}  // namespace outlier
