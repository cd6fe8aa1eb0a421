// What a feed says to one sink's courier, in order.
#pragma once
#include <string>
#include <vector>

#include "userspace/delivery/finding.h"

namespace outlier {

struct FeedEvent {
  enum class Kind {
    kConnected,     // source, feed_id
    kDisconnected,  // message
    kChange,        // change
    kCaughtUp,      // sequence: everything up to it was said; wall time of the source is not told
    kGap,           // gap, at `time`
    kReplaced,      // the feed before `feed_id` (old_feed_id) is gone: nothing more will be said of its incidents
    kOpenNow,       // open: all incidents of feed_id that are open, at least as new as what was said before
  };
  Kind kind = Kind::kChange;
  size_t source = 0;                   // which, counted as in relay.yaml
  std::string feed_id, old_feed_id;
  v1::Source host;                     // kConnected, kGap
  v1::IncidentChange change;
  size_t bytes = 0;                    // of `change` on the wire; 0 = not known
  uint64_t sequence = 0;
  Gap gap;
  WallTime time;
  std::vector<v1::Incident> open;
  std::string message;
};

}  // namespace outlier
