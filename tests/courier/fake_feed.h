// A feed whose reader is played: a journal that can be compacted, wiped, put back to an older state, and what FeedReader would say of it.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "userspace/delivery/feed_event.h"
#include "userspace/ledger/ledger.h"

namespace outlier {

inline constexpr WallTime kStart{std::chrono::seconds(1'800'000'000)};
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

// A journal, and what the reader of it says: as FeedReader does.
class FakeFeed {
 public:
  FakeFeed(size_t number, std::string id) : number_(number), id_(std::move(id)) {}

  const std::string& id() const { return id_; }
  uint64_t last() const { return journal_.size(); }
  const std::vector<v1::IncidentChange>& journal() const { return journal_; }
  const std::map<std::string, v1::Incident>& open() const { return open_; }
  bool up = true;

  const v1::IncidentChange& Add(v1::IncidentChange::Kind kind, const std::string& id, WallTime now, v1::Incident::Severity severity = v1::Incident::MAJOR,
                                const std::function<void(v1::Incident*)>& tweak = {}) {
    v1::Incident incident;
    if (const auto it = open_.find(id); it != open_.end()) {
      incident = it->second;
    } else {
      incident.set_id(id);
      incident.mutable_source()->set_feed_id(id_);
      incident.mutable_source()->set_host_name(fmt::format("host-{}", number_));
      incident.mutable_workload()->set_name("w-" + id);
      incident.mutable_workload()->set_kind(v1::Workload::SYSTEMD_UNIT);
      incident.set_pattern(v1::Incident::STEP);
      *incident.mutable_onset_time() = *incident.mutable_opened_time() = ToTimestamp(now);
    }
    incident.set_severity(severity);
    incident.set_state(v1::Incident::OPEN);
    incident.set_summary(fmt::format("{} is {} at {}", id, v1::Incident::Severity_Name(severity), journal_.size() + 1));
    *incident.mutable_updated_time() = ToTimestamp(now);
    if (kind == v1::IncidentChange::ACKNOWLEDGED) incident.set_acknowledged(true);
    if (kind == v1::IncidentChange::RESOLVED) {
      incident.set_state(v1::Incident::RESOLVED);
      *incident.mutable_resolved_time() = ToTimestamp(now);
    }
    if (tweak) tweak(&incident);
    if (incident.state() == v1::Incident::OPEN) {
      open_[id] = incident;
    } else {
      open_.erase(id);
    }
    v1::IncidentChange change;
    change.set_sequence(journal_.size() + 1);
    change.set_kind(kind);
    *change.mutable_time() = ToTimestamp(now);
    *change.mutable_incident() = incident;
    journal_.push_back(std::move(change));
    return journal_.back();
  }
  const v1::IncidentChange& Open(const std::string& id, WallTime now, v1::Incident::Severity severity = v1::Incident::MAJOR,
                                 const std::function<void(v1::Incident*)>& tweak = {}) {
    return Add(v1::IncidentChange::OPENED, id, now, severity, tweak);
  }
  const v1::IncidentChange& Update(const std::string& id, WallTime now, v1::Incident::Severity severity = v1::Incident::MAJOR) {
    return Add(v1::IncidentChange::UPDATED, id, now, severity);
  }
  const v1::IncidentChange& Resolve(const std::string& id, WallTime now) {
    const auto it = open_.find(id);
    return Add(v1::IncidentChange::RESOLVED, id, now, it == open_.end() ? v1::Incident::MAJOR : it->second.severity());
  }
  // The state folder is wiped: another journal, nothing open.
  void Wipe(std::string id) {
    id_ = std::move(id);
    journal_.clear();
    open_.clear();
    kept_from_ = 1;
    connected_ = false;
  }
  // What was resolved is dropped up to here; what is open is kept in parts.
  void Compact(uint64_t kept_from) {
    kept_from_ = kept_from;
    connected_ = false;
  }
  // Put back to an older state.
  void Rewind(uint64_t last) {
    journal_.resize(last);
    open_.clear();
    for (const auto& change : journal_) {
      if (change.incident().state() == v1::Incident::OPEN) {
        open_[change.incident().id()] = change.incident();
      } else {
        open_.erase(change.incident().id());
      }
    }
    connected_ = false;
  }

  void Resume(const std::vector<Cursor>& cursors, const std::string& address, bool from_now) {
    connected_ = listed_ = false;
    told_ = true;
    reader_feed_.clear();
    position_ = 0;
    for (const Cursor& cursor : cursors) {
      if (cursor.source != address) continue;
      reader_feed_ = cursor.feed_id;
      position_ = cursor.sequence;
    }
    if (reader_feed_.empty() && from_now) {
      reader_feed_ = id_;
      position_ = last();
    }
  }
  // The next thing that the reader has to say, if any.
  std::optional<FeedEvent> Next(WallTime now) {
    FeedEvent event;
    event.source = number_;
    event.feed_id = reader_feed_;
    event.time = now;
    event.host.set_feed_id(id_);
    event.host.set_host_name(fmt::format("host-{}", number_));
    if (!up) {
      if (!connected_) return std::nullopt;
      connected_ = false;
      event.kind = FeedEvent::Kind::kDisconnected;
      event.message = "cannot watch it: gone";
      return event;
    }
    if (!connected_) {
      if (!reader_feed_.empty() && reader_feed_ != id_) {
        event.kind = FeedEvent::Kind::kGap;
        event.host.set_feed_id(reader_feed_);
        event.gap = {position_ + 1, 0, 0, "feed_replaced"};
        if (std::exchange(gap_told_, true)) {
          gap_told_ = false;
          event = {};
          event.source = number_;
          event.kind = FeedEvent::Kind::kReplaced;
          event.old_feed_id = std::exchange(reader_feed_, id_);
          event.feed_id = id_;
          position_ = 0;
        }
        return event;
      }
      if (position_ > last()) {
        event.kind = FeedEvent::Kind::kGap;
        event.gap = {last() + 1, position_, 0, "journal_rewound"};
        position_ = last();
        return event;
      }
      if (position_ != 0 && position_ + 1 < kept_from_ && !std::exchange(gap_told_, true)) {
        event.kind = FeedEvent::Kind::kGap;
        event.gap = {position_ + 1, kept_from_ - 1, 0, "compacted"};
        return event;
      }
      gap_told_ = false;
      connected_ = true;
      listed_ = false;
      told_ = false;
      reader_feed_ = event.feed_id = id_;
      event.kind = FeedEvent::Kind::kConnected;
      event.sequence = position_;
      return event;
    }
    while (position_ < last()) {
      const v1::IncidentChange& change = journal_[position_++];
      if (change.sequence() < kept_from_ && !open_.contains(change.incident().id())) continue;
      event.kind = FeedEvent::Kind::kChange;
      event.change = change;
      told_ = false;
      return event;
    }
    if (!std::exchange(told_, true)) {
      event.kind = FeedEvent::Kind::kCaughtUp;
      event.sequence = position_;
      return event;
    }
    if (!std::exchange(listed_, true)) {
      event.kind = FeedEvent::Kind::kOpenNow;
      event.sequence = position_;
      for (const auto& [id, incident] : open_) event.open.push_back(incident);
      return event;
    }
    return std::nullopt;
  }
  void Disconnect() { connected_ = false; }

 private:
  const size_t number_;
  std::string id_;
  std::vector<v1::IncidentChange> journal_;
  std::map<std::string, v1::Incident> open_;
  uint64_t kept_from_ = 1;
  std::string reader_feed_;
  uint64_t position_ = 0;
  bool connected_ = false, listed_ = false, told_ = true, gap_told_ = false;
};

}  // namespace outlier
