// Dynatrace: an incident is a problem-opening event (Events API v2), sent again with every change while it is open, which keeps it from its
// timeout (outlierd tells an incident that goes on once a minute), and with endTime when it is over. Two events are the same one there if their
// payloads are: so it holds only what never changes over an incident's life. What changes is in the series (metrics ingest). Words about
// resolved incidents and gaps are events that open nothing. So is an incident during a silence, which is told in its properties: a problem from before it
// closes by its timeout, or by the end of its incident, and the first change after the silence opens one.
//
// UNVERIFIED: that endTime closes an open event of the same payload (documented is its timeout, which therefore is short); that times are no
// part of what makes a payload the same; the answer of metrics ingest.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/sinks/sink.h"
#include "userspace/sinks/vendor_events.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

using namespace std::chrono_literals;

constexpr size_t kProperty = 4096, kPropertyKey = 100, kMostProperties = 100;
constexpr size_t kTitle = 500;                    // nothing is documented; what a person reads
constexpr auto kOldest = 6h - 5min;               // of the start of what opens a problem: 6 h there; the margin is for clocks that differ
constexpr int kTimeoutMinutes = 60;               // 60 refreshes: outages of the relay shorter than that close nothing
constexpr std::chrono::minutes kOldestPoint{60}, kNewestPoint{10};
constexpr size_t kLinesBytes = 900'000;           // of 1 MB
constexpr size_t kDimensionKey = 100, kDimension = 200, kMostDimensions = 50;

// In a selector, a tilde takes the meaning of the next character.
std::string SelectorText(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '~') out += '~';
    out += c;
  }
  return out;
}

int64_t Clamped(int64_t time_ms, WallTime now) {
  const auto ms = [](WallTime time) { return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count(); };
  return std::clamp<int64_t>(time_ms, ms(now - kOldest), ms(now));
}

class Properties {
 public:
  void Add(std::string_view key, std::string_view value) {
    if (value.empty() || properties_.size() == kMostProperties) return;
    properties_.emplace(TruncateBytes(key, kPropertyKey), TruncateBytes(value, kProperty));
  }
  void AddValue(std::string_view key, const Json& value) { Add(key, value.is_string() ? value.get<std::string>() : Dump(value)); }
  Json Take() { return std::move(properties_); }

 private:
  Json properties_ = Json::object();
};

// Of all its life, or as yet. What was opened before the silence has to be closed as it was opened.
bool IsSilenced(const Finding& finding) {
  if (!finding.silence || !IsOver(finding)) return finding.silence.has_value();
  const WallTime opened = TimeOf(finding.incident().opened_time());
  return opened >= TimeOf(finding.silence->starts()) && (!finding.silence->has_ends() || opened < TimeOf(finding.silence->ends()));
}

// The same for every change of one incident, under one silence.
Json ProblemOf(const Finding& finding, WallTime now) {
  const v1::Incident& incident = finding.incident();
  const std::string workload = Printable(incident.workload().name(), 256), host = Printable(incident.source().host_name(), 256);
  Properties properties;
  properties.Add("outlier.incident.id", incident.id());
  properties.Add("outlier.source.feed_id", incident.source().feed_id());
  properties.Add("outlier.workload.name", incident.workload().name());
  properties.Add("outlier.workload.kind", v1::Workload::Kind_Name(incident.workload().kind()));
  properties.Add("host.name", incident.source().host_name());
  properties.Add("host.id", incident.source().host_id());
  // The opening stays first among the changes, however many follow.
  if (incident.changes_size() > 0) properties.Add("outlier.opened", incident.changes(0).detail());
  const bool silenced = IsSilenced(finding);
  if (silenced) {
    properties.Add("outlier.silence.id", finding.silence->id());
    properties.Add("outlier.silence.author", finding.silence->author());
    properties.Add("outlier.silence.reason", finding.silence->reason());
  }
  for (const auto& [key, value] : *finding.labels) properties.Add(fmt::format("labels.{}", key), value);
  const std::string title = fmt::format("{}{}{} is unusual (incident {})", workload.empty() ? "a workload" : workload,
                                        host.empty() ? "" : " on ", host, Printable(incident.id(), 64));
  Json event = {{"eventType", silenced ? "CUSTOM_INFO" : "CUSTOM_ALERT"}, {"title", Truncate(title, kTitle)}};
  const int64_t start = Clamped(Milliseconds(incident.has_opened_time() ? incident.opened_time() : finding.change.time()), now);
  event["startTime"] = start;
  if (IsOver(finding)) {
    const int64_t end = Milliseconds(incident.has_resolved_time() ? incident.resolved_time() : finding.change.time());
    event["endTime"] = std::max(start, Clamped(end, now));
  } else {
    event["timeout"] = kTimeoutMinutes;
  }
  event["properties"] = properties.Take();
  return event;
}

Json WordOf(const Finding& finding, WallTime now) {
  Properties properties;
  for (const auto& [name, value] : FieldsOf(finding, kProperty)) properties.AddValue(name, value);
  const std::string word = finding.gap ? "gap" : KindWord(finding.change.kind());
  const int64_t time = Clamped(Milliseconds(finding.change.time()), now);
  const std::string title = Truncate(fmt::format("{}: {}", word, Headline(finding)), kTitle);
  return {{"eventType", "CUSTOM_INFO"}, {"title", title}, {"startTime", time}, {"endTime", time}, {"properties", properties.Take()}};
}

bool IsWord(const Finding& finding) { return finding.gap || (IsOver(finding) && finding.change.kind() != v1::IncidentChange::RESOLVED); }

// Lower case; a section of a name begins with a letter, a digit or an underscore and is not empty.
std::string LineKey(std::string_view text, size_t bytes) {
  std::string key;
  for (char c : text) {
    if (key.size() == bytes) break;
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    const bool begins = key.empty() || key.back() == '.';
    if (c == '.' && begins) continue;
    key += c == '.' ? c : plain && !(begins && c == '-') && !(key.empty() && c >= '0' && c <= '9') ? c : '_';
  }
  while (!key.empty() && key.back() == '.') key.pop_back();
  return key;
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : Printable(text, kDimension)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string LineOf(const Gauge& gauge, const Labels& common, int64_t ms) {
  std::string line = LineKey(gauge.name, 250);
  std::vector<std::string> seen;  // a name twice makes the line invalid
  for (const Labels* labels : {&common, &gauge.dimensions}) {
    for (const auto& [name, value] : *labels) {
      const std::string key = LineKey(name, kDimensionKey);
      if (key.empty() || value.empty() || seen.size() == kMostDimensions || std::find(seen.begin(), seen.end(), key) != seen.end()) continue;
      line += fmt::format(",{}={}", key, Quoted(value));
      seen.push_back(key);
    }
  }
  return line + fmt::format(" gauge,{} {}\n", gauge.value, ms);
}

class Dynatrace final : public StreamSink {
 public:
  explicit Dynatrace(const SinkContext& context)
      : token_(context.config.dynatrace().token_file()), compress_(context.config.delivery().compression() != "none"),
        url_(context.config.dynatrace().url()), selector_(context.config.dynatrace().entity_selector()) {}

  Limits limits() const override { return {.max_items = 1, .max_bytes = 1'000'000, .changes = true, .samples = true, .oldest = kOldest}; }

  absl::StatusOr<Request> Encode(std::span<const Finding> findings, WallTime now) override {
    const Finding& finding = findings.front();
    Json event = IsWord(finding) ? WordOf(finding, now) : ProblemOf(finding, now);
    if (const std::string selector = SelectorFor(finding.incident().source().host_name()); !selector.empty()) event["entitySelector"] = selector;
    Request request = JsonPost(JoinUrl(url_, "/api/v2/events/ingest"), Dump(event));
    if (auto status = Authorize(&request); !status.ok()) return status;
    return request;
  }

  Outcome Judge(const Response& response, std::span<const Finding> findings) override {
    Outcome outcome = JudgeHttp(response, findings.size());
    if (outcome.kind != Outcome::Kind::kItems) return outcome;
    const Json answer = ParseJson(response.body);
    if (!answer.is_object() || !answer.contains("eventIngestResults") || !answer["eventIngestResults"].is_array()) return outcome;
    const Json& results = answer["eventIngestResults"];
    if (results.empty()) return OfItem(ItemOutcome::kRefused, "no monitored entity fits dynatrace.entity_selector, or the host by its name");
    for (const Json& result : results) {
      const bool told = result.is_object() && result.contains("status") && result["status"].is_string();
      const std::string status = told ? result["status"].get<std::string>() : "OK";
      // Its start is never ahead of this machine's clock: what is wrong with the time is its age.
      if (status == "INVALID_TIMESTAMPS") return OfItem(ItemOutcome::kExpired, Describe(response));
      if (status != "OK") return OfItem(ItemOutcome::kRefused, Describe(response));
    }
    return outcome;
  }

  std::vector<Request> EncodeSamples(const Samples& samples, WallTime now) override {
    std::vector<Request> requests;
    const WallTime time = TimeOf(samples.sample.time());
    if (now - time > kOldestPoint || time - now > kNewestPoint) return requests;
    Labels common = {{"host", samples.source.host_name()}};
    common.insert(common.end(), samples.labels->begin(), samples.labels->end());
    std::string body;
    const auto flush = [&] {
      if (body.empty()) return;
      Request request = JsonPost(JoinUrl(url_, "/api/v2/metrics/ingest"), std::exchange(body, {}));
      request.headers = {{"Content-Type", "text/plain; charset=utf-8"}};
      request.compress = compress_;
      if (Authorize(&request).ok()) requests.push_back(std::move(request));  // a key that cannot be read is told by the next change
    };
    for (const Gauge& gauge : GaugesOf(samples)) {
      const std::string line = LineOf(gauge, common, Milliseconds(samples.sample.time()));
      if (body.size() + line.size() > kLinesBytes) flush();
      body += line;
    }
    flush();
    return requests;
  }

  // 400 with counts: the lines that are right were taken.
  Outcome JudgeSamples(const Response& response) override {
    const Json answer = ParseJson(response.body);
    const bool counted = response.answered() && response.status == 400 && answer.is_object() && answer.contains("linesInvalid");
    if (!counted) return JudgeHttp(response, 1);
    Outcome outcome = Outcome::Delivered(1);
    outcome.warning = Describe(response);
    return outcome;
  }

 private:
  static Outcome OfItem(ItemOutcome item, std::string reason) { return {Outcome::Kind::kItems, {item}, {std::move(reason)}, {}, {}, {}}; }

  std::string SelectorFor(const std::string& host) const {
    if (!selector_.empty() || host.empty()) return selector_;
    return fmt::format("type(HOST),entityName.equals(\"{}\")", SelectorText(Printable(host, 255)));
  }

  absl::Status Authorize(Request* request) {
    const absl::StatusOr<std::string> token = token_.Read();
    if (!token.ok()) return token.status();
    request->headers.emplace_back("Authorization", "Api-Token " + *token);
    request->secrets.push_back(*token);
    return absl::OkStatus();
  }

  SecretFile token_;
  const bool compress_;
  const std::string url_, selector_;
};

}  // namespace

namespace sinks {

absl::StatusOr<AnySink> MakeDynatrace(const SinkContext& context) {
  const config::v1::Dynatrace& config = context.config.dynatrace();
  if (auto status = CheckGiven("dynatrace.url", config.url()); !status.ok()) return status;
  if (auto status = CheckUrl("dynatrace.url", config.url()); !status.ok()) return status;
  if (auto status = CheckGiven("dynatrace.token_file", config.token_file()); !status.ok()) return status;
  return AnySink{.stream = std::make_unique<Dynatrace>(context), .state = nullptr, .kind = {}};
}

}  // namespace sinks
}  // namespace outlier
