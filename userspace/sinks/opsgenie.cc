// An incident is one alert, told apart by its alias. Requests are taken with 202 and carried out later: what fails then (an alert that a person
// has deleted, a responder that does not exist) is seen there only. Updates go to the open alert by its alias, so one that a person
// has closed stays closed; a repeat opens it again, for the incident is still open.
//
// A digest is an alert of its own: where pages were withheld of the priority of the worst, so that somebody is told and closes it; P5 where it is
// only worth a line, and closed by the next request, before a notification that waits is sent.
//
// Unverified, for want of an account: the limits of texts other than the message's, 422 with "Key format" for a key that is none, whether a
// priority that rises notifies anew.
#include "userspace/sinks/opsgenie.h"

#include <algorithm>

#include <fmt/format.h>

#include "absl/strings/numbers.h"
#include "userspace/base/text.h"
#include "userspace/sinks/page_words.h"

namespace outlier {
namespace sinks {
namespace {

// In characters.
constexpr size_t kMostMessage = 130, kMostAlias = 512, kMostDescription = 15'000, kMostEntity = 512, kMostSource = 100, kMostNote = 5'000;
constexpr size_t kMostTag = 50, kMostTags = 20;
constexpr size_t kMostDetails = 8'000, kMostDetail = 1'000;  // names and values together; one value

const char* PriorityOf(const Page& page) {
  if (page.action == Page::Action::kDigest && page.digest_quiet) return "P5";
  switch (page.finding.incident().severity()) {
    case v1::Incident::CRITICAL: return "P1";
    case v1::Incident::MAJOR: return "P2";
    case v1::Incident::MINOR: return "P3";
    default: return "P4";
  }
}

bool IsUuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !std::isxdigit(static_cast<unsigned char>(text[i]))) return false;
  }
  return true;
}

// "team:database" -> {"type":"team","name":"database"}; an id where it looks like one; users have a username.
absl::StatusOr<Json> Responders(const AlertDialect& dialect) {
  Json all = Json::array();
  for (const std::string& text : dialect.responders) {
    const size_t colon = text.find(':');
    const std::string type = text.substr(0, colon), name = colon == std::string::npos ? "" : text.substr(colon + 1);
    if (name.empty() || (type != "team" && type != "user" && type != "escalation" && type != "schedule")) {
      return absl::InvalidArgumentError(
          fmt::format("{}.responders: `{}` is none; write team:NAME, user:NAME, escalation:NAME or schedule:NAME",
                      dialect.kind, Printable(text, 200)));
    }
    all.push_back(Json{{"type", type}, {IsUuid(name) ? "id" : type == "user" ? "username" : "name", name}});
  }
  return all;
}

class Alerts : public StateSink {
 public:
  Alerts(const SinkContext& context, AlertDialect dialect, Json responders)
      : dialect_(std::move(dialect)), key_(dialect_.api_key_file), responders_(std::move(responders)), agent_(UserAgent(context)) {}

  Capabilities capabilities() const override { return {.acknowledge = true, .update = true}; }

  absl::StatusOr<Letters> Encode(std::span<const Page> pages, WallTime) override {
    const absl::StatusOr<std::string> key = key_.Read();
    if (!key.ok()) return key.status();
    const Page& page = pages.front();
    const v1::Incident& incident = page.finding.incident();
    Letters letters;
    const auto send = [&](Request request) { letters.requests.push_back(std::move(request)); };
    switch (page.action) {
      case Page::Action::kOpen:
      case Page::Action::kRepeat: send(Create(page, *key)); break;
      case Page::Action::kUpdate:
        if (dialect_.updates) {
          // The priority first: if the rest has to be said again, that has been said.
          send(Put(page, *key, "priority", PriorityOf(page)));
          send(Put(page, *key, "message", Headline(page, kMostMessage)));
          send(Put(page, *key, "description", Story(page, kMostDescription)));
        } else {
          send(Act(page, *key, "notes", SeverityWords(incident) + "\n" + Story(page, kMostNote - 100)));
        }
        break;
      case Page::Action::kAcknowledge: send(Act(page, *key, "acknowledge", AcknowledgedWords(incident))); break;
      case Page::Action::kResolve: send(Act(page, *key, "close", ResolvedWords(incident))); break;
      case Page::Action::kDigest:
        send(Create(page, *key));
        if (page.digest_quiet) send(Act(page, *key, "close", "for information only"));
        break;
    }
    return letters;
  }

  Outcome Judge(const Response& response, std::span<const Page> pages) override {
    Outcome outcome = JudgeService(response, pages.size());
    double seconds = 0;
    const std::string period(response.Header("x-ratelimit-period-in-sec"));
    if (response.status == 429 && !outcome.retry_after && absl::SimpleAtod(period, &seconds) && seconds > 0 && seconds <= 3600) {
      outcome.retry_after = std::chrono::nanoseconds(static_cast<int64_t>(seconds * 1e9));
    }
    // What is no key at all is refused like a body that does not fit.
    if (outcome.kind == Outcome::Kind::kRefused && response.body.find("Key format") != std::string::npos) outcome.kind = Outcome::Kind::kSuspend;
    return outcome;
  }

  // Closes what was never opened: the key is looked at before it is found that there is no such alert.
  std::optional<Preparation> Check() override {
    const absl::StatusOr<std::string> key = key_.Read();
    if (!key.ok()) return std::nullopt;
    Page page;
    page.key = "outlier-relay-check";
    return Preparation{Act(page, *key, "close", "check"), fmt::format("close no alert at {}", dialect_.url)};
  }

 private:
  Request To(const std::string& key, std::string method, std::string_view path, const Json& body) const {
    Request request;
    request.method = std::move(method);
    request.url = JoinUrl(dialect_.url, path);
    request.headers = {{"Content-Type", "application/json"}, {"Authorization", "GenieKey " + key}, agent_};
    request.body = Dump(body);
    request.secrets = {key};
    return request;
  }

  static std::string PathOf(const Page& page, std::string_view action) {
    return fmt::format("v2/alerts/{}/{}?identifierType=alias", PercentEncode(Truncate(page.key, kMostAlias)), action);
  }

  Request Act(const Page& page, const std::string& key, std::string_view action, const std::string& note) const {
    return To(key, "POST", PathOf(page, action),
              Json{{"source", Source(page)}, {"user", "outlier-relay"}, {"note", Truncate(note, kMostNote)}});
  }

  Request Put(const Page& page, const std::string& key, std::string_view field, const std::string& value) const {
    Json body = Json::object();
    body[std::string(field)] = value;
    return To(key, "PUT", PathOf(page, field), body);
  }

  Request Create(const Page& page, const std::string& key) const {
    const v1::Incident& incident = page.finding.incident();
    Json body = {{"message", Headline(page, kMostMessage)}, {"alias", Truncate(page.key, kMostAlias)},
                 {"description", Story(page, kMostDescription)}};
    if (!responders_.empty()) body["responders"] = responders_;
    body["tags"] = Tags(page);
    if (page.action != Page::Action::kDigest) {
      body["details"] = DetailsOf(page.finding);
      const std::string entity = Truncate(Printable(incident.workload().name()), kMostEntity);
      if (!entity.empty()) body["entity"] = entity;
    }
    body["source"] = Source(page);
    body["priority"] = PriorityOf(page);
    return To(key, "POST", "v2/alerts", body);
  }

  static std::string Source(const Page& page) {
    return page.action == Page::Action::kDigest ? "outlier-relay" : Truncate(HostWords(page.finding.incident()), kMostSource);
  }

  // Nothing that may change while the alert is open: tags cannot be replaced.
  static Json Tags(const Page& page) {
    Json tags = Json::array({page.action == Page::Action::kDigest ? "outlier-digest" : "outlier"});
    for (const auto& [name, value] : LabelsOf(page.finding)) {
      if (tags.size() < kMostTags) tags.push_back(Truncate(fmt::format("{}:{}", name, value), kMostTag));
    }
    return tags;
  }

  // What fits, in order of worth.
  static Json DetailsOf(const Finding& finding) {
    Json details = Json::object();
    size_t left = kMostDetails;
    for (const auto& [name, value] : Facts(finding.incident())) {
      const std::string cut = Truncate(value, kMostDetail);
      if (name.size() + cut.size() > left) break;
      left -= name.size() + cut.size();  // bytes: never fewer than characters
      details[name] = cut;
    }
    return details;
  }

  const AlertDialect dialect_;
  SecretFile key_;
  const Json responders_;
  const std::pair<std::string, std::string> agent_;
};

}  // namespace

absl::StatusOr<AnySink> MakeAlerts(const SinkContext& context, AlertDialect dialect) {
  if (absl::Status status = CheckGiven(dialect.kind + ".api_key_file", dialect.api_key_file); !status.ok()) return status;
  if (absl::Status status = CheckUrl(dialect.kind + ".url", dialect.url); !status.ok()) return status;
  absl::StatusOr<Json> responders = Responders(dialect);
  if (!responders.ok()) return responders.status();
  AnySink sink;
  sink.state = std::make_unique<Alerts>(context, std::move(dialect), *std::move(responders));
  return sink;
}

absl::StatusOr<AnySink> MakeOpsgenie(const SinkContext& context) {
  const config::v1::Opsgenie& config = context.config.opsgenie();
  return MakeAlerts(context, {"opsgenie", config.api_key_file(), config.url(), {config.responders().begin(), config.responders().end()}, true});
}

}  // namespace sinks
}  // namespace outlier
