#include "userspace/feed/sample_fanout.h"

namespace outlier {
namespace {

constexpr size_t kQueuedSamples = 8;  // some seconds; a sample of 500 workloads is about 100 KiB

int64_t TimeOf(const v1::SampleResponse& s) { return s.time().seconds() * 1'000'000'000 + s.time().nanos(); }

}  // namespace

SampleFanout::Subscription::~Subscription() {
  const std::lock_guard lock(fanout_->mutex_);
  fanout_->subscriptions_.remove(this);
}

std::optional<SampleFanout::Subscription::Next> SampleFanout::Subscription::Wait(std::chrono::milliseconds timeout) {
  std::unique_lock lock(fanout_->mutex_);
  if (!fanout_->arrived_.wait_for(lock, timeout, [&] { return !queue_.empty(); })) return std::nullopt;
  Next next{std::move(queue_.front()), lost_};
  queue_.pop_front();
  return next;
}

std::unique_ptr<SampleFanout::Subscription> SampleFanout::Subscribe(int64_t resolution_ns) {
  std::unique_ptr<Subscription> subscription(new Subscription(this, resolution_ns));
  const std::lock_guard lock(mutex_);
  subscriptions_.push_back(subscription.get());
  return subscription;
}

void SampleFanout::Publish(const v1::SampleResponse& sample) {
  std::shared_ptr<const v1::SampleResponse> shared;
  {
    const std::lock_guard lock(mutex_);
    for (Subscription* s : subscriptions_) {
      if (s->resolution_ns_ > 0) {
        const int64_t interval = TimeOf(sample) / s->resolution_ns_;
        if (s->interval_ == interval) continue;
        s->interval_ = interval;
      }
      if (shared == nullptr) shared = std::make_shared<const v1::SampleResponse>(sample);
      if (s->queue_.size() == kQueuedSamples) {
        s->queue_.pop_front();
        ++s->lost_;
      }
      s->queue_.push_back(shared);
    }
  }
  arrived_.notify_all();
}

bool SampleFanout::wanted() const {
  const std::lock_guard lock(mutex_);
  return !subscriptions_.empty();
}

}  // namespace outlier
