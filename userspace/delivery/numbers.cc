#include "userspace/delivery/numbers.h"

#include <algorithm>
#include <cmath>

#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr size_t kMaxLabel = 200;   // bytes
constexpr int kMaxLosses = 100;     // counters; a daemon has some dozen

constexpr MetricSpec kSpecs[] = {
    {"outlier_workload_score", false, "", "How unusual a workload is now, 0 to 100."},
    {"outlier_incident_score", false, "", "Highest score of the open incidents of a workload, severity and pattern, 0 to 100."},
    {"outlier_incidents_open", false, "", "Open incidents."},
    {"outlier_incident_changes", true, "", "Changes of incidents since the relay began to follow the source."},
    {"outlier_false_alarms_per_week", false, "", "Budget of incidents that mean nothing: promised, achieved with its 95 % interval, and expected."},
    {"outlier_overhead_cpu_percent", false, "percent", "CPU that watching costs, in percent of one core: promised and achieved."},
    {"outlier_overhead_memory_bytes", false, "bytes", "Memory that watching costs: promised and achieved."},
    {"outlier_losses", true, "", "What the daemon did not see or could not keep."},
    {"outlier_workloads_not_shown", false, "", "Workloads left out of outlier_workload_score, those with the lowest scores."},
    {"outlier_source_up", false, "", "1 where the relay is connected to the source."},
    {"outlier_source_gaps", true, "", "Times that changes of incidents could not be had from the source."},
    {"outlier_samples_lost", true, "", "Ticks of samples that the relay missed."},
    {"outlier_sink_delivered", true, "", "Changes of incidents that the sink took; of pagers pages, updates and resolutions."},
    {"outlier_sink_retries", true, "", "Times that something had to be sent again."},
    {"outlier_sink_refused", true, "", "Items that the sink refused."},
    {"outlier_sink_expired", true, "", "Items that were too old for the sink."},
    {"outlier_sink_dead_letters", false, "", "Refused items that are held."},
    {"outlier_sink_lag_changes", false, "", "Changes of the source that the sink has not got yet."},
    {"outlier_sink_lag_seconds", false, "seconds", "Age of the oldest thing that the sink should have got and has not."},
    {"outlier_sink_suspended", false, "", "1 where a person has to do something before the sink can be delivered to."},
    {"outlier_sink_stalled", false, "", "1 where the relay cannot write down what it sends, and sends nothing."},
    {"outlier_sink_last_success_timestamp_seconds", false, "seconds", "When the sink took something last."},
    {"outlier_silences_active", false, "", "Silences in force."},
};
static_assert(std::size(kSpecs) == kMetrics);

std::string LowerCase(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  return text;
}

double Of(uint64_t value) { return static_cast<double>(value); }

// The `most` with the highest scores; of equal ones the first by key, so that what is shown stays the same.
template <class Map, class Score>
std::vector<typename Map::const_iterator> Highest(const Map& map, size_t most, Score score) {
  std::vector<typename Map::const_iterator> all;
  for (auto it = map.begin(); it != map.end(); ++it) all.push_back(it);
  std::stable_sort(all.begin(), all.end(), [&](auto a, auto b) { return score(a->second) > score(b->second); });
  all.resize(std::min(all.size(), most));
  return all;
}

}  // namespace

const MetricSpec& SpecOf(Metric metric) { return kSpecs[static_cast<size_t>(metric)]; }

SeriesLabels MakeSeriesLabels(std::initializer_list<std::pair<std::string_view, std::string_view>> labels) {
  SeriesLabels out;
  for (const auto& [name, value] : labels) {
    if (!value.empty()) out.emplace_back(name, Printable(value, kMaxLabel));
  }
  std::sort(out.begin(), out.end());
  return out;
}

void MetricFamilies::Add(Metric metric, SeriesLabels labels, double value) {
  if (!std::isfinite(value)) return;
  auto [found, fresh] = points_[static_cast<size_t>(metric)].try_emplace(std::move(labels), value);
  if (!fresh) found->second = SpecOf(metric).counter ? found->second + value : std::max(found->second, value);
}

std::optional<OpenIncident> OpenAfter(const v1::Incident& incident) {
  if (incident.state() == v1::Incident::RESOLVED) return std::nullopt;
  OpenIncident open;
  open.workload = incident.workload().name();
  if (incident.severity() != v1::Incident::SEVERITY_UNSPECIFIED) open.severity = LowerCase(v1::Incident::Severity_Name(incident.severity()));
  if (incident.pattern() != v1::Incident::PATTERN_UNSPECIFIED) open.pattern = LowerCase(v1::Incident::Pattern_Name(incident.pattern()));
  open.score = incident.score();
  return open;
}

SeriesLabels IncidentLabels(std::string_view host, const OpenIncident& incident) {
  return MakeSeriesLabels({{"host", host}, {"pattern", incident.pattern}, {"severity", incident.severity}, {"workload", incident.workload}});
}

void SourceNumbers::See(const v1::Source& source) {
  if (!source.host_name().empty()) host_ = source.host_name();
}

void SourceNumbers::Observe(const Finding& finding) {
  const v1::Incident& incident = finding.incident();
  See(incident.source());
  if (finding.gap) {
    ++gaps_;
    open_known_ = false;  // a resolution may have been in it
    return;
  }
  const uint64_t sequence = finding.change.sequence();
  if (sequence != 0 && sequence <= last_sequence_) return;
  if (sequence == 1) open_known_ = true;  // told from the very first
  last_sequence_ = std::max(last_sequence_, sequence);
  const auto kind = static_cast<size_t>(finding.change.kind());
  if (kind < changes_.size()) ++changes_[kind];
  if (auto open = OpenAfter(incident)) {
    open_[incident.id()] = *std::move(open);
  } else {
    open_.erase(incident.id());
  }
}

void SourceNumbers::Observe(const Samples& samples) {
  See(samples.source);
  const uint64_t lost = samples.sample.lost();
  samples_lost_ += lost >= lost_before_ ? lost - lost_before_ : lost;  // a new stream counts from zero
  lost_before_ = lost;
  workloads_.clear();
  for (const v1::WorkloadState& state : samples.sample.workloads()) {
    const v1::Workload& workload = state.workload();
    double& score = workloads_[{workload.name(), LowerCase(v1::Workload::Kind_Name(workload.kind()))}];
    if (std::isfinite(state.score())) score = std::max(score, state.score());
  }
  if (samples.status) Set(*samples.status);
}

void SourceNumbers::Set(const v1::Status& status) {
  See(status.source());
  status_ = status;
}

void SourceNumbers::SetOpen(std::span<const v1::Incident> open) {
  open_.clear();
  for (const v1::Incident& incident : open) {
    See(incident.source());
    if (auto after = OpenAfter(incident)) open_[incident.id()] = *std::move(after);
  }
  open_known_ = true;
}

void SourceNumbers::Write(const NumbersLimits& limits, MetricFamilies* families) const {
  for (const auto& it : Highest(workloads_, limits.workloads, [](double score) { return score; })) {
    families->Add(Metric::kWorkloadScore, MakeSeriesLabels({{"host", host_}, {"kind", it->first.second}, {"workload", it->first.first}}), it->second);
  }
  families->Add(Metric::kWorkloadsNotShown, MakeSeriesLabels({{"host", host_}}),
                Of(workloads_.size() - std::min(workloads_.size(), limits.workloads)));

  MetricFamilies::Points scores;
  for (const auto& [id, incident] : open_) {
    double& score = scores[IncidentLabels(host_, incident)];
    score = std::max(score, incident.score);
  }
  for (const auto& it : Highest(scores, limits.incidents, [](double score) { return score; })) families->Add(Metric::kIncidentScore, it->first, it->second);
  if (open_known_ || (status_ && status_->open_incidents() == open_.size())) {
    for (const auto severity : {v1::Incident::WARNING, v1::Incident::MINOR, v1::Incident::MAJOR, v1::Incident::CRITICAL}) {
      const std::string word = LowerCase(v1::Incident::Severity_Name(severity));
      const auto count = std::count_if(open_.begin(), open_.end(), [&](const auto& entry) { return entry.second.severity == word; });
      families->Add(Metric::kIncidentsOpen, MakeSeriesLabels({{"host", host_}, {"severity", word}}), static_cast<double>(count));
    }
  }
  for (size_t kind = 1; kind < changes_.size(); ++kind) {
    const std::string word = LowerCase(v1::IncidentChange::Kind_Name(static_cast<int>(kind)));
    families->Add(Metric::kIncidentChanges, MakeSeriesLabels({{"host", host_}, {"kind", word}}), Of(changes_[kind]));
  }
  if (!status_) return;
  const v1::Budgets& budgets = status_->budgets();
  const auto add = [&](Metric metric, std::string_view of, double value) {
    families->Add(metric, MakeSeriesLabels({{"host", host_}, {"of", of}}), value);
  };
  add(Metric::kFalseAlarms, "promised", budgets.false_alarms_per_week_promised());
  add(Metric::kFalseAlarms, "achieved", budgets.false_alarms_per_week_achieved());
  add(Metric::kFalseAlarms, "expected", budgets.false_alarms_per_week_expected());
  add(Metric::kFalseAlarms, "lower", budgets.false_alarms_per_week_lower());
  add(Metric::kFalseAlarms, "upper", budgets.false_alarms_per_week_upper());
  add(Metric::kOverheadCpu, "promised", budgets.cpu_percent_promised());
  add(Metric::kOverheadCpu, "achieved", budgets.cpu_percent_achieved());
  add(Metric::kOverheadMemory, "promised", Of(budgets.memory_promised_bytes()));
  add(Metric::kOverheadMemory, "achieved", Of(budgets.memory_achieved_bytes()));
  for (int i = 0; i < std::min(status_->losses_size(), kMaxLosses); ++i) {
    const v1::LossCounter& loss = status_->losses(i);
    families->Add(Metric::kLosses, MakeSeriesLabels({{"counter", loss.name()}, {"host", host_}}), Of(loss.count()));
  }
}

}  // namespace outlier
