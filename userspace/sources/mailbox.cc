#include "userspace/sources/mailbox.h"

namespace outlier {
namespace {

constexpr size_t kFrame = 256;  // an event without its message

size_t BytesOf(const FeedEvent& event) {
  size_t bytes = kFrame + event.message.size() + (event.kind == FeedEvent::Kind::kChange ? event.change.SpaceUsedLong() : 0);
  for (const v1::Incident& incident : event.open) bytes += incident.SpaceUsedLong();
  return bytes;
}

}  // namespace

bool Mailbox::Put(FeedEvent event) {
  const size_t bytes = BytesOf(event);
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] { return closed_ || events_.empty() || bytes_ + bytes <= max_bytes_; });
  if (closed_) return false;
  bytes_ += bytes;
  events_.emplace_back(std::move(event), bytes);
  if (events_.size() == 1) news_.notify_one();
  return true;
}

std::vector<FeedEvent> Mailbox::Take(size_t max_events, std::chrono::steady_clock::time_point until) {
  std::unique_lock lock(mutex_);
  news_.wait_until(lock, until, [&] { return closed_ || woken_ || (max_events > 0 && !events_.empty()); });
  woken_ = false;
  std::vector<FeedEvent> taken;
  while (!events_.empty() && taken.size() < max_events) {
    bytes_ -= events_.front().second;
    taken.push_back(std::move(events_.front().first));
    events_.pop_front();
  }
  lock.unlock();
  room_.notify_all();
  return taken;
}

void Mailbox::Wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  news_.notify_one();
}

void Mailbox::Close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  news_.notify_all();
  room_.notify_all();
}

}  // namespace outlier
