// JudgedHost: a simulated host through detectors and incidents, and what was told of it.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "outlier/config/v1/config.pb.h"
#include "tests/quality/simulated_host.h"
#include "userspace/detectors/detectors.h"
#include "userspace/incidents/incidents.h"

namespace outlier::quality {

struct Told {
  std::string id, workload;
  uint64_t tick = 0;         // at which it opened
  double recurrences = 0;    // a week; as last told
  std::string as;            // pattern and leading signal
};

class JudgedHost {
 public:
  JudgedHost(const config::v1::Config& config, const SimulatedHost::Options& options);
  // The next second. Changes are kept in told().
  void Tick();
  // The host boots again, and the engine goes on from what it saved.
  void Reboot();
  SimulatedHost& host() { return host_; }
  const std::vector<Told>& told() const { return told_; }
  // Incidents that a budget of `promise` would have told.
  int ToldAt(double promise) const;
  // When the first incident of this workload opened, from `since` on.
  std::optional<uint64_t> FirstTold(Slot slot, uint64_t since) const;
  // CPU time.
  double generator_seconds() const { return generator_seconds_; }
  double engine_seconds() const { return engine_seconds_; }

 private:
  void Keep(const v1::IncidentChange& change);

  config::v1::Config config_;
  SimulatedHost host_;
  std::unique_ptr<Detectors> detectors_;
  std::unique_ptr<Incidents> incidents_;
  ScoreTick scores_;
  std::vector<Told> told_;
  double generator_seconds_ = 0, engine_seconds_ = 0;
};

// The largest weekly rate that `events` in `weeks` do not contradict: one-sided 95 % bound of a Poisson rate (Garwood 1936).
double UpperRate(int events, double weeks);
// The least count of events whose probability of being reached is below `probability` at this mean.
int UnlikelyCount(double mean, double probability);

}  // namespace outlier::quality
