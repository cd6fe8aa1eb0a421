#include "userspace/sinks/documents.h"

#include <fmt/format.h>

#include "userspace/sinks/json_text.h"

namespace outlier {
namespace {

constexpr std::string_view kEcsVersion = "8.17.0";

// "" for what is not given, and for numbers that this program has no name for.
template <class Enum, class Name>
std::string_view Word(Enum value, Name name) {
  return static_cast<int>(value) == 0 ? std::string_view() : std::string_view(name(value));
}

std::string_view Word(v1::Workload::Kind kind) { return Word(kind, [](auto k) -> const std::string& { return v1::Workload::Kind_Name(k); }); }
std::string_view Word(v1::Incident::State state) { return Word(state, [](auto s) -> const std::string& { return v1::Incident::State_Name(s); }); }
std::string_view Word(v1::Incident::Severity severity) {
  return Word(severity, [](auto s) -> const std::string& { return v1::Incident::Severity_Name(s); });
}
std::string_view Word(v1::Incident::Pattern pattern) { return Word(pattern, [](auto p) -> const std::string& { return v1::Incident::Pattern_Name(p); }); }
std::string_view Word(v1::Contribution::Direction direction) {
  return Word(direction, [](auto d) -> const std::string& { return v1::Contribution::Direction_Name(d); });
}
std::string_view Word(v1::Restart::Cause cause) { return Word(cause, [](auto c) -> const std::string& { return v1::Restart::Cause_Name(c); }); }
std::string_view Word(v1::IncidentChange::Kind kind) { return Word(kind, [](auto k) -> const std::string& { return v1::IncidentChange::Kind_Name(k); }); }

// event.type and event.action, of ECS.
struct EventWords {
  std::string_view type, action;
};
EventWords WordsOf(v1::IncidentChange::Kind kind) {
  switch (kind) {
    case v1::IncidentChange::OPENED: return {"start", "outlier.incident.opened"};
    case v1::IncidentChange::RESOLVED: return {"end", "outlier.incident.resolved"};
    case v1::IncidentChange::ACKNOWLEDGED: return {"info", "outlier.incident.acknowledged"};
    case v1::IncidentChange::FEEDBACK: return {"info", "outlier.incident.feedback"};
    default: return {"info", "outlier.incident.updated"};
  }
}

void WriteStart(bool given, const google::protobuf::Timestamp& time, WallTime now, JsonText* json) {
  json->Time("@timestamp", given ? time : ToTimestamp(now));
}

void WriteField(const std::string& name, const std::string& value, JsonText* json) {
  if (!name.empty()) json->Text(name, value);
}

void WriteLabels(const std::shared_ptr<const Labels>& labels, JsonText* json) {
  if (labels == nullptr) return;
  json->Object("labels", [&] {
    FieldNames names(false);
    for (const auto& [key, value] : *labels) WriteField(names.Of(key), value, json);
  });
}

void WriteHost(const v1::Source& source, JsonText* json) {
  json->Object("host", [&] {
    json->Text("id", source.host_id());
    json->Text("name", source.host_name());
    if (!source.boot_id().empty()) json->Object("boot", [&] { json->Text("id", source.boot_id()); });
  });
}

// The names that other tools know a workload's parts by.
void WriteWorkloadAsEcs(const v1::Workload& workload, JsonText* json) {
  json->Object("service", [&] { json->Text("name", workload.name()); });
  json->Object("container", [&] { json->Text("id", workload.container_id()); });
  json->Object("orchestrator", [&] {
    json->Text("namespace", workload.namespace_());
    json->Object("resource", [&] { json->Text("name", workload.pod()); });
  });
  json->Object("process", [&] {
    json->Text("executable", workload.executable());
    if (workload.kind() == v1::Workload::EXECUTABLE) json->Text("name", workload.name());
  });
  json->Object("user", [&] { json->Text("name", workload.user()); });
}

void WriteWorkload(const v1::Workload& workload, JsonText* json) {
  json->Object("workload", [&] {
    json->Text("name", workload.name());
    json->Text("kind", Word(workload.kind()));
    json->Text("executable", workload.executable());
    json->Text("container_id", workload.container_id());
    json->Text("unit", workload.unit());
    json->Text("pod", workload.pod());
    json->Text("namespace", workload.namespace_());
    json->Text("user", workload.user());
    json->Text("script", workload.script());
  });
}

// As SeriesName() says it, in place.
template <class Attributed>
void WriteSeries(const Attributed& of, JsonText* json) {
  if (of.attributes().empty()) return json->Text("series", of.signal());
  const auto& [key, value] = *of.attributes().begin();
  json->Joined("series", of.signal(), "{", key, "=", value, "}");
}

template <class Attributed>
void WriteAttributes(const Attributed& of, JsonText* json) {
  json->Object("attributes", [&] {
    FieldNames names(true);
    for (const auto& [key, value] : of.attributes()) WriteField(names.Of(key), value, json);
  });
}

void WriteEvidence(const v1::Contribution& c, JsonText* json) {
  json->Text("signal", c.signal());
  json->Text("unit", c.unit());
  WriteSeries(c, json);
  json->Text("direction", Word(c.direction()));
  json->Real("observed", c.observed());
  json->Real("expected", c.expected());
  json->Real("lower", c.lower());
  json->Real("upper", c.upper());
  json->Real("tail_probability", c.tail_probability());
}

void WriteRestart(const v1::Restart& restart, JsonText* json) {
  json->Object("restart", [&] {
    json->Text("cause", Word(restart.cause()));
    json->Integer("exit_code", restart.exit_code());
    json->Integer("signal", restart.signal());
    json->Integer("count", restart.count());
  });
}

void WriteSuspect(const v1::Suspect& suspect, JsonText* json) {
  json->Object([&] {
    WriteWorkload(suspect.workload(), json);
    if (suspect.has_process()) {
      json->Object("process", [&] {
        json->Integer("pid", suspect.process().pid());
        json->Text("executable", suspect.process().executable());
      });
    }
    json->Real("share", suspect.share());
    json->Array("evidence", [&] {
      for (const std::string& sentence : suspect.evidence()) json->Text(sentence);
    });
  });
}

void WriteCoverage(const v1::Coverage& coverage, JsonText* json) {
  json->Object("coverage", [&] {
    json->Unsigned("events_lost", coverage.events_lost());
    json->Real("sampled_share", coverage.sampled_share());
    json->Array("probes_missing", [&] {
      for (const std::string& probe : coverage.probes_missing()) json->Text(probe);
    });
  });
}

void WriteIncident(const v1::Incident& incident, JsonText* json) {
  json->Object("incident", [&] {
    json->Text("id", incident.id());
    json->Text("state", Word(incident.state()));
    json->Text("severity", Word(incident.severity()));
    json->Text("pattern", Word(incident.pattern()));
    json->Text("feedback", incident.feedback());
    json->Single("score", incident.score());
    json->Text("summary", incident.summary());
    json->Flag("acknowledged", incident.acknowledged());
    if (incident.has_onset_time()) json->Time("onset_time", incident.onset_time());
    if (incident.has_opened_time()) json->Time("opened_time", incident.opened_time());
    if (incident.has_updated_time()) json->Time("updated_time", incident.updated_time());
    if (incident.has_resolved_time()) json->Time("resolved_time", incident.resolved_time());
    const auto real_if_given = [&](std::string_view key, double value) {
      if (value != 0) json->Real(key, value);  // 0: not given, says feed.proto
    };
    real_if_given("recurrences_per_week", incident.recurrences_per_week());
    real_if_given("promised_per_week", incident.promised_per_week());
    real_if_given("feedback_factor", incident.feedback_factor());
    real_if_given("growth_per_second", incident.growth_per_second());
    if (incident.has_time_to_exhaustion()) {
      json->Real("time_to_exhaustion_seconds", static_cast<double>(incident.time_to_exhaustion().seconds()) + incident.time_to_exhaustion().nanos() * 1e-9);
    }
    if (incident.has_restart()) WriteRestart(incident.restart(), json);
    json->Array("contributions", [&] {
      for (const v1::Contribution& contribution : incident.contributions()) {
        json->Object([&] {
          WriteEvidence(contribution, json);
          WriteAttributes(contribution, json);
        });
      }
    });
    json->Array("suspects", [&] {
      for (const v1::Suspect& suspect : incident.suspects()) WriteSuspect(suspect, json);
    });
    json->Array("related_incident_ids", [&] {
      for (const std::string& id : incident.related_incident_ids()) json->Text(id);
    });
    json->Array("changes", [&] {
      for (const v1::LifeEvent& event : incident.changes()) {
        json->Object([&] {
          json->Text("kind", event.kind());
          if (event.has_time()) json->Time("time", event.time());
          json->Text("detail", event.detail());
        });
      }
    });
    if (incident.has_coverage()) WriteCoverage(incident.coverage(), json);
  });
}

void WriteSource(const v1::Source& source, JsonText* json) {
  json->Object("source", [&] {
    json->Text("host_id", source.host_id());
    json->Text("host_name", source.host_name());
    json->Text("boot_id", source.boot_id());
    json->Text("feed_id", source.feed_id());
  });
}

void WriteEvent(const Finding& finding, WallTime now, JsonText* json) {
  const v1::Incident& incident = finding.incident();
  const EventWords words = finding.gap ? EventWords{"info", "outlier.feed.gap"} : WordsOf(finding.change.kind());
  json->Object("event", [&] {
    json->Text("kind", finding.gap ? "pipeline_error" : "alert");
    json->Array("category", [&] { json->Text(finding.gap || incident.workload().kind() == v1::Workload::HOST ? "host" : "process"); });
    json->Array("type", [&] { json->Text(words.type); });
    json->Text("action", words.action);
    json->Text("id", FindingKey(finding));
    json->Text("module", "outlier");
    json->Text("dataset", "outlier.change");
    json->Time("created", ToTimestamp(now));
    if (finding.gap) return;
    json->Unsigned("sequence", finding.change.sequence());
    if (incident.severity() != v1::Incident::SEVERITY_UNSPECIFIED) json->Integer("severity", incident.severity());
    json->Single("risk_score", incident.score());
    if (incident.has_onset_time()) json->Time("start", incident.onset_time());
    if (incident.has_resolved_time()) json->Time("end", incident.resolved_time());
    json->Text("reason", incident.summary());
  });
}

void WriteGap(const Gap& gap, JsonText* json) {
  json->Object("gap", [&] {
    if (gap.last_sequence != 0) {
      json->Unsigned("first_sequence", gap.first_sequence);
      json->Unsigned("last_sequence", gap.last_sequence);
    }
    if (gap.lost != 0) json->Unsigned("lost", gap.lost);  // 0: unknown
    json->Text("reason", gap.reason);
  });
}

void WriteSilence(const relay::v1::Silence& silence, JsonText* json) {
  json->Object("silence", [&] {
    json->Text("id", silence.id());
    json->Text("author", silence.author());
    json->Text("reason", silence.reason());
  });
}

// A document of samples up to what is its own, below `outlier`.
template <class Fill>
void WriteSamples(const Samples& samples, std::string_view type_of_event, std::string_view dataset, std::string_view stream_namespace, WallTime now,
                  const v1::Workload* workload, std::string* out, Fill fill) {
  AppendDataStream("metrics", dataset, stream_namespace, out);
  JsonText json(out);
  WriteStart(samples.sample.has_time(), samples.sample.time(), now, &json);
  json.Object("ecs", [&] { json.Text("version", kEcsVersion); });
  json.Object("event", [&] {
    json.Text("kind", type_of_event);
    json.Text("module", "outlier");
    json.Text("dataset", dataset);
  });
  WriteLabels(samples.labels, &json);
  WriteHost(samples.source, &json);
  if (workload != nullptr) json.Object("service", [&] { json.Text("name", workload->name()); });
  json.Object("outlier", [&] {
    if (workload != nullptr) WriteWorkload(*workload, &json);
    fill(json);
  });
  *out += '}';
}

}  // namespace

void AppendDataStream(std::string_view type, std::string_view dataset, std::string_view stream_namespace, std::string* out) {
  *out += '{';
  JsonText json(out);
  json.Object("data_stream", [&] {
    json.Text("type", type);
    json.Text("dataset", dataset);
    json.Text("namespace", stream_namespace);
  });
  *out += ',';
}

std::string GapSentence(const Finding& finding) {
  const Gap& gap = *finding.gap;
  const std::string& host = finding.incident().source().host_name();
  const std::string which = gap.last_sequence == 0 ? "changes" : fmt::format("changes {} to {}", gap.first_sequence, gap.last_sequence);
  const std::string lost = gap.lost == 0 ? "how many are lost is unknown" : gap.lost == 1 ? "1 is lost" : fmt::format("{} are lost", gap.lost);
  return fmt::format("{} of the feed of {} did not arrive ({}): {}", which, host.empty() ? finding.feed_id() : host, gap.reason, lost);
}

void WriteFinding(const Finding& finding, WallTime now, std::string* out) {
  const v1::Incident& incident = finding.incident();
  out->clear();
  JsonText json(out);
  WriteStart(finding.change.has_time(), finding.change.time(), now, &json);
  if (finding.gap) {
    json.Text("message", GapSentence(finding));
  } else {
    json.Text("message", incident.summary());
  }
  json.Object("ecs", [&] { json.Text("version", kEcsVersion); });
  WriteEvent(finding, now, &json);
  WriteLabels(finding.labels, &json);
  WriteHost(incident.source(), &json);
  if (!finding.gap) WriteWorkloadAsEcs(incident.workload(), &json);
  json.Object("outlier", [&] {
    WriteSource(incident.source(), &json);
    if (finding.gap) return WriteGap(*finding.gap, &json);
    WriteWorkload(incident.workload(), &json);
    json.Object("change", [&] {
      json.Unsigned("sequence", finding.change.sequence());
      json.Text("kind", Word(finding.change.kind()));
    });
    WriteIncident(incident, &json);
    if (incident.contributions_size() > 0) json.Object("lead", [&] { WriteEvidence(incident.contributions(0), &json); });
    json.Array("influencers", [&] {
      for (const v1::Suspect& suspect : incident.suspects()) {
        if (!suspect.workload().name().empty()) json.Text(suspect.workload().name());
      }
    });
    if (finding.silence) WriteSilence(*finding.silence, &json);
  });
  *out += '}';
}

void AppendScore(const Samples& samples, const v1::WorkloadState& state, std::string_view stream_namespace, WallTime now, std::string* out) {
  WriteSamples(samples, "metric", "outlier.score", stream_namespace, now, &state.workload(), out, [&](JsonText& json) {
    json.Single("score", state.score());
    json.Object("state", [&] {
      json.Integer("processes", state.processes());
      json.Unsigned("restarts", state.restarts());
      json.Real("uptime_seconds", state.uptime_seconds());
      json.Real("cpu_utilization", state.cpu_utilization());
      json.Unsigned("memory_bytes", state.memory_bytes());
      json.Flag("warming_up", state.warming_up());
    });
  });
}

void AppendSignal(const Samples& samples, const v1::WorkloadState& state, const v1::SeriesValue& value, std::string_view stream_namespace, WallTime now,
                  std::string* out) {
  WriteSamples(samples, "metric", "outlier.signal", stream_namespace, now, &state.workload(), out, [&](JsonText& json) {
    json.Object("signal", [&] {
      json.Text("name", value.signal());
      json.Text("unit", value.unit());
      WriteSeries(value, &json);
      WriteAttributes(value, &json);
      json.Real("value", value.value());
      if (value.has_expected()) {
        json.Real("expected", value.expected());
        json.Real("lower", value.lower());
        json.Real("upper", value.upper());
        json.Real("tail_probability", value.tail_probability());
      }
    });
  });
}

void AppendHost(const Samples& samples, std::string_view stream_namespace, WallTime now, std::string* out) {
  const v1::Status& status = *samples.status;
  const v1::Budgets& budgets = status.budgets();
  WriteSamples(samples, "state", "outlier.host", stream_namespace, now, nullptr, out, [&](JsonText& json) {
    json.Object("budget", [&] {
      json.Object("false_alarms_per_week", [&] {
        json.Real("promised", budgets.false_alarms_per_week_promised());
        json.Real("achieved", budgets.false_alarms_per_week_achieved());
        json.Real("lower", budgets.false_alarms_per_week_lower());
        json.Real("upper", budgets.false_alarms_per_week_upper());
        json.Real("expected", budgets.false_alarms_per_week_expected());
      });
      json.Object("cpu_percent", [&] {
        json.Real("promised", budgets.cpu_percent_promised());
        json.Real("achieved", budgets.cpu_percent_achieved());
      });
      json.Object("memory_bytes", [&] {
        json.Unsigned("promised", budgets.memory_promised_bytes());
        json.Unsigned("achieved", budgets.memory_achieved_bytes());
      });
    });
    json.Object("host", [&] {
      json.Real("uptime_seconds", static_cast<double>(status.uptime().seconds()) + status.uptime().nanos() * 1e-9);
      json.Unsigned("ticks", status.ticks());
      json.Integer("workloads", status.workloads());
      json.Integer("processes", status.processes());
      json.Integer("series", status.series());
      json.Integer("warming_up", status.warming_up());
      json.Integer("open_incidents", status.open_incidents());
    });
    json.Object("losses", [&] {
      FieldNames names(false);
      for (const v1::LossCounter& loss : status.losses()) {
        if (const std::string name = names.Of(loss.name()); !name.empty()) json.Unsigned(name, loss.count());
      }
    });
  });
}

}  // namespace outlier
