// Incidents: from scores and kernel facts to incident changes. Pure: a function of the ticks seen, configuration and
// source. Not thread-safe. One incident at a time for each workload; what happens to it meanwhile becomes part of it.
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "outlier/config/v1/config.pb.h"
#include "outlier/v1/feed.pb.h"
#include "userspace/incidents/evidence.h"
#include "userspace/incidents/feedback.h"
#include "userspace/incidents/history.h"
#include "userspace/incidents/host_disturbance.h"
#include "userspace/incidents/open_incident.h"
#include "userspace/incidents/recurrences.h"
#include "userspace/stream/feature.h"
#include "userspace/stream/score.h"
#include "userspace/stream/workload.h"

namespace outlier {

class Incidents {
 public:
  Incidents(const config::v1::Config& config, v1::Source source, std::span<const FeatureSpec> features);

  // Changes in the order in which they came about, without sequence.
  std::vector<v1::IncidentChange> Judge(const WorkloadTick& tick, const FeatureTick& features, const ScoreTick& scores);
  void Reload(const config::v1::Config& config);
  // After a reload whose tick is another one: what is usual of its length is not.
  void TickChanged() { disturbance_.TickChanged(); }
  // After a state was read: the place of each detector among those of the build that wrote it (Detectors::Load).
  void Rearrange(std::span<const int> saved_as) { evidence_.Rearrange(saved_as); }

  double score(Slot slot) const { return slot < scores_.size() ? scores_[slot] : 0; }  // 0..100, now
  bool warming_up(Slot slot) const { return slot >= warm_.size() || !warm_[slot]; }
  const History& history() const { return history_; }
  const std::map<Slot, OpenIncident>& open() const { return open_; }
  uint64_t opened() const { return opened_; }
  // What status says of the false-alarm budget.
  void FillBudgets(v1::Budgets* budgets) const;
  const v1::Source& source() const { return source_; }

  template <class Archive>
  void Serialize(Archive& a) {
    SerializeMessage(a, source_);
    a(names_, history_, evidence_, recurrences_, disturbance_, open_, scores_, warm_, opened_, departures_opened_, false_alarms_, useful_,
      watched_ns_, events_lost_);
    if constexpr (Archive::kReading) {
      ignored_.clear();
      if (a.layout() < 11) return;
    }
    a(missed_ns_, feedback_);
  }

 private:
  using Changes = std::vector<v1::IncidentChange>;
  // Of one workload at one tick.
  struct Departure {
    std::vector<Strength> strengths;
    GroupStrengths groups;
    double strength = 0;   // combined
    double per_week = std::numeric_limits<double>::infinity();  // recurrences of what may be told
    double feedback = 1;   // what a person's word made of it
    bool agree = false;    // two kinds of signal depart
    std::optional<Peak> waits;  // of a victim of another workload that is told of:
    Slot waits_for = 0;
  };
  bool Known(Slot slot) const { return recurrences_.Known(slot, watched_ns_); }
  void FindDeparture(Slot slot, const WorkloadTick& tick, const ScoreTick& scores);
  void WarmUp(const ScoreTick& scores);
  void Listen(Slot slot, const WorkloadTick& tick, const ScoreTick& scores, std::vector<Strength>* strengths);
  void FindTaker(Slot slot, const WorkloadTick& tick, Departure* departure);
  int VictimsOf(Slot taker) const;
  double PerWeekOfVictim(Slot slot, const OpenIncident& taker) const;
  bool WaitsStill(const OpenIncident& open) const;
  void LeaveOutWarmUp(Slot slot, const WorkloadTick& tick, const ScoreTick& scores, std::vector<Strength>* strengths) const;
  std::array<bool, kEvidenceEntries> Tellable(Slot slot, const Departure& departure, const ScoreTick& scores) const;
  void Remember(std::span<const Strength> strengths, const FeatureTick& features, const ScoreTick& scores, OpenIncident* open);
  void AddFact(const RestartFact& fact, OpenIncident* open);
  void Open(Slot slot, const WorkloadTick& tick, const std::vector<const RestartFact*>& facts, const Departure& departure,
            const FeatureTick& features, const ScoreTick& scores, Changes* changes, const v1::Contribution* disturbed = nullptr,
            const std::string& news = {});
  void Begin(Slot slot, const WorkloadTick& tick, Changes* changes);
  void DisturbHost(const v1::Contribution& fact, std::span<const Slot> departing, double per_week, const WorkloadTick& tick,
                   const FeatureTick& features, const ScoreTick& scores, Changes* changes);
  std::string NamesOf(std::span<const Slot> slots) const;
  void Follow(const WorkloadTick& tick, const std::vector<const RestartFact*>& facts, const Departure& departure,
              const FeatureTick& features, const ScoreTick& scores, OpenIncident* open, Changes* changes);
  void Refresh(const WorkloadTick& tick, OpenIncident* open);
  void Cover(const WorkloadTick& tick, OpenIncident* open) const;
  bool IsStillAway(const OpenIncident& open) const;
  std::string AcceptedText(const WorkloadTick& tick, const OpenIncident& open) const;
  void Resolve(const WorkloadTick& tick, const std::string& why, OpenIncident* open, Changes* changes);
  void Relate(OpenIncident* open);
  static void Relate(OpenIncident* open, OpenIncident* other);
  double Observed(Slot slot, int feature, Channel channel, double now) const;
  int64_t ToldOnset(const OpenIncident& open) const;
  void Obey(const Command& command, const WorkloadTick& tick, Changes* changes);
  void Tell(v1::IncidentChange::Kind kind, const WorkloadTick& tick, const std::string& what, const std::string& detail,
            v1::Incident* incident, Changes* changes);
  void LearnFrom(const v1::Incident& incident, bool false_alarm);
  const std::vector<bool>& IgnoredBy(Slot slot);
  size_t FeatureOf(const RestartFact& fact) const;

  config::v1::Config config_;
  v1::Source source_;
  std::vector<FeatureSpec> features_;
  size_t restarts_feature_ = 0, oom_feature_ = 0;
  int waits_feature_ = 0;
  std::vector<NamedWorkload> names_;        // by slot
  History history_;
  Evidence evidence_;
  Recurrences recurrences_;
  HostDisturbance disturbance_;
  std::vector<Departure> departures_;       // by slot, of this tick
  std::vector<uint8_t> departs_;            // whether anything of it is notable: else its departure is as it was made
  std::map<Slot, OpenIncident> open_;
  std::vector<double> scores_;
  std::vector<uint8_t> warm_;
  std::vector<std::vector<bool>> ignored_;  // by slot, then feature; derived from the configuration
  uint64_t opened_ = 0;
  uint64_t departures_opened_ = 0;          // by a departure, not by a kernel fact
  Feedback feedback_;
  uint64_t false_alarms_ = 0, useful_ = 0;  // by feedback
  uint64_t watched_ns_ = 0;                 // the sum of all ticks: a clock that reboots do not set back
  uint64_t missed_before_ns_ = 0;           // this tick
  uint64_t missed_ns_ = 0;                  // the sum of what ticks took beyond theirs: nobody watched
  uint64_t events_lost_ = 0;
};

}  // namespace outlier
