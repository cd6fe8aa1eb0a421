#include "userspace/relay/observer.h"

#include <fmt/format.h>

namespace outlier {
namespace {

constexpr size_t kMailboxBytes = 1 << 20;
constexpr size_t kMostTroubles = 20'000;

}  // namespace

Observer::Observer(Exposition* exposition, std::shared_ptr<const Labels> labels)
    : exposition_(exposition), labels_(std::move(labels)), mailbox_(kMailboxBytes), thread_([this] { Run(); }) {}

Observer::~Observer() {
  stopping_ = true;
  mailbox_.Close();
  thread_.join();
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
      for (const v1::Incident& incident : event.open) Note(incident);
      break;
    }
    default: break;
  }
}

void Observer::Note(const v1::Incident& incident) {
  const std::lock_guard lock(mutex_);
  const std::string key = Key(incident.source().feed_id(), incident.workload());
  if (troubles_.size() >= kMostTroubles && !troubles_.contains(key)) std::erase_if(troubles_, [](const auto& trouble) { return trouble.second.open.empty(); });
  Trouble& trouble = troubles_[key];
  if (incident.state() == v1::Incident::RESOLVED) {
    trouble.open.erase(incident.id());
    trouble.until = TimeOf(incident.resolved_time()) + kAftermath;
  } else {
    trouble.open.insert(incident.id());
  }
}

bool Observer::Troubled(const std::string& feed_id, const v1::Workload& workload, WallTime now) const {
  const std::lock_guard lock(mutex_);
  const auto it = troubles_.find(Key(feed_id, workload));
  return it != troubles_.end() && (!it->second.open.empty() || now < it->second.until);
}

}  // namespace outlier
