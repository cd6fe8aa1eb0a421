#include "userspace/relay/silences.h"

#include <algorithm>
#include <ctime>

#include <fmt/format.h>
#include <xxhash.h>

#include "absl/time/time.h"
#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/relay/route.h"

namespace outlier {
namespace {

constexpr auto kKeptAfter = std::chrono::hours(24 * 60);
constexpr auto kForgottenAfter = std::chrono::hours(24 * 7);  // of a silence that ended: shown so long

bool Covers(const relay::v1::Silence& silence, const v1::Incident& incident, const Labels& labels, WallTime at) {
  const relay::v1::Matcher& match = silence.match();
  if (at < TimeOf(silence.starts()) || at >= TimeOf(silence.ends())) return false;
  if (match.max_severity() != v1::Incident::SEVERITY_UNSPECIFIED && incident.severity() > match.max_severity()) return false;
  if (!GlobMatch(match.workload(), incident.workload().name()) || !GlobMatch(match.host(), incident.source().host_name())) return false;
  if (!match.patterns().empty() && std::find(match.patterns().begin(), match.patterns().end(), incident.pattern()) == match.patterns().end()) return false;
  if (!match.signal().empty() && std::none_of(incident.contributions().begin(), incident.contributions().end(),
                                              [&](const auto& contribution) { return GlobMatch(match.signal(), contribution.signal()); })) {
    return false;
  }
  const auto wanted = ParseLabels(match.labels());
  return wanted.ok() && LabelsMatch(*wanted, labels);
}

// The same words and times give the same id, so that a silence given twice is one.
std::string IdOf(const relay::v1::Silence& silence) {
  const std::string bytes = silence.SerializeAsString();
  return fmt::format("{:016x}", XXH3_64bits(bytes.data(), bytes.size()));
}

absl::StatusOr<google::protobuf::Timestamp> ParseTime(const std::string& text) {
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error)) {
    return absl::InvalidArgumentError(fmt::format("\"{}\" is no time; expected RFC 3339, such as 2026-03-01T10:00:00Z", Printable(text, 60)));
  }
  return ToTimestamp(WallTime(std::chrono::nanoseconds(absl::ToUnixNanos(time))));
}

absl::StatusOr<relay::v1::Silence> OfConfig(const config::v1::Silence& config) {
  relay::v1::Silence silence;
  silence.set_id(config.id());
  silence.set_author(config.author());
  silence.set_reason(config.reason());
  silence.set_read_only(true);
  relay::v1::Matcher& match = *silence.mutable_match();
  match.set_workload(config.match().workload());
  match.set_host(config.match().host());
  match.set_signal(config.match().signal());
  match.set_max_severity(SeverityOf(config.match().max_severity()));
  const auto patterns = ParsePatterns(config.match().patterns());
  if (!patterns.ok()) return absl::InvalidArgumentError("match." + MessageOf(patterns.status()));
  for (const auto pattern : *patterns) match.add_patterns(pattern);
  *match.mutable_labels() = config.match().labels();
  if (const auto labels = ParseLabels(match.labels()); !labels.ok()) return absl::InvalidArgumentError("match." + MessageOf(labels.status()));
  if (!config.starts().empty()) {
    const auto starts = ParseTime(config.starts());
    if (!starts.ok()) return absl::InvalidArgumentError("starts: " + MessageOf(starts.status()));
    *silence.mutable_starts() = *starts;
  }
  if (config.ends().empty()) return absl::InvalidArgumentError("ends: needed: a silence without an end is a hole that nobody sees");
  const auto ends = ParseTime(config.ends());
  if (!ends.ok()) return absl::InvalidArgumentError("ends: " + MessageOf(ends.status()));
  *silence.mutable_ends() = *ends;
  if (TimeOf(silence.ends()) <= TimeOf(silence.starts())) return absl::InvalidArgumentError("ends: lies before its start");
  if (silence.id().empty()) silence.set_id(IdOf(silence));
  return silence;
}

}  // namespace

absl::Status Silences::Load() {
  auto silences = ledger_->Silences();
  if (!silences.ok()) return silences.status();
  const std::lock_guard lock(mutex_);
  added_ = *std::move(silences);
  return absl::OkStatus();
}

absl::Status Silences::Configure(const google::protobuf::RepeatedPtrField<config::v1::Silence>& silences) {
  std::vector<relay::v1::Silence> configured;
  for (int i = 0; i < silences.size(); ++i) {
    auto silence = OfConfig(silences[i]);
    if (!silence.ok()) return absl::InvalidArgumentError(fmt::format("silences[{}].{}", i, MessageOf(silence.status())));
    configured.push_back(*std::move(silence));
  }
  const std::lock_guard lock(mutex_);
  configured_ = std::move(configured);
  ++generation_;
  return absl::OkStatus();
}

std::optional<relay::v1::Silence> Silences::Covering(const v1::Incident& incident, WallTime at) const {
  const std::lock_guard lock(mutex_);
  for (const auto* silences : {&configured_, &added_}) {
    for (const relay::v1::Silence& silence : *silences) {
      if (Covers(silence, incident, labels_, at)) return silence;
    }
  }
  return std::nullopt;
}

absl::StatusOr<relay::v1::Silence> Silences::Add(relay::v1::Silence silence, WallTime now) {
  if (silence.author().empty()) return absl::InvalidArgumentError("author: needed: people ask whose silence it is");
  if (silence.reason().empty()) return absl::InvalidArgumentError("reason: needed: people ask why");
  if (!silence.has_starts()) *silence.mutable_starts() = ToTimestamp(now);
  if (!silence.has_ends()) return absl::InvalidArgumentError("ends: needed: a silence without an end is a hole that nobody sees");
  if (TimeOf(silence.ends()) <= now) return absl::InvalidArgumentError("ends: lies in the past");
  if (TimeOf(silence.ends()) <= TimeOf(silence.starts())) return absl::InvalidArgumentError("ends: lies before its start");
  if (const auto labels = ParseLabels(silence.match().labels()); !labels.ok()) return absl::InvalidArgumentError("match." + MessageOf(labels.status()));
  silence.clear_id();
  silence.set_read_only(false);
  silence.set_id(IdOf(silence));
  const std::lock_guard lock(mutex_);
  if (absl::Status status = ledger_->PutSilence(silence); !status.ok()) return status;
  std::erase_if(added_, [&](const auto& other) { return other.id() == silence.id(); });
  added_.push_back(silence);
  Prune(now);
  ++generation_;
  return silence;
}

// Those that ended long ago, so that neither the ledger nor a look at all of them grows for ever. Documents of a backlog that is older do without.
void Silences::Prune(WallTime now) {
  std::vector<std::string> old;
  for (const relay::v1::Silence& silence : added_) {
    if (TimeOf(silence.ends()) + kKeptAfter < now) old.push_back(silence.id());
  }
  for (const std::string& id : old) {
    if (!ledger_->DropSilence(id).ok()) return;  // at the next one
    std::erase_if(added_, [&](const auto& silence) { return silence.id() == id; });
  }
}

WallTime Silences::NextChange(WallTime after) const {
  const std::lock_guard lock(mutex_);
  WallTime next = WallTime::max();
  for (const auto* silences : {&configured_, &added_}) {
    for (const relay::v1::Silence& silence : *silences) {
      for (const WallTime time : {TimeOf(silence.starts()), TimeOf(silence.ends())}) {
        if (time > after) next = std::min(next, time);
      }
    }
  }
  return next;
}

absl::StatusOr<relay::v1::Silence> Silences::Expire(const std::string& id, WallTime now) {
  const std::lock_guard lock(mutex_);
  for (relay::v1::Silence& silence : added_) {
    if (silence.id() != id) continue;
    if (TimeOf(silence.ends()) <= now) return absl::FailedPreconditionError(fmt::format("silence {} has ended already", Printable(id, 64)));
    relay::v1::Silence ended = silence;
    *ended.mutable_ends() = ToTimestamp(now);
    if (absl::Status status = ledger_->PutSilence(ended); !status.ok()) return status;
    silence = ended;
    ++generation_;
    return ended;
  }
  for (const relay::v1::Silence& silence : configured_) {
    if (silence.id() == id) return absl::FailedPreconditionError(fmt::format("silence {} stands in the configuration file; end it there", Printable(id, 64)));
  }
  return absl::NotFoundError(fmt::format("no silence has the id {}; `outlierctl silence list` shows those there are", Printable(id, 64)));
}

std::vector<relay::v1::Silence> Silences::List(bool expired, WallTime now) const {
  std::vector<relay::v1::Silence> listed;
  {
    const std::lock_guard lock(mutex_);
    for (const auto* silences : {&configured_, &added_}) {
      for (const relay::v1::Silence& silence : *silences) {
        const WallTime ends = TimeOf(silence.ends());
        if (ends > now || (expired && ends + kForgottenAfter > now)) listed.push_back(silence);
      }
    }
  }
  std::stable_sort(listed.begin(), listed.end(), [](const auto& a, const auto& b) { return TimeOf(a.ends()) < TimeOf(b.ends()); });
  return listed;
}

}  // namespace outlier
