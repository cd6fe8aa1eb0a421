#include "userspace/outlierctl/feed_follower.h"

#include <fmt/format.h>

namespace outlier::ctl {
namespace {

constexpr std::chrono::milliseconds kRetry{300};

// What a daemon that is stopping, stopped or starting answers.
bool DaemonIsAway(const grpc::Status& status) {
  return status.ok() || status.error_code() == grpc::StatusCode::UNAVAILABLE || status.error_code() == grpc::StatusCode::CANCELLED;
}

// What is known of the feed from one connection to the next.
struct Position {
  uint64_t sequence = 0;
  std::string feed_id = {};
  uint64_t lost = 0;
  bool ever_connected = false;
  bool told_away = false;
};

// One stream until it ends. False when the reader wants no more.
bool ReadStream(grpc::ClientReader<v1::WatchResponse>& stream, const FollowOptions& options, Position& position) {
  v1::WatchResponse response;
  while (stream.Read(&response)) {
    position.ever_connected = true;
    if (position.told_away) options.on_message(fmt::format("the daemon is back; going on after sequence {}", position.sequence));
    position.told_away = false;
    if (response.has_change()) {
      const v1::IncidentChange& change = response.change();
      if (change.sequence() <= position.sequence) continue;
      position.sequence = change.sequence();
      if (!options.on_change(change)) return false;
    } else if (response.has_heartbeat()) {
      const uint64_t lost = response.heartbeat().lost();
      if (lost > position.lost) options.on_message(fmt::format("{} changes could not be kept by the daemon and are lost", lost - position.lost));
      position.lost = lost;
    } else {
      position.feed_id = response.feed_id();
    }
  }
  return true;
}

}  // namespace

absl::Status FollowFeed(Context& context, FeedConnection& feed, const FollowOptions& options) {
  Position position{.sequence = options.start_after};
  while (!context.interrupt.raised()) {
    grpc::ClientContext call;
    v1::WatchRequest request;
    request.set_start_after(position.sequence);
    request.set_feed_id(position.feed_id);
    *request.mutable_filter() = options.filter;
    const auto stream = feed.stub().Watch(&call, request);
    context.interrupt.OnRaise([&call] { call.TryCancel(); });
    const bool wants_more = ReadStream(*stream, options, position);
    if (!wants_more) call.TryCancel();
    const grpc::Status status = stream->Finish();
    context.interrupt.OnRaise(nullptr);
    if (!wants_more || context.interrupt.raised()) return absl::OkStatus();
    if (!DaemonIsAway(status) || !position.ever_connected) return feed.Describe(status, "watch the feed");
    if (!position.told_away) options.on_message("the daemon is away; waiting for it to come back");
    position.told_away = true;
    context.interrupt.WaitFor(kRetry);
  }
  return absl::OkStatus();
}

}  // namespace outlier::ctl
