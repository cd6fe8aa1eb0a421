// OTLP over HTTP (binary protobuf) and gRPC: findings as log events, samples as metrics.
#include <algorithm>

#include <fmt/format.h>

#include "absl/strings/numbers.h"
#include "google/protobuf/unknown_field_set.h"
#include "opentelemetry/proto/collector/logs/v1/logs_service.pb.h"
#include "userspace/base/text.h"
#include "userspace/sinks/aws.h"
#include "userspace/sinks/entra_token.h"
#include "userspace/sinks/otlp_metrics.h"
#include "userspace/sinks/otlp_preset.h"
#include "userspace/sinks/otlp_records.h"
#include "userspace/sinks/proto_wire.h"
#include "userspace/sinks/sink.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

namespace collector = opentelemetry::proto::collector;
using Key = OtlpPreset::Key;

constexpr std::string_view kLogsMethod = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
constexpr std::string_view kMetricsMethod = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
constexpr size_t kMostHead = 4 << 10;      // a resource, and the like, to make room for
constexpr size_t kMostPerFinding = 16 << 10;
constexpr size_t kGrpcMaxBytes = 3 << 20;  // servers often take 4 MiB, headers included

bool IsToken(std::string_view name) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || kMarks.find(c) != std::string_view::npos;
  });
}

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  return text;
}

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r"), last = text.find_last_not_of(" \t\r");
  return first == std::string_view::npos ? "" : text.substr(first, last - first + 1);
}

// The lines of a file of headers.
absl::Status AddHeaders(const std::string& path, std::string_view text, Request* request) {
  for (size_t line = 1, at = 0; at <= text.size(); ++line) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view content = Trim(text.substr(at, end - at));
    at = end + 1;
    if (content.empty()) continue;
    const size_t colon = content.find(':');
    const std::string_view name = Trim(content.substr(0, colon));
    if (colon == std::string_view::npos || !IsToken(name)) {
      return absl::FailedPreconditionError(fmt::format("cannot read headers {}: line {} is not \"Name: value\"", Printable(path), line));
    }
    const std::string_view value = Trim(content.substr(colon + 1));
    request->headers.emplace_back(name, value);
    if (!value.empty()) request->secrets.emplace_back(value);
  }
  return absl::OkStatus();
}

// Errors over HTTP are a google.rpc.Status: field 2 is the message.
std::string ErrorMessage(const Response& response) {
  google::protobuf::UnknownFieldSet fields;
  if (response.grpc || response.Header("content-type") != "application/x-protobuf" || !fields.ParseFromString(response.body)) return "";
  for (int i = 0; i < fields.field_count(); ++i) {
    const google::protobuf::UnknownField& field = fields.field(i);
    if (field.number() == 2 && field.type() == google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED) return Printable(field.length_delimited(), 300);
  }
  return "";
}

bool IsSame(const v1::Source& a, const v1::Source& b) {
  return a.feed_id() == b.feed_id() && a.host_name() == b.host_name() && a.host_id() == b.host_id() && a.boot_id() == b.boot_id();
}

class OtlpSink final : public StreamSink {
 public:
  OtlpSink(const SinkContext& context, const OtlpPreset& preset, std::string logs_url, std::string metrics_url)
      : config_(context.config.otlp()),
        preset_(preset),
        version_(context.version),
        grpc_(config_.protocol() == "grpc"),
        compress_(context.config.delivery().compression() != "none"),
        logs_url_(std::move(logs_url)),
        metrics_url_(std::move(metrics_url)),
        log_stream_(config_.log_stream().empty() ? context.relay_host : config_.log_stream()),
        key_(config_.key_file()),
        headers_(config_.header_file()),
        aws_(config_.aws()),
        max_bytes_(grpc_ ? std::min(preset.max_bytes, kGrpcMaxBytes) : preset.max_bytes),
        metrics_({.delta = config_.temporality() == "delta" || (config_.temporality() != "cumulative" && preset.delta),
                  .max_bytes = max_bytes_,
                  .max_attributes = preset.max_attributes,
                  .version = context.version}) {
    if (preset.key == Key::kEntra) token_.emplace(config_.entra(), AzureMonitorScope(logs_url_.empty() ? metrics_url_ : logs_url_));
  }

  std::optional<Preparation> Prepare(WallTime now) override { return token_ ? token_->Prepare(now) : std::nullopt; }
  Outcome Prepared(const Response& response, WallTime now) override { return token_ ? token_->Prepared(response, now) : Outcome::Delivered(0); }

  // An empty export: taken by every receiver, and changes nothing. Where a token is needed, whether there is one to be had.
  std::optional<Preparation> Check() override {
    if (token_) {
      absl::StatusOr<Preparation> asked = token_->Ask();
      if (!asked.ok()) return std::nullopt;
      return *std::move(asked);
    }
    absl::StatusOr<Request> request = RequestFor(/*logs=*/!logs_url_.empty(), "", WallTime());
    if (!request.ok()) return std::nullopt;
    std::string what = fmt::format("send {} an export without content", request->url);
    return Preparation{*std::move(request), std::move(what)};
  }
  absl::Status Checked(const Response& response) override {
    const Outcome outcome = JudgeAnswer(response, 0);
    return outcome.kind == Outcome::Kind::kItems ? absl::OkStatus() : absl::UnavailableError(outcome.reason);
  }

  Limits limits() const override {
    Limits limits;
    limits.max_bytes = max_bytes_;
    limits.changes = !logs_url_.empty();
    limits.samples = !metrics_url_.empty();
    limits.oldest = preset_.oldest;
    limits.history = true;
    limits.works_ahead = true;
    return limits;
  }

  absl::StatusOr<Request> Encode(std::span<const Finding> findings, WallTime now) override {
    using collector::logs::v1::ExportLogsServiceRequest;
    using opentelemetry::proto::logs::v1::ResourceLogs, opentelemetry::proto::logs::v1::ScopeLogs;
    std::string body, scope_logs, record;
    scope_logs.reserve(findings.size() * bytes_per_finding_ + kMostHead);  // else much of the time goes into making room and copying
    // Changes of one source in a row share a resource; order stays.
    const Finding* last = nullptr;
    const auto close = [&] {
      if (last == nullptr) return;
      const std::string resource = OtlpResource(last->incident().source(), last->labels.get());
      std::string head;
      ProtoWire wire(&head);
      wire.Head(ExportLogsServiceRequest::kResourceLogsFieldNumber, ProtoWire::SizeOfBytes(resource.size()) + ProtoWire::SizeOfBytes(scope_logs.size()));
      wire.Bytes(ResourceLogs::kResourceFieldNumber, resource);
      wire.Head(ResourceLogs::kScopeLogsFieldNumber, scope_logs.size());
      if (body.empty()) {  // nearly always all of it: no second MiB is made
        scope_logs.insert(0, head);
        body.swap(scope_logs);
      } else {
        body += head;
        body += scope_logs;
      }
    };
    for (const Finding& finding : findings) {
      const bool same = last != nullptr && last->labels == finding.labels && IsSame(last->incident().source(), finding.incident().source());
      if (!same) {
        close();
        scope_logs.clear();
        ProtoWire(&scope_logs).Bytes(ScopeLogs::kScopeFieldNumber, Scope());
      }
      record.clear();
      AppendOtlpRecord(finding, now, preset_.max_attributes, &record);
      ProtoWire(&scope_logs).Bytes(ScopeLogs::kLogRecordsFieldNumber, record);
      last = &finding;
    }
    close();
    if (!findings.empty()) bytes_per_finding_ = std::min(body.size() / findings.size() * 9 / 8, kMostPerFinding);
    return RequestFor(/*logs=*/true, std::move(body), now);
  }

  Outcome Judge(const Response& response, std::span<const Finding> findings) override {
    Outcome outcome = JudgeAnswer(response, findings.size());
    if (outcome.kind != Outcome::Kind::kItems) return outcome;
    collector::logs::v1::ExportLogsServiceResponse answer;
    if (!Parse(response, &answer)) return outcome;
    return WithPartialSuccess(std::move(outcome), answer.partial_success().rejected_log_records(), answer.partial_success().error_message(),
                              "log records");
  }

  std::vector<Request> EncodeSamples(const Samples& samples, WallTime now) override {
    std::vector<Request> requests;
    for (const auto& message : metrics_.Write(samples)) {
      absl::StatusOr<Request> request = RequestFor(/*logs=*/false, message.SerializeAsString(), now);
      if (!request.ok()) return {};  // the key cannot be read, which the changes tell
      requests.push_back(*std::move(request));
    }
    return requests;
  }

  Outcome JudgeSamples(const Response& response) override {
    Outcome outcome = JudgeAnswer(response, 1);
    if (outcome.kind != Outcome::Kind::kItems) return outcome;
    collector::metrics::v1::ExportMetricsServiceResponse answer;
    if (!Parse(response, &answer)) return outcome;
    const auto& partial = answer.partial_success();
    if (partial.rejected_data_points() > 0 || !partial.error_message().empty()) {
      outcome.warning = fmt::format("{} data points refused: {}", partial.rejected_data_points(), Printable(partial.error_message(), 300));
    }
    return outcome;
  }

 private:
  std::string Scope() const {
    using opentelemetry::proto::common::v1::InstrumentationScope;
    std::string scope;
    ProtoWire(&scope).Bytes(InstrumentationScope::kNameFieldNumber, "outlier-relay");
    ProtoWire(&scope).Bytes(InstrumentationScope::kVersionFieldNumber, version_);
    return scope;
  }

  absl::StatusOr<Request> RequestFor(bool logs, std::string body, WallTime now) {
    Request request;
    request.url = logs ? logs_url_ : metrics_url_;
    request.body = std::move(body);
    request.compress = compress_;
    if (grpc_) {
      request.protocol = Request::Protocol::kGrpc;
      request.grpc_method = logs ? kLogsMethod : kMetricsMethod;
    } else {
      request.headers.emplace_back("Content-Type", "application/x-protobuf");
    }
    if (!grpc_) request.headers.emplace_back("User-Agent", "outlier-relay/" + version_);
    if (absl::Status status = AddKey(logs, now, &request); !status.ok()) return status;
    if (preset_.name == "datadog") {
      logs ? request.headers.emplace_back("dd-protocol", "otlp")
           : request.headers.emplace_back("dd-otel-metric-config", R"({"resource_attributes_as_tags": true})");
    }
    if (preset_.name == "cloudwatch" && logs) {
      request.headers.emplace_back("x-aws-log-group", config_.log_group());
      request.headers.emplace_back("x-aws-log-stream", log_stream_);
    }
    if (headers_.given()) {
      const absl::StatusOr<std::string> text = headers_.Read();
      if (!text.ok()) return text.status();
      if (absl::Status status = AddHeaders(headers_.path(), *text, &request); !status.ok()) return status;
    }
    if (grpc_) {
      for (auto& [name, value] : request.headers) name = Lower(name);  // metadata has no other
    }
    return request;
  }

  absl::Status AddKey(bool logs, WallTime now, Request* request) {
    if (preset_.key == Key::kAws) return aws_.Sign(logs ? "logs" : "monitoring", config_.aws().region(), request);
    if (token_) {
      absl::StatusOr<std::string> token = token_->Token(now);
      if (!token.ok()) return token.status();
      request->headers.emplace_back("Authorization", "Bearer " + *token);
      request->secrets.push_back(*std::move(token));
      return absl::OkStatus();
    }
    if (!key_.given()) return absl::OkStatus();
    absl::StatusOr<std::string> key = key_.Read();
    if (!key.ok()) return key.status();
    if (key->find('\n') != std::string::npos) {
      return absl::FailedPreconditionError(fmt::format("cannot read secret {}: it holds more than one line", Printable(key_.path())));
    }
    std::string value = std::string(preset_.scheme) + *key;
    if (preset_.key == Key::kBasic) {
      const size_t colon = key->find(':');
      if (colon == std::string::npos) {
        return absl::FailedPreconditionError(fmt::format("cannot read secret {}: expected \"<instance id>:<token>\"", Printable(key_.path())));
      }
      value = BasicAuthorization(key->substr(0, colon), key->substr(colon + 1));
      request->secrets.push_back(value.substr(6));
      request->secrets.push_back(key->substr(colon + 1));
    }
    // Who writes the scheme into the file, such as Elastic's "Bearer <secret token>", means it.
    if (!preset_.scheme.empty() && (key->starts_with(preset_.scheme) || key->starts_with("Bearer "))) {
      value = *key;
      request->secrets.push_back(key->substr(key->find(' ') + 1));
    }
    request->secrets.push_back(*key);
    request->headers.emplace_back(preset_.header, std::move(value));
    return absl::OkStatus();
  }

  // OTLP retries less than others do: of HTTP only 429, 502, 503 and 504; what a server answers with 500 it will answer again. Where the
  // address does not understand the request at all, no item is to blame.
  Outcome JudgeAnswer(const Response& response, size_t items) {
    if (response.grpc) return JudgeGrpc(response, items);
    Outcome outcome = JudgeHttp(response, items);
    if (!response.answered()) return outcome;
    const int status = response.status;
    if (status == 405 || status == 406 || status == 415 || status == 501 || status == 505) outcome.kind = Outcome::Kind::kSuspend;
    if (status == 408 || status == 425 || status == 500) outcome.kind = Outcome::Kind::kRefused;
    if (outcome.kind != Outcome::Kind::kItems) {
      if (const std::string message = ErrorMessage(response); !message.empty()) outcome.reason = fmt::format("HTTP {}: {}", status, message);
    }
    if (outcome.kind == Outcome::Kind::kItems && response.Header("content-type").starts_with("text/html")) {
      return Outcome::Of(Outcome::Kind::kSuspend,
                         fmt::format("HTTP {}: a web page, not the answer of an OTLP receiver; is the address right?", status));
    }
    double seconds = 0;
    const std::string reset(response.Header("x-ratelimit-reset"));  // Datadog's word for Retry-After
    if (status == 429 && !outcome.retry_after && absl::SimpleAtod(reset, &seconds) && seconds >= 0) {
      outcome.retry_after = std::chrono::nanoseconds(static_cast<int64_t>(std::min(seconds, 86'400.0) * 1e9));
    }
    if (preset_.key == Key::kAws && outcome.kind != Outcome::Kind::kItems && !AwsErrorCode(response).empty()) return JudgeAws(response, items);
    if (token_ && status == 401) {
      token_->Forget();  // withdrawn before its time; another may do, unless this one never did
      if (token_proven_) outcome.kind = Outcome::Kind::kRetry;
    }
    token_proven_ = status != 401;
    return outcome;
  }

  template <class Message>
  static bool Parse(const Response& response, Message* message) {
    // An answer in JSON, or of a proxy, has no partial success that could be read.
    const std::string_view type = response.Header("content-type");
    const bool protobuf = response.grpc || type.empty() || type.starts_with("application/x-protobuf");
    return protobuf && message->ParseFromString(response.body);
  }

  // What was rejected is gone: the contract forbids to send it again. It says how many, not which.
  static Outcome WithPartialSuccess(Outcome outcome, int64_t rejected, const std::string& message, std::string_view what) {
    if (rejected <= 0 && message.empty()) return outcome;
    const std::string text = Printable(message, 300);
    if (rejected <= 0) {
      outcome.warning = text;
      return outcome;
    }
    const size_t items = outcome.items.size();
    outcome.warning = fmt::format("{} of {} {} refused: {}", rejected, items, what, text);
    if (static_cast<size_t>(rejected) >= items) {
      outcome.items.assign(items, ItemOutcome::kRefused);
      outcome.reasons.assign(items, text.empty() ? "refused by the receiver" : text);
    } else {
      outcome.refused_unnamed = static_cast<size_t>(rejected);
    }
    return outcome;
  }

  const config::v1::Otlp config_;
  const OtlpPreset& preset_;
  const std::string version_;
  const bool grpc_, compress_;
  const std::string logs_url_, metrics_url_;  // "" = none of it
  const std::string log_stream_;
  SecretFile key_, headers_;
  AwsKeys aws_;
  std::optional<EntraToken> token_;
  bool token_proven_ = false;                 // the last answer was not that it is none
  const size_t max_bytes_;
  OtlpMetrics metrics_;
  size_t bytes_per_finding_ = 1 << 10;        // of the last body, and some
};

struct Addresses {
  std::string logs, metrics;
};

absl::StatusOr<Addresses> AddressesOf(const config::v1::Otlp& config, const OtlpPreset& preset, bool grpc) {
  std::string base = config.endpoint();
  const std::string& region = config.aws().region();
  Addresses addresses{config.logs_endpoint(), config.metrics_endpoint()};
  const bool needed = addresses.logs.empty() || addresses.metrics.empty();
  if (base.empty()) base = grpc ? preset.grpc_endpoint : preset.http_endpoint;
  if (needed && base.empty() && preset.key == Key::kEntra) {
    return absl::InvalidArgumentError(
        "otlp: preset azure_monitor needs metrics_endpoint and logs_endpoint (\"-\" = none): the addresses of the data collection endpoint with rule "
        "and stream");
  }
  if (needed && base.empty() && preset.key != Key::kAws) {
    return absl::InvalidArgumentError(
        fmt::format("otlp.endpoint: needed{}, but not given", preset.name == "none" ? "" : fmt::format(" with preset {}", preset.name)));
  }
  if (grpc) {
    // Who gives host:port means TLS.
    for (std::string* address : {&base, &addresses.logs, &addresses.metrics}) {
      if (!address->empty() && *address != "-" && address->find("://") == std::string::npos) *address = "https://" + *address;
    }
    if (addresses.logs.empty()) addresses.logs = base;
    if (addresses.metrics.empty()) addresses.metrics = base;
  } else {
    std::string logs_base = base, metrics_base = base;
    if (preset.key == Key::kAws && base.empty()) {
      metrics_base = AwsUrl("monitoring", region);
      logs_base = AwsUrl("logs", region);
    }
    constexpr std::string_view kApi = "https://api.";
    if (preset.name == "datadog" && base.starts_with(kApi)) logs_base = "https://http-intake.logs." + base.substr(kApi.size());
    if (addresses.logs.empty()) addresses.logs = JoinUrl(logs_base, preset.logs_path);
    if (addresses.metrics.empty()) addresses.metrics = JoinUrl(metrics_base, preset.metrics_path);
  }
  if (addresses.logs == "-" && addresses.metrics == "-") {
    return absl::InvalidArgumentError("otlp: neither logs nor metrics are to be sent; leave the sink out");
  }
  for (auto [key, address] : {std::pair{"otlp.endpoint", config.endpoint().empty() ? std::string() : base},
                              std::pair{"otlp.logs_endpoint", addresses.logs}, std::pair{"otlp.metrics_endpoint", addresses.metrics}}) {
    if (address.empty() || address == "-") continue;
    if (absl::Status status = CheckUrl(key, address); !status.ok()) return status;
    const std::string_view rest = std::string_view(address).substr(address.find("://") + 3);
    if (grpc && rest.find('/') != std::string_view::npos) {
      return absl::InvalidArgumentError(fmt::format("{}: with protocol grpc an address is host:port, without a path", key));
    }
    if (grpc && rest.rfind(':') == std::string_view::npos) {
      return absl::InvalidArgumentError(fmt::format("{}: with protocol grpc an address needs a port, such as {}:4317", key, rest));
    }
  }
  if (addresses.logs == "-") addresses.logs.clear();
  if (addresses.metrics == "-") addresses.metrics.clear();
  return addresses;
}

}  // namespace

namespace sinks {

absl::StatusOr<AnySink> MakeOtlp(const SinkContext& context) {
  const config::v1::Otlp& config = context.config.otlp();
  const OtlpPreset* preset = FindOtlpPreset(config.preset());
  if (preset == nullptr) {
    return absl::InvalidArgumentError(fmt::format("otlp.preset: {} is none of those there are", Printable(config.preset(), 100)));
  }
  const bool grpc = config.protocol() == "grpc";
  if (grpc && !preset->grpc) return absl::InvalidArgumentError(fmt::format("otlp.protocol: {} takes OTLP over HTTP only", preset->name));
  if (preset->cumulative_refused && config.temporality() == "cumulative") {
    return absl::InvalidArgumentError(fmt::format("otlp.temporality: {} takes delta only", preset->name));
  }
  absl::Status status;
  if (preset->key_needed) status = CheckGiven("otlp.key_file", config.key_file());
  if (preset->name == "none" && !config.key_file().empty()) {
    status = absl::InvalidArgumentError("otlp.key_file: only a preset says which header holds it; put \"Name: value\" into header_file");
  }
  if ((preset->key == Key::kAws || preset->key == Key::kEntra) && !config.key_file().empty()) {
    status = absl::InvalidArgumentError(
        fmt::format("otlp.key_file: preset {} has its keys under {}", preset->name, preset->key == Key::kAws ? "aws" : "entra"));
  }
  if (status.ok() && preset->key == Key::kAws) {
    status = CheckGiven("otlp.aws.region", config.aws().region());
    if (status.ok()) status = CheckAwsRegion("otlp.aws.region", config.aws().region());
    if (status.ok()) status = AwsKeys::CheckConfig("otlp.aws", config.aws());
    if (status.ok() && config.logs_endpoint() != "-") status = CheckGiven("otlp.log_group", config.log_group());
  }
  if (status.ok() && preset->key == Key::kEntra) status = EntraToken::CheckConfig("otlp.entra", config.entra());
  if (!status.ok()) return status;
  absl::StatusOr<Addresses> addresses = AddressesOf(config, *preset, grpc);
  if (!addresses.ok()) return addresses.status();
  AnySink sink;
  sink.stream = std::make_unique<OtlpSink>(context, *preset, std::move(addresses->logs), std::move(addresses->metrics));
  return sink;
}

}  // namespace sinks
}  // namespace outlier
