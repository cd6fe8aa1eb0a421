// What is true now at the sources, as series of Prometheus: names, labels and bounds are here, once, for who serves them and who sends them.
//
// Cardinality is bounded: of a source so many workloads and open incidents as NumbersLimits says, the highest scores first; the workloads left
// out are counted. Not thread-safe.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace/delivery/finding.h"

namespace outlier {

enum class Metric {
  kWorkloadScore,
  kIncidentScore,
  kIncidentsOpen,
  kIncidentChanges,
  kFalseAlarms,
  kOverheadCpu,
  kOverheadMemory,
  kLosses,
  kWorkloadsNotShown,
  kSourceUp,
  kSourceGaps,
  kSamplesLost,
  kSinkDelivered,
  kSinkRetries,
  kSinkRefused,
  kSinkExpired,
  kSinkDeadLetters,
  kSinkLagChanges,
  kSinkLagSeconds,
  kSinkSuspended,
  kSinkStalled,
  kSinkLastSuccess,
  kSilencesActive,
};
inline constexpr size_t kMetrics = static_cast<size_t>(Metric::kSilencesActive) + 1;

struct MetricSpec {
  std::string_view name;   // a counter's without _total
  bool counter;
  std::string_view unit;   // what the name ends with, or ""
  std::string_view help;
};
const MetricSpec& SpecOf(Metric metric);

// Sorted by name; no empty value, valid UTF-8 of bounded length.
using SeriesLabels = std::vector<std::pair<std::string, std::string>>;
SeriesLabels MakeSeriesLabels(std::initializer_list<std::pair<std::string_view, std::string_view>> labels);

// Series of every metric. One label set once: of two values a counter's are added, a gauge's higher one stays.
class MetricFamilies {
 public:
  using Points = std::map<SeriesLabels, double>;
  void Add(Metric metric, SeriesLabels labels, double value);  // nothing where it is not finite
  const Points& of(Metric metric) const { return points_[static_cast<size_t>(metric)]; }

 private:
  std::array<Points, kMetrics> points_;
};

struct NumbersLimits {
  size_t workloads = 200;
  size_t incidents = 200;  // series of them
};

// What a series says of an open incident.
struct OpenIncident {
  std::string workload, severity, pattern;
  double score = 0;
  bool SameSeries(const OpenIncident& other) const { return workload == other.workload && severity == other.severity && pattern == other.pattern; }
};
using OpenIncidents = std::map<std::string, OpenIncident>;  // by id

// The incident as it is after the change; nothing where it is not open then.
std::optional<OpenIncident> OpenAfter(const v1::Incident& incident);
// Without its id, which would make a series of every incident that ever was: open ones alike share one, which has the highest score.
SeriesLabels IncidentLabels(std::string_view host, const OpenIncident& incident);

// Of one source, which is one feed_id.
class SourceNumbers {
 public:
  // A change not later than one already seen is seen again, and passed over.
  void Observe(const Finding& finding);
  void Observe(const Samples& samples);
  void Set(const v1::Status& status);
  // All that is open there: after this, and as long as no gap comes, the number of open incidents is known and told.
  void SetOpen(std::span<const v1::Incident> open);
  void ForgetWorkloads() { workloads_.clear(); }

  // All but kSource..., kSink... and kSilences....
  void Write(const NumbersLimits& limits, MetricFamilies* families) const;

  const std::string& host() const { return host_; }
  const OpenIncidents& open() const { return open_; }
  uint64_t last_sequence() const { return last_sequence_; }
  uint64_t gaps() const { return gaps_; }
  uint64_t samples_lost() const { return samples_lost_; }

 private:
  void See(const v1::Source& source);

  std::string host_;
  std::map<std::pair<std::string, std::string>, double> workloads_;  // name, kind -> score, the higher of two of one name
  OpenIncidents open_;
  bool open_known_ = false;
  uint64_t last_sequence_ = 0;
  std::array<uint64_t, v1::IncidentChange::Kind_ARRAYSIZE> changes_{};
  uint64_t gaps_ = 0, samples_lost_ = 0, lost_before_ = 0;
  std::optional<v1::Status> status_;
};

}  // namespace outlier
