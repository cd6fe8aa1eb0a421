#include "userspace/relay/observer.h"

#include <fmt/format.h>

namespace outlier {
namespace {

constexpr size_t kMailboxBytes = 1 << 20;
constexpr size_t kMostTroubles = 20'000;  // workloads
constexpr size_t kMostOfOne = 100;        // incidents of one

}  // namespace

Observer::Observer(Exposition* exposition, std::shared_ptr<const Labels> labels)
    : exposition_(exposition), labels_(std::move(labels)), mailbox_(kMailboxBytes), thread_([this] { Run(); }) {}

Observer::~Observer() {
  Stop();
  thread_.join();
}

void Observer::Stop() {
  stopping_ = true;
  mailbox_.Close();
}

std::string Observer::Key(const std::string& feed_id, const v1::Workload& workload) {
  return fmt::format("{}\n{}\n{}\n{}", feed_id, static_cast<int>(workload.kind()), workload.name(), workload.container_id());
}

void Observer::Run() {
  while (!stopping_) {
    for (const FeedEvent& event : mailbox_.Take(256, std::chrono::steady_clock::now() + std::chrono::seconds(5))) Take(event);
  }
}

void Observer::Take(const FeedEvent& event) {
  switch (event.kind) {
    case FeedEvent::Kind::kChange: {
      Finding finding;
      finding.change = event.change;
      finding.labels = labels_;
      exposition_->Observe(finding);
      Note(event.change.incident());
      break;
    }
    case FeedEvent::Kind::kGap: {
      Finding finding;
      finding.gap = event.gap;
      *finding.change.mutable_incident()->mutable_source() = event.host;
      finding.labels = labels_;
      exposition_->Observe(finding);
      break;
    }
    case FeedEvent::Kind::kOpenNow: {
      v1::Source source;
      source.set_feed_id(event.feed_id);
      if (!event.open.empty()) source = event.open.front().source();
      exposition_->SetOpen(source, event.open);
      Forget(event.feed_id, event.open);
      for (const v1::Incident& incident : event.open) Note(incident);
      break;
    }
    case FeedEvent::Kind::kReplaced: Forget(event.old_feed_id, {}); break;
    default: break;
  }
}

// What ended without our hearing of it: in a gap, or with its journal.
void Observer::Forget(const std::string& feed_id, const std::vector<v1::Incident>& open) {
  std::set<std::string> ids;
  for (const v1::Incident& incident : open) ids.insert(incident.id());
  const std::lock_guard lock(mutex_);
  const std::string prefix = feed_id + "\n";
  for (auto it = troubles_.lower_bound(prefix); it != troubles_.end() && it->first.starts_with(prefix);) {
    Trouble& trouble = it->second;
    std::erase_if(trouble.open, [&](const std::string& id) { return !ids.contains(id); });
    it = trouble.open.empty() && trouble.until == WallTime{} ? troubles_.erase(it) : std::next(it);
  }
}

void Observer::Note(const v1::Incident& incident) {
  const std::lock_guard lock(mutex_);
  const std::string key = Key(incident.source().feed_id(), incident.workload());
  const auto found = troubles_.find(key);
  if (incident.state() == v1::Incident::RESOLVED) {
    if (found == troubles_.end()) return;
    found->second.open.erase(incident.id());
    found->second.until = TimeOf(incident.resolved_time()) + kAftermath;
    return;
  }
  if (found == troubles_.end() && troubles_.size() >= kMostTroubles) {
    std::erase_if(troubles_, [](const auto& trouble) { return trouble.second.open.empty(); });
    if (troubles_.size() >= kMostTroubles) return;  // the signals of what comes beyond are not sent
  }
  Trouble& trouble = found == troubles_.end() ? troubles_[key] : found->second;
  if (trouble.open.size() < kMostOfOne) trouble.open.insert(incident.id());
}

bool Observer::Troubled(const std::string& feed_id, const v1::Workload& workload, WallTime now) const {
  const std::lock_guard lock(mutex_);
  const auto it = troubles_.find(Key(feed_id, workload));
  return it != troubles_.end() && (!it->second.open.empty() || now < it->second.until);
}

}  // namespace outlier
