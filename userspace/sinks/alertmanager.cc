// Alertmanager, API v2. It forgets: an alert that is not posted again ends by itself. So what is open is posted each minute with an end four
// minutes ahead, to every peer of a cluster (they tell one another what was notified, not what is firing), and resolved by an end that is past, which is
// posted for a quarter of an hour: to a peer that was away, and to one that dies before it has told anybody.
//
// Labels are the alert's identity. They hold what stays the same from opening to resolving, so neither severity nor score nor pattern, which
// are annotations. To route by severity, make two sinks with different `route.min_severity`: the label `sink` tells their alerts apart.
//
// Ends and starts are by this machine's clock: more than four minutes behind Alertmanager's, and alerts come to it already ended.
#include <cmath>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/sinks/page_words.h"

namespace outlier {
namespace sinks {
namespace {

constexpr auto kRepeat = std::chrono::seconds(60);
constexpr auto kOpenFor = 4 * kRepeat;                     // three repeats may be lost
constexpr auto kRepeatResolved = std::chrono::minutes(15); // as Prometheus does
// A digest is not repeated; it lives long enough to be notified with a group that waits five minutes (the default group_interval).
constexpr auto kDigestFor = std::chrono::minutes(15);
constexpr size_t kPages = 64, kMostLabel = 500, kMostText = 2000, kMostStory = 8000;

// As Prometheus has label names: [a-zA-Z_][a-zA-Z0-9_]*.
std::string LabelName(std::string_view name) {
  std::string out;
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name.front()))) out += '_';
  for (const char c : name) out += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return out;
}

void Put(Json* object, const std::string& name, const std::string& value, size_t most) {
  if (!value.empty()) (*object)[name] = Truncate(value, most);
}

class Alertmanager : public StateSink {
 public:
  explicit Alertmanager(const SinkContext& context)
      : name_(context.config.name()),
        urls_(context.config.alertmanager().urls().begin(), context.config.alertmanager().urls().end()),
        username_(context.config.alertmanager().username()),
        password_(context.config.alertmanager().password_file()),
        token_(context.config.alertmanager().bearer_token_file()),
        agent_(UserAgent(context)) {}

  Capabilities capabilities() const override { return {.update = true, .repeat_open = kRepeat, .repeat_resolved = kRepeatResolved, .pages_per_request = kPages}; }

  absl::StatusOr<Letters> Encode(std::span<const Page> pages, WallTime now) override {
    Json alerts = Json::array();
    for (const Page& page : pages) alerts.push_back(Alert(page, now));
    return Post(Dump(alerts));
  }

  Outcome Judge(const Response& response, std::span<const Page> pages) override { return JudgeService(response, pages.size()); }

  // An empty list of alerts: the way, the address and the key are those of the pages.
  std::vector<Preparation> CheckEach() override {
    absl::StatusOr<Letters> letters = Post("[]");
    std::vector<Preparation> checks;
    for (size_t i = 0; letters.ok() && i < urls_.size(); ++i) {
      checks.push_back({std::move(letters->requests[i]), fmt::format("post no alerts to {}", urls_[i])});
    }
    return checks;
  }

 private:
  absl::StatusOr<Letters> Post(const std::string& body) {
    Request request;
    request.headers = {{"Content-Type", "application/json"}, agent_};
    request.body = body;
    if (token_.given()) {
      const absl::StatusOr<std::string> token = token_.Read();
      if (!token.ok()) return token.status();
      request.headers.emplace_back("Authorization", "Bearer " + *token);
      request.secrets = {*token};
    } else if (password_.given()) {
      const absl::StatusOr<std::string> password = password_.Read();
      if (!password.ok()) return password.status();
      request.headers.emplace_back("Authorization", BasicAuthorization(username_, *password));
      request.secrets = {*password, request.headers.back().second.substr(6)};
    }
    Letters letters;
    letters.all_needed = false;
    for (const std::string& url : urls_) {
      request.url = JoinUrl(url, "api/v2/alerts");
      letters.requests.push_back(request);
    }
    return letters;
  }

  Json Alert(const Page& page, WallTime now) const {
    const v1::Incident& incident = page.finding.incident();
    const v1::IncidentChange& change = page.finding.change;
    if (page.action == Page::Action::kDigest) {
      Json labels = Labels(page, "OutlierDigest");
      // Of this one it never changes.
      labels["severity"] = page.digest_quiet ? "info" : incident.severity() == v1::Incident::CRITICAL ? "critical" : "warning";
      return Json{{"labels", std::move(labels)},
                  {"annotations", Json{{"summary", Headline(page, kMostText)}, {"description", Story(page, kMostStory)}}},
                  {"startsAt", Rfc3339(now)}, {"endsAt", Rfc3339(now + kDigestFor)}};
    }
    // Where nobody said since when, since the change.
    const auto& since = incident.has_onset_time() ? incident.onset_time() : incident.has_opened_time() ? incident.opened_time() : change.time();
    WallTime starts = Clamped(since, now), ends = now + kOpenFor;
    if (page.action == Page::Action::kResolve || incident.state() == v1::Incident::RESOLVED) {
      ends = Clamped(incident.has_resolved_time() ? incident.resolved_time() : change.time(), now);
      starts = std::min(starts, ends);  // else it is refused
    }
    return Json{{"labels", Labels(page, "OutlierIncident")}, {"annotations", Annotations(page)},
                {"startsAt", Rfc3339(starts)}, {"endsAt", Rfc3339(ends)}};
  }

  Json Labels(const Page& page, const char* alertname) const {
    const v1::Incident& incident = page.finding.incident();
    Json labels = {{"alertname", alertname}, {"source", "outlierd"}};
    Put(&labels, "sink", Printable(name_), kMostLabel);
    Put(&labels, page.action == Page::Action::kDigest ? "digest" : "incident", page.key, kMostLabel);
    if (page.action != Page::Action::kDigest) {
      Put(&labels, "host", Printable(incident.source().host_name()), kMostLabel);
      Put(&labels, "workload", Printable(incident.workload().name()), kMostLabel);
      Put(&labels, "namespace", Printable(incident.workload().namespace_()), kMostLabel);
    }
    for (const auto& [name, value] : LabelsOf(page.finding)) {
      std::string plain = LabelName(name);
      if (labels.contains(plain) || plain == "severity") plain = "exported_" + plain;  // ours win, as where Prometheus scrapes
      if (!labels.contains(plain)) Put(&labels, plain, value, kMostLabel);
    }
    return labels;
  }

  static Json Annotations(const Page& page) {
    const v1::Incident& incident = page.finding.incident();
    Json annotations = Json::object();
    const auto put = [&](const char* name, const std::string& value) { Put(&annotations, name, value, kMostText); };
    const auto number = [&](const char* name, double value) {
      if (std::isfinite(value)) put(name, fmt::format("{:.6g}", value));
    };
    put("summary", Headline(page, kMostText));
    annotations["description"] = Story(page, kMostStory);
    put("severity", SeverityWord(incident.severity()));
    number("score", incident.score());
    if (incident.pattern() != v1::Incident::PATTERN_UNSPECIFIED) put("pattern", v1::Incident::Pattern_Name(incident.pattern()));
    if (incident.contributions_size() > 0) {
      const v1::Contribution& lead = incident.contributions(0);
      put("signal", Printable(SeriesName(lead)));
      put("unit", Printable(lead.unit()));
      number("observed", lead.observed());
      number("expected", lead.expected());
      number("lower", lead.lower());
      number("upper", lead.upper());
    }
    if (incident.suspects_size() > 0) put("suspect", Printable(incident.suspects(0).workload().name()));
    if (incident.acknowledged()) put("acknowledged", AcknowledgedWords(incident));
    if (page.action == Page::Action::kResolve) put("resolved", ResolvedWords(incident));
    return annotations;
  }

  const std::string name_;
  const std::vector<std::string> urls_;
  const std::string username_;
  SecretFile password_, token_;
  const std::pair<std::string, std::string> agent_;
};

}  // namespace

absl::StatusOr<AnySink> MakeAlertmanager(const SinkContext& context) {
  const config::v1::Alertmanager& config = context.config.alertmanager();
  if (config.urls().empty()) return absl::InvalidArgumentError("alertmanager.urls: needed, but not given; name every peer of the cluster");
  for (int i = 0; i < config.urls_size(); ++i) {
    if (absl::Status status = CheckUrl(fmt::format("alertmanager.urls[{}]", i), config.urls(i)); !status.ok()) return status;
  }
  if (!config.bearer_token_file().empty() && !(config.username().empty() && config.password_file().empty())) {
    return absl::InvalidArgumentError("alertmanager.bearer_token_file: a token and a username or password exclude one another; give one of them");
  }
  if (config.username().empty() != config.password_file().empty()) {
    return absl::InvalidArgumentError("alertmanager.username and alertmanager.password_file: one is no use without the other; give both or none");
  }
  AnySink sink;
  sink.state = std::make_unique<Alertmanager>(context);
  return sink;
}

}  // namespace sinks
}  // namespace outlier
