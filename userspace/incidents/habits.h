// Habits: what a workload does again and again is not news: a job each five minutes, memory that grows and is collected.
//
// An excursion is a spell in which a group of signals departs in one direction. How strong it became and how long it stayed is
// remembered; after three in a while, another one is usual as long as it is neither half as strong again nor stays half as
// long again. A fault that repeats is thus told three times, then again when it grows; a daily job is usual after some days.
// Pure; not thread-safe. Cost: slots that neither depart nor did a moment ago are not looked at.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "userspace/incidents/evidence.h"

namespace outlier {

class Habits {
 public:
  void Resize(size_t slots) { slots_.resize(slots); }
  void Forget(size_t slot) { slots_[slot] = {}; }
  // The departures of one slot at one tick, `now_ns` since boot, ascending. `told`: together they are strong enough to be told; an
  // excursion that never was is no news to get used to.
  void Observe(size_t slot, const GroupStrengths& now, bool told, uint64_t now_ns);
  // The same without what is usual for this slot. After Observe of the same tick.
  GroupStrengths Unusual(size_t slot, const GroupStrengths& now, uint64_t now_ns) const;
  // A person's word on an incident: what departs, or departed in the last hour, is usual from now on, or is no habit at all.
  void Accept(size_t slot, uint64_t now_ns);
  void Reject(size_t slot) { Forget(slot); }

  template <class Archive>
  void Serialize(Archive& a) { a(slots_); }

 private:
  struct Habit {
    double times = 0;         // excursions that ended, halved each three days
    double peak = 0;          // strength of the strongest, fading likewise
    double stay_ns = 0;       // the longest, fading likewise
    uint64_t ended_ns = 0;    // the last one
    uint64_t since_ns = 0;    // of the excursion now, 0 = none
    uint64_t last_ns = 0;     // when it was last seen departing
    double now_peak = 0;
    bool now_told = false;
    template <class Archive>
    void Serialize(Archive& a) { a(times, peak, stay_ns, ended_ns, since_ns, last_ns, now_peak, now_told); }
  };
  struct OfSlot {
    std::array<Habit, 2 * kEvidenceGroups> habits;  // by group, then direction
    uint32_t active = 0;                            // bit h: habits[h] is in an excursion
    template <class Archive>
    void Serialize(Archive& a) { a(habits, active); }
  };
  static size_t IndexOf(int group, bool up) { return 2 * static_cast<size_t>(group) + (up ? 1 : 0); }
  static void End(Habit* habit);

  std::vector<OfSlot> slots_;
};

}  // namespace outlier
