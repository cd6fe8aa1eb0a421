// PagerDuty, Events API v2. An incident is one alert, told apart by its dedup_key; PagerDuty wants every event of it to come by the same
// routing key, so one that is rotated in the midst leaves the alerts of the old one open there.
//
// An update is a trigger of the same key: PagerDuty writes it into the alert's log; whether it raises the urgency of an incident that is
// open is the service's setting, and one that was acknowledged stays quiet.
//
// A quiet digest is a change event: it stands beside the service's incidents and notifies nobody. Keys of rulesets (R...) take none; there it
// is an alert of severity info that is resolved at once. A digest of pages that were withheld is an alert of its own, as severe as the worst of
// them: it stays until a person has seen it.
#include <fmt/format.h>

#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/sinks/page_words.h"

namespace outlier {
namespace sinks {
namespace {

constexpr size_t kMostSummary = 1024, kMostKey = 255;
constexpr size_t kMostText = 1000, kMostRelated = 20;  // ours, well below 512 KB a request
// Told by the vendor in words only: some 120 events a minute and key, to be tried again after half a minute or more.
constexpr auto kThrottled = std::chrono::seconds(30);

std::string SeverityThere(v1::Incident::Severity severity) {
  switch (severity) {
    case v1::Incident::CRITICAL: return "critical";
    case v1::Incident::MAJOR: return "error";
    default: return "warning";  // info is for what is no incident
  }
}

// What kind of trouble it is: its first signal, else what happened to the process.
std::string ClassOf(const v1::Incident& incident) {
  if (incident.contributions_size() > 0) return Printable(SeriesName(incident.contributions(0)), 256);
  return incident.has_restart() ? "restart" : "";
}

class PagerDuty : public StateSink {
 public:
  explicit PagerDuty(const SinkContext& context)
      : key_(context.config.pagerduty().routing_key_file()), url_(context.config.pagerduty().url()), agent_(UserAgent(context)) {}

  Capabilities capabilities() const override { return {.acknowledge = true, .update = true}; }

  absl::StatusOr<Letters> Encode(std::span<const Page> pages, WallTime now) override {
    const absl::StatusOr<std::string> key = key_.Read();
    if (!key.ok()) return key.status();
    const Page& page = pages.front();
    Letters letters;
    switch (page.action) {
      case Page::Action::kOpen:
      case Page::Action::kUpdate:
      case Page::Action::kRepeat: letters.requests.push_back(Trigger(page, *key, now)); break;
      case Page::Action::kAcknowledge: letters.requests.push_back(FollowUp(page, *key, "acknowledge")); break;
      case Page::Action::kResolve: letters.requests.push_back(FollowUp(page, *key, "resolve")); break;
      case Page::Action::kDigest:
        if (page.digest_quiet && !key->starts_with('R')) {
          letters.requests.push_back(Change(page, *key, now));
        } else {
          letters.requests.push_back(Trigger(page, *key, now));
          if (page.digest_quiet) letters.requests.push_back(FollowUp(page, *key, "resolve"));
        }
        break;
    }
    return letters;
  }

  Outcome Judge(const Response& response, std::span<const Page> pages) override {
    Outcome outcome = JudgeService(response, pages.size());
    if (outcome.kind == Outcome::Kind::kRetry && response.status == 429 && !outcome.retry_after) outcome.retry_after = kThrottled;
    // A wrong key is refused with the same code as a wrong event, but no other event would fare better.
    const bool of_key = response.body.find("routing_key") != std::string::npos || response.body.find("routing key") != std::string::npos;
    if (outcome.kind == Outcome::Kind::kRefused && of_key) outcome.kind = Outcome::Kind::kSuspend;
    return outcome;
  }

  // Resolves what was never triggered, which PagerDuty drops: proves the way there and the form of the key.
  std::optional<Preparation> Check() override {
    const absl::StatusOr<std::string> key = key_.Read();
    if (!key.ok()) return std::nullopt;
    Page page;
    page.key = "outlier-relay-check";
    return Preparation{FollowUp(page, *key, "resolve"), fmt::format("resolve nothing at {}", url_)};
  }

 private:
  Request Post(std::string_view path, const std::string& key, const Json& body) const {
    Request request;
    request.url = JoinUrl(url_, path);
    request.headers = {{"Content-Type", "application/json"}, agent_};
    request.body = Dump(body);
    request.secrets = {key};
    return request;
  }

  Request FollowUp(const Page& page, const std::string& key, std::string_view action) const {
    return Post("v2/enqueue", key, Json{{"routing_key", key}, {"event_action", action}, {"dedup_key", TruncateBytes(page.key, kMostKey)}});
  }

  Request Trigger(const Page& page, const std::string& key, WallTime now) const {
    Json payload = {{"summary", Headline(page, kMostSummary)}, {"source", HostWords(page.finding.incident())}};
    if (page.action == Page::Action::kDigest) {
      payload["severity"] = page.digest_quiet ? "info" : SeverityThere(page.finding.incident().severity());
      payload["timestamp"] = Rfc3339(now);
      payload["class"] = "digest";
      payload["custom_details"] = Json{{"digest", Story(page, 10 * kMostText)}};
    } else {
      Describe(page, now, &payload);
    }
    return Post("v2/enqueue", key,
                Json{{"routing_key", key}, {"event_action", "trigger"}, {"dedup_key", TruncateBytes(page.key, kMostKey)}, {"client", "outlierd"},
                     {"payload", std::move(payload)}});
  }

  static void Describe(const Page& page, WallTime now, Json* payload) {
    const v1::Incident& incident = page.finding.incident();
    (*payload)["severity"] = SeverityThere(incident.severity());
    (*payload)["timestamp"] = Rfc3339(page.finding.change.has_time() ? Clamped(page.finding.change.time(), now) : now);
    const auto put = [payload](const char* name, const std::string& value) {
      if (!value.empty()) (*payload)[name] = Truncate(value, 256);
    };
    put("component", Printable(incident.workload().name(), 256));
    put("group", Printable(incident.workload().namespace_(), 256));
    put("class", ClassOf(incident));
    Json details = Json::object();
    for (const auto& [name, value] : Facts(incident)) details[name] = Truncate(value, kMostText);
    if (!page.related.empty()) {
      details["related"] = Json::array();
      for (size_t i = 0; i < std::min(page.related.size(), kMostRelated); ++i) {
        details["related"].push_back(Truncate(Printable(page.related[i]), kMostText));
      }
    }
    Json labels = Json::object();
    for (const auto& [name, value] : LabelsOf(page.finding)) labels[name] = value;
    if (!labels.empty()) details["labels"] = std::move(labels);
    (*payload)["custom_details"] = std::move(details);
  }

  Request Change(const Page& page, const std::string& key, WallTime now) const {
    return Post("v2/change/enqueue", key,
                Json{{"routing_key", key},
                     {"payload", Json{{"summary", Headline(page, kMostSummary)}, {"source", HostWords(page.finding.incident())},
                                      {"timestamp", Rfc3339(now)}, {"custom_details", Json{{"digest", Story(page, 10 * kMostText)}}}}}});
  }

  SecretFile key_;
  const std::string url_;
  const std::pair<std::string, std::string> agent_;
};

}  // namespace

absl::StatusOr<AnySink> MakePagerDuty(const SinkContext& context) {
  const config::v1::PagerDuty& config = context.config.pagerduty();
  if (absl::Status status = CheckGiven("pagerduty.routing_key_file", config.routing_key_file()); !status.ok()) return status;
  if (absl::Status status = CheckUrl("pagerduty.url", config.url()); !status.ok()) return status;
  AnySink sink;
  sink.state = std::make_unique<PagerDuty>(context);
  return sink;
}

}  // namespace sinks
}  // namespace outlier
