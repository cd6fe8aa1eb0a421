// HostDisturbance: what hits the whole host is one incident of the host, not one for each workload.
//
//  - a tick that took many times as long as usual (suspend, a stalled virtual machine): `host.tick.interval`, s;
//  - a wall clock that was set: `host.clock.jump`, s, signed;
//  - workloads that began to depart in the same way within the same minute (within the same ten where they are not known for a
//    day yet, and may all be doing for the first time what they do each hour), at least four and three in a hundred of all:
//    `host.workloads.departing`, {workload}. Each of them is then part of the host's incident, if they are told as one: of those that are not known more
//    have to begin at the same moment than chance brings. What the host's slots do is what its workloads do, and counts for none.
// Pure; deterministic; not thread-safe.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "outlier/v1/feed.pb.h"
#include "userspace/incidents/evidence.h"
#include "userspace/incidents/recurrences.h"
#include "userspace/stream/workload.h"

namespace outlier {

class HostDisturbance {
 public:
  void Resize(size_t slots) { departing_.resize(slots); }
  void Forget(Slot slot) { departing_[slot] = {}; }
  void SetWorkloads(size_t active) { workloads_ = active; }  // that may depart now
  void TickChanged() { usual_seconds_ = 0; }
  // Once a tick, first: what the clocks say, if anything.
  std::optional<v1::Contribution> Interruption(const WorkloadTick& tick);
  // How one workload departs now; `now_ns` is what was watched so far. `known`: for a day.
  void Observe(Slot slot, const GroupStrengths& groups, bool known, uint64_t now_ns);
  // The same of one that does not depart at all.
  void Rest(Slot slot) { departing_[slot].now = 0; }
  // The workloads that departed as this one does and began about when it did, if they are too many for chance; else none.
  std::vector<Slot> Together(Slot slot, bool known, uint64_t now_ns) const;
  // A week: how often chance alone would bring as many as began in this way at the moment when this one did. It departed. A host that was just started sees
  // its workloads depart for the first time one after the other.
  double ByChance(Slot slot) const;
  static v1::Contribution Of(int together);
  // How often that was the case lately, in a week (Recurrences::Common): a host whose workloads do so is told of it as often as
  // the promise allows. What goes on counts once in ten minutes, or a host that never rests would have done so once.
  double PerWeek(uint64_t now_ns) const;
  // A person's word on an incident of many workloads, as in Recurrences.
  void MakeRarer() { feedback_ = Recurrences::Rarer(feedback_); }
  void TakeBack() { feedback_ = 1; }
  double feedback() const { return feedback_; }

  template <class Archive>
  void Serialize(Archive& a) {
    a(departing_, episodes_, episode_ns_, usual_seconds_, boot_ns_, wall_ns_);
    if constexpr (Archive::kReading) {
      if (a.layout() < 11) return;
    }
    a(feedback_);
  }

 private:
  double Faded(uint64_t now_ns) const;
  struct Departing {
    uint64_t since_ns = 0;  // of the last time; 0 = never
    uint8_t way = 0;        // leading group, twice, plus 1 where up
    uint8_t now = 0;
    template <class Archive>
    void Serialize(Archive& a) { a(since_ns, way, now); }
  };
  std::vector<Departing> departing_;
  size_t workloads_ = 0;
  double episodes_ = 0;       // but for the one under way; fading
  uint64_t episode_ns_ = 0;   // when the last one began; 0 = never
  double usual_seconds_ = 0;
  uint64_t boot_ns_ = 0;
  int64_t wall_ns_ = 0;
  double feedback_ = 1;       // of PerWeek
};

}  // namespace outlier
