// SampleFanout: hands samples to subscribers that may be slow. Each has a short queue; when it is full the oldest sample is
// dropped and counted, so that nobody waits for anybody. Thread-safe.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <optional>

#include "outlier/v1/feed.pb.h"

namespace outlier {

class SampleFanout {
 public:
  // `resolution_ns`: at most one sample per such interval of the samples' time; 0 = all.
  class Subscription {
   public:
    ~Subscription();
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;
    struct Next {
      std::shared_ptr<const v1::SampleResponse> sample;
      uint64_t lost = 0;  // so far
    };
    // std::nullopt when none came in time.
    std::optional<Next> Wait(std::chrono::milliseconds timeout);

   private:
    friend class SampleFanout;
    Subscription(SampleFanout* fanout, int64_t resolution_ns) : fanout_(fanout), resolution_ns_(resolution_ns) {}
    SampleFanout* const fanout_;
    const int64_t resolution_ns_;
    std::deque<std::shared_ptr<const v1::SampleResponse>> queue_;
    uint64_t lost_ = 0;
    std::optional<int64_t> interval_;  // the one that the newest sample lies in
  };

  std::unique_ptr<Subscription> Subscribe(int64_t resolution_ns);
  void Publish(const v1::SampleResponse& sample);
  bool wanted() const;  // somebody subscribes: a sample of a large host is worth making

 private:
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::list<Subscription*> subscriptions_;
};

}  // namespace outlier
