#include "userspace/feed/filter.h"

#include <fmt/format.h>

#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr size_t kMaxGlobBytes = 256;  // matching a glob may take time exponential in its stars on some C libraries
constexpr int kMaxStars = 8;
constexpr double kLeastScore[] = {0, 3, 25, 50, 75};  // by Incident.Severity; CheckFilter keeps it within

}  // namespace

absl::Status CheckFilter(const v1::Filter& filter) {
  if (filter.workload().size() > kMaxGlobBytes) {
    return absl::InvalidArgumentError(fmt::format("filter.workload: {} bytes, at most {} are allowed", filter.workload().size(), kMaxGlobBytes));
  }
  int stars = 0;
  for (const char c : filter.workload()) stars += c == '*';
  if (stars > kMaxStars) return absl::InvalidArgumentError(fmt::format("filter.workload: {} stars, at most {} are allowed", stars, kMaxStars));
  if (!v1::Incident::Severity_IsValid(filter.min_severity())) {
    return absl::InvalidArgumentError(fmt::format("filter.min_severity: {} is no severity", static_cast<int>(filter.min_severity())));
  }
  if (!v1::Incident::State_IsValid(filter.state())) {
    return absl::InvalidArgumentError(fmt::format("filter.state: {} is no state", static_cast<int>(filter.state())));
  }
  return absl::OkStatus();
}

absl::Status CheckWorkloadFilter(const v1::Filter& filter) {
  if (filter.state() != v1::Incident::STATE_UNSPECIFIED) return absl::InvalidArgumentError("filter.state: workloads have none");
  return CheckFilter(filter);
}

bool Matches(const v1::Filter& filter, const v1::WorkloadState& workload) {
  return workload.score() >= kLeastScore[filter.min_severity()] && GlobMatch(filter.workload(), workload.workload().name());
}

bool Matches(const v1::Filter& filter, const v1::Incident& incident) {
  if (incident.severity() < filter.min_severity()) return false;
  if (filter.state() != v1::Incident::STATE_UNSPECIFIED && incident.state() != filter.state()) return false;
  return GlobMatch(filter.workload(), incident.workload().name());
}

}  // namespace outlier
