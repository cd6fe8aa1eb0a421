#include "userspace/probes/self_timing.h"

#include <chrono>
#include <cmath>

namespace outlier {
namespace {

using namespace std::chrono_literals;
constexpr auto kWindow = 20ms;
// Each window patches the kernel's text twice on every CPU, which cost 1.4 ms on two CPUs: often at first, then rarely.
constexpr auto kFirstPause = 500ms, kPause = 4000ms;
constexpr int kFirstWindows = 10;
constexpr double kSmoothing = 0.2;

uint64_t NowNs() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
}

// Up to a second, spread evenly (golden ratio): windows a whole second apart would see the same phase of whatever wakes once a
// second, each time.
std::chrono::milliseconds Jitter(int window) {
  const double turns = window * 0.6180339887498949;
  return std::chrono::milliseconds(static_cast<int>(1000 * (turns - std::floor(turns))));
}

}  // namespace

SelfTiming::~SelfTiming() {
  thread_.request_stop();
  wake_.notify_all();
}

void SelfTiming::Start() {
  if (thread_.joinable()) return;
  begun_ns_ = NowNs();
  thread_ = std::jthread([this](std::stop_token stop) { Sample(stop); });
}

void SelfTiming::Sample(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  int windows = 0;
  while (!stop.stop_requested()) {
    const auto before = kernel_.Statistics();
    auto window = StatisticsWindow::Open();
    if (!window) {
      refused_ = true;
      return;
    }
    const uint64_t begin = NowNs();
    wake_.wait_for(lock, stop, kWindow, [] { return false; });
    window.reset();
    const uint64_t elapsed = NowNs() - begin;
    const auto after = kernel_.Statistics();
    const double weight = windows_ns_ == 0 ? 1.0 : kSmoothing;
    for (size_t i = 0; i < after.size() && i < before.size(); ++i) {
      if (after[i].name == "tasks_scan" || after[i].name == "tasks_walk") continue;
      Sampled& sampled = programs_[after[i].name];
      const uint64_t ns = after[i].run_ns - before[i].run_ns;
      sampled.runs += after[i].runs - before[i].runs;
      sampled.run_ns += ns;
      sampled.share += weight * (static_cast<double>(ns) / static_cast<double>(elapsed) - sampled.share);
    }
    windows_ns_ += elapsed;
    ++windows;
    const auto pause = windows < kFirstWindows ? kFirstPause : kPause;
    wake_.wait_for(lock, stop, pause + Jitter(windows), [] { return false; });
  }
}

SelfTiming::Cost SelfTiming::OfProbe(const std::string& probe) const {
  std::lock_guard lock(mutex_);
  Cost cost;
  uint64_t runs = 0, run_ns = 0;
  for (const auto& [name, sampled] : programs_) {
    if (!probe.empty() && !name.starts_with(probe + "_")) continue;
    cost.cpu_percent += 100.0 * sampled.share;
    runs += sampled.runs;
    run_ns += sampled.run_ns;
  }
  if (runs > 0) cost.ns_per_run = static_cast<double>(run_ns) / static_cast<double>(runs);
  if (windows_ns_ > 0) {
    cost.runs = static_cast<double>(runs) * static_cast<double>(NowNs() - begun_ns_) / static_cast<double>(windows_ns_);
  }
  return cost;
}

SelfTiming::Cost SelfTiming::Total() const { return OfProbe(""); }

bool SelfTiming::works() const {
  std::lock_guard lock(mutex_);
  return !refused_;
}

}  // namespace outlier
