// Any receiver of CloudEvents 1.0 over HTTP: one event a request (structured mode), or several (batch mode), signed as Standard Webhooks has it.
//
// id and source of an event are the same at every attempt, so is webhook-id; webhook-timestamp is that of the attempt. `data` is the
// IncidentChange in protobuf's JSON mapping, field names as in feed.proto, defaults printed: what `outlierctl watch --format json` prints.
// Silence and labels of relay.yaml, which the change does not hold, are extensions beside it.
//
// The signature is over the body as sent, so bodies are not compressed. 410 ends it, as both specifications have it:
// the receiver wants no more, and is not asked again before a person says so.
#include <fmt/format.h>

#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/sinks/json_text.h"
#include "userspace/sinks/page_words.h"
#include "userspace/sinks/proto_json.h"
#include "userspace/sinks/webhook_signature.h"

namespace outlier {
namespace sinks {
namespace {

constexpr size_t kMostToReserve = 32 << 10;  // bytes of a finding
constexpr size_t kMostAtOnce = 1000, kMostExtension = 1000;
constexpr int64_t kLastSecond = 253'402'300'799;  // of the year 9999: RFC 3339 goes no further

bool Sane(const google::protobuf::Timestamp& time) {
  return time.seconds() >= 0 && time.seconds() <= kLastSecond && time.nanos() >= 0 && time.nanos() < 1'000'000'000;
}

std::string TypeOf(const Finding& finding) {
  if (finding.gap) return "io.outlier.feed.gap.v1";
  switch (finding.change.kind()) {
    case v1::IncidentChange::OPENED:
    case v1::IncidentChange::UPDATED:
    case v1::IncidentChange::RESOLVED:
    case v1::IncidentChange::ACKNOWLEDGED:
    case v1::IncidentChange::FEEDBACK: return fmt::format("io.outlier.incident.{}.v1", KindWord(finding.change.kind()));
    default: return "io.outlier.incident.changed.v1";  // of a newer daemon
  }
}

// A URI reference: the host's outlierd, or, of a source that names no host, its feed.
std::string SourceOf(const Finding& finding) {
  const std::string& host = finding.incident().source().host_name();
  return host.empty() ? "urn:outlier:feed:" + PercentEncode(finding.feed_id()) : fmt::format("//{}/outlierd", PercentEncode(host));
}

// The severities of OpenTelemetry, which the extension follows.
int SeverityNumber(v1::Incident::Severity severity) {
  switch (severity) {
    case v1::Incident::CRITICAL: return 21;  // FATAL
    case v1::Incident::MAJOR: return 17;     // ERROR
    case v1::Incident::MINOR: return 15;     // WARN3
    default: return 13;                      // WARN
  }
}

std::string LabelsText(const Finding& finding) {
  std::string text;
  for (const auto& [name, value] : LabelsOf(finding)) {
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", PercentEncode(name), PercentEncode(value));
  }
  return text;
}

void AppendData(const Finding& finding, std::string* out) {
  if (!finding.gap) return AppendProtoJson(finding.change, out);
  const Gap& gap = *finding.gap;
  std::string source;
  AppendProtoJson(finding.incident().source(), &source);
  // Numbers of 64 bits are texts in the mapping.
  *out += Dump(Json{{"first_sequence", fmt::format("{}", gap.first_sequence)}, {"last_sequence", fmt::format("{}", gap.last_sequence)},
                    {"lost", fmt::format("{}", gap.lost)}, {"reason", gap.reason}, {"source", ParseJson(source)}});
}

void AppendEvent(const Finding& finding, std::string* out) {
  const v1::Incident& incident = finding.incident();
  *out += '{';
  JsonText event(out);
  event.Text("specversion", "1.0");
  event.Text("id", Printable(FindingKey(finding)));
  event.Text("source", SourceOf(finding));
  event.Text("type", TypeOf(finding));
  event.Text("subject", finding.gap ? "feed/" + PercentEncode(finding.feed_id()) : "incident/" + PercentEncode(incident.id()));
  if (finding.change.has_time() && Sane(finding.change.time())) event.Time("time", finding.change.time());
  const auto extend = [&event](std::string_view name, const std::string& value) { event.Text(name, Truncate(Printable(value), kMostExtension)); };
  if (!finding.gap) {
    extend("partitionkey", IncidentKey(incident));
    extend("severitytext", v1::Incident::Severity_Name(incident.severity()));
    event.Integer("severitynumber", SeverityNumber(incident.severity()));
  }
  extend("labels", LabelsText(finding));
  if (finding.silence) {
    extend("silenceid", finding.silence->id());
    extend("silenceauthor", finding.silence->author());
    extend("silencereason", finding.silence->reason());
  }
  event.Text("datacontenttype", "application/json");
  *out += ",\"data\":";
  AppendData(finding, out);
  *out += '}';
}

class Webhook : public StreamSink {
 public:
  explicit Webhook(const SinkContext& context)
      : batch_(context.config.webhook().mode() == "batch"),
        url_(context.config.webhook().url()),
        url_file_(context.config.webhook().url_file()),
        secret_(context.config.webhook().secret_file()),
        token_(context.config.webhook().bearer_token_file()),
        relay_host_(context.relay_host),
        agent_(UserAgent(context)) {}

  Limits limits() const override { return {.max_items = batch_ ? kMostAtOnce : 1, .max_bytes = 16 << 20, .history = true}; }

  absl::StatusOr<Request> Encode(std::span<const Finding> findings, WallTime now) override {
    absl::StatusOr<Request> request = To();
    if (!request.ok()) return request.status();
    request->body.reserve(findings.size() * bytes_per_finding_);
    std::string keys;  // of all events, so that the id stands for just these
    for (const Finding& finding : findings) {
      request->body += request->body.empty() ? batch_ ? "[" : "" : ",";
      AppendEvent(finding, &request->body);
      keys += FindingKey(finding) + "\n";
    }
    if (batch_) request->body += "]";
    if (!findings.empty()) bytes_per_finding_ = std::min<size_t>(request->body.size() / findings.size() * 9 / 8, kMostToReserve);
    request->headers.emplace_back("Content-Type", fmt::format("application/cloudevents{}+json; charset=utf-8", batch_ ? "-batch" : ""));
    if (absl::Status status = Sign(keys, now, &*request); !status.ok()) return status;
    return request;
  }

  Outcome Judge(const Response& response, std::span<const Finding> findings) override {
    Outcome outcome = JudgeService(response, findings.size());
    if (response.answered() && response.status == 410) outcome.kind = Outcome::Kind::kEnded;
    return outcome;
  }

  // The handshake of CloudEvents, which asks and changes nothing.
  std::optional<Preparation> Check() override {
    absl::StatusOr<Request> request = To();
    if (!request.ok()) return std::nullopt;
    request->method = "OPTIONS";
    request->headers.emplace_back("WebHook-Request-Origin", relay_host_.empty() ? "outlier-relay" : Printable(relay_host_, 253));
    return Preparation{*std::move(request), "ask the webhook whether it takes events"};
  }

  absl::Status Checked(const Response& response) override {
    // Most receivers know no handshake; they are there all the same.
    if (response.answered() && (response.status == 405 || response.status == 501)) return absl::OkStatus();
    return StreamSink::Checked(response);
  }

 private:
  // Address and who we are.
  absl::StatusOr<Request> To() {
    Request request;
    request.url = url_;
    request.headers = {agent_};
    if (url_file_.given()) {
      const absl::StatusOr<std::string> url = url_file_.Read();
      if (!url.ok()) return url.status();
      if (absl::Status status = CheckUrl(url_file_.path(), *url); !status.ok()) return absl::FailedPreconditionError(MessageOf(status));
      request.url = *url;
      request.secrets = SecretsOf(*url);
    }
    if (token_.given()) {
      const absl::StatusOr<std::string> token = token_.Read();
      if (!token.ok()) return token.status();
      request.headers.emplace_back("Authorization", "Bearer " + *token);
      request.secrets.push_back(*token);
    }
    return request;
  }

  absl::Status Sign(std::string_view keys_of_events, WallTime now, Request* request) {
    // A digest: what identifies a source may hold anything, a dot or a line break too.
    const std::string id = "msg_" + Sha256Hex(keys_of_events).substr(0, 32);
    const std::string seconds = fmt::format("{}", std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count());
    request->headers.emplace_back("webhook-id", id);
    request->headers.emplace_back("webhook-timestamp", seconds);
    if (!secret_.given()) return absl::OkStatus();
    const absl::StatusOr<std::string> text = secret_.Read();
    if (!text.ok()) return text.status();
    const absl::StatusOr<std::vector<std::string>> keys = SigningKeys(secret_.path(), *text);
    if (!keys.ok()) return keys.status();
    request->headers.emplace_back("webhook-signature", Signatures(*keys, id, seconds, request->body));
    request->secrets.push_back(*text);
    for (size_t at = 0; text->find('\n') != std::string::npos && at < text->size();) {
      const size_t end = std::min(text->find('\n', at), text->size());
      if (end > at) request->secrets.push_back(text->substr(at, end - at));
      at = end + 1;
    }
    return absl::OkStatus();
  }

  const bool batch_;
  const std::string url_;
  SecretFile url_file_, secret_, token_;
  const std::string relay_host_;
  const std::pair<std::string, std::string> agent_;
  size_t bytes_per_finding_ = 2 << 10;        // of the last body, and some
};

}  // namespace

absl::StatusOr<AnySink> MakeWebhook(const SinkContext& context) {
  const config::v1::Webhook& config = context.config.webhook();
  if (config.url().empty() == config.url_file().empty()) {
    return absl::InvalidArgumentError(
        "webhook.url and webhook.url_file: one of the two is needed, and only one; a file where the address is a secret");
  }
  if (!config.url().empty()) {
    if (absl::Status status = CheckUrl("webhook.url", config.url()); !status.ok()) return status;
  }
  AnySink sink;
  sink.stream = std::make_unique<Webhook>(context);
  return sink;
}

}  // namespace sinks
}  // namespace outlier
