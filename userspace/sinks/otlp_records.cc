#include "userspace/sinks/otlp_records.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "opentelemetry/proto/common/v1/common.pb.h"
#include "opentelemetry/proto/logs/v1/logs.pb.h"
#include "opentelemetry/proto/resource/v1/resource.pb.h"
#include "userspace/base/text.h"
#include "userspace/sinks/proto_wire.h"
#include "userspace/sinks/wire.h"
#include "userspace/stream/incident_text.h"

namespace outlier {
namespace {

namespace logs = opentelemetry::proto::logs::v1;
using opentelemetry::proto::common::v1::AnyValue;
using opentelemetry::proto::common::v1::ArrayValue;
using opentelemetry::proto::common::v1::KeyValue;

constexpr size_t kMaxKey = 255, kMaxValue = 4000, kMaxElement = 1000;  // bytes; New Relic keeps 255 and 4095
constexpr int kMaxContributions = 10, kMaxSuspects = 10;
constexpr uint64_t kMost = INT64_MAX;

// As Printable() says it: the text itself, where that is what it says, else `escaped`.
std::string_view Plain(std::string_view text, size_t max_bytes, std::string* escaped) {
  unsigned char odd = text.size() > max_bytes;
  for (const unsigned char c : text) odd |= static_cast<unsigned char>(c - 0x20) >= 0x7f - 0x20;  // without a way out: many bytes at once
  return odd == 0 ? text : *escaped = Printable(text, max_bytes);
}

int64_t Signed(uint64_t value) { return static_cast<int64_t>(std::min(value, kMost)); }

logs::SeverityNumber SeverityOf(v1::Incident::Severity severity) {
  switch (severity) {
    case v1::Incident::MINOR: return logs::SEVERITY_NUMBER_WARN3;
    case v1::Incident::MAJOR: return logs::SEVERITY_NUMBER_ERROR;
    case v1::Incident::CRITICAL: return logs::SEVERITY_NUMBER_FATAL;
    default: return logs::SEVERITY_NUMBER_WARN;
  }
}

std::string SuspectWords(const v1::Suspect& suspect) {
  std::string words = fmt::format("{}: {:.0f} %", Printable(suspect.workload().name(), 200), 100 * suspect.share());
  if (suspect.process().pid() != 0) words += fmt::format(", pid {}", suspect.process().pid());
  for (const std::string& evidence : suspect.evidence()) words += "; " + Printable(evidence, 300);
  return words;
}

std::string GapSentence(const Gap& gap) {
  std::string sentence = gap.lost > 0 ? fmt::format("{} changes of incidents", gap.lost) : "an unknown number of changes of incidents";
  if (gap.last_sequence > 0) sentence += fmt::format(" ({} to {})", gap.first_sequence, gap.last_sequence);
  return sentence + fmt::format(" could not be had from the source: {}", Printable(gap.reason, 200));
}

void AddTime(std::string_view key, bool given, const google::protobuf::Timestamp& time, OtlpAttributes* attributes) {
  if (given) attributes->Text(key, Rfc3339(time));
}

void AddIncident(const v1::Incident& incident, OtlpAttributes* attributes) {
  OtlpAttributes& a = *attributes;
  a.Text("outlier.incident.id", incident.id());
  a.Text("outlier.incident.state", v1::Incident::State_Name(incident.state()));
  a.Text("outlier.incident.severity", v1::Incident::Severity_Name(incident.severity()));
  a.Real("outlier.incident.score", incident.score());
  a.Text("outlier.incident.pattern", v1::Incident::Pattern_Name(incident.pattern()));
  a.Flag("outlier.incident.acknowledged", incident.acknowledged());
  a.Text("outlier.incident.feedback", incident.feedback());

  const v1::Workload& workload = incident.workload();
  AddOtlpWorkload(workload, attributes);
  a.Text("container.id", workload.container_id());
  a.Text("k8s.pod.name", workload.pod());
  a.Text("process.owner", workload.user());
  a.Text("outlier.workload.unit", workload.unit());

  if (incident.contributions_size() > 0) {
    const v1::Contribution& lead = incident.contributions(0);
    a.Text("outlier.lead.signal", lead.signal());
    a.Text("outlier.lead.unit", lead.unit());
    a.Text("outlier.lead.series", SeriesName(lead));
    a.Text("outlier.lead.direction", v1::Contribution::Direction_Name(lead.direction()));
    a.Real("outlier.lead.observed", lead.observed());
    a.Real("outlier.lead.expected", lead.expected());
    a.Real("outlier.lead.lower", lead.lower());
    a.Real("outlier.lead.upper", lead.upper());
    a.Real("outlier.lead.tail_probability", lead.tail_probability());
  }
  AddTime("outlier.incident.onset_time", incident.has_onset_time(), incident.onset_time(), attributes);
  AddTime("outlier.incident.opened_time", incident.has_opened_time(), incident.opened_time(), attributes);
  AddTime("outlier.incident.resolved_time", incident.has_resolved_time(), incident.resolved_time(), attributes);
  if (incident.has_restart()) {
    a.Text("outlier.incident.restart.cause", v1::Restart::Cause_Name(incident.restart().cause()));
    a.Integer("outlier.incident.restart.exit_code", incident.restart().exit_code());
    a.Integer("outlier.incident.restart.signal", incident.restart().signal());
    a.Integer("outlier.incident.restart.count", incident.restart().count());
  }
  std::vector<std::string> contributions, suspects;
  std::vector<std::string_view> influencers;
  for (const v1::Contribution& contribution : incident.contributions()) {
    if (contributions.size() == kMaxContributions) break;
    contributions.push_back(fmt::format("{}: {}", SignalWords(contribution), ObservedAndExpected(contribution)));
  }
  for (const v1::Suspect& suspect : incident.suspects()) {
    if (suspects.size() == kMaxSuspects) break;
    suspects.push_back(SuspectWords(suspect));
    influencers.push_back(suspect.workload().name());
  }
  a.Texts("outlier.incident.contributions", contributions);
  a.Texts("outlier.incident.suspects", suspects);
  a.Texts("outlier.influencers", influencers);
  a.Texts("outlier.incident.related_incident_ids", incident.related_incident_ids());
  if (incident.has_coverage()) {
    a.Integer("outlier.incident.coverage.events_lost", Signed(incident.coverage().events_lost()));
    a.Real("outlier.incident.coverage.sampled_share", incident.coverage().sampled_share());
    a.Texts("outlier.incident.coverage.probes_missing", incident.coverage().probes_missing());
  }
  if (incident.recurrences_per_week() > 0) a.Real("outlier.incident.recurrences_per_week", incident.recurrences_per_week());
  if (incident.promised_per_week() > 0) a.Real("outlier.incident.promised_per_week", incident.promised_per_week());
  if (incident.growth_per_second() != 0) a.Real("outlier.incident.growth_per_second", incident.growth_per_second());
  if (incident.has_time_to_exhaustion()) {
    a.Real("outlier.incident.time_to_exhaustion_seconds",
           static_cast<double>(incident.time_to_exhaustion().seconds()) + incident.time_to_exhaustion().nanos() * 1e-9);
  }
}

}  // namespace

bool OtlpAttributes::Begin(std::string_view key, size_t value_bytes) {
  std::string escaped;
  const std::string_view name = Plain(key, kMaxKey - 3, &escaped);  // an ellipsis takes three bytes
  const bool there = std::any_of(keys_.begin(), keys_.end(), [&](const Place& other) {
    // The ends of our names differ sooner than their beginnings.
    return other.size == name.size() && out_[other.at + other.size - 1] == name.back() && std::string_view(out_).substr(other.at, other.size) == name;
  });
  if (there || keys_.size() >= limit_) {
    ++dropped_;
    return false;
  }
  ProtoWire wire(&out_);
  wire.Head(field_, ProtoWire::SizeOfBytes(name.size()) + ProtoWire::SizeOfBytes(value_bytes));
  wire.Head(KeyValue::kKeyFieldNumber, name.size());
  keys_.push_back({out_.size(), name.size()});
  out_ += name;
  wire.Head(KeyValue::kValueFieldNumber, value_bytes);
  return true;
}

void OtlpAttributes::Text(std::string_view key, std::string_view value) {
  if (value.empty() || key.empty()) return;
  std::string escaped;
  const std::string_view text = Plain(value, kMaxValue, &escaped);
  if (Begin(key, ProtoWire::SizeOfBytes(text.size()))) ProtoWire(&out_).Bytes(AnyValue::kStringValueFieldNumber, text);
}

void OtlpAttributes::AddElement(std::string_view value) {
  std::string escaped;
  const std::string_view text = Plain(value, kMaxElement, &escaped);
  ProtoWire wire(&list_);
  wire.Head(ArrayValue::kValuesFieldNumber, ProtoWire::SizeOfBytes(text.size()));
  wire.Bytes(AnyValue::kStringValueFieldNumber, text);
}

void OtlpAttributes::AddList(std::string_view key) {
  if (Begin(key, ProtoWire::SizeOfBytes(list_.size()))) ProtoWire(&out_).Bytes(AnyValue::kArrayValueFieldNumber, list_);
}

void OtlpAttributes::Integer(std::string_view key, int64_t value) {
  const auto bits = static_cast<uint64_t>(value);
  if (Begin(key, 1 + ProtoWire::SizeOfVarint(bits))) ProtoWire(&out_).Integer(AnyValue::kIntValueFieldNumber, bits);
}

void OtlpAttributes::Real(std::string_view key, double value) {
  if (!std::isfinite(value)) return;
  if (Begin(key, 1 + sizeof value)) ProtoWire(&out_).Real(AnyValue::kDoubleValueFieldNumber, value);
}

void OtlpAttributes::Flag(std::string_view key, bool value) {
  if (Begin(key, 2)) ProtoWire(&out_).Integer(AnyValue::kBoolValueFieldNumber, value ? 1 : 0);
}

int64_t UnixNanos(const google::protobuf::Timestamp& time) { return UnixNanos(TimeOf(time)); }
int64_t UnixNanos(WallTime time) { return std::max<int64_t>(0, time.time_since_epoch().count()); }

std::string OtlpResource(const v1::Source& source, const Labels* labels) {
  std::string resource;
  OtlpAttributes a(&resource, opentelemetry::proto::resource::v1::Resource::kAttributesFieldNumber, OtlpAttributes::kMaxElements);
  a.Text("service.name", "outlierd");
  a.Text("service.instance.id", source.feed_id());
  a.Text("host.id", source.host_id());
  a.Text("host.name", source.host_name());
  a.Text("os.type", "linux");
  if (labels == nullptr) return resource;
  for (const auto& [key, value] : *labels) a.Text(key, value);
  return resource;
}

void AddOtlpWorkload(const v1::Workload& workload, OtlpAttributes* attributes) {
  attributes->Text("outlier.workload.name", workload.name());
  attributes->Text("outlier.workload.kind", v1::Workload::Kind_Name(workload.kind()));
  attributes->Text("k8s.namespace.name", workload.namespace_());
  if (workload.kind() != v1::Workload::EXECUTABLE) return;
  attributes->Text("process.executable.path", workload.executable());
  attributes->Text("outlier.workload.script", workload.script());
}

std::string OtlpEventName(const Finding& finding) {
  if (finding.gap) return "outlier.feed.gap";
  // A kind that a newer daemon brings still has a static name of its own.
  const v1::IncidentChange::Kind kind = finding.change.kind();
  return "outlier.incident." + (v1::IncidentChange::Kind_IsValid(kind) && kind != v1::IncidentChange::KIND_UNSPECIFIED ? KindWord(kind) : "changed");
}

void AppendOtlpRecord(const Finding& finding, WallTime now, size_t max_attributes, std::string* out) {
  const v1::Incident& incident = finding.incident();
  const std::string name = OtlpEventName(finding);
  ProtoWire record(out);
  const auto body = [&](std::string_view text) {
    record.Head(logs::LogRecord::kBodyFieldNumber, ProtoWire::SizeOfBytes(text.size()));
    record.Bytes(AnyValue::kStringValueFieldNumber, text);
  };
  const auto severity = [&](logs::SeverityNumber number, std::string_view text) {
    record.Integer(logs::LogRecord::kSeverityNumberFieldNumber, number);
    if (!text.empty()) record.Bytes(logs::LogRecord::kSeverityTextFieldNumber, text);
  };
  record.Fixed64(logs::LogRecord::kTimeUnixNanoFieldNumber, static_cast<uint64_t>(finding.change.has_time() ? UnixNanos(finding.change.time()) : UnixNanos(now)));
  record.Fixed64(logs::LogRecord::kObservedTimeUnixNanoFieldNumber, static_cast<uint64_t>(UnixNanos(now)));
  record.Bytes(logs::LogRecord::kEventNameFieldNumber, name);
  if (finding.gap) {
    severity(logs::SEVERITY_NUMBER_WARN, "WARNING");
    body(GapSentence(*finding.gap));
  } else {
    severity(SeverityOf(incident.severity()), incident.severity() == v1::Incident::SEVERITY_UNSPECIFIED ? "" : v1::Incident::Severity_Name(incident.severity()));
    std::string escaped;
    body(Plain(incident.summary(), kMaxValue, &escaped));
  }
  OtlpAttributes a(out, logs::LogRecord::kAttributesFieldNumber, max_attributes);
  a.Text("event.name", name);  // what receivers look for that do not know the field
  a.Text("outlier.change.id", FindingKey(finding));
  if (finding.silence) {
    a.Text("outlier.silence.id", finding.silence->id());
    a.Text("outlier.silence.author", finding.silence->author());
    a.Text("outlier.silence.reason", finding.silence->reason());
  }
  if (finding.gap) {
    a.Integer("outlier.gap.first_sequence", Signed(finding.gap->first_sequence));
    a.Integer("outlier.gap.last_sequence", Signed(finding.gap->last_sequence));
    a.Integer("outlier.gap.lost", Signed(finding.gap->lost));
    a.Text("outlier.gap.reason", finding.gap->reason);
  } else {
    a.Integer("outlier.change.sequence", Signed(finding.change.sequence()));
    a.Text("outlier.change.kind", v1::IncidentChange::Kind_Name(finding.change.kind()));
    AddIncident(incident, &a);
  }
  if (a.dropped() > 0) record.Integer(logs::LogRecord::kDroppedAttributesCountFieldNumber, a.dropped());
}

}  // namespace outlier
