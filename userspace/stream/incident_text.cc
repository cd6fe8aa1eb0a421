#include "userspace/stream/incident_text.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr size_t kMaxNameBytes = 120;
constexpr int kMaxOtherContributions = 2;  // a sentence, not a table: `show` has them all

struct SignalWording {
  std::string_view signal;
  std::string_view words;
};

// "{}" takes the attribute's value, as words of its own.
constexpr SignalWording kWordings[] = {
    {"process.cpu.utilization", "CPU"},
    {"process.cpu.run_delay", "waiting for a CPU"},
    {"process.memory.usage", "resident memory"},
    {"process.memory.anonymous", "anonymous memory"},
    {"process.memory.swap", "swapped memory"},
    {"process.paging.faults", "{}page faults"},
    {"process.disk.io", "disk {}"},
    {"process.context_switches", "{}context switches"},
    {"process.thread.count", "threads"},
    {"workload.process.count", "processes"},
    {"workload.process.started", "processes started"},
    {"workload.process.ended", "processes ended"},
    {"workload.restarts", "restarts"},
    {"workload.exits", "processes ended {}"},
    {"process.uptime", "uptime"},
    {"process.syscall.rate", "{}syscalls"},
    {"process.syscall.errors", "failing {}syscalls"},
    {"process.syscall.duration", "time of {}syscalls"},
    {"host.pressure", "host {}pressure"},
    {"host.memory.available", "available memory of the host"},
    {"host.cpu.utilization", "CPU of the host"},
    {"host.process.forks", "processes started on the host"},
    {"host.workloads.departing", "workloads that depart at once"},
    {"host.tick.interval", "time in which nothing could be seen"},
    {"host.clock.jump", "jump of the wall clock"},
};

std::string AttributeWords(std::string_view key, std::string_view value) {
  if (key == "disk.io.direction" || value == "read" || value == "write") return value == "read" ? "reads" : "writes";
  if (value == "code") return "with an error code";
  if (value == "signal") return "by a signal";
  if (value == "oom") return "for lack of memory";
  if (value == "other" && key == "syscall.class") return "other ";
  return Printable(value, kMaxNameBytes) + " ";
}

bool Finite(double value) { return std::isfinite(value); }

// Utilisation is told as people read it in `top`: percent of one core.
bool IsShareOfCore(const v1::Contribution& c) {
  return c.signal() == "process.cpu.utilization" || c.signal() == "host.cpu.utilization";
}

std::string Value(const v1::Contribution& c, double value) {
  if (!Finite(value)) return "unknown";
  if (IsShareOfCore(c)) return fmt::format("{:.{}f} %", value * 100, std::abs(value) < 0.1 ? 1 : 0);
  if (c.unit() == "s/s") return HumanValue(value, "s") + "/s";
  // {restart}, {process}: the signal's words say what is counted.
  if (!c.unit().empty() && c.unit().front() == '{') {
    const size_t end = c.unit().find('}');
    return HumanValue(value, "1" + (end == std::string::npos ? "" : c.unit().substr(end + 1)));
  }
  return HumanValue(value, c.unit());
}

// "96-118 MiB": the unit once where both ends have the same.
std::string Range(const v1::Contribution& c) {
  const bool never_negative = c.expected() >= 0 && c.observed() >= 0;
  const double low = never_negative ? std::max(0.0, c.lower()) : c.lower();
  const std::string a = Value(c, low), b = Value(c, c.upper());
  if (a == b) return a;
  if (low == 0) return "at most " + b;
  const size_t cut_a = a.find(' '), cut_b = b.find(' ');
  const bool same_unit = (cut_a == std::string::npos ? "" : a.substr(cut_a)) == (cut_b == std::string::npos ? "" : b.substr(cut_b));
  if (low < 0) return a + " to " + b;
  return (same_unit && cut_a != std::string::npos ? a.substr(0, cut_a) : a) + "-" + b;
}

std::string Times(uint32_t n) { return n == 1 ? "once" : n == 2 ? "twice" : fmt::format("{} times", n); }

std::string SignalName(int number) {
  const char* name = number > 0 && number < NSIG ? sigabbrev_np(number) : nullptr;
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", number);
}

// How the last main process ended, "" when nothing is known of it.
std::string End(const v1::Restart& r) {
  if (r.signal() != 0) return SignalName(r.signal());
  return fmt::format("exit code {}", r.exit_code());
}

std::string RestartWords(const v1::Restart& r) {
  const std::string again = r.count() > 1 ? fmt::format(", restarted {}", Times(r.count())) : "";
  switch (r.cause()) {
    case v1::Restart::CRASH:
      return fmt::format("crashed ({}) and was restarted{}", End(r), r.count() > 1 ? " " + Times(r.count()) : "");
    case v1::Restart::CRASH_LOOP:
      return fmt::format("restarted {}, {} (crash loop)", Times(r.count()), End(r));
    case v1::Restart::ROLLOUT:
      return fmt::format("restarted {} with a changed executable (rollout)", Times(std::max(1u, r.count())));
    case v1::Restart::SCHEDULED:
      return fmt::format("ended with exit code {} and was started again as on its schedule (scheduled job)", r.exit_code());
    case v1::Restart::OUT_OF_MEMORY:
      return fmt::format("killed by the kernel for lack of memory (out of memory){}", again);
    case v1::Restart::CHILD_OUT_OF_MEMORY:
      return "a child process was killed by the kernel for lack of memory; the main process lives on";
    case v1::Restart::KILLED:
      // 137 is so often taken for an OOM kill that the sentence says it is not.
      if (r.signal() == SIGKILL || r.exit_code() == 128 + SIGKILL) {
        return fmt::format("killed by SIGKILL, not for lack of memory{}", again);
      }
      return fmt::format("killed by {}{}", End(r), again);
    case v1::Restart::EXITED:
      return fmt::format("ended by itself ({}) and was started again{}", End(r), r.count() > 1 ? " " + Times(r.count()) : "");
    default:
      return r.count() > 0 ? fmt::format("restarted {}, {}", Times(r.count()), End(r)) : "restarted";
  }
}

std::string GrowthWords(const v1::Incident& i, const v1::Contribution& c) {
  const double growth = i.growth_per_second();
  if (!Finite(growth) || growth == 0) return c.direction() == v1::Contribution::DOWN ? "shrinking" : "growing";
  v1::Contribution rate = c;
  rate.set_unit(c.unit());
  return fmt::format("{} {}/s", growth > 0 ? "growing" : "shrinking", Value(rate, std::abs(growth)));
}

std::string PatternWords(const v1::Incident& i, const v1::Contribution& c) {
  const bool down = c.direction() == v1::Contribution::DOWN;
  switch (i.pattern()) {
    case v1::Incident::SPIKE:
      return down ? "a short dip" : "a short spike";
    case v1::Incident::STEP:
      return down ? "lower" : "higher";
    case v1::Incident::DRIFT:
      return GrowthWords(i, c);
    case v1::Incident::SILENCE:
      return "silent";
    case v1::Incident::COUNT:
      return down ? "fewer than usual" : "more than usual";
    case v1::Incident::SHAPE:
      return c.direction() == v1::Contribution::UP ? "slower" : down ? "faster" : "spread differently";
    default:
      return "unusual";
  }
}

std::string OtherContributions(const v1::Incident& i) {
  std::string out;
  int told = 0;
  std::vector<std::string> seen = {SignalWords(i.contributions(0))};
  for (int k = 1; k < i.contributions_size() && told < kMaxOtherContributions; ++k) {
    const std::string words = SignalWords(i.contributions(k));
    if (std::find(seen.begin(), seen.end(), words) != seen.end()) continue;
    seen.push_back(words);
    out += fmt::format("{}{} {}", told == 0 ? "; also " : " and ", words, Value(i.contributions(k), i.contributions(k).observed()));
    ++told;
  }
  return out;
}

std::string SuspectWords(const v1::Incident& i) {
  if (i.suspects_size() == 0) return "";
  const v1::Suspect& s = i.suspects(0);
  std::string name = Printable(s.workload().name(), kMaxNameBytes);
  if (name.empty()) name = Printable(s.process().executable(), kMaxNameBytes);
  if (name.empty()) return "";
  if (s.process().pid() > 0) name += fmt::format(" (pid {})", s.process().pid());
  return "; first suspect: " + name;
}

std::string CoverageWords(const v1::Incident& i) {
  const v1::Coverage& c = i.coverage();
  std::string out;
  if (c.sampled_share() > 0 && c.sampled_share() < 0.995) out += fmt::format("; {:.0f} % of the time observed", c.sampled_share() * 100);
  if (c.events_lost() > 0) out += fmt::format("; {} events lost meanwhile", c.events_lost());
  return out;
}

int64_t Nanoseconds(const google::protobuf::Timestamp& t) { return t.seconds() * 1'000'000'000 + t.nanos(); }

// `since` is "" or " since 14:02:11".
std::string Sentence(const v1::Incident& i, const std::string& since) {
  std::string name = Printable(i.workload().name(), kMaxNameBytes);
  if (name.empty()) name = "unknown workload";
  std::string out = name + ": ";
  if (i.has_restart() && i.restart().cause() != v1::Restart::CAUSE_UNSPECIFIED) {
    out += RestartWords(i.restart()) + since;
    if (i.contributions_size() > 0 && i.contributions(0).signal() == "workload.restarts") out += OtherContributions(i);
  } else if (i.contributions_size() == 0) {
    out += "behaves unusually" + since;
  } else {
    const v1::Contribution& c = i.contributions(0);
    out += fmt::format("{} {}, {}{}", SignalWords(c), ObservedAndExpected(c), PatternWords(i, c), since);
    if (i.has_time_to_exhaustion()) {
      const double seconds = i.time_to_exhaustion().seconds() + i.time_to_exhaustion().nanos() * 1e-9;
      out += fmt::format(", full in about {}", HumanDuration(seconds));
    }
    out += OtherContributions(i);
  }
  return out + SuspectWords(i) + CoverageWords(i);
}

std::string_view SeverityWord(v1::Incident::Severity severity) {
  switch (severity) {
    case v1::Incident::WARNING:
      return "warning";
    case v1::Incident::MINOR:
      return "minor";
    case v1::Incident::MAJOR:
      return "major";
    case v1::Incident::CRITICAL:
      return "critical";
    default:
      return "no severity";
  }
}

std::string KindWords(const v1::IncidentChange& change) {
  const v1::Incident& i = change.incident();
  const std::string severity = fmt::format("{} (score {:.0f})", SeverityWord(i.severity()), i.score());
  switch (change.kind()) {
    case v1::IncidentChange::OPENED:
      return "opened, " + severity;
    case v1::IncidentChange::UPDATED:
      return "changed, " + severity;
    case v1::IncidentChange::RESOLVED: {
      const double lasted = (Nanoseconds(i.resolved_time()) - Nanoseconds(i.onset_time())) * 1e-9;
      if (!i.has_resolved_time() || !i.has_onset_time() || lasted < 0) return "resolved";
      return "resolved after " + HumanDuration(lasted);
    }
    case v1::IncidentChange::ACKNOWLEDGED:
      return "acknowledged";
    case v1::IncidentChange::FEEDBACK:
      return i.feedback() == "false_alarm" ? "called a false alarm" : i.feedback() == "useful" ? "called useful" : "judged";
    default:
      return "changed";
  }
}

}  // namespace

std::string SignalWords(const v1::Contribution& c) {
  std::string attribute;
  if (!c.attributes().empty()) {
    // The smallest key, for a map has no order and a sentence must.
    auto first = c.attributes().begin();
    for (auto it = c.attributes().begin(); it != c.attributes().end(); ++it) {
      if (it->first < first->first) first = it;
    }
    attribute = AttributeWords(first->first, first->second);
  }
  for (const SignalWording& wording : kWordings) {
    if (wording.signal != c.signal()) continue;
    std::string words(wording.words);
    const size_t place = words.find("{}");
    if (place != std::string::npos) words.replace(place, 2, attribute);
    while (!words.empty() && words.back() == ' ') words.pop_back();
    return words;
  }
  std::string words = Printable(c.signal(), kMaxNameBytes);
  while (!attribute.empty() && attribute.back() == ' ') attribute.pop_back();
  return attribute.empty() ? words : fmt::format("{} ({})", words, attribute);
}

std::string ObservedAndExpected(const v1::Contribution& c) {
  const std::string observed = Value(c, c.observed()) + (IsShareOfCore(c) ? " of a core" : "");
  if (!Finite(c.lower()) || !Finite(c.upper()) || c.upper() < c.lower()) return observed + ", expected " + Value(c, c.expected());
  return observed + ", expected " + Range(c);
}

std::string SummarySentence(const v1::Incident& incident) { return Sentence(incident, ""); }

std::string ChangeSentence(const v1::IncidentChange& change, const TimeOfDay& time_of_day) {
  const v1::Incident& i = change.incident();
  const std::string since = i.has_onset_time() ? " since " + time_of_day(Nanoseconds(i.onset_time())) : "";
  return KindWords(change) + ": " + Sentence(i, since);
}

}  // namespace outlier
