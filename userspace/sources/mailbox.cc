#include "userspace/sources/mailbox.h"

#include <algorithm>

namespace outlier {
namespace {

constexpr size_t kFrame = 1024;       // an event, and a message without its texts
constexpr size_t kMemoryPerByte = 3;  // of a message over its bytes on the wire; to ask it would take longer than to read it

size_t BytesOf(const FeedEvent& event) {
  const size_t change = event.kind != FeedEvent::Kind::kChange ? 0 : event.bytes > 0 ? event.bytes : event.change.ByteSizeLong();
  size_t bytes = kFrame + event.message.size() + kMemoryPerByte * change;
  for (const v1::Incident& incident : event.open) bytes += kFrame + kMemoryPerByte * incident.ByteSizeLong();
  return bytes;
}

}  // namespace

bool Mailbox::Put(FeedEvent&& event) {
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
  taken.reserve(std::min(events_.size(), max_events));
  while (!events_.empty() && taken.size() < max_events) {
    bytes_ -= events_.front().second;
    taken.push_back(std::move(events_.front().first));
    events_.pop_front();
  }
  // Not for each handful: a writer that is woken for the room of a few events is asleep again in a moment.
  const bool room = bytes_ <= max_bytes_ / 2;
  lock.unlock();
  if (room) room_.notify_all();
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
