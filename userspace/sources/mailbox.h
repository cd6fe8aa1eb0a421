// Mailbox: bounded hand-over of feed events from their readers to one courier. A full one holds its writers up, and through gRPC's flow control the
// source: nothing is dropped. Thread-safe; many writers, one reader.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <vector>

#include "userspace/delivery/feed_event.h"

namespace outlier {

class Mailbox {
 public:
  explicit Mailbox(size_t max_bytes) : max_bytes_(max_bytes) {}  // in memory, about
  // Blocks while full (one event always fits an empty one). False when closed: the event is not taken.
  bool Put(FeedEvent&& event);
  // All that is there, up to `max_events`; waits until `until` for the first one, Wake or Close. 0 = takes nothing and waits for those two only.
  std::vector<FeedEvent> Take(size_t max_events, std::chrono::steady_clock::time_point until);
  void Wake();   // ends a Take that waits
  void Close();

 private:
  const size_t max_bytes_;
  std::mutex mutex_;
  std::condition_variable room_, news_;
  std::deque<std::pair<FeedEvent, size_t>> events_;  // with their bytes
  size_t bytes_ = 0;
  bool woken_ = false, closed_ = false;
};

}  // namespace outlier
