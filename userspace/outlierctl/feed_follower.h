// FollowFeed: incident changes in order, across restarts of the daemon, each exactly once.
#pragma once
#include <functional>

#include "absl/status/status.h"
#include "outlier/v1/feed.pb.h"
#include "userspace/outlierctl/context.h"
#include "userspace/outlierctl/feed_connection.h"

namespace outlier::ctl {

struct FollowOptions {
  uint64_t start_after = 0;  // 0 = from the oldest kept
  v1::Filter filter;
  std::function<bool(const v1::IncidentChange&)> on_change;  // false ends it
  std::function<void(const std::string&)> on_message;        // the daemon left, came back, lost something
};

// Runs until interrupted or until on_change says so: OK. A daemon that was never there, or a position that its journal
// no longer holds, is an error; one that leaves is waited for, said once, and resumed after the last sequence seen.
absl::Status FollowFeed(Context& context, FeedConnection& feed, const FollowOptions& options);

}  // namespace outlier::ctl
