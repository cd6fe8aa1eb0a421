#include "userspace/outlierctl/context.h"

namespace outlier::ctl {

void Interrupt::Raise() {
  std::lock_guard lock(mutex_);
  raised_ = true;
  changed_.notify_all();
  if (action_) action_();
}

bool Interrupt::raised() const {
  std::lock_guard lock(mutex_);
  return raised_;
}

bool Interrupt::WaitFor(std::chrono::milliseconds duration) {
  std::unique_lock lock(mutex_);
  listened_ = true;
  return changed_.wait_for(lock, duration, [this] { return raised_; });
}

void Interrupt::OnRaise(std::function<void()> action) {
  std::lock_guard lock(mutex_);
  listened_ = true;
  action_ = std::move(action);
  if (raised_ && action_) action_();
}

bool Interrupt::has_listener() const {
  std::lock_guard lock(mutex_);
  return listened_;
}

}  // namespace outlier::ctl
