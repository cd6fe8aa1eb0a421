// Incidents: from scores and kernel facts to incident changes. Pure: a function of the ticks seen, configuration and
// source. Not thread-safe. One incident at a time for each workload; what happens to it meanwhile becomes part of it.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "outlier/config/v1/config.pb.h"
#include "outlier/v1/feed.pb.h"
#include "userspace/incidents/evidence.h"
#include "userspace/incidents/habits.h"
#include "userspace/incidents/history.h"
#include "userspace/incidents/open_incident.h"
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

  double score(Slot slot) const { return slot < scores_.size() ? scores_[slot] : 0; }  // 0..100, now
  bool warming_up(Slot slot) const { return slot >= warm_.size() || !warm_[slot]; }
  const History& history() const { return history_; }
  const std::map<Slot, OpenIncident>& open() const { return open_; }
  uint64_t opened() const { return opened_; }
  uint64_t confirmed_false_alarms() const { return false_alarms_; }
  double watched_seconds() const { return watched_seconds_; }
  const v1::Source& source() const { return source_; }

  template <class Archive>
  void Serialize(Archive& a) {
    SerializeMessage(a, source_);
    a(names_, history_, evidence_, habits_, open_, scores_, warm_, opened_, false_alarms_, watched_seconds_, events_lost_);
    if constexpr (Archive::kReading) ignored_.clear();
  }

 private:
  using Changes = std::vector<v1::IncidentChange>;
  void Remember(std::span<const Strength> strengths, const FeatureTick& features, const ScoreTick& scores, OpenIncident* open);
  void AddFact(const RestartFact& fact, OpenIncident* open);
  void Open(Slot slot, const WorkloadTick& tick, const std::vector<const RestartFact*>& facts, std::span<const Strength> strengths,
            const FeatureTick& features, const ScoreTick& scores, double strength, Changes* changes);
  void Follow(const WorkloadTick& tick, const std::vector<const RestartFact*>& facts, std::span<const Strength> strengths,
              const FeatureTick& features, const ScoreTick& scores, double strength, OpenIncident* open, Changes* changes);
  void Refresh(const WorkloadTick& tick, OpenIncident* open);
  void Resolve(const WorkloadTick& tick, const std::string& why, OpenIncident* open, Changes* changes);
  void Relate(OpenIncident* open);
  void Obey(const Command& command, const WorkloadTick& tick, Changes* changes);
  void Tell(v1::IncidentChange::Kind kind, const WorkloadTick& tick, const std::string& what, const std::string& detail,
            v1::Incident* incident, Changes* changes);
  void LearnFrom(const v1::Incident& incident, bool false_alarm, uint64_t now_ns);
  const std::vector<bool>& IgnoredBy(Slot slot);

  config::v1::Config config_;
  v1::Source source_;
  std::vector<FeatureSpec> features_;
  size_t restarts_feature_ = 0;
  std::vector<NamedWorkload> names_;        // by slot
  History history_;
  Evidence evidence_;
  Habits habits_;
  std::map<Slot, OpenIncident> open_;
  std::vector<double> scores_;
  std::vector<uint8_t> warm_;
  std::vector<std::vector<bool>> ignored_;  // by slot, then feature; derived from the configuration
  uint64_t opened_ = 0;
  uint64_t false_alarms_ = 0;
  double watched_seconds_ = 0;
  uint64_t events_lost_ = 0;
};

}  // namespace outlier
