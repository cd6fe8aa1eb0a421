#include "userspace/incidents/host_disturbance.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "models/special.h"
#include "userspace/incidents/recurrences.h"

namespace outlier {
namespace {

constexpr double kLongTick = 10.0, kLongSeconds = 30.0;  // times the usual, and at least
constexpr double kUsualGain = 0.1;
constexpr double kJumpSeconds = 5.0;
constexpr double kDeparts = 0.7, kCalm = 0.35;           // strengths
constexpr uint64_t kMinuteNs = 60ull * 1'000'000'000, kTenMinutesNs = 10 * kMinuteNs;
constexpr std::array<uint64_t, 2> kMomentsNs = {2'500'000'000, 15'000'000'000};  // around one that begins
constexpr double kWeekNs = 7 * 86400e9, kMemoryWeeks = 2;
constexpr int kLeastTogether = 4;
constexpr double kShareTogether = 0.03;

v1::Contribution Fact(std::string_view signal, std::string_view unit, double observed, double expected, double most) {
  v1::Contribution c;
  c.set_signal(std::string(signal));
  c.set_unit(std::string(unit));
  c.set_direction(observed >= expected ? v1::Contribution::UP : v1::Contribution::DOWN);
  c.set_observed(observed);
  c.set_expected(expected);
  c.set_lower(observed < 0 ? -most : 0);
  c.set_upper(most);
  c.set_tail_probability(1e-9);  // clocks do not do this by chance
  return c;
}

}  // namespace

std::optional<v1::Contribution> HostDisturbance::Interruption(const WorkloadTick& tick) {
  const double seconds = tick.interval_seconds, usual = usual_seconds_;
  const double boot = static_cast<double>(tick.boot_time_ns - std::min(boot_ns_, tick.boot_time_ns)) * 1e-9;
  const double jump = static_cast<double>(tick.wall_time_ns - wall_ns_) * 1e-9 - boot;
  const bool followed = boot_ns_ != 0 && seconds > 0 && tick.boot_time_ns > boot_ns_;  // not across a restart of daemon or host
  boot_ns_ = tick.boot_time_ns;
  wall_ns_ = tick.wall_time_ns;
  if (!followed) return std::nullopt;
  const bool is_long = usual > 0 && seconds >= std::max(kLongTick * usual, kLongSeconds);
  // A long one teaches little; a setting that makes all of them long is learned within some ticks.
  usual_seconds_ += usual == 0 ? seconds : kUsualGain * (std::min(seconds, kLongTick * usual) - usual);
  if (is_long) return Fact("host.tick.interval", "s", seconds, usual, std::max(kLongTick * usual, kLongSeconds));
  if (std::abs(jump) >= kJumpSeconds) return Fact("host.clock.jump", "s", jump, 0, kJumpSeconds);
  return std::nullopt;
}

void HostDisturbance::Observe(Slot slot, const GroupStrengths& groups, bool known, uint64_t now_ns) {
  if (slot < kFirstOwnedSlot) return;
  const auto strongest = std::max_element(groups.strength.begin(), groups.strength.end());
  Departing& own = departing_[slot];
  if (*strongest < kCalm) own.now = 0;
  if (*strongest < kDeparts || own.now != 0) return;
  const auto entry = strongest - groups.strength.begin();
  own = {now_ns, static_cast<uint8_t>(2 * (entry % kEvidenceGroups) + (groups.up[entry] ? 1 : 0)), 1};
  if (Together(slot, known, now_ns).empty()) return;
  if (episode_ns_ != 0 && episode_ns_ + kTenMinutesNs > now_ns) return;  // of the one under way
  if (episode_ns_ != 0) episodes_ = Faded(now_ns) + 1;
  episode_ns_ = now_ns;
}

std::vector<Slot> HostDisturbance::Together(Slot slot, bool known, uint64_t now_ns) const {
  const Departing& own = departing_[slot];
  const uint64_t apart = known ? kMinuteNs : kTenMinutesNs;
  std::vector<Slot> together;
  if (own.now == 0 || own.since_ns + apart <= now_ns) return together;  // what came of it later is its own
  for (Slot s = 0; s < static_cast<Slot>(departing_.size()); ++s) {
    const Departing& other = departing_[s];
    if (other.since_ns == 0 || other.way != own.way) continue;
    if (other.since_ns + apart > own.since_ns && own.since_ns + apart > other.since_ns) together.push_back(s);
  }
  if (static_cast<double>(together.size()) < std::max<double>(kLeastTogether, kShareTogether * static_cast<double>(workloads_))) together.clear();
  return together;
}

// A scan of windows side by side, each as much before as after: as long as evidence takes to hold, and at once. How often they began in the ten
// minutes before has a Gamma posterior (Jeffreys' prior), so that their number in a window is negative binomial.
double HostDisturbance::ByChance(Slot slot) const {
  const Departing& own = departing_[slot];
  const uint64_t begin = own.since_ns - std::min(own.since_ns, kMomentsNs.back()), before = begin - std::min(begin, kTenMinutesNs);
  std::array<double, kMomentsNs.size()> together{};
  double size = 0.5;
  for (const Departing& other : departing_) {
    if (other.since_ns == 0 || other.way != own.way) continue;
    const uint64_t apart = std::max(other.since_ns, own.since_ns) - std::min(other.since_ns, own.since_ns);
    for (size_t m = 0; m < together.size(); ++m) together[m] += apart <= kMomentsNs[m] ? 1 : 0;
    size += other.since_ns >= before && other.since_ns < begin ? 1 : 0;
  }
  double per_week = std::numeric_limits<double>::infinity();
  for (size_t m = 0; m < together.size(); ++m) {
    const double window = std::max(2.0 * static_cast<double>(kMomentsNs[m]), usual_seconds_ * 1e9);  // what one tick sees began at once
    const double watched = std::max(static_cast<double>(begin - before), window);
    per_week = std::min(per_week, kWeekNs / window * models::NegativeBinomialTail(together[m], size * window / watched, size));
  }
  return per_week * static_cast<double>(together.size());  // either of them could have been the rare one
}

double HostDisturbance::Faded(uint64_t now_ns) const {
  return episodes_ * std::exp2(-static_cast<double>(now_ns - std::min(episode_ns_, now_ns)) / (kMemoryWeeks * kWeekNs));
}

double HostDisturbance::PerWeek(uint64_t now_ns) const {
  return feedback_ * Recurrences::Common(Faded(now_ns), static_cast<double>(now_ns) / kWeekNs);
}

v1::Contribution HostDisturbance::Of(int together) {
  v1::Contribution c = Fact("host.workloads.departing", "{workload}", together, 0, kLeastTogether - 1);
  c.set_tail_probability(1e-6);  // about once in two weeks of ticks: what it was told for is its recurrences
  return c;
}

}  // namespace outlier
