#include "userspace/outlierctl/filter_options.h"

#include <fmt/format.h>

#include "userspace/config/quantity.h"

namespace outlier::ctl {

void FilterOptions::AddTo(CLI::App& command, bool with_state) {
  command.add_option("--workload", workload, "only workloads whose name matches this glob");
  command.add_option("--min-severity", min_severity, "warning, minor, major or critical")
      ->check(CLI::IsMember({"warning", "minor", "major", "critical"}));
  if (with_state) {
    command.add_option("--state", state, "open, resolved or all")->check(CLI::IsMember({"open", "resolved", "all"}))->capture_default_str();
  }
}

v1::Filter FilterOptions::filter() const {
  v1::Filter filter;
  filter.set_workload(workload);
  if (min_severity == "warning") filter.set_min_severity(v1::Incident::WARNING);
  if (min_severity == "minor") filter.set_min_severity(v1::Incident::MINOR);
  if (min_severity == "major") filter.set_min_severity(v1::Incident::MAJOR);
  if (min_severity == "critical") filter.set_min_severity(v1::Incident::CRITICAL);
  if (state == "open") filter.set_state(v1::Incident::OPEN);
  if (state == "resolved") filter.set_state(v1::Incident::RESOLVED);
  return filter;
}

absl::StatusOr<int64_t> DurationOption(const std::string& option, const std::string& text) {
  if (text.empty()) return 0;
  const absl::StatusOr<int64_t> nanoseconds = ParseDuration(text);
  if (nanoseconds.ok()) return *nanoseconds;
  return absl::InvalidArgumentError(fmt::format("{} '{}': {}", option, text, std::string(nanoseconds.status().message())));
}

google::protobuf::Duration ToProto(int64_t nanoseconds) {
  google::protobuf::Duration duration;
  duration.set_seconds(nanoseconds / 1'000'000'000);
  duration.set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
  return duration;
}

}  // namespace outlier::ctl
