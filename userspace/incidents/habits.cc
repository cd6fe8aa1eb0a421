#include "userspace/incidents/habits.h"

#include <algorithm>
#include <cmath>

namespace outlier {
namespace {

constexpr double kDeparts = 0.35;                        // strength of an excursion, also the one from which an incident is calm
constexpr uint64_t kGapNs = 10ull * 1'000'000'000;       // without departing, until it is over
constexpr double kTimes = 2.5;                           // that make a habit: the third, a little faded
constexpr double kMargin = 1.5;                          // over the strongest and the longest
constexpr double kGraceNs = 5e9;                         // on top: ticks and holds are that coarse
constexpr double kHalfLifeNs = 3.0 * 86400 * 1e9;
constexpr uint64_t kRecentNs = 3600ull * 1'000'000'000;  // what a person's word is about

double Faded(double value, uint64_t from_ns, uint64_t to_ns) {
  return from_ns == 0 ? value : value * std::exp2(-static_cast<double>(to_ns - std::min(from_ns, to_ns)) / kHalfLifeNs);
}

}  // namespace

void Habits::End(Habit* h) {
  if (h->now_told) {
    h->times = Faded(h->times, h->ended_ns, h->last_ns) + 1.0;
    h->peak = std::max(Faded(h->peak, h->ended_ns, h->last_ns), h->now_peak);
    h->stay_ns = std::max(Faded(h->stay_ns, h->ended_ns, h->last_ns), static_cast<double>(h->last_ns - h->since_ns));
    h->ended_ns = h->last_ns;
  }
  h->since_ns = 0;
  h->now_peak = 0;
  h->now_told = false;
}

void Habits::Observe(size_t slot, const GroupStrengths& now, bool told, uint64_t now_ns) {
  OfSlot& own = slots_[slot];
  for (int group = 0; group < kEvidenceGroups; ++group) {
    if (now.strength[group] < kDeparts) continue;
    const size_t index = IndexOf(group, now.up[group]);
    Habit& habit = own.habits[index];
    if (habit.since_ns == 0) habit.since_ns = now_ns;
    habit.last_ns = now_ns;
    habit.now_peak = std::max(habit.now_peak, now.strength[group]);
    habit.now_told |= told;
    own.active |= 1u << index;
  }
  for (size_t index = 0; own.active >> index != 0; ++index) {
    if ((own.active >> index & 1) == 0 || own.habits[index].last_ns + kGapNs > now_ns) continue;
    End(&own.habits[index]);
    own.active &= ~(1u << index);
  }
}

GroupStrengths Habits::Unusual(size_t slot, const GroupStrengths& now, uint64_t now_ns) const {
  GroupStrengths out = now;
  for (int group = 0; group < kEvidenceGroups; ++group) {
    if (out.strength[group] < kDeparts) continue;
    const Habit& habit = slots_[slot].habits[IndexOf(group, now.up[group])];
    if (Faded(habit.times, habit.ended_ns, now_ns) < kTimes) continue;
    const bool stronger = std::max(out.strength[group], habit.now_peak) > kMargin * Faded(habit.peak, habit.ended_ns, now_ns);
    const bool longer = static_cast<double>(now_ns - habit.since_ns) > kMargin * Faded(habit.stay_ns, habit.ended_ns, now_ns) + kGraceNs;
    if (!stronger && !longer) out.strength[group] = 0;
  }
  return out;
}

void Habits::Accept(size_t slot, uint64_t now_ns) {
  for (Habit& habit : slots_[slot].habits) {
    if (habit.since_ns == 0 && (habit.ended_ns == 0 || habit.ended_ns + kRecentNs < now_ns)) continue;
    habit.times = std::max(Faded(habit.times, habit.ended_ns, now_ns), 2.0 * kTimes);
    habit.peak = std::max(Faded(habit.peak, habit.ended_ns, now_ns), habit.now_peak);
    habit.stay_ns = std::max(Faded(habit.stay_ns, habit.ended_ns, now_ns), static_cast<double>(habit.since_ns != 0 ? now_ns - habit.since_ns : 0));
    habit.ended_ns = now_ns;
  }
}

}  // namespace outlier
