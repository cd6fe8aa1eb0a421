// Instana: events of the host agent, over loopback and without a key. They have no identity and cannot be ended: an opening is a point that
// alerts, a resolution is a change that spans the incident and alerts nobody again.
#include <algorithm>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/sinks/sink.h"
#include "userspace/sinks/vendor_events.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

constexpr size_t kTitle = 256, kText = 4000;  // nothing is documented; what a person reads
constexpr int kChange = -1, kWarning = 5, kCritical = 10;

// A change whose title holds one of them is taken for a host that comes or goes.
bool SpeaksOfPresence(std::string title) {
  for (char& c : title) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  return title.find("online") != std::string::npos || title.find("offline") != std::string::npos;
}

// The severity rose with this change: told anew, with the severity that it has now.
bool Escalates(const v1::IncidentChange& change) {
  const v1::Incident& incident = change.incident();
  if (change.kind() != v1::IncidentChange::UPDATED || incident.changes_size() == 0) return false;
  const v1::LifeEvent& news = incident.changes(incident.changes_size() - 1);
  return news.kind() == "severity" || news.detail().starts_with("severity rose");
}

int SeverityOf(const Finding& finding) {
  if (finding.gap) return kWarning;
  if (finding.silence || IsOver(finding) || (finding.change.kind() != v1::IncidentChange::OPENED && !Escalates(finding.change))) return kChange;
  return finding.incident().severity() >= v1::Incident::MAJOR ? kCritical : kWarning;
}

Json EventOf(const Finding& finding) {
  const std::string word = finding.gap ? "" : KindWord(finding.change.kind());
  const std::string headline = Headline(finding);
  const int severity = SeverityOf(finding);
  std::string title = Truncate(word.empty() ? headline : fmt::format("{}: {}", word, headline), kTitle);
  if (severity == kChange && SpeaksOfPresence(title)) title = fmt::format("{}: outlier incident", word);
  std::string text = fmt::format("{}\n{}", headline, DetailText(finding));
  if (!finding.gap) text += fmt::format("\nincident {}", Printable(IncidentKey(finding.incident()), 200));
  for (const auto& [name, value] : *finding.labels) text += fmt::format("\n{}: {}", Printable(name, 128), Printable(value, 256));
  Json event = {{"title", title}, {"text", Truncate(text, kText)}, {"severity", severity}, {"timestamp", Milliseconds(finding.change.time())}};
  if (!finding.gap && finding.change.kind() == v1::IncidentChange::RESOLVED) {
    const v1::Incident& incident = finding.incident();
    const int64_t end = Milliseconds(incident.has_resolved_time() ? incident.resolved_time() : finding.change.time());
    const int64_t start = incident.has_onset_time() ? Milliseconds(incident.onset_time()) : end;
    event["timestamp"] = std::min(start, end);
    event["duration"] = end - std::min(start, end);
  }
  return event;
}

class Instana final : public StreamSink {
 public:
  explicit Instana(const SinkContext& context) {
    const std::string& url = context.config.instana().url();
    url_ = JoinUrl(url.empty() ? "http://127.0.0.1:42699" : url, "/com.instana.plugin.generic.event");
  }

  Limits limits() const override {
    return {.max_items = 1, .max_bytes = 1'000'000, .changes = true, .samples = false, .oldest = std::chrono::nanoseconds(0)};
  }
  absl::StatusOr<Request> Encode(std::span<const Finding> findings, WallTime) override { return JsonPost(url_, Dump(EventOf(findings.front()))); }
  Outcome Judge(const Response& response, std::span<const Finding> findings) override { return JudgeHttp(response, findings.size()); }

 private:
  std::string url_;
};

}  // namespace

namespace sinks {

absl::StatusOr<AnySink> MakeInstana(const SinkContext& context) {
  if (const std::string& url = context.config.instana().url(); !url.empty()) {
    if (auto status = CheckUrl("instana.url", url); !status.ok()) return status;
  }
  return AnySink{.stream = std::make_unique<Instana>(context), .state = nullptr, .kind = {}};
}

}  // namespace sinks
}  // namespace outlier
