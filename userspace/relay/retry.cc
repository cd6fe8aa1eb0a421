#include "userspace/relay/retry.h"

#include <algorithm>
#include <cmath>

namespace outlier {

// SplitMix64 (Steele, Lea, Flood 2014).
double Retry::Uniform() {
  uint64_t z = random_ += 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
}

void Retry::Succeeded(WallTime now) {
  state_ = State::kDelivering;
  failures_ = 0;
  reason_.clear();
  last_success_ = now;
}

void Retry::Failed(WallTime now, std::string reason, std::optional<std::chrono::nanoseconds> retry_after) {
  const double longest = static_cast<double>(config_.max_backoff());
  const double d = std::min(static_cast<double>(config_.first_backoff()) * std::exp2(std::min(failures_, 40)), longest);
  auto wait = std::chrono::nanoseconds(static_cast<int64_t>(d * (0.5 + 0.5 * Uniform())));
  if (retry_after) wait = std::max(wait, *retry_after);
  ++failures_;
  state_ = State::kBackingOff;
  reason_ = std::move(reason);
  at_ = now + wait;
}

void Retry::Suspended(WallTime now, std::string reason) {
  state_ = State::kSuspended;
  reason_ = std::move(reason);
  at_ = now + std::chrono::nanoseconds(config_.suspended_retry());
}

void Retry::Undone(WallTime now, const Outcome& outcome) {
  if (outcome.kind == Outcome::Kind::kRetry) return Failed(now, outcome.reason, outcome.retry_after);
  Suspended(now, outcome.reason);
  if (outcome.kind == Outcome::Kind::kEnded) at_ = WallTime::max();
}

void Retry::TryNow(WallTime now) {
  if (state_ != State::kDelivering) at_ = now;
}

}  // namespace outlier
