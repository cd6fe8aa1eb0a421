// Datadog: every change is an event (Events v2, category alert); those of one incident share an aggregation key, so that status ok ends what
// status warn or error began. Scores and signals are series (Metrics v2).
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "absl/strings/numbers.h"
#include "userspace/base/text.h"
#include "userspace/sinks/sink.h"
#include "userspace/sinks/vendor_events.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

using namespace std::chrono_literals;

constexpr size_t kTitle = 500, kMessage = 4000, kHost = 255, kTag = 200, kMostTags = 100, kKey = 100;  // characters, of events
constexpr size_t kCustomText = 1024, kMostContributions = 10, kMostSuspects = 10;
constexpr auto kOldestEvent = 18h - 5min;  // 18 h there; the margin is for the way and for clocks that differ
constexpr std::chrono::minutes kOldestPoint{60}, kNewestPoint{10};
constexpr size_t kSeriesBytes = 450'000;  // of 512,000 that are taken, whether compressed or not
constexpr double kMostWait = 86'400;

// A name after @ is somebody to notify there, and names of units hold @: a space of no width keeps them from it.
std::string Unmentioned(std::string_view text) {
  std::string out;
  for (const char c : text) {
    out += c;
    if (c == '@') out += "\u200b";
  }
  return out;
}

class Tags {
 public:
  void Add(std::string_view key, std::string_view value) {
    if (value.empty() || tags_.size() == kMostTags) return;
    tags_.push_back(TruncateBytes(Printable(fmt::format("{}:{}", key, value)), kTag));
  }
  Json Take() { return std::move(tags_); }

 private:
  Json tags_ = Json::array();
};

std::string_view Priority(v1::Incident::Severity severity) {
  switch (severity) {
    case v1::Incident::CRITICAL: return "1";
    case v1::Incident::MAJOR: return "2";
    case v1::Incident::MINOR: return "3";
    default: return "4";
  }
}

std::string_view StatusWord(const Finding& finding) {
  if (IsOver(finding)) return "ok";
  return !finding.gap && finding.incident().severity() >= v1::Incident::MAJOR ? "error" : "warn";
}

Json TagsOf(const Finding& finding) {
  const v1::Incident& incident = finding.incident();
  Tags tags;
  tags.Add("source", "outlier");
  tags.Add("action", finding.gap ? "gap" : KindWord(finding.change.kind()));
  if (!finding.gap) {
    tags.Add("workload", incident.workload().name());
    tags.Add("severity", SeverityWord(incident.severity()));
    if (incident.pattern() != v1::Incident::PATTERN_UNSPECIFIED) tags.Add("pattern", v1::Incident::Pattern_Name(incident.pattern()));
    if (incident.contributions_size() > 0) tags.Add("signal", incident.contributions(0).signal());
    tags.Add("pod_name", incident.workload().pod());
    tags.Add("kube_namespace", incident.workload().namespace_());
    tags.Add("container_id", incident.workload().container_id());
  }
  if (finding.silence) tags.Add("silenced", "true");
  for (const auto& [key, value] : *finding.labels) tags.Add(key, value);
  return tags.Take();
}

Json CustomOf(const Finding& finding) {
  Json custom = Nested(FieldsOf(finding, kCustomText));
  custom.erase("message");
  if (!finding.gap) {
    custom["outlier"]["incident"]["contributions"] = ContributionsOf(finding.incident(), kMostContributions);
    custom["outlier"]["incident"]["suspects"] = SuspectsOf(finding.incident(), kMostSuspects);
  }
  return custom;
}

Json EventOf(const Finding& finding, WallTime now) {
  const std::string headline = Unmentioned(Headline(finding));
  Json attributes = Json::object();
  attributes["category"] = "alert";
  attributes["integration_id"] = "custom-events";
  attributes["title"] = Truncate(headline, kTitle);
  const std::string details = Unmentioned(DetailText(finding));
  attributes["message"] = Truncate(details.empty() ? headline : details, kMessage);
  const std::string& host = finding.incident().source().host_name();
  if (!host.empty()) attributes["host"] = Truncate(Printable(host), kHost);
  attributes["tags"] = TagsOf(finding);
  attributes["aggregation_key"] = BoundedKey(Printable(finding.gap ? FindingKey(finding) : IncidentKey(finding.incident())), kKey);
  // An end that is too old to be taken is an end all the same: else the alert stays open there.
  const bool too_old = IsOver(finding) && TimeOf(finding.change.time()) + kOldestEvent < now;
  attributes["timestamp"] = too_old ? Rfc3339(now) : Rfc3339(finding.change.time());
  attributes["attributes"] = {{"status", StatusWord(finding)},
                              {"priority", finding.gap || finding.silence ? "5" : Priority(finding.incident().severity())},
                              {"custom", CustomOf(finding)}};
  return {{"data", {{"type", "event"}, {"attributes", std::move(attributes)}}}};
}

// Datadog's names of units; a unit that it does not know is not told.
std::string_view UnitWord(std::string_view ucum) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kWords = {
      {{"By", "byte"}, {"s", "second"}, {"%", "percent"}, {"{process}", "process"}, {"{thread}", "thread"}}};
  for (const auto& [from, to] : kWords) {
    if (from == ucum) return to;
  }
  return "";
}

std::string SeriesOf(const Gauge& gauge, const std::string& host, int64_t seconds, const Labels& labels) {
  Tags tags;
  for (const auto& [key, value] : gauge.dimensions) tags.Add(key, value);
  for (const auto& [key, value] : labels) tags.Add(key, value);
  Json series = {{"metric", gauge.name}, {"type", 3}};  // a gauge
  series["points"] = Json::array({{{"timestamp", seconds}, {"value", gauge.value}}});
  series["tags"] = tags.Take();
  if (const std::string_view unit = UnitWord(gauge.unit); !unit.empty()) series["unit"] = unit;
  if (!host.empty()) series["resources"] = Json::array({{{"type", "host"}, {"name", host}}});
  series["source_type_name"] = "outlier";
  return Dump(series);
}

class Datadog final : public StreamSink {
 public:
  explicit Datadog(const SinkContext& context)
      : key_(context.config.datadog().api_key_file()), compress_(context.config.delivery().compression() != "none") {
    const config::v1::Datadog& config = context.config.datadog();
    const std::string site = config.site().empty() ? "datadoghq.com" : config.site();
    events_ = config.events_url().empty() ? fmt::format("https://event-management-intake.{}", site) : config.events_url();
    metrics_ = config.metrics_url().empty() ? fmt::format("https://api.{}", site) : config.metrics_url();
  }

  Limits limits() const override { return {.max_items = 1, .max_bytes = 1'000'000, .changes = true, .samples = true, .oldest = kOldestEvent}; }

  absl::StatusOr<Request> Encode(std::span<const Finding> findings, WallTime now) override {
    Request request = JsonPost(JoinUrl(events_, "/api/v2/events"), Dump(EventOf(findings.front(), now)));
    if (auto status = Authorize(&request); !status.ok()) return status;
    return request;
  }

  Outcome Judge(const Response& response, std::span<const Finding> findings) override {
    Outcome outcome = JudgeWithReset(response, findings.size());
    if (outcome.kind == Outcome::Kind::kRefused && response.status == 400 && SaysTooOld(response.body)) {
      outcome = {Outcome::Kind::kItems, {findings.size(), ItemOutcome::kExpired}, {findings.size(), outcome.reason}, {}, {}, {}};
    }
    return outcome;
  }

  std::vector<Request> EncodeSamples(const Samples& samples, WallTime now) override {
    std::vector<Request> requests;
    const WallTime time = TimeOf(samples.sample.time());
    if (now - time > kOldestPoint || time - now > kNewestPoint) return requests;
    const std::string host = Truncate(Printable(samples.source.host_name()), kHost);
    std::string body;
    const auto flush = [&] {
      if (body.empty()) return;
      Request request = JsonPost(JoinUrl(metrics_, "/api/v2/series"), fmt::format("{{\"series\":[{}]}}", body));
      body.clear();
      request.compress = compress_;
      if (Authorize(&request).ok()) requests.push_back(std::move(request));  // a key that cannot be read is told by the next change
    };
    for (const Gauge& gauge : GaugesOf(samples)) {
      const std::string one = SeriesOf(gauge, host, Seconds(samples.sample.time()), *samples.labels);
      if (body.size() + one.size() > kSeriesBytes) flush();
      if (!body.empty()) body += ',';
      body += one;
    }
    flush();
    return requests;
  }

  Outcome JudgeSamples(const Response& response) override {
    Outcome outcome = JudgeWithReset(response, 1);
    const Json answer = ParseJson(response.body);
    const bool errors = answer.is_object() && answer.contains("errors") && answer["errors"].is_array() && !answer["errors"].empty();
    if (outcome.kind == Outcome::Kind::kItems && errors) outcome.warning = Describe(response);
    return outcome;
  }

  std::optional<Preparation> Check() override {
    Preparation check{.request = {}, .what = fmt::format("ask {} whether the key is valid", metrics_)};
    check.request.method = "GET";
    check.request.url = JoinUrl(metrics_, "/api/v1/validate");
    if (!Authorize(&check.request).ok()) return std::nullopt;
    return check;
  }

 private:
  absl::Status Authorize(Request* request) {
    const absl::StatusOr<std::string> key = key_.Read();
    if (!key.ok()) return key.status();
    request->headers.emplace_back("DD-API-KEY", *key);
    request->secrets.push_back(*key);
    return absl::OkStatus();
  }

  // Its throttling says how long in X-Ratelimit-Reset, in seconds, not in Retry-After.
  static Outcome JudgeWithReset(const Response& response, size_t items) {
    Outcome outcome = JudgeHttp(response, items);
    const std::string_view text = response.Header("x-ratelimit-reset");
    double seconds = 0;
    if (outcome.kind == Outcome::Kind::kRetry && response.status == 429 && absl::SimpleAtod(absl::string_view(text.data(), text.size()), &seconds) &&
        seconds >= 0) {
      outcome.retry_after = std::chrono::nanoseconds(static_cast<int64_t>(std::min(seconds, kMostWait) * 1e9));
    }
    return outcome;
  }

  SecretFile key_;
  const bool compress_;
  std::string events_, metrics_;
};

}  // namespace

namespace sinks {

absl::StatusOr<AnySink> MakeDatadog(const SinkContext& context) {
  const config::v1::Datadog& config = context.config.datadog();
  if (auto status = CheckGiven("datadog.api_key_file", config.api_key_file()); !status.ok()) return status;
  for (const auto& [key, url] : {std::pair("datadog.events_url", config.events_url()), std::pair("datadog.metrics_url", config.metrics_url())}) {
    if (url.empty()) continue;
    if (auto status = CheckUrl(key, url); !status.ok()) return status;
  }
  // It becomes a part of host names.
  if (auto status = CheckHostPart("datadog.site", config.site(), "datadoghq.eu"); !status.ok()) return status;
  return AnySink{.stream = std::make_unique<Datadog>(context), .state = nullptr, .kind = {}};
}

}  // namespace sinks
}  // namespace outlier
