#include "userspace/sinks/otlp_metrics.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/sinks/otlp_records.h"

namespace outlier {
namespace {

namespace otlp = opentelemetry::proto;
using ExportRequest = otlp::collector::metrics::v1::ExportMetricsServiceRequest;
using otlp::metrics::v1::Metric;
using otlp::metrics::v1::NumberDataPoint;

constexpr int64_t kForgetAfterNs = int64_t{3600} * 1'000'000'000;
constexpr size_t kMaxSources = 4096;

enum class Instrument { kGauge, kUpDown, kCounter };

// Signals that the conventions have, as the same thing in the same unit.
struct Convention {
  std::string_view signal, name;
  Instrument instrument;
};
constexpr Convention kConventions[] = {
    {"process.cpu.utilization", "process.cpu.utilization", Instrument::kGauge},
    {"process.memory.usage", "process.memory.usage", Instrument::kUpDown},
    {"process.thread.count", "process.thread.count", Instrument::kUpDown},
    {"process.uptime", "process.uptime", Instrument::kGauge},
    {"host.memory.available", "system.memory.linux.available", Instrument::kUpDown},
};

// Attributes that the conventions have, by signal.
struct AttributeName {
  std::string_view signal, key, name;
};
constexpr AttributeName kAttributes[] = {
    {"process.disk.io", "direction", "disk.io.direction"},
    {"process.context_switches", "type", "process.context_switch.type"},
    {"process.paging.faults", "type", "system.paging.fault.type"},
};

std::string AttributeNameOf(std::string_view signal, std::string_view key) {
  for (const AttributeName& known : kAttributes) {
    if (known.signal == signal && known.key == key) return std::string(known.name);
  }
  return fmt::format("outlier.{}", key);
}

struct Point {
  std::string_view name, unit, description;
  Instrument instrument = Instrument::kGauge;
  double value = 0;
};

// Fills one request after the other. A metric has its points together, whichever workload they are of.
class Writer {
 public:
  Writer(const Samples& samples, const OtlpMetrics::Options& options, OtlpCounters* counters)
      : samples_(samples), options_(options), counters_(*counters), time_ns_(UnixNanos(samples.sample.time())) {}

  template <class Attributes>
  void Add(const Point& point, std::string_view identity, Attributes&& attributes) {
    if (!std::isfinite(point.value)) return;
    NumberDataPoint data;
    data.set_time_unix_nano(static_cast<uint64_t>(time_ns_));
    data.set_as_double(point.value);
    if (point.instrument == Instrument::kCounter) {
      const auto next = counters_.Next(fmt::format("{}\n{}", point.name, identity), point.value, time_ns_, options_.delta);
      if (!next) return;
      data.set_as_double(next->value);
      data.set_start_time_unix_nano(static_cast<uint64_t>(next->start_ns));
    } else if (point.instrument == Instrument::kUpDown && !options_.delta) {
      data.set_start_time_unix_nano(static_cast<uint64_t>(counters_.FirstSeen(fmt::format("{}\n{}", point.name, identity), time_ns_)));
    }
    attributes_.clear();
    OtlpAttributes list(&attributes_, NumberDataPoint::kAttributesFieldNumber, options_.max_attributes);
    attributes(&list);
    data.MergeFromString(attributes_);
    const size_t size = data.ByteSizeLong() + 8;
    const size_t with_metric = size + point.name.size() + point.unit.size() + point.description.size() + 64;
    if (!requests_.empty() && bytes_ + with_metric > options_.max_bytes) Close();
    *PointsOf(point)->Add() = std::move(data);
    bytes_ += size;
  }

  std::vector<ExportRequest> Done() { return std::move(requests_); }

 private:
  void Close() {
    metrics_.clear();
    open_ = nullptr;
  }

  google::protobuf::RepeatedPtrField<NumberDataPoint>* PointsOf(const Point& point) {
    if (open_ == nullptr) {
      auto* resource_metrics = requests_.emplace_back().add_resource_metrics();
      resource_metrics->mutable_resource()->ParseFromString(OtlpResource(samples_.source, samples_.labels.get()));
      open_ = resource_metrics->add_scope_metrics();
      open_->mutable_scope()->set_name("outlier-relay");
      open_->mutable_scope()->set_version(options_.version);
      bytes_ = resource_metrics->ByteSizeLong() + 32;
    }
    auto [found, fresh] = metrics_.try_emplace(std::string(point.name), open_->metrics_size());
    Metric* metric = fresh ? open_->add_metrics() : open_->mutable_metrics(found->second);
    if (fresh) {
      metric->set_name(std::string(point.name));
      metric->set_unit(std::string(point.unit));
      metric->set_description(std::string(point.description));
      bytes_ += point.name.size() * 2 + point.unit.size() + point.description.size() + 32;
    }
    // An up-down counter has no change worth telling between two samples: who wants deltas keeps it as a gauge.
    if (point.instrument == Instrument::kGauge || (point.instrument == Instrument::kUpDown && options_.delta)) {
      return metric->mutable_gauge()->mutable_data_points();
    }
    const bool counter = point.instrument == Instrument::kCounter;
    metric->mutable_sum()->set_is_monotonic(counter);
    metric->mutable_sum()->set_aggregation_temporality(counter && options_.delta ? otlp::metrics::v1::AGGREGATION_TEMPORALITY_DELTA
                                                                                 : otlp::metrics::v1::AGGREGATION_TEMPORALITY_CUMULATIVE);
    return metric->mutable_sum()->mutable_data_points();
  }

  const Samples& samples_;
  const OtlpMetrics::Options& options_;
  std::string attributes_;  // of one point; kept for its room
  OtlpCounters& counters_;
  int64_t time_ns_;
  std::vector<ExportRequest> requests_;
  otlp::metrics::v1::ScopeMetrics* open_ = nullptr;
  std::map<std::string, int> metrics_;
  size_t bytes_ = 0;
};

void WriteSignal(const v1::SeriesValue& value, const v1::Workload& workload, const std::string& identity, Writer* writer) {
  if (value.signal() == "workload.restarts" || value.signal().empty()) return;  // told as a counter
  const std::string signal = Printable(value.signal(), 200);
  Point point{.name = "", .unit = value.unit(), .description = "", .instrument = Instrument::kGauge, .value = value.value()};
  std::string name = "outlier." + signal;
  for (const Convention& convention : kConventions) {
    if (convention.signal != signal) continue;
    name = convention.name;
    point.instrument = convention.instrument;
  }
  const std::string unit = Printable(value.unit(), 60);
  point.name = name;
  point.unit = unit;
  writer->Add(point, identity, [&](OtlpAttributes* attributes) {
    AddOtlpWorkload(workload, attributes);
    for (const auto& [key, text] : value.attributes()) attributes->Text(AttributeNameOf(signal, key), text);
  });
}

void WriteWorkload(const v1::WorkloadState& state, const std::string& identity, Writer* writer) {
  const auto add = [&](std::string_view name, std::string_view unit, std::string_view description, Instrument instrument, double value) {
    writer->Add({name, unit, description, instrument, value}, identity,
                [&](OtlpAttributes* attributes) { AddOtlpWorkload(state.workload(), attributes); });
  };
  add("outlier.workload.score", "1", "How unusual the workload is now, 0 to 100.", Instrument::kGauge, state.score());
  add("outlier.workload.warming_up", "1", "1 while its normal is still being learned.", Instrument::kGauge, state.warming_up() ? 1 : 0);
  add("process.cpu.time", "s", "CPU time of all its processes, ended ones included.", Instrument::kCounter, state.cpu_seconds());
  add("outlier.workload.process.starts", "{process}", "Processes that began.", Instrument::kCounter, static_cast<double>(state.processes_started()));
  add("outlier.workload.process.ends", "{process}", "Processes that ended.", Instrument::kCounter, static_cast<double>(state.processes_ended()));
  add("outlier.workload.restart.count", "{restart}", "Times its main process began anew.", Instrument::kCounter,
      static_cast<double>(state.restarts()));
  for (const v1::SeriesValue& value : state.values()) WriteSignal(value, state.workload(), identity, writer);
  if (!state.values().empty()) return;  // they say what follows
  add("outlier.workload.process.count", "{process}", "", Instrument::kGauge, state.processes());
  add("process.cpu.utilization", "1", "", Instrument::kGauge, state.cpu_utilization());
  add("process.memory.usage", "By", "", Instrument::kUpDown, static_cast<double>(state.memory_bytes()));
  add("process.uptime", "s", "", Instrument::kGauge, state.uptime_seconds());
}

void WriteStatus(const v1::Status& status, Writer* writer) {
  const auto add = [&](std::string_view name, std::string_view unit, double value, std::string_view key = "", std::string_view attribute = "",
                       Instrument instrument = Instrument::kGauge) {
    writer->Add({name, unit, "", instrument, value}, attribute, [&](OtlpAttributes* attributes) { attributes->Text(key, attribute); });
  };
  const v1::Budgets& budgets = status.budgets();
  constexpr std::string_view kOf = "outlier.budget.of";
  add("outlier.budget.false_alarms", "{incident}/wk", budgets.false_alarms_per_week_promised(), kOf, "promised");
  add("outlier.budget.false_alarms", "{incident}/wk", budgets.false_alarms_per_week_achieved(), kOf, "achieved");
  add("outlier.budget.false_alarms", "{incident}/wk", budgets.false_alarms_per_week_expected(), kOf, "expected");
  add("outlier.budget.false_alarms", "{incident}/wk", budgets.false_alarms_per_week_lower(), kOf, "lower");
  add("outlier.budget.false_alarms", "{incident}/wk", budgets.false_alarms_per_week_upper(), kOf, "upper");
  add("outlier.budget.cpu", "%", budgets.cpu_percent_promised(), kOf, "promised");
  add("outlier.budget.cpu", "%", budgets.cpu_percent_achieved(), kOf, "achieved");
  add("outlier.budget.memory", "By", static_cast<double>(budgets.memory_promised_bytes()), kOf, "promised");
  add("outlier.budget.memory", "By", static_cast<double>(budgets.memory_achieved_bytes()), kOf, "achieved");
  add("outlier.host.uptime", "s", static_cast<double>(status.uptime().seconds()) + status.uptime().nanos() * 1e-9);
  add("outlier.host.ticks", "{tick}", static_cast<double>(status.ticks()), "", "", Instrument::kCounter);
  add("outlier.host.workloads", "{workload}", status.workloads());
  add("outlier.host.processes", "{process}", status.processes());
  add("outlier.host.series", "{series}", status.series());
  add("outlier.host.warming_up", "{workload}", status.warming_up());
  add("outlier.host.open_incidents", "{incident}", status.open_incidents());
  for (const v1::LossCounter& loss : status.losses()) {
    add("outlier.losses", "1", static_cast<double>(loss.count()), "outlier.loss.counter", loss.name(), Instrument::kCounter);
  }
}

// What AddOtlpWorkload tells them apart by.
std::string IdentityOf(const v1::Workload& workload) {
  const bool program = workload.kind() == v1::Workload::EXECUTABLE;
  return fmt::format("{}\n{}\n{}\n{}\n{}", workload.name(), static_cast<int>(workload.kind()), workload.namespace_(),
                     program ? workload.executable() : "", program ? workload.script() : "");
}

}  // namespace

std::optional<OtlpCounters::Point> OtlpCounters::Next(const std::string& key, double total, int64_t time_ns, bool delta) {
  auto [found, fresh] = seen_.try_emplace(key, Seen{time_ns, time_ns, total, total});
  Seen& seen = found->second;
  if (fresh || time_ns <= seen.last_ns) return std::nullopt;
  double before = seen.last;
  if (total < seen.last) {  // counts from zero again, since some moment after the last
    seen.start_ns = seen.last_ns;
    seen.base = before = 0;
  }
  const Point point = delta ? Point{seen.last_ns, total - before} : Point{seen.start_ns, total - seen.base};
  seen.last_ns = time_ns;
  seen.last = total;
  return point;
}

int64_t OtlpCounters::FirstSeen(const std::string& key, int64_t time_ns) {
  Seen& seen = seen_.try_emplace(key, Seen{time_ns, time_ns, 0, 0}).first->second;
  seen.start_ns = std::min(seen.start_ns, time_ns);
  seen.last_ns = std::max(seen.last_ns, time_ns);
  return seen.start_ns;
}

void OtlpCounters::Sweep(int64_t time_ns) {
  if (time_ns - swept_ns_ < kForgetAfterNs / 4) return;
  swept_ns_ = time_ns;
  std::erase_if(seen_, [&](const auto& entry) { return time_ns - entry.second.last_ns > kForgetAfterNs; });
}

std::vector<ExportRequest> OtlpMetrics::Write(const Samples& samples) {
  if (counters_.size() >= kMaxSources && !counters_.contains(samples.source.feed_id())) counters_.clear();
  OtlpCounters& counters = counters_[samples.source.feed_id()];
  Writer writer(samples, options_, &counters);
  std::set<std::string> told;  // two points of one identity at one time would be refused, or one of them lost
  for (const v1::WorkloadState& state : samples.sample.workloads()) {
    std::string identity = IdentityOf(state.workload());
    if (!told.insert(identity).second) continue;
    WriteWorkload(state, identity, &writer);
  }
  if (samples.status) WriteStatus(*samples.status, &writer);
  counters.Sweep(UnixNanos(samples.sample.time()));
  return writer.Done();
}

}  // namespace outlier
