// The table of workloads that `workloads` and `top` show.
#pragma once
#include <vector>

#include "absl/status/statusor.h"
#include "outlier/v1/feed.pb.h"
#include "userspace/outlierctl/context.h"
#include "userspace/outlierctl/feed_connection.h"

namespace outlier::ctl {

// Of all workloads that match `glob`; in the feed's order.
absl::StatusOr<std::vector<v1::WorkloadState>> FetchWorkloads(FeedConnection& feed, const std::string& glob);
// Most anomalous first, then by CPU, then by name: the same input gives the same order.
void SortMostAnomalousFirst(std::vector<v1::WorkloadState>* workloads);
void PrintWorkloads(Context& context, const std::vector<v1::WorkloadState>& workloads);

}  // namespace outlier::ctl
