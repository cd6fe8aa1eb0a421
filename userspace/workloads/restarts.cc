#include "userspace/workloads/restarts.h"

#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <csignal>

#include <fmt/format.h>

#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kHour = 3600 * kSecond;
// So many failures that were restarted within so long are a loop: one may be chance. The longest is asked of what had come up only:
// what fails at once each few minutes is a failing timer, whose every run is short.
struct Scan {
  uint32_t failures;
  uint64_t span_ns;
  bool came_up;
  const char* within;
};
constexpr std::array<Scan, 3> kLoops = {{{3, 60 * kSecond, false, "a minute"}, {5, 600 * kSecond, false, "10 min"}, {6, kHour, true, "an hour"}}};
constexpr uint32_t kScheduledAfter = 3;     // orderly ends in a row that make the next one expected

bool DumpsCore(int signal) {
  switch (signal) {
    case SIGSEGV: case SIGABRT: case SIGBUS: case SIGILL: case SIGFPE: case SIGSYS: case SIGTRAP: case SIGQUIT:
    case SIGXCPU: case SIGXFSZ:
      return true;
    default:
      return false;
  }
}

// Shells and supervisors report a child's signal as 128 + signal.
int SignalOf(int32_t wait_status) {
  if (WIFSIGNALED(wait_status)) return WTERMSIG(wait_status);
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) > 128 && WEXITSTATUS(wait_status) < 128 + 32) {
    return WEXITSTATUS(wait_status) - 128;
  }
  return 0;
}

enum class Ending { kOrderly, kKilled, kFailed };

Ending EndingOf(int32_t wait_status, bool known) {
  if (!known) return Ending::kOrderly;  // nothing may be claimed of an end that was not seen
  const int signal = SignalOf(wait_status);
  if (signal == SIGKILL) return Ending::kKilled;
  if (signal == SIGTERM || signal == SIGINT || signal == SIGHUP) return Ending::kOrderly;
  if (signal != 0) return DumpsCore(signal) ? Ending::kFailed : Ending::kKilled;
  return WEXITSTATUS(wait_status) == 0 ? Ending::kOrderly : Ending::kFailed;
}

void FillEnd(int32_t wait_status, RestartFact* fact) {
  fact->exit_code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 0;
  fact->signal = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
}

}  // namespace

bool ExecutableStamp::DiffersFrom(const ExecutableStamp& other) const {
  const auto differs = [](auto a, auto b) { return a != 0 && b != 0 && a != b; };
  return differs(inode, other.inode) || differs(size, other.size) || differs(mtime_ns, other.mtime_ns);
}

uint32_t RestartTracker::CountSince(std::deque<uint64_t>* times, uint64_t now_ns, uint64_t span_ns) {
  while (!times->empty() && times->front() + kHour < now_ns) times->pop_front();
  return std::count_if(times->begin(), times->end(), [&](uint64_t t) { return t + span_ns >= now_ns; });
}

std::optional<RestartFact> RestartTracker::OnMainEnd(ProcessKey key, int32_t parent_pid, uint64_t time_ns, int32_t wait_status,
                                                     bool status_known, bool oom, uint64_t warm_up_ns) {
  death_ = Death{key, parent_pid, time_ns, wait_status, status_known, oom};
  const Ending ending = EndingOf(wait_status, status_known);
  orderly_ends_ = ending == Ending::kOrderly && !oom ? orderly_ends_ + 1 : 0;
  const bool dumped = status_known && DumpsCore(SignalOf(wait_status));
  const uint64_t uptime = time_ns - std::min(time_ns, key.start_time_ns);
  if (!oom && !(dumped && uptime >= warm_up_ns)) return std::nullopt;
  RestartFact fact;
  fact.cause = oom ? v1::Restart::OUT_OF_MEMORY : v1::Restart::CRASH;
  FillEnd(wait_status, &fact);
  fact.count = CountSince(&restarts_, time_ns, kHour);
  fact.time_ns = time_ns;
  fact.previous_uptime_ns = uptime;
  fact.process = key;
  fact.told = true;
  return fact;
}

std::optional<RestartFact> RestartTracker::OnMainStart(ProcessKey key, int32_t parent_pid, uint64_t time_ns, const ExecutableStamp& stamp,
                                                       uint64_t warm_up_ns) {
  const bool changed = stamp.DiffersFrom(stamp_);
  stamp_ = stamp;
  if (!death_) return std::nullopt;  // the first start is not a restart
  const Death death = *death_;
  death_.reset();
  if (parent_pid != death.parent_pid) return std::nullopt;
  total_ += 1;

  RestartFact fact;
  fact.process = key;
  fact.time_ns = death.time_ns;
  fact.previous_uptime_ns = death.time_ns - std::min(death.time_ns, death.key.start_time_ns);
  FillEnd(death.wait_status, &fact);
  restarts_.push_back(time_ns);
  fact.count = CountSince(&restarts_, time_ns, kHour);

  const Ending ending = EndingOf(death.wait_status, death.status_known);
  const bool was_long = fact.previous_uptime_ns >= warm_up_ns;
  if (death.oom) {
    fact.cause = v1::Restart::OUT_OF_MEMORY;
    fact.told = true;
    return fact;
  }
  if (changed) {
    fact.cause = v1::Restart::ROLLOUT;
    fact.detail = "the executable on disk changed";
    return fact;
  }
  if (ending == Ending::kOrderly) {
    fact.cause = orderly_ends_ > kScheduledAfter ? v1::Restart::SCHEDULED : v1::Restart::EXITED;
    return fact;
  }
  failures_.push_back(time_ns);
  const auto loop = std::find_if(kLoops.begin(), kLoops.end(), [&](const Scan& scan) {
    return (was_long || !scan.came_up) && CountSince(&failures_, time_ns, scan.span_ns) >= scan.failures;
  });
  if (loop != kLoops.end()) {
    fact.cause = v1::Restart::CRASH_LOOP;
    fact.detail = fmt::format("failed and was restarted {} times within {}", CountSince(&failures_, time_ns, loop->span_ns), loop->within);
    fact.told = true;
  } else {
    fact.cause = ending == Ending::kKilled ? v1::Restart::KILLED : v1::Restart::CRASH;
    fact.told = was_long;  // a command that fails at once and is tried again is not a service that crashed
  }
  return fact;
}

RestartFact RestartTracker::OnChildOutOfMemory(ProcessKey key, uint64_t time_ns) {
  child_kills_.push_back(time_ns);
  RestartFact fact;
  fact.cause = v1::Restart::CHILD_OUT_OF_MEMORY;
  fact.signal = SIGKILL;
  fact.count = CountSince(&child_kills_, time_ns, kHour);
  fact.time_ns = time_ns;
  fact.process = key;
  fact.told = true;
  return fact;
}

}  // namespace outlier
