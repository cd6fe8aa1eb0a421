// Options that several commands share: which incidents, and durations as people write them.
#pragma once
#include <string>

#include <CLI/CLI.hpp>
#include <google/protobuf/duration.pb.h>

#include "absl/status/statusor.h"
#include "outlier/v1/feed.pb.h"

namespace outlier::ctl {

struct FilterOptions {
  std::string workload;
  std::string min_severity;
  std::string state = "all";

  // Adds --workload and --min-severity, and --state where `with_state`.
  void AddTo(CLI::App& command, bool with_state);
  v1::Filter filter() const;
};

// Nanoseconds of `--<option> 10m`, 0 for an empty text. INVALID_ARGUMENT names the option.
absl::StatusOr<int64_t> DurationOption(const std::string& option, const std::string& text);
google::protobuf::Duration ToProto(int64_t nanoseconds);

}  // namespace outlier::ctl
