// Azure Monitor, Logs Ingestion: every change is a row of a table of one's own (deploy/azure). Names of columns are letters only, times are
// datetime, what is nested is dynamic. There is no identity: a batch that is sent twice is there twice, told apart by FeedId and Sequence.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/sinks/entra_token.h"
#include "userspace/sinks/sink.h"
#include "userspace/sinks/vendor_events.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

constexpr size_t kBody = 1'000'000;          // of 1 MB, inflated too
constexpr size_t kField = 60'000;            // of 64 KiB
constexpr size_t kText = 4096;
constexpr size_t kMostContributions = 20, kMostSuspects = 10, kMostRelated = 100, kMostLabels = 50;

template <class Enum>
Json Word(const std::string& name, Enum value) {
  return value == 0 ? Json("") : Json(name);
}

// A row has every column of its kind, so that the rule's declaration and the rows are easily compared; null is what is not known.
class Row {
 public:
  void Text(const char* column, std::string_view text) { row_[column] = TruncateBytes(text, kText); }
  void Number(const char* column, double value) { row_[column] = std::isfinite(value) ? Json(value) : Json(nullptr); }
  void Value(const char* column, Json value) { row_[column] = std::move(value); }
  template <class Time>
  void When(const char* column, bool known, const Time& time) {
    row_[column] = known ? Json(Rfc3339(time)) : Json(nullptr);
  }
  // Cut from its end until it fits into a field.
  void Dynamic(const char* column, Json array) {
    while (!array.empty() && Dump(array).size() > kField) array.erase(array.size() - 1);
    row_[column] = std::move(array);
  }
  Json Take() { return std::move(row_); }

 private:
  Json row_ = Json::object();
};

void AddWorkload(const v1::Workload& workload, Row* row) {
  row->Text("Workload", workload.name());
  row->Value("WorkloadKind", Word(v1::Workload::Kind_Name(workload.kind()), workload.kind()));
  row->Text("Executable", workload.executable());
  row->Text("ContainerId", workload.container_id());
  row->Text("Pod", workload.pod());
  row->Text("Namespace", workload.namespace_());
  row->Text("User", workload.user());
}

void AddLead(const v1::Incident& incident, Row* row) {
  const bool any = incident.contributions_size() > 0;
  const v1::Contribution& lead = any ? incident.contributions(0) : v1::Contribution::default_instance();
  const auto number = [&](const char* column, double value) { any ? row->Number(column, value) : row->Value(column, nullptr); };
  row->Text("LeadSeries", any ? SeriesName(lead) : "");
  row->Text("LeadUnit", lead.unit());
  number("LeadObserved", lead.observed());
  number("LeadExpected", lead.expected());
  number("LeadLower", lead.lower());
  number("LeadUpper", lead.upper());
  number("LeadTailProbability", lead.tail_probability());
}

Json RowOf(const Finding& finding) {
  const v1::Incident& incident = finding.incident();
  Row row;
  // The service moves a TimeGenerated of more than two days ago to now: ChangeTime stays.
  row.When("TimeGenerated", true, finding.change.time());
  row.When("ChangeTime", true, finding.change.time());
  row.Text("Action", finding.gap ? "gap" : KindWord(finding.change.kind()));
  row.Text("Summary", Headline(finding));
  row.Text("Details", DetailText(finding));
  row.Text("HostName", incident.source().host_name());
  row.Text("HostId", incident.source().host_id());
  row.Text("BootId", incident.source().boot_id());
  row.Text("FeedId", incident.source().feed_id());
  row.Value("Sequence", finding.change.sequence());
  row.Text("IncidentId", incident.id());
  row.Value("State", Word(v1::Incident::State_Name(incident.state()), incident.state()));
  row.Value("Severity", Word(v1::Incident::Severity_Name(incident.severity()), incident.severity()));
  row.Value("Pattern", Word(v1::Incident::Pattern_Name(incident.pattern()), incident.pattern()));
  row.Number("Score", incident.score());
  row.Value("Acknowledged", incident.acknowledged());
  row.Text("Feedback", incident.feedback());
  AddWorkload(incident.workload(), &row);
  row.When("OnsetTime", incident.has_onset_time(), incident.onset_time());
  row.When("OpenedTime", incident.has_opened_time(), incident.opened_time());
  row.When("ResolvedTime", incident.has_resolved_time(), incident.resolved_time());
  row.Value("RestartCause", Word(v1::Restart::Cause_Name(incident.restart().cause()), incident.restart().cause()));
  row.Value("RestartCount", incident.restart().count());
  AddLead(incident, &row);
  row.Dynamic("Contributions", ContributionsOf(incident, kMostContributions));
  row.Dynamic("Suspects", SuspectsOf(incident, kMostSuspects));
  Json related = Json::array();
  for (int i = 0; i < incident.related_incident_ids_size() && related.size() < kMostRelated; ++i) {
    related.push_back(TruncateBytes(incident.related_incident_ids(i), 128));
  }
  row.Dynamic("RelatedIncidentIds", std::move(related));
  Json labels = Json::object();
  for (const auto& [key, value] : *finding.labels) {
    if (labels.size() < kMostLabels) labels[TruncateBytes(key, 128)] = TruncateBytes(value, 512);
  }
  row.Value("Labels", std::move(labels));
  row.Text("SilenceId", finding.silence ? finding.silence->id() : "");
  row.Value("ChangesLost", finding.gap ? Json(finding.gap->lost) : Json(nullptr));
  return row.Take();
}

class AzureLogs final : public StreamSink {
 public:
  explicit AzureLogs(const SinkContext& context)
      : token_(context.config.azure_logs().credentials(), AzureMonitorScope(context.config.azure_logs().url())),
        compress_(context.config.delivery().compression() != "none") {
    const config::v1::AzureLogs& config = context.config.azure_logs();
    const std::string stream = config.stream().empty() ? "Custom-OutlierIncidents" : config.stream();
    url_ = JoinUrl(config.url(), fmt::format("/dataCollectionRules/{}/streams/{}?api-version=2023-01-01", PercentEncode(config.rule_id()),
                                             PercentEncode(stream)));
  }

  Limits limits() const override {
    return {.max_items = 2000, .max_bytes = kBody, .changes = true, .samples = false, .oldest = std::chrono::nanoseconds(0), .history = true};
  }

  std::optional<Preparation> Prepare(WallTime now) override { return token_.Prepare(now); }
  Outcome Prepared(const Response& response, WallTime now) override { return token_.Prepared(response, now); }
  std::optional<Preparation> Check() override {
    absl::StatusOr<Preparation> asked = token_.Ask();
    if (!asked.ok()) return std::nullopt;
    return *std::move(asked);
  }

  absl::StatusOr<Request> Encode(std::span<const Finding> findings, WallTime now) override {
    const absl::StatusOr<std::string> token = token_.Token(now);
    if (!token.ok()) return token.status();
    std::string body = "[";
    for (const Finding& finding : findings) {
      if (body.size() > 1) body += ',';
      body += Dump(RowOf(finding));
    }
    body += ']';
    Request request = JsonPost(url_, std::move(body));
    request.headers.emplace_back("Authorization", "Bearer " + *token);
    request.secrets.push_back(*token);
    request.compress = compress_;
    return request;
  }

  Outcome Judge(const Response& response, std::span<const Finding> findings) override {
    Outcome outcome = JudgeHttp(response, findings.size());
    // A token may be withdrawn before its time; with another the next try shows whether it was that.
    if (response.answered() && response.status == 401) token_.Forget();
    return outcome;
  }

 private:
  EntraToken token_;
  const bool compress_;
  std::string url_;
};

}  // namespace

namespace sinks {

absl::StatusOr<AnySink> MakeAzureLogs(const SinkContext& context) {
  const config::v1::AzureLogs& config = context.config.azure_logs();
  if (auto status = CheckGiven("azure_logs.url", config.url()); !status.ok()) return status;
  if (auto status = CheckUrl("azure_logs.url", config.url()); !status.ok()) return status;
  if (auto status = CheckGiven("azure_logs.rule_id", config.rule_id()); !status.ok()) return status;
  if (!config.stream().empty() && !config.stream().starts_with("Custom-")) {
    return absl::InvalidArgumentError("azure_logs.stream: expected a stream of the rule, Custom-<name>");
  }
  if (auto status = EntraToken::CheckConfig("azure_logs.credentials", config.credentials()); !status.ok()) return status;
  return AnySink{.stream = std::make_unique<AzureLogs>(context), .state = nullptr, .kind = {}};
}

}  // namespace sinks
}  // namespace outlier
