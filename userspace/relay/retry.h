// Retry: when a sink may be asked again. Exponential back-off with jitter (each wait is drawn from [d/2, d], d doubling), longer where the server
// asks for it; a circuit breaker after kBreaks failures in a row: then one item goes first; suspension: a slow regular try until a person
// has mended something; an end: no try until a person's word. Pure function of what it is told; the jitter is seeded.
#pragma once
#include <optional>
#include <string>

#include "outlier/config/v1/relay.pb.h"
#include "userspace/delivery/exchange.h"
#include "userspace/delivery/finding.h"

namespace outlier {

class Retry {
 public:
  static constexpr int kBreaks = 5;
  enum class State { kDelivering, kBackingOff, kSuspended };

  Retry(const config::v1::Delivery& config, uint64_t seed) : config_(config), random_(seed) {}
  bool Ready(WallTime now) const { return state_ == State::kDelivering || now >= at_; }
  WallTime at() const { return at_; }                       // of the next try; max: when a person says so
  State state() const { return state_; }
  bool breaker_open() const { return failures_ >= kBreaks; }
  const std::string& reason() const { return reason_; }     // of the last failure, "" when delivering
  void Succeeded(WallTime now);
  void Answered() { state_ = State::kDelivering, failures_ = 0, reason_.clear(); }  // it is there, and said no to what it was sent
  void Failed(WallTime now, std::string reason, std::optional<std::chrono::nanoseconds> retry_after);
  void Suspended(WallTime now, std::string reason);
  void Undone(WallTime now, const Outcome& outcome);        // kRetry, kSuspend or kEnded
  bool ended() const { return state_ == State::kSuspended && at_ == WallTime::max(); }
  void TryNow(WallTime now);                                // a person's word
  std::optional<WallTime> last_success() const { return last_success_; }

 private:
  double Uniform();
  const config::v1::Delivery config_;
  uint64_t random_;
  State state_ = State::kDelivering;
  int failures_ = 0;
  WallTime at_;
  std::string reason_;
  std::optional<WallTime> last_success_;
};

}  // namespace outlier
