// Splunk On-Call (VictorOps), its REST endpoint. An incident is one entity_id; the key is part of the path, so the whole address is a secret.
//
// CRITICAL opens an incident and pages; WARNING pages where the account says so. A quiet digest is an INFO: a line in the timeline that
// opens nothing. One about pages that were withheld is what the worst of them would have been, closed by a person.
//
// Known from a client's source and the vendor's glossary of fields; unverified: the bodies of answers, and 429.
#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/sinks/page_words.h"

namespace outlier {
namespace sinks {
namespace {

constexpr size_t kMostState = 20'480, kMostName = 500, kMostKey = 512;  // characters; the latter two chosen

const char* MessageType(const Page& page) {
  switch (page.action) {
    case Page::Action::kAcknowledge: return "ACKNOWLEDGEMENT";
    case Page::Action::kResolve: return "RECOVERY";
    case Page::Action::kDigest:
      if (page.digest_quiet) return "INFO";
      [[fallthrough]];
    default: return page.finding.incident().severity() >= v1::Incident::MAJOR ? "CRITICAL" : "WARNING";
  }
}

class SplunkOnCall : public StateSink {
 public:
  explicit SplunkOnCall(const SinkContext& context)
      : key_(context.config.splunk_on_call().api_key_file()),
        routing_key_(context.config.splunk_on_call().routing_key()),
        url_(context.config.splunk_on_call().url()),
        agent_(UserAgent(context)) {}

  Capabilities capabilities() const override { return {.acknowledge = true, .update = true}; }

  absl::StatusOr<Letters> Encode(std::span<const Page> pages, WallTime now) override {
    const absl::StatusOr<std::string> key = key_.Read();
    if (!key.ok()) return key.status();
    const std::string escaped = PercentEncode(*key);
    Request request;
    request.url = JoinUrl(url_, fmt::format("integrations/generic/20131114/alert/{}/{}", escaped, PercentEncode(routing_key_)));
    request.headers = {{"Content-Type", "application/json"}, agent_};
    request.body = Dump(Body(pages.front(), now));
    request.secrets = {*key, request.url};
    if (escaped != *key) request.secrets.push_back(escaped);
    Letters letters;
    letters.requests.push_back(std::move(request));
    return letters;
  }

  Outcome Judge(const Response& response, std::span<const Page> pages) override {
    Outcome outcome = JudgeService(response, pages.size());
    if (outcome.kind != Outcome::Kind::kItems) return outcome;
    const Json answer = ParseJson(response.body);
    const std::string result = answer.is_object() ? answer.value("result", Json()).is_string() ? answer["result"].get<std::string>() : "" : "";
    if (result == "success") return outcome;
    // Nobody says which failures are for good: a page must not be lost on a guess.
    return Outcome::Of(result == "failure" ? Outcome::Kind::kRetry : Outcome::Kind::kSuspend,
                       fmt::format("answered {} without success", Describe(response)));
  }

 private:
  static Json Body(const Page& page, WallTime now) {
    const v1::Incident& incident = page.finding.incident();
    Json body = {{"message_type", MessageType(page)}, {"entity_id", Truncate(page.key, kMostKey)},
                 {"entity_display_name", Headline(page, kMostName)}, {"monitoring_tool", "outlierd"}};
    switch (page.action) {
      case Page::Action::kAcknowledge: body["state_message"] = AcknowledgedWords(incident); break;
      case Page::Action::kResolve: body["state_message"] = ResolvedWords(incident); break;
      default: body["state_message"] = Story(page, kMostState);
    }
    if (page.action == Page::Action::kDigest) return body;
    const WallTime onset = incident.has_onset_time() ? Clamped(incident.onset_time(), now) : now;
    body["state_start_time"] = std::chrono::floor<std::chrono::seconds>(onset).time_since_epoch().count();
    body["host_name"] = HostWords(incident);
    body["outlier_workload"] = Truncate(Printable(incident.workload().name()), kMostName);
    body["outlier_severity"] = SeverityWord(incident.severity());
    body["outlier_score"] = fmt::format("{:.0f}", incident.score());
    for (const auto& [name, value] : LabelsOf(page.finding)) body["label_" + name] = value;
    return body;
  }

  SecretFile key_;
  const std::string routing_key_, url_;
  const std::pair<std::string, std::string> agent_;
};

}  // namespace

absl::StatusOr<AnySink> MakeSplunkOnCall(const SinkContext& context) {
  const config::v1::SplunkOnCall& config = context.config.splunk_on_call();
  if (absl::Status status = CheckGiven("splunk_on_call.api_key_file", config.api_key_file()); !status.ok()) return status;
  if (absl::Status status = CheckGiven("splunk_on_call.routing_key", config.routing_key()); !status.ok()) return status;
  if (absl::Status status = CheckUrl("splunk_on_call.url", config.url()); !status.ok()) return status;
  AnySink sink;
  sink.state = std::make_unique<SplunkOnCall>(context);
  return sink;
}

}  // namespace sinks
}  // namespace outlier
