#include "userspace/outlierctl/incident_view.h"

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/outlierctl/text_output.h"
#include "userspace/stream/incident_text.h"

namespace outlier::ctl {
namespace {

std::string Attributes(const v1::Contribution& c) {
  std::string text;
  for (const auto& [key, value] : c.attributes()) text += fmt::format("{}{}={}", text.empty() ? "" : ",", key, value);
  return text.empty() ? "" : "{" + text + "}";
}

void AddRow(Table& table, std::string_view title, std::string text, Style style = Style::kPlain) {
  if (!text.empty()) table.AddRow({{std::string(title), Style::kDim}, {std::move(text), style}});
}

void PrintContributions(Context& context, const v1::Incident& incident) {
  if (incident.contributions().empty()) return;
  context.out << "\ncontributions, most telling first\n";
  Table table;
  for (const v1::Contribution& c : incident.contributions()) {
    table.AddRow({{c.signal() + Attributes(c)},
                  {SignalWords(c) + " " + ObservedAndExpected(c)},
                  {fmt::format("tail probability {:.2g}", c.tail_probability())}});
  }
  table.Print(context, "  ");
}

void PrintSuspects(Context& context, const v1::Incident& incident) {
  if (incident.suspects().empty()) return;
  context.out << "\nsuspects\n";
  for (const v1::Suspect& s : incident.suspects()) {
    context.out << "  " << Printable(s.workload().name());
    if (s.process().pid() > 0) context.out << fmt::format(", process {} {}", s.process().pid(), Printable(s.process().executable()));
    context.out << fmt::format(", {:.0f} % of the evidence\n", s.share() * 100);
    for (const std::string& sentence : s.evidence()) context.out << "    " << Printable(sentence) << "\n";
  }
}

void PrintHistory(Context& context, const v1::Incident& incident) {
  if (incident.changes().empty()) return;
  context.out << "\nhistory\n";
  Table table;
  for (const v1::LifeEvent& e : incident.changes()) table.AddRow({{ClockTime(context, ToTime(e.time()))}, {e.kind()}, {e.detail()}});
  table.Print(context, "  ");
}

std::string Time(const Context& context, bool present, const google::protobuf::Timestamp& time) {
  return present ? RelativeTime(context, ToTime(time)) : "";
}

std::string RestartText(const v1::Restart& r) {
  return fmt::format("{}, exit code {}, signal {}, {} in the last hour", Word(r.cause()), r.exit_code(), r.signal(), r.count());
}

}  // namespace

void AddIncidentId(CLI::App& command, std::string* id) {
  command.add_option("ID", *id, "the incident's id, or a beginning of it that no other has")->required();
}

void PrintIncident(Context& context, const v1::Incident& i) {
  context.out << Styled(context, Style::kBold, Printable(i.summary())) << "\n\n";
  const v1::Workload& w = i.workload();
  Table table;
  AddRow(table, "id", i.id());
  AddRow(table, "state", Word(i.state()) + (i.acknowledged() ? ", acknowledged" : ""));
  AddRow(table, "severity", fmt::format("{} (score {:.0f})", Word(i.severity()), i.score()), SeverityStyle(i.severity()));
  AddRow(table, "pattern", Word(i.pattern()));
  AddRow(table, "workload", fmt::format("{} ({})", w.name(), Word(w.kind())));
  AddRow(table, "executable", w.executable());
  AddRow(table, "script", w.script());
  AddRow(table, "unit", w.unit());
  AddRow(table, "container", w.container_id());
  AddRow(table, "pod", w.pod().empty() ? "" : w.namespace_() + "/" + w.pod());
  AddRow(table, "user", w.user());
  AddRow(table, "host", i.source().host_name());
  AddRow(table, "onset", Time(context, i.has_onset_time(), i.onset_time()));
  AddRow(table, "opened", Time(context, i.has_opened_time(), i.opened_time()));
  AddRow(table, "updated", Time(context, i.has_updated_time(), i.updated_time()));
  AddRow(table, "resolved", Time(context, i.has_resolved_time(), i.resolved_time()));
  if (i.has_restart()) AddRow(table, "restart", RestartText(i.restart()));
  if (i.has_time_to_exhaustion()) AddRow(table, "full in", HumanDuration(static_cast<double>(i.time_to_exhaustion().seconds())));
  AddRow(table, "feedback", i.feedback());
  std::string related;
  for (const std::string& id : i.related_incident_ids()) related += (related.empty() ? "" : ", ") + id;
  AddRow(table, "related", related);
  std::string missing;
  for (const std::string& probe : i.coverage().probes_missing()) missing += ", without probe " + probe;
  AddRow(table, "coverage", fmt::format("{:.0f} % of the time observed, {} events lost{}", i.coverage().sampled_share() * 100,
                                        i.coverage().events_lost(), missing));
  table.Print(context);
  PrintContributions(context, i);
  PrintSuspects(context, i);
  PrintHistory(context, i);
}

std::string ChangeLine(const Context& context, const v1::IncidentChange& change) {
  return ChangeSentence(change, [&context](int64_t wall_ns) { return ClockTime(context, absl::FromUnixNanos(wall_ns)); });
}

}  // namespace outlier::ctl
