// Slack, incoming webhook: one message each where an incident opens, becomes more severe, or resolves.
//
// A webhook can only post. A message has no identity: what was posted is never changed, a repeat after a crash shows twice (at most one). So
// this is a stream sink, and what pagers do does not exist here: no digest after an outage (every opening and resolution of it is posted, each
// with its own time), no hold-down of what flaps, no cap, no grouping; `paging` means nothing. `route` and silences do: what a silence covers
// is not posted until it ends, and then as opened, if it is still open; the resolution of what had been posted is, whatever covers it. Updates that
// do not raise the severity, acknowledgements and feedback are passed over. Slack takes about one message a second; more wait.
//
// Texts are plain: nothing in a name is taken for markup, mention or link.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/sinks/page_words.h"

namespace outlier {
namespace sinks {
namespace {

constexpr size_t kMostLine = 1000, kMostText = 3000;
constexpr auto kThrottled = std::chrono::seconds(1);

// What Slack says in words where a person has to do something: about the webhook or its channel, not about the message. After the first it wants no more posts.
constexpr std::array<std::string_view, 5> kHookIsGone = {"no_service", "no_active_hooks", "no_team", "team_disabled", "channel_is_archived"};
constexpr std::array<std::string_view, 8> kOfTheHook = {"no_service_id", "channel_not_found", "action_prohibited", "invalid_token",
                                                        "posting_to_general_channel_denied", "user_not_found", "no_permission", "token_revoked"};

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      default: out += c;
    }
  }
  return out;
}

const char* Colour(const v1::Incident& incident) {
  if (incident.state() == v1::Incident::RESOLVED) return "#2e8540";
  switch (incident.severity()) {
    case v1::Incident::CRITICAL: return "#b3000c";
    case v1::Incident::MAJOR: return "#e5530b";
    case v1::Incident::MINOR: return "#e8a400";
    default: return "#5b7fa6";
  }
}

// "opened, major", "now critical (score 91)", "resolved after 10 min: back to normal".
std::string What(const v1::IncidentChange& change) {
  const v1::Incident& incident = change.incident();
  switch (change.kind()) {
    case v1::IncidentChange::OPENED: return "opened, " + SeverityWord(incident.severity());
    case v1::IncidentChange::RESOLVED: return ResolvedWords(incident);
    case v1::IncidentChange::ACKNOWLEDGED: return AcknowledgedWords(incident);
    case v1::IncidentChange::FEEDBACK: return "feedback: " + Printable(incident.feedback(), 100);
    default: return SeverityWords(incident);
  }
}

std::string GapWords(const Finding& finding) {
  const Gap& gap = *finding.gap;
  const std::string count = gap.lost == 0 ? "an unknown number of" : fmt::format("{}", gap.lost);
  return fmt::format("{}: {} changes of incidents could not be read ({})", HostWords(finding.incident()), count, Printable(gap.reason, 100));
}

class Slack : public StreamSink {
 public:
  explicit Slack(const SinkContext& context) : hook_(context.config.slack().webhook_url_file()), agent_(UserAgent(context)) {}

  Limits limits() const override { return {.max_items = 1, .max_bytes = 64 << 10, .opens_after_silence = true}; }

  bool Wants(const Finding& finding) const override {
    if (finding.gap) return true;
    const v1::IncidentChange& change = finding.change;
    switch (change.kind()) {
      case v1::IncidentChange::OPENED: return !finding.silence;
      case v1::IncidentChange::UPDATED: return !finding.silence && Escalates(change);
      case v1::IncidentChange::RESOLVED: return true;  // where its opening was
      default: return false;
    }
  }

  absl::StatusOr<Request> Encode(std::span<const Finding> findings, WallTime) override { return Post(Message(findings.front())); }

  Outcome Judge(const Response& response, std::span<const Finding> findings) override {
    Outcome outcome = JudgeService(response, findings.size());
    if (!response.answered()) return outcome;
    const std::string_view word = Word(response);
    if (outcome.kind == Outcome::Kind::kItems) {
      if (word == "ok") return outcome;
      return Outcome::Of(Outcome::Kind::kSuspend, fmt::format("answered {}, where Slack says ok", Describe(response)));
    }
    if (std::ranges::find(kOfTheHook, word) != kOfTheHook.end()) outcome.kind = Outcome::Kind::kSuspend;
    if (std::ranges::find(kHookIsGone, word) != kHookIsGone.end()) outcome.kind = Outcome::Kind::kEnded;
    if (response.status == 429 && !outcome.retry_after) outcome.retry_after = kThrottled;
    return outcome;
  }

  // A message without text: Slack looks up the webhook and then refuses to post nothing.
  std::optional<Preparation> Check() override {
    absl::StatusOr<Request> request = Post(Json{{"text", ""}});
    if (!request.ok()) return std::nullopt;
    return Preparation{*std::move(request), "post an empty message to the webhook, which Slack refuses"};
  }

  absl::Status Checked(const Response& response) override {
    const std::string_view word = response.answered() ? Word(response) : "";
    const bool of_the_text = word == "no_text" || word == "invalid_payload" || word == "missing_text_or_fallback_or_attachments";
    if (response.status == 400 && of_the_text) return absl::OkStatus();
    const Outcome outcome = Judge(response, {});
    return outcome.kind == Outcome::Kind::kItems ? absl::OkStatus() : absl::UnavailableError(outcome.reason);
  }

 private:
  static std::string_view Word(const Response& response) {
    const std::string_view body(response.body);
    const size_t first = body.find_first_not_of(" \t\r\n"), last = body.find_last_not_of(" \t\r\n");
    return first == std::string_view::npos ? "" : body.substr(first, last - first + 1);
  }

  static Json Message(const Finding& finding) {
    const v1::IncidentChange& change = finding.change;
    const v1::Incident& incident = change.incident();
    const std::string line = finding.gap ? GapWords(finding) : fmt::format("[{}] {}", What(change), Headline(finding, kMostLine));
    Json message = {{"text", Escaped(line)}, {"mrkdwn", false}, {"unfurl_links", false}, {"unfurl_media", false}};
    if (finding.gap) return message;
    std::string story;
    for (const auto& [name, value] : Facts(incident)) story += fmt::format("{}{}: {}", story.empty() ? "" : "\n", name, value);
    for (const auto& [name, value] : LabelsOf(finding)) story += fmt::format("\n{}: {}", name, value);
    Json attachment = {{"color", Colour(incident)}, {"fallback", Escaped(line)}, {"text", Escaped(Truncate(story, kMostText))},
                       {"mrkdwn_in", Json::array()}};
    // When it happened: after an outage that is not when it is read.
    if (change.has_time() && change.time().seconds() >= 0) attachment["ts"] = change.time().seconds();
    message["attachments"] = Json::array({std::move(attachment)});
    return message;
  }

  absl::StatusOr<Request> Post(const Json& message) {
    const absl::StatusOr<std::string> url = hook_.Read();
    if (!url.ok()) return url.status();
    if (absl::Status status = CheckUrl(hook_.path(), *url); !status.ok()) return absl::FailedPreconditionError(MessageOf(status));
    Request request;
    request.url = *url;
    request.headers = {{"Content-Type", "application/json"}, agent_};
    request.body = Dump(message);
    request.secrets = SecretsOf(*url);
    return request;
  }

  SecretFile hook_;
  const std::pair<std::string, std::string> agent_;
};

}  // namespace

absl::StatusOr<AnySink> MakeSlack(const SinkContext& context) {
  if (absl::Status status = CheckGiven("slack.webhook_url_file", context.config.slack().webhook_url_file()); !status.ok()) return status;
  AnySink sink;
  sink.stream = std::make_unique<Slack>(context);
  return sink;
}

}  // namespace sinks
}  // namespace outlier
