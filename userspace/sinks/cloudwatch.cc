// Amazon CloudWatch: every change is one event of a log (PutLogEvents, its message JSON), scores and numbers of open incidents are metrics
// (PutMetricData). The group and the stream of the log are made when the first batch finds them missing, so that no right to make them is
// needed where they are there.
#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/sinks/aws.h"
#include "userspace/sinks/sink.h"
#include "userspace/sinks/vendor_events.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

using namespace std::chrono_literals;
using Kind = Outcome::Kind;

// Of one PutLogEvents: 1,048,576 bytes of messages with 26 more for each; as JSON an event takes more than that anyhow.
constexpr size_t kLogBytes = 1'000'000, kMostLogEvents = 10'000;
constexpr auto kLongestSpan = 24h;
constexpr auto kOldest = 14 * 24h - 5min;   // 14 days there; the margin is for the way and for clocks that differ
constexpr size_t kText = 4096, kMostContributions = 20, kMostSuspects = 10;
constexpr size_t kMetricsBytes = 900'000, kMostMetrics = 1000;
constexpr size_t kMostWorkloads = 200;      // each is a custom metric that is paid for: the most anomalous
constexpr size_t kDimension = 255;
constexpr auto kNewestPoint = 2h;

// Printable ASCII and not empty: what a dimension may be.
std::string Dimension(std::string_view text) {
  std::string out;
  for (const char c : Printable(text, kDimension)) out += c >= ' ' && c <= '~' ? c : '?';
  out.resize(std::min(out.size(), kDimension));
  return out.find_first_not_of(' ') == std::string::npos ? "-" : out;
}

Json MessageOf(const Finding& finding) {
  Json message = Nested(FieldsOf(finding, kText));
  if (!finding.gap) {
    message["outlier"]["incident"]["contributions"] = ContributionsOf(finding.incident(), kMostContributions);
    message["outlier"]["incident"]["suspects"] = SuspectsOf(finding.incident(), kMostSuspects);
  }
  return message;
}

// Positions of the findings by time: events must be in order, and a batch may be of several sources.
std::vector<size_t> InOrder(std::span<const Finding> findings) {
  std::vector<size_t> order(findings.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return Milliseconds(findings[a].change.time()) < Milliseconds(findings[b].change.time());
  });
  return order;
}

class CloudWatch final : public StreamSink {
 public:
  explicit CloudWatch(const SinkContext& context) : config_(context.config.cloudwatch()), keys_(config_.credentials()) {
    region_ = config_.region().empty() ? config_.credentials().region() : config_.region();
    namespace_ = config_.namespace_().empty() ? "Outlier" : config_.namespace_();
    group_ = config_.log_group().empty() ? "/outlier/incidents" : config_.log_group();
    stream_ = config_.log_stream().empty() ? context.relay_host : config_.log_stream();
    for (char& c : stream_) c = c == ':' || c == '*' ? '_' : c;  // a host's name knows no better
    if (stream_.empty()) stream_ = "outlier";
    logs_url_ = config_.logs_url().empty() ? AwsUrl("logs", region_) : JoinUrl(config_.logs_url(), "");
    metrics_url_ = config_.metrics_url().empty() ? AwsUrl("monitoring", region_) : JoinUrl(config_.metrics_url(), "");
  }

  Limits limits() const override {
    return {.max_items = kMostLogEvents, .max_bytes = kLogBytes, .changes = true, .samples = true, .oldest = kOldest, .history = true};
  }

  std::optional<Preparation> Prepare(WallTime) override {
    if (making_ == Making::kNothing) return std::nullopt;
    const bool group = making_ == Making::kGroup;
    Json body = {{"logGroupName", group_}};
    if (!group) body["logStreamName"] = stream_;
    absl::StatusOr<Request> request = Logs(group ? "CreateLogGroup" : "CreateLogStream", body);
    if (!request.ok()) return std::nullopt;  // Encode fails for the same reason, and can say so
    const std::string what = group ? fmt::format("make the log group {}", group_) : fmt::format("make the log stream {} in {}", stream_, group_);
    return Preparation{*std::move(request), what};
  }

  Outcome Prepared(const Response& response, WallTime) override {
    Outcome outcome = JudgeAws(response, 0);
    const std::string code = response.answered() ? AwsErrorCode(response) : "";
    const bool there = outcome.kind == Kind::kItems || code == "ResourceAlreadyExistsException";
    if (there) {
      making_ = making_ == Making::kGroup ? Making::kStream : Making::kNothing;
      return Outcome::Delivered(0);
    }
    if (making_ == Making::kStream && code == "ResourceNotFoundException") {
      making_ = Making::kGroup;
      return Outcome::Delivered(0);
    }
    if (outcome.kind == Kind::kRefused || outcome.kind == Kind::kSplit) outcome.kind = Kind::kSuspend;
    // A person may make them meanwhile: the next batch finds out, not another try to make what is there.
    if (outcome.kind == Kind::kSuspend) making_ = Making::kNothing;
    outcome.reason = fmt::format("cannot make log group {} or stream {}: {}; make them, or allow logs:CreateLogGroup and logs:CreateLogStream",
                                 group_, stream_, outcome.reason);
    return outcome;
  }

  absl::StatusOr<Request> Encode(std::span<const Finding> findings, WallTime) override {
    const std::vector<size_t> order = InOrder(findings);
    const auto time_of = [&](size_t i) { return TimeOf(findings[order[i]].change.time()); };
    if (time_of(order.size() - 1) - time_of(0) >= kLongestSpan) {
      return absl::InvalidArgumentError("events of one PutLogEvents may lie less than 24 hours apart");  // halves do
    }
    Json events = Json::array();
    for (const size_t i : order) {
      events.push_back({{"timestamp", Milliseconds(findings[i].change.time())}, {"message", Dump(MessageOf(findings[i]))}});
    }
    return Logs("PutLogEvents", {{"logGroupName", group_}, {"logStreamName", stream_}, {"logEvents", std::move(events)}});
  }

  Outcome Judge(const Response& response, std::span<const Finding> findings) override {
    Outcome outcome = JudgeAws(response, findings.size());
    if (outcome.kind == Kind::kItems) return JudgeRejected(response, findings);
    const std::string code = response.answered() ? AwsErrorCode(response) : "";
    if (code == "DataAlreadyAcceptedException") return Outcome::Delivered(findings.size());
    if (code == "InvalidSequenceTokenException") outcome.kind = Kind::kRetry;
    if (code == "ResourceNotFoundException") {
      making_ = Making::kStream;
      outcome.kind = Kind::kRetry;
    }
    return outcome;
  }

  std::vector<Request> EncodeSamples(const Samples& samples, WallTime now) override {
    std::vector<Request> requests;
    const WallTime time = TimeOf(samples.sample.time());
    if (now - time > kOldest || time - now > kNewestPoint) return requests;
    const double seconds = static_cast<double>(Milliseconds(samples.sample.time())) / 1000;
    const std::string host = Dimension(samples.source.host_name());
    std::string data;
    size_t count = 0, workloads = 0;
    const auto flush = [&] {
      if (count == 0) return;
      absl::StatusOr<Request> request = Metrics(fmt::format("{{\"Namespace\":{},\"MetricData\":[{}]}}", Dump(namespace_), data));
      data.clear();
      count = 0;
      if (request.ok()) requests.push_back(*std::move(request));  // a key that cannot be read is told by the next change
    };
    for (const Gauge& gauge : GaugesOf(samples)) {
      Json dimensions = Json::array({{{"Name", "Host"}, {"Value", host}}});
      const bool score = gauge.name == "outlier.score";
      if (!score && gauge.name != "outlier.host.open_incidents") continue;
      if (score && ++workloads > kMostWorkloads) continue;
      if (score) dimensions.push_back({{"Name", "Workload"}, {"Value", Dimension(gauge.dimensions.front().second)}});
      const std::string one = Dump({{"MetricName", score ? "Score" : "OpenIncidents"}, {"Dimensions", std::move(dimensions)}, {"Timestamp", seconds},
                                    {"Value", gauge.value}, {"Unit", score ? "None" : "Count"}});
      if (count == kMostMetrics || data.size() + one.size() > kMetricsBytes) flush();
      data += (count++ == 0 ? "" : ",") + one;
    }
    flush();
    return requests;
  }

  Outcome JudgeSamples(const Response& response) override { return JudgeAws(response, 1); }

  std::optional<Preparation> Check() override {
    absl::StatusOr<Request> request = Logs("DescribeLogStreams", {{"logGroupName", group_}, {"logStreamNamePrefix", stream_}, {"limit", 1}});
    if (!request.ok()) return std::nullopt;
    return Preparation{*std::move(request), fmt::format("ask {} for the log stream {} of {}", logs_url_, stream_, group_)};
  }
  // A writer need not be allowed to look, and what is missing is made: either answer shows that the signature was taken.
  absl::Status Checked(const Response& response) override {
    const Outcome outcome = JudgeAws(response, 0);
    const std::string code = response.answered() ? AwsErrorCode(response) : "";
    if (outcome.kind == Kind::kItems || code.starts_with("AccessDenied") || code == "ResourceNotFoundException") return absl::OkStatus();
    return absl::UnavailableError(outcome.reason);
  }

 private:
  enum class Making { kNothing, kStream, kGroup };  // the stream first: often it is all that is missing

  absl::StatusOr<Request> Logs(std::string_view action, const Json& body) {
    Request request = JsonPost(logs_url_, Dump(body));
    request.headers = {{"Content-Type", "application/x-amz-json-1.1"}, {"X-Amz-Target", fmt::format("Logs_20140328.{}", action)}};
    if (auto status = keys_.Sign("logs", region_, &request); !status.ok()) return status;
    return request;
  }

  absl::StatusOr<Request> Metrics(std::string body) {
    Request request = JsonPost(metrics_url_, std::move(body));
    request.headers = {{"Content-Type", "application/x-amz-json-1.0"}, {"X-Amz-Target", "GraniteServiceVersion20100801.PutMetricData"}};
    if (auto status = keys_.Sign("monitoring", region_, &request); !status.ok()) return status;
    return request;
  }

  // Taken, but for events at either end that are too old, beyond the log's retention, or too far ahead; by position in the request.
  static Outcome JudgeRejected(const Response& response, std::span<const Finding> findings) {
    Outcome outcome = Outcome::Delivered(findings.size());
    const Json answer = ParseJson(response.body);
    if (!answer.is_object() || !answer.contains("rejectedLogEventsInfo") || !answer["rejectedLogEventsInfo"].is_object()) return outcome;
    const Json& rejected = answer["rejectedLogEventsInfo"];
    const auto index = [&](const char* key, size_t otherwise) {
      return rejected.contains(key) && rejected[key].is_number_unsigned() ? std::min(rejected[key].get<size_t>(), findings.size()) : otherwise;
    };
    const size_t first = std::max(index("tooOldLogEventEndIndex", 0), index("expiredLogEventEndIndex", 0));
    const size_t last = index("tooNewLogEventStartIndex", findings.size());
    outcome.reasons.resize(findings.size());
    const std::vector<size_t> order = InOrder(findings);
    for (size_t i = 0; i < order.size(); ++i) {
      if (i >= first && i < last) continue;
      outcome.items[order[i]] = ItemOutcome::kExpired;
      outcome.reasons[order[i]] =
          i < first ? "older than 14 days, or than what the log group keeps" : "more than 2 hours ahead of the service's clock";
    }
    return outcome;
  }

  const config::v1::CloudWatch config_;
  AwsKeys keys_;
  std::string region_, namespace_, group_, stream_, logs_url_, metrics_url_;
  Making making_ = Making::kNothing;
};

// Names of log groups and streams: what the service takes, so that a wrong one is told here.
absl::Status CheckLogName(std::string_view key, std::string_view name, bool group) {
  const bool plain = name.size() <= 512 && std::all_of(name.begin(), name.end(), [&](char c) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return group ? word || std::string_view("_-/.#").find(c) != std::string_view::npos : c > ' ' && c != ':' && c != '*' && c != 0x7f;
  });
  if (plain) return absl::OkStatus();
  const char* what = group ? "letters, digits and _ - / . #" : "characters other than : * and white space";
  return absl::InvalidArgumentError(fmt::format("{}: expected at most 512 {}", key, what));
}

}  // namespace

namespace sinks {

absl::StatusOr<AnySink> MakeCloudWatch(const SinkContext& context) {
  const config::v1::CloudWatch& config = context.config.cloudwatch();
  const std::string& region = config.region().empty() ? config.credentials().region() : config.region();
  if (auto status = CheckAwsRegion("cloudwatch.region", region); !status.ok()) return status;
  if (auto status = AwsKeys::CheckConfig("cloudwatch.credentials", config.credentials()); !status.ok()) return status;
  if (auto status = CheckLogName("cloudwatch.log_group", config.log_group(), true); !status.ok()) return status;
  if (auto status = CheckLogName("cloudwatch.log_stream", config.log_stream(), false); !status.ok()) return status;
  if (config.namespace_().starts_with("AWS/") || config.namespace_().starts_with(':') || config.namespace_().size() > 255) {
    return absl::InvalidArgumentError("cloudwatch.namespace: expected at most 255 characters that do not begin with AWS/ or a colon");
  }
  for (const auto& [key, url] : {std::pair("cloudwatch.metrics_url", config.metrics_url()), std::pair("cloudwatch.logs_url", config.logs_url())}) {
    if (url.empty()) continue;
    if (auto status = CheckUrl(key, url); !status.ok()) return status;
  }
  return AnySink{.stream = std::make_unique<CloudWatch>(context), .state = nullptr, .kind = {}};
}

}  // namespace sinks
}  // namespace outlier
