#include "userspace/sinks/page_words.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/stream/incident_text.h"

namespace outlier {
namespace {

// Of an incident with hundreds of signals nobody reads more at night.
constexpr int kContributionsShown = 8, kSuspectsShown = 5;
constexpr size_t kRelatedShown = 20;
constexpr size_t kMostLabel = 256;

std::string Summary(const v1::Incident& incident) {
  const std::string words = Printable(incident.summary().empty() ? SummarySentence(incident) : incident.summary());
  return words.empty() ? "incident " + Printable(incident.id(), 128) : words;
}

std::string WithHost(const v1::Incident& incident) {
  const std::string host = Printable(incident.source().host_name(), 256);
  return host.empty() ? Summary(incident) : host + ": " + Summary(incident);
}

// The detail of the newest event of this kind.
std::string DetailOf(const v1::Incident& incident, std::string_view kind) {
  for (int i = incident.changes_size() - 1; i >= 0; --i) {
    if (incident.changes(i).kind() == kind) return Printable(incident.changes(i).detail(), 500);
  }
  return "";
}

}  // namespace

std::string Headline(const Finding& finding, size_t characters) { return Truncate(WithHost(finding.incident()), characters); }

std::string Headline(const Page& page, size_t characters) {
  if (page.action == Page::Action::kDigest) {
    std::string line = "outlier-relay: " + page.text;
    std::replace(line.begin(), line.end(), '\n', ' ');
    return Truncate(Printable(line), characters);
  }
  const std::string tail = page.related.empty() ? "" : fmt::format(" (+{} related)", page.related.size());
  return Truncate(WithHost(page.finding.incident()), characters - std::min(characters, tail.size())) + tail;
}

std::string Story(const Page& page, size_t characters) {
  if (page.action == Page::Action::kDigest) return Truncate(PrintableLines(page.text), characters);
  const v1::Incident& incident = page.finding.incident();
  std::string story = Summary(incident);
  for (const auto& [name, value] : Facts(incident)) story += fmt::format("\n{}: {}", name, value);
  for (size_t i = 0; i < std::min(page.related.size(), kRelatedShown); ++i) story += "\nalso: " + Printable(page.related[i], 1000);
  if (page.related.size() > kRelatedShown) story += fmt::format("\nand {} more", page.related.size() - kRelatedShown);
  return Truncate(story, characters);
}

std::vector<std::pair<std::string, std::string>> Facts(const v1::Incident& incident) {
  v1::Incident shown = incident;
  const int signals = incident.contributions_size(), suspects = incident.suspects_size();
  if (signals > kContributionsShown) shown.mutable_contributions()->DeleteSubrange(kContributionsShown, signals - kContributionsShown);
  if (suspects > kSuspectsShown) shown.mutable_suspects()->DeleteSubrange(kSuspectsShown, suspects - kSuspectsShown);
  std::vector<std::pair<std::string, std::string>> facts;
  std::map<std::string, int> seen;
  for (auto& [name, value] : Details(shown)) {
    if (value.empty() || (name == "since" && !incident.has_onset_time())) continue;
    const std::string plain = name.empty() ? "signal" : Printable(name, 256);
    const int count = ++seen[plain];
    facts.emplace_back(count == 1 ? plain : fmt::format("{} {}", plain, count), std::move(value));
  }
  if (signals > kContributionsShown) facts.emplace_back("further signals", fmt::format("{}", signals - kContributionsShown));
  if (suspects > kSuspectsShown) facts.emplace_back("further suspects", fmt::format("{}", suspects - kSuspectsShown));
  if (!incident.id().empty()) facts.emplace_back("incident", Printable(incident.id(), 128));
  return facts;
}

std::string ResolvedWords(const v1::Incident& incident) {
  std::string words = "resolved";
  const int64_t seconds = incident.resolved_time().seconds(), onset = incident.onset_time().seconds();
  if (incident.has_resolved_time() && incident.has_onset_time() && onset >= 0 && seconds > onset) {
    words += " after " + HumanDuration(static_cast<double>(seconds - onset));
  }
  const std::string why = DetailOf(incident, "resolved");
  return why.empty() ? words : words + ": " + why;
}

std::string AcknowledgedWords(const v1::Incident& incident) {
  const std::string who = DetailOf(incident, "acknowledged");
  return who.empty() ? "acknowledged" : "acknowledged " + who;
}

std::string SeverityWords(const v1::Incident& incident) {
  return fmt::format("now {} (score {:.0f})", SeverityWord(incident.severity()), incident.score());
}

std::string HostWords(const v1::Incident& incident) {
  const std::string host = Printable(incident.source().host_name(), 256);
  return host.empty() ? "unknown host" : host;
}

std::string PrintableLines(std::string_view text) {
  std::string out;
  while (true) {
    const size_t end = text.find('\n');
    out += Printable(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    out += '\n';
    text.remove_prefix(end + 1);
  }
}

std::vector<std::pair<std::string, std::string>> LabelsOf(const Finding& finding) {
  std::vector<std::pair<std::string, std::string>> labels;
  if (finding.labels == nullptr) return labels;
  for (const auto& [name, value] : *finding.labels) labels.emplace_back(Printable(name, kMostLabel), Truncate(Printable(value), kMostLabel));
  return labels;
}

bool Escalates(const v1::IncidentChange& change) {
  const v1::Incident& incident = change.incident();
  if (change.kind() != v1::IncidentChange::UPDATED || incident.changes_size() == 0) return false;
  const v1::LifeEvent& newest = *incident.changes().rbegin();
  // Daemons before the event had a kind of its own said it in words.
  return newest.kind() == "severity" || (newest.kind() == "updated" && newest.detail().starts_with("severity rose to "));
}

WallTime Clamped(const google::protobuf::Timestamp& time, WallTime latest) {
  if (time.seconds() < 0) return WallTime{};
  // In seconds first: far ahead there is no WallTime.
  if (time.seconds() > std::chrono::floor<std::chrono::seconds>(latest).time_since_epoch().count()) return latest;
  return std::min(TimeOf(time), latest);
}

Outcome JudgeService(const Response& response, size_t items) {
  Outcome outcome = JudgeHttp(response, items);
  const int status = response.answered() ? response.status : 0;
  if (status == 402 || status == 405 || status == 406 || status == 410 || status == 415) outcome.kind = Outcome::Kind::kSuspend;
  return outcome;
}

std::vector<std::string> SecretsOf(const std::string& url) {
  std::vector<std::string> secrets = {url};
  const size_t scheme = url.find("://");
  const size_t path = scheme == std::string::npos ? scheme : url.find('/', scheme + 3);
  if (path != std::string::npos && path + 1 < url.size()) secrets.push_back(url.substr(path));
  return secrets;
}

std::pair<std::string, std::string> UserAgent(const SinkContext& context) { return {"User-Agent", "outlier-relay/" + context.version}; }

}  // namespace outlier
