// OpenIncident: what is kept of an incident while it lives, and how it is written down for the feed.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "outlier/v1/feed.pb.h"
#include "userspace/incidents/history.h"
#include "userspace/stream/feature.h"
#include "userspace/stream/proto_archive.h"
#include "userspace/stream/score.h"
#include "userspace/stream/workload.h"

namespace outlier {

// The most extreme assessment of one feature since the incident began.
struct Peak {
  int feature = 0;
  Channel channel = Channel::kLevel;
  double z = 0;
  double observed = 0, expected = 0, lower = 0, upper = 0;
  double tail_probability = 1;
  double rate = 0;
  template <class Archive>
  void Serialize(Archive& a) {
    a(feature, channel, z, observed, expected, lower, upper, tail_probability, rate);
  }
};

struct OpenIncident {
  static constexpr Slot kNobody = std::numeric_limits<Slot>::max();
  v1::Incident incident;
  Slot slot = 0;
  uint64_t opened_ns = 0;      // since boot
  uint64_t onset_ns = 0;
  uint64_t last_told_ns = 0;
  uint64_t last_fact_ns = 0;   // 0 = none
  uint64_t fact_gap_ns = 0;    // between the last two
  uint32_t calm_ticks = 0;
  uint64_t lost_before = 0;    // events lost when it was opened
  bool has_fact = false;
  bool opened_by_fact = false;
  bool dirty = false;          // worth an UPDATED change
  std::string news;            // why
  double strength = 0;         // combined, the highest
  double waits_above = 0;      // s/s: of a victim, while it waits longer than that; 0 = it is none
  Slot waits_for = kNobody;    // of a victim: who took the CPU
  std::vector<Slot> departing; // of the host: who has departed together since it began
  uint64_t missed_before = 0;  // time in which nobody watched, when it began
  std::vector<Peak> peaks;
  v1::Contribution disturbed;  // of the host, where it has a signal: leads its contributions
  // The first signal stays, at its largest. Whether it is larger now than it was.
  bool Disturb(const v1::Contribution& fact, uint64_t now_ns);
  template <class Archive>
  void Serialize(Archive& a) {
    SerializeMessage(a, incident);
    SerializeMessage(a, disturbed);
    a(slot, opened_ns, onset_ns, last_told_ns, last_fact_ns, fact_gap_ns, calm_ticks, lost_before, has_fact, opened_by_fact, dirty, news,
      strength, peaks);
    if constexpr (Archive::kReading) {
      if (a.layout() < 6) return;
    }
    a(waits_above);
    if constexpr (Archive::kReading) {
      if (a.layout() < 11) return;
    }
    a(waits_for, departing, missed_before);
  }
};

// 0..100 from a combined strength (1 opens): 39 at 1, 63 at 2, 78 at 3; the bands of severity lie at 3, 25, 50 and 75.
double ScoreOf(double strength);
// A restart needs no baseline: its cause says how bad it is.
double ScoreOf(const v1::Restart& restart);
v1::Incident::Severity SeverityOf(double score);

// P(at least `count` events in `window_seconds`) when they come once a week by chance (Poisson).
double RestartTailProbability(uint32_t count, double window_seconds);

// Keeps the larger |z| of a feature, in the direction in which it first departed: an overshoot on the way back is no departure.
void RememberPeak(const Peak& peak, std::vector<Peak>* peaks);

// Fills contributions, pattern, growth and onset from the peaks, the restart and the last minute.
void Compose(std::span<const FeatureSpec> features, const History& history, double memory_left_bytes, OpenIncident* open);

void SetTime(int64_t wall_ns, google::protobuf::Timestamp* time);

}  // namespace outlier
