// New Relic: every change is a custom event (Event API), flat and with values that are texts or numbers. What is wrong in one is dropped there
// after the answer, so that it must be right here.
#include <algorithm>

#include <fmt/format.h>

#include "userspace/sinks/sink.h"
#include "userspace/sinks/vendor_events.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

using namespace std::chrono_literals;

constexpr size_t kValue = 4096, kName = 255, kMostAttributes = 255;
constexpr size_t kBody = 1'000'000;        // of a request
constexpr auto kOldest = 24h - 5min;       // 24 h there, dropped in silence beyond; the margin is for the way and for clocks that differ
constexpr size_t kMostContributions = 10;  // as attributes of their own

Json Plain(const Json& value) {
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  return value;
}

class Event {
 public:
  void Add(std::string_view name, const Json& value) {
    if (event_.size() < kMostAttributes) event_.emplace(TruncateBytes(name, kName), Plain(value));
  }
  Json Take() { return std::move(event_); }

 private:
  Json event_ = Json::object();
};

Json EventOf(const Finding& finding) {
  Event event;
  event.Add("eventType", finding.gap ? "OutlierGap" : "OutlierIncidentChange");
  event.Add("timestamp", Milliseconds(finding.change.time()));
  const Fields fields = FieldsOf(finding, kValue);
  for (const auto& [name, value] : fields) {
    if (!name.starts_with("labels.")) event.Add(name, value);
  }
  if (!finding.gap) {
    event.Add("outlier.details", TruncateBytes(DetailText(finding), kValue));
    // The first is outlier.lead already.
    const Json contributions = ContributionsOf(finding.incident(), kMostContributions);
    for (size_t i = 1; i < contributions.size(); ++i) {
      for (const char* key : {"series", "observed", "expected", "lower", "upper"}) {
        if (contributions[i].contains(key)) event.Add(fmt::format("outlier.contributions.{}.{}", i + 1, key), contributions[i][key]);
      }
    }
  }
  // Last, so that what does not fit is a label.
  for (const auto& [name, value] : fields) {
    if (name.starts_with("labels.")) event.Add(name, value);
  }
  return event.Take();
}

class NewRelic final : public StreamSink {
 public:
  explicit NewRelic(const SinkContext& context)
      : key_(context.config.new_relic().license_key_file()), compress_(context.config.delivery().compression() != "none") {
    const config::v1::NewRelic& config = context.config.new_relic();
    const std::string base = !config.url().empty()        ? config.url()
                             : config.region() == "eu" ? "https://insights-collector.eu01.nr-data.net"
                                                          : "https://insights-collector.newrelic.com";
    url_ = JoinUrl(base, fmt::format("/v1/accounts/{}/events", config.account_id()));
  }

  Limits limits() const override { return {.max_items = 2000, .max_bytes = kBody, .changes = true, .samples = false, .oldest = kOldest, .history = true}; }

  absl::StatusOr<Request> Encode(std::span<const Finding> findings, WallTime) override {
    const absl::StatusOr<std::string> key = key_.Read();
    if (!key.ok()) return key.status();
    std::string body = "[";
    for (const Finding& finding : findings) {
      if (body.size() > 1) body += ',';
      body += Dump(EventOf(finding));
    }
    body += ']';
    Request request = JsonPost(url_, std::move(body));
    request.headers.emplace_back("Api-Key", *key);
    request.secrets.push_back(*key);
    request.compress = compress_;
    return request;
  }

  Outcome Judge(const Response& response, std::span<const Finding> findings) override { return JudgeHttp(response, findings.size()); }

 private:
  SecretFile key_;
  const bool compress_;
  std::string url_;
};

}  // namespace

namespace sinks {

absl::StatusOr<AnySink> MakeNewRelic(const SinkContext& context) {
  const config::v1::NewRelic& config = context.config.new_relic();
  if (auto status = CheckGiven("new_relic.account_id", config.account_id()); !status.ok()) return status;
  if (!std::all_of(config.account_id().begin(), config.account_id().end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return absl::InvalidArgumentError("new_relic.account_id: expected digits only");
  }
  if (auto status = CheckGiven("new_relic.license_key_file", config.license_key_file()); !status.ok()) return status;
  if (!config.url().empty()) {
    if (auto status = CheckUrl("new_relic.url", config.url()); !status.ok()) return status;
  }
  return AnySink{.stream = std::make_unique<NewRelic>(context), .state = nullptr, .kind = {}};
}

}  // namespace sinks
}  // namespace outlier
