#include "userspace/sinks/vendor_events.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr size_t kMostLabels = 50;
constexpr size_t kTextBytes = 1024;  // of one value within an array

// Collects fields and leaves out what is empty, so that no sink has to say null.
class Collector {
 public:
  explicit Collector(size_t text_bytes) : text_bytes_(text_bytes) {}
  void Text(std::string name, std::string_view text) {
    if (!text.empty()) fields_.emplace_back(std::move(name), TruncateBytes(text, text_bytes_));
  }
  void Number(std::string name, double value) {
    if (std::isfinite(value)) fields_.emplace_back(std::move(name), value);
  }
  void Whole(std::string name, int64_t value) { fields_.emplace_back(std::move(name), value); }
  void Flag(std::string name, bool value) { fields_.emplace_back(std::move(name), value); }
  template <class Message>
  void Time(std::string name, bool has, const Message& time) {
    if (has) Text(std::move(name), Rfc3339(time));
  }
  Fields Take() { return std::move(fields_); }

 private:
  const size_t text_bytes_;
  Fields fields_;
};

std::string_view EventType(v1::IncidentChange::Kind kind) {
  return kind == v1::IncidentChange::OPENED ? "start" : kind == v1::IncidentChange::RESOLVED ? "end" : "info";
}

template <class Enum>
std::string EnumText(const std::string& name, Enum value) {
  return value == 0 ? "" : name;
}

void AddSource(const Finding& finding, Collector* out) {
  const v1::Source& source = finding.incident().source();
  out->Text("host.id", source.host_id());
  out->Text("host.name", source.host_name());
  out->Text("host.boot.id", source.boot_id());
  out->Text("outlier.source.feed_id", source.feed_id());
}

void AddWorkload(const v1::Workload& workload, Collector* out) {
  out->Text("service.name", workload.name());
  out->Text("container.id", workload.container_id());
  out->Text("orchestrator.namespace", workload.namespace_());
  out->Text("orchestrator.resource.name", workload.pod());
  out->Text("process.executable", workload.executable());
  out->Text("user.name", workload.user());
  out->Text("outlier.workload.name", workload.name());
  out->Text("outlier.workload.kind", EnumText(v1::Workload::Kind_Name(workload.kind()), workload.kind()));
  out->Text("outlier.workload.unit", workload.unit());
  out->Text("outlier.workload.script", workload.script());
}

void AddContribution(std::string_view prefix, const v1::Contribution& contribution, Collector* out) {
  const auto name = [&](std::string_view last) { return fmt::format("{}.{}", prefix, last); };
  out->Text(name("signal"), contribution.signal());
  out->Text(name("unit"), contribution.unit());
  out->Text(name("series"), SeriesName(contribution));
  out->Text(name("direction"), EnumText(v1::Contribution::Direction_Name(contribution.direction()), contribution.direction()));
  out->Number(name("observed"), contribution.observed());
  out->Number(name("expected"), contribution.expected());
  out->Number(name("lower"), contribution.lower());
  out->Number(name("upper"), contribution.upper());
  out->Number(name("tail_probability"), contribution.tail_probability());
}

void AddIncident(const v1::Incident& incident, Collector* out) {
  out->Text("outlier.incident.id", incident.id());
  out->Text("outlier.incident.state", EnumText(v1::Incident::State_Name(incident.state()), incident.state()));
  out->Text("outlier.incident.severity", EnumText(v1::Incident::Severity_Name(incident.severity()), incident.severity()));
  out->Text("outlier.incident.pattern", EnumText(v1::Incident::Pattern_Name(incident.pattern()), incident.pattern()));
  out->Number("outlier.incident.score", incident.score());
  out->Text("outlier.incident.summary", incident.summary());
  out->Flag("outlier.incident.acknowledged", incident.acknowledged());
  out->Text("outlier.incident.feedback", incident.feedback());
  out->Time("outlier.incident.onset_time", incident.has_onset_time(), incident.onset_time());
  out->Time("outlier.incident.opened_time", incident.has_opened_time(), incident.opened_time());
  out->Time("outlier.incident.updated_time", incident.has_updated_time(), incident.updated_time());
  out->Time("outlier.incident.resolved_time", incident.has_resolved_time(), incident.resolved_time());
  out->Number("outlier.incident.recurrences_per_week", incident.recurrences_per_week());
  out->Number("outlier.incident.promised_per_week", incident.promised_per_week());
  if (incident.growth_per_second() != 0) out->Number("outlier.incident.growth_per_second", incident.growth_per_second());
  if (incident.has_time_to_exhaustion()) {
    out->Number("outlier.incident.time_to_exhaustion_seconds",
                static_cast<double>(incident.time_to_exhaustion().seconds()) + incident.time_to_exhaustion().nanos() * 1e-9);
  }
  if (incident.has_restart()) {
    const v1::Restart& restart = incident.restart();
    out->Text("outlier.incident.restart.cause", EnumText(v1::Restart::Cause_Name(restart.cause()), restart.cause()));
    out->Whole("outlier.incident.restart.exit_code", restart.exit_code());
    out->Whole("outlier.incident.restart.signal", restart.signal());
    out->Whole("outlier.incident.restart.count", restart.count());
  }
  if (incident.has_coverage()) {
    out->Whole("outlier.incident.coverage.events_lost", static_cast<int64_t>(incident.coverage().events_lost()));
    out->Number("outlier.incident.coverage.sampled_share", incident.coverage().sampled_share());
    out->Text("outlier.incident.coverage.probes_missing", fmt::format("{}", fmt::join(incident.coverage().probes_missing(), ", ")));
  }
  if (incident.contributions_size() > 0) AddContribution("outlier.lead", incident.contributions(0), out);
  if (incident.suspects_size() > 0) {
    const v1::Suspect& suspect = incident.suspects(0);
    out->Text("outlier.suspect.name", suspect.workload().name());
    if (suspect.process().pid() != 0) out->Whole("outlier.suspect.pid", suspect.process().pid());
    out->Text("outlier.suspect.executable", suspect.process().executable());
    out->Number("outlier.suspect.share", suspect.share());
    if (suspect.evidence_size() > 0) out->Text("outlier.suspect.evidence", suspect.evidence(0));
  }
  out->Text("outlier.incident.related_incident_ids", fmt::format("{}", fmt::join(incident.related_incident_ids(), ", ")));
}

// Letters, digits, dots and underscores: what every vendor takes in the name of a metric.
std::string MetricName(std::string_view text) {
  std::string name = TruncateBytes(text, 180);
  for (char& c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_';
    if (!plain) c = '_';
  }
  return name;
}

class Gauges {
 public:
  void Add(std::string name, std::string unit, double value, Labels dimensions) {
    if (std::isfinite(value)) gauges_.push_back({std::move(name), std::move(unit), value, std::move(dimensions)});
  }
  std::vector<Gauge> Take() { return std::move(gauges_); }

 private:
  std::vector<Gauge> gauges_;
};

void AddHost(const v1::Status& status, Gauges* out) {
  const v1::Budgets& budgets = status.budgets();
  const auto of = [](const char* which) { return Labels{{"of", which}}; };
  out->Add("outlier.budget.false_alarms_per_week", "1", budgets.false_alarms_per_week_promised(), of("promised"));
  out->Add("outlier.budget.false_alarms_per_week", "1", budgets.false_alarms_per_week_achieved(), of("achieved"));
  out->Add("outlier.budget.false_alarms_per_week", "1", budgets.false_alarms_per_week_expected(), of("expected"));
  out->Add("outlier.budget.cpu_percent", "%", budgets.cpu_percent_promised(), of("promised"));
  out->Add("outlier.budget.cpu_percent", "%", budgets.cpu_percent_achieved(), of("achieved"));
  out->Add("outlier.budget.memory_bytes", "By", static_cast<double>(budgets.memory_promised_bytes()), of("promised"));
  out->Add("outlier.budget.memory_bytes", "By", static_cast<double>(budgets.memory_achieved_bytes()), of("achieved"));
  out->Add("outlier.host.open_incidents", "{incident}", status.open_incidents(), {});
  out->Add("outlier.host.workloads", "{workload}", status.workloads(), {});
  out->Add("outlier.host.processes", "{process}", status.processes(), {});
  out->Add("outlier.host.series", "{series}", status.series(), {});
  for (const v1::LossCounter& loss : status.losses()) {
    out->Add("outlier.losses", "1", static_cast<double>(loss.count()), {{"counter", loss.name()}});
  }
}

void AddWorkloadState(const v1::WorkloadState& state, Gauges* out) {
  const Labels dimensions{{"workload", state.workload().name()}, {"kind", v1::Workload::Kind_Name(state.workload().kind())}};
  out->Add("outlier.score", "1", state.score(), dimensions);
  out->Add("outlier.state.processes", "{process}", state.processes(), dimensions);
  out->Add("outlier.state.restarts", "{restart}", static_cast<double>(state.restarts()), dimensions);
  out->Add("outlier.state.uptime_seconds", "s", state.uptime_seconds(), dimensions);
  out->Add("outlier.state.cpu_utilization", "1", state.cpu_utilization(), dimensions);
  out->Add("outlier.state.memory_bytes", "By", static_cast<double>(state.memory_bytes()), dimensions);
  for (const v1::SeriesValue& value : state.values()) {
    Labels with = dimensions;
    for (const auto& [key, text] : value.attributes()) with.emplace_back(key, text);
    out->Add("outlier.signal." + MetricName(value.signal()), value.unit(), value.value(), std::move(with));
  }
}

}  // namespace

Fields FieldsOf(const Finding& finding, size_t text_bytes) {
  Collector out(text_bytes);
  out.Text("message", Headline(finding));
  out.Text("event.id", FindingKey(finding));
  out.Text("event.module", "outlier");
  out.Text("event.dataset", "outlier.change");
  if (finding.gap) {
    out.Text("event.kind", "pipeline_error");
    out.Text("event.action", "outlier.feed.gap");
    AddSource(finding, &out);
    out.Whole("outlier.gap.first_sequence", static_cast<int64_t>(finding.gap->first_sequence));
    out.Whole("outlier.gap.last_sequence", static_cast<int64_t>(finding.gap->last_sequence));
    out.Whole("outlier.gap.lost", static_cast<int64_t>(finding.gap->lost));
    out.Text("outlier.gap.reason", finding.gap->reason);
  } else {
    const v1::Incident& incident = finding.incident();
    out.Text("event.kind", "alert");
    out.Text("event.category", incident.workload().kind() == v1::Workload::HOST ? "host" : "process");
    out.Text("event.type", EventType(finding.change.kind()));
    out.Text("event.action", "outlier.incident." + KindWord(finding.change.kind()));
    out.Whole("event.sequence", static_cast<int64_t>(finding.change.sequence()));
    out.Whole("event.severity", incident.severity());
    out.Number("event.risk_score", incident.score());
    AddSource(finding, &out);
    AddWorkload(incident.workload(), &out);
    out.Text("outlier.change.kind", v1::IncidentChange::Kind_Name(finding.change.kind()));
    AddIncident(incident, &out);
  }
  if (finding.silence) {
    out.Text("outlier.silence.id", finding.silence->id());
    out.Text("outlier.silence.author", finding.silence->author());
    out.Text("outlier.silence.reason", finding.silence->reason());
  }
  size_t labels = 0;
  for (const auto& [key, value] : *finding.labels) {
    if (labels++ < kMostLabels) out.Text("labels." + TruncateBytes(key, 128), value);
  }
  return out.Take();
}

Json Nested(const Fields& fields) {
  Json root = Json::object();
  for (const auto& [name, value] : fields) {
    Json* at = &root;
    std::string_view rest = name;
    // A label may hold dots of its own, and its name may be the beginning of another's: its key stays whole.
    if (rest.starts_with("labels.")) {
      root["labels"][std::string(rest.substr(7))] = value;
      continue;
    }
    for (size_t dot; (dot = rest.find('.')) != std::string_view::npos; rest.remove_prefix(dot + 1)) at = &(*at)[std::string(rest.substr(0, dot))];
    (*at)[std::string(rest)] = value;
  }
  return root;
}

Json ContributionsOf(const v1::Incident& incident, size_t most) {
  Json array = Json::array();
  for (const v1::Contribution& contribution : incident.contributions()) {
    if (array.size() == most) break;
    Collector out(kTextBytes);
    AddContribution("", contribution, &out);
    Json one = Json::object();
    for (const auto& [name, value] : out.Take()) one[name.substr(1)] = value;
    array.push_back(std::move(one));
  }
  return array;
}

Json SuspectsOf(const v1::Incident& incident, size_t most) {
  Json array = Json::array();
  for (const v1::Suspect& suspect : incident.suspects()) {
    if (array.size() == most) break;
    Json one = {{"workload", TruncateBytes(suspect.workload().name(), kTextBytes)}};
    if (suspect.process().pid() != 0) one["pid"] = suspect.process().pid();
    if (!suspect.process().executable().empty()) one["executable"] = TruncateBytes(suspect.process().executable(), kTextBytes);
    if (std::isfinite(suspect.share())) one["share"] = suspect.share();
    Json evidence = Json::array();
    for (int i = 0; i < std::min(suspect.evidence_size(), 5); ++i) evidence.push_back(TruncateBytes(suspect.evidence(i), kTextBytes));
    one["evidence"] = std::move(evidence);
    array.push_back(std::move(one));
  }
  return array;
}

std::string Headline(const Finding& finding) {
  if (finding.gap) {
    const std::string lost = finding.gap->lost == 0 ? "an unknown number of" : fmt::format("{}", finding.gap->lost);
    return fmt::format("{} changes of incidents on {} were lost: {}", lost, Printable(finding.incident().source().host_name(), 256),
                       Printable(finding.gap->reason, 256));
  }
  const v1::Incident& incident = finding.incident();
  if (!incident.summary().empty()) return Printable(incident.summary());
  const std::string workload = Printable(incident.workload().name(), 256);
  return fmt::format("{}: incident {}", workload.empty() ? "a workload" : workload, Printable(incident.id(), 128));
}

std::string DetailText(const Finding& finding) {
  if (finding.gap) return "";
  std::string text = fmt::format("{}", fmt::join(DetailLines(finding.incident()), "\n"));
  if (finding.silence) {
    text += fmt::format("\nsilenced by: {}: {}", Printable(finding.silence->author(), 128), Printable(finding.silence->reason(), 500));
  }
  return text;
}

bool IsOver(const Finding& finding) { return !finding.gap && finding.incident().state() == v1::Incident::RESOLVED; }

std::vector<Gauge> GaugesOf(const Samples& samples) {
  Gauges out;
  if (samples.status) AddHost(*samples.status, &out);
  std::vector<int> order(static_cast<size_t>(samples.sample.workloads_size()));
  std::iota(order.begin(), order.end(), 0);
  const auto score = [&](int i) { return std::isnan(samples.sample.workloads(i).score()) ? 0 : samples.sample.workloads(i).score(); };
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return score(a) > score(b); });
  for (const int i : order) AddWorkloadState(samples.sample.workloads(i), &out);
  return out.Take();
}

Request JsonPost(std::string url, std::string body) {
  Request request;
  request.url = std::move(url);
  request.headers = {{"Content-Type", "application/json"}};
  request.body = std::move(body);
  return request;
}

Outcome JudgePreparation(const Response& response) {
  Outcome outcome = JudgeHttp(response, 0);
  if (outcome.kind == Outcome::Kind::kRefused || outcome.kind == Outcome::Kind::kSplit) outcome.kind = Outcome::Kind::kSuspend;
  return outcome;
}

bool SaysTooOld(std::string_view body) {
  std::string text(body.substr(0, 4096));
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  for (const char* words : {"too old", "older than", "hours old", "hour old", " h old", "too far in the past"}) {
    if (text.find(words) != std::string::npos) return true;
  }
  return false;
}

absl::Status CheckHostPart(std::string_view key, std::string_view value, std::string_view example) {
  const bool plain = std::all_of(value.begin(), value.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
  if (plain) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{}: expected letters, digits, dots and hyphens, such as {}", key, example));
}

std::string BoundedKey(const std::string& text, size_t bytes) {
  if (text.size() <= bytes) return text;
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a: the same on every machine and in every version
  for (const unsigned char c : text) hash = (hash ^ c) * 0x100000001b3;
  return fmt::format("{}-{:016x}", TruncateBytes(text, bytes - 17), hash);
}

}  // namespace outlier
