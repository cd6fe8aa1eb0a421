// What of a workload departs at one tick, how rare that is, and what of it may be told.
#include <algorithm>

#include "userspace/incidents/incidents.h"
#include "userspace/incidents/victim.h"

namespace outlier {
namespace {

constexpr double kHostShare = 0.5;        // of the evidence of kernel threads and the rest: they do what everybody else causes

constexpr int kWaiting = static_cast<int>(EvidenceGroup::kWaiting);
constexpr double kWarmsUpSeconds = 3600, kLooksBackSeconds = 4200;
constexpr double kTakenCores = 0.25;
constexpr int kVictims = 4;               // of one taker
constexpr double kVictimOfFact = 0.1;     // a week, after a person's word
constexpr double kCorroborated = 1.5;     // as by another kind of signal that departs as strongly

// Both sides of it are seen: one waits for a CPU, and processes of others use that much more than they did.
bool WaitsForWhatOthersTook(Slot slot, const GroupStrengths& groups, const WorkloadTick& tick) {
  if (slot < kFirstOwnedSlot || !groups.up[kWaiting] || groups.strength[kWaiting] == 0) return false;
  double taken = 0;
  for (const ProcessRate& rate : tick.busiest) taken += rate.slot == slot ? 0.0 : std::max(rate.cpu_now - rate.cpu_before, 0.0);
  return taken >= kTakenCores;
}

bool Burns(const v1::Incident& incident) {
  const auto& all = incident.contributions();
  return std::any_of(all.begin(), all.end(), [](const v1::Contribution& c) {
    return c.signal() == "process.cpu.utilization" && c.direction() == v1::Contribution::UP;
  });
}

}  // namespace

// A process that began lately has not filled its caches yet, and holds less than it will. That it fills them, as never in the hours
// before, is seen as long as the windows that look back reach into that time.
void Incidents::LeaveOutWarmUp(Slot slot, const WorkloadTick& tick, const ScoreTick& scores, std::vector<Strength>* strengths) const {
  const double uptime = tick.totals[slot].uptime_seconds;
  if (uptime <= 0 || uptime >= kWarmsUpSeconds + kLooksBackSeconds) return;
  std::erase_if(*strengths, [&](const Strength& s) {
    const DetectorScores& detector = scores.detectors[s.detector];
    if (evidence_.GroupOf(detector) != EvidenceGroup::kMemory) return false;
    return s.z < 0 ? uptime < kWarmsUpSeconds : detector.channel == Channel::kRecord;
  });
}

// Of a workload in its warm-up nothing is told but kernel facts. What it does teaches what new workloads do on this host.
void Incidents::Listen(Slot slot, const WorkloadTick& tick, const ScoreTick& scores, std::vector<Strength>* strengths) {
  const auto fact = std::stable_partition(strengths->begin(), strengths->end(), [&](const Strength& s) {
    return features_[scores.detectors[s.detector].feature].kind == FeatureKind::kFact;
  });
  const std::span<const Strength> heard(fact, strengths->end());
  if (slot >= kFirstOwnedSlot && !heard.empty()) {
    GroupStrengths groups = evidence_.Groups(heard, scores);
    groups.taken = WaitsForWhatOthersTook(slot, groups, tick);
    recurrences_.Listen(slot, groups, groups.taken || evidence_.Agree(heard, scores), watched_ns_);
  }
  strengths->erase(fact, strengths->end());
}

void Incidents::FindDeparture(Slot slot, const WorkloadTick& tick, const ScoreTick& scores) {
  if (departs_[slot] != 0) departures_[slot] = {};
  departs_[slot] = 0;
  if (evidence_.Silent(static_cast<int>(slot))) {  // as nearly all are: what the rest would do
    scores_[slot] = 0;
    disturbance_.Rest(slot);
    recurrences_.Rest(slot, watched_ns_);
    return;
  }
  departs_[slot] = 1;
  Departure& departure = departures_[slot];
  departure.strengths = evidence_.Of(static_cast<int>(slot), scores, IgnoredBy(slot));
  LeaveOutWarmUp(slot, tick, scores, &departure.strengths);
  if (!warm_[slot]) Listen(slot, tick, scores, &departure.strengths);
  if (!departure.strengths.empty()) {
    departure.groups = evidence_.Groups(departure.strengths, scores);
    if (slot < kFirstOwnedSlot) {
      for (double& strength : departure.groups.strength) strength *= kHostShare;
    }
    if (WaitsForWhatOthersTook(slot, departure.groups, tick)) {
      departure.groups.taken = true;
      departure.groups.strength[kWaiting] *= kCorroborated;
    }
    departure.strength = Combine(departure.groups);
  }
  scores_[slot] = departure.strength > 0 ? ScoreOf(departure.strength) : 0;
  disturbance_.Observe(slot, departure.groups, Known(slot), watched_ns_);
  departure.agree = departure.groups.taken || evidence_.Agree(departure.strengths, scores);
  recurrences_.Observe(slot, departure.groups, departure.agree, watched_ns_);
  if (departure.strength > 0) {
    const Recurrences::Issued issued = recurrences_.Issue(slot, departure.groups, Tellable(slot, departure, scores), watched_ns_);
    departure.per_week = issued.per_week;
    departure.feedback = issued.feedback;
  }
}

int Incidents::VictimsOf(Slot taker) const {
  return static_cast<int>(std::count_if(open_.begin(), open_.end(), [&](const auto& o) { return o.second.waits_above > 0 && o.second.waits_for == taker; }));
}

// As rare as the taker was, unless a person said that it is not; nobody said how often a fact may be wrong.
double Incidents::PerWeekOfVictim(Slot slot, const OpenIncident& taker) const {
  const double feedback = recurrences_.Feedback(slot, {kWaiting, true}), per_week = taker.incident.recurrences_per_week();
  return feedback > 1 ? feedback * std::max(per_week, kVictimOfFact) : per_week;
}

// Who waits since a workload that is told of took a CPU is as rare as that was: neither comes by chance without the other. More than a few of
// one taker say nothing new.
void Incidents::FindTaker(Slot slot, const WorkloadTick& tick, Departure* departure) {
  if (slot < kFirstOwnedSlot || !warm_[slot] || IgnoredBy(slot)[waits_feature_]) return;
  for (const auto& [taker, open] : open_) {
    if (taker == slot || !Burns(open.incident) || VictimsOf(taker) >= kVictims) continue;
    const bool took = std::any_of(tick.busiest.begin(), tick.busiest.end(), [&](const ProcessRate& rate) {
      return rate.slot == taker && rate.cpu_now - rate.cpu_before >= kTakenCores;
    });
    if (!took) continue;
    const double per_week = PerWeekOfVictim(slot, open);
    if (per_week > config_.budgets().false_alarms_per_week()) continue;
    if (auto waits = WaitsSince(history_, static_cast<int>(slot), waits_feature_, open.onset_ns)) {
      departs_[slot] = 1;
      departure->waits = waits;
      departure->waits_for = taker;
      departure->per_week = per_week;
      departure->feedback = recurrences_.Feedback(slot, {kWaiting, true});
      return;
    }
  }
}

// What may open an incident. Of a workload that is not known yet: failures, latencies and steady growth, which need no day to be
// known for what they are; the rest where two kinds of signal agree. What the slow clocks see waits for a day.
std::array<bool, kEvidenceEntries> Incidents::Tellable(Slot slot, const Departure& departure, const ScoreTick& scores) const {
  std::array<bool, kEvidenceEntries> out;
  if (Known(slot)) {
    out.fill(true);
    return out;
  }
  out.fill(false);
  for (int group = 0; group < kEvidenceGroups; ++group) out[group] = departure.agree;
  for (const Strength& strength : departure.strengths) {
    const DetectorScores& detector = scores.detectors[strength.detector];
    const bool alone = detector.channel == Channel::kCount || detector.channel == Channel::kShape || detector.channel == Channel::kDrift;
    const int group = static_cast<int>(evidence_.GroupOf(detector));
    if (alone && strength.strength >= std::min(1.0, departure.groups.strength[group])) out[group] = true;
  }
  return out;
}

}  // namespace outlier
