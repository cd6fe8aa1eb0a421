// What a stream courier takes in: changes and gaps, admitted or passed over, and whose end it goes on waiting for. And the samples beside them.
#include "userspace/relay/stream_courier.h"

#include <algorithm>

#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr size_t kMostBesideABatch = 8;             // of what a batch may hold, one part in so many
constexpr size_t kMostSeen = 100'000;               // of a gap
constexpr size_t kMostSamples = 4;                  // ticks
constexpr size_t kMostDetail = 4096;
constexpr size_t kMostExplained = 1000;             // of those that are quiet

// Enough to say that it is over.
v1::IncidentChange Slim(const v1::IncidentChange& change) {
  v1::IncidentChange slim;
  slim.set_sequence(change.sequence());
  slim.set_kind(change.kind());
  *slim.mutable_time() = change.time();
  const v1::Incident& from = change.incident();
  v1::Incident& to = *slim.mutable_incident();
  to.set_id(from.id());
  *to.mutable_source() = from.source();
  to.set_state(from.state());
  to.set_severity(from.severity());
  to.set_score(from.score());
  to.set_pattern(from.pattern());
  to.set_summary(Printable(from.summary(), 300));
  *to.mutable_workload() = from.workload();
  *to.mutable_onset_time() = from.onset_time();
  *to.mutable_opened_time() = from.opened_time();
  *to.mutable_updated_time() = from.updated_time();
  if (from.changes_size() > 0) {  // its opening, by which some sinks know it again
    *to.add_changes() = from.changes(0);
    to.mutable_changes(0)->set_detail(Printable(from.changes(0).detail(), kMostDetail));
  }
  return slim;
}

}  // namespace

StreamCourier::StreamCourier(CourierContext given, std::unique_ptr<StreamSink> sink)
    : Courier(std::move(given)), sink_(std::move(sink)), caught_up_(context().sources.size()), gaps_(context().sources.size()) {
  auto followed = context().ledger->Followed(name());
  Loaded(followed.status());
  TakeHeld(nullptr);
  if (!loaded().ok()) return;
  for (const relay::v1::Followed& one : *followed) {
    followed_[one.incident_key()] = one.change().SerializeAsString();
    if (one.quiet() && sink_->limits().opens_after_silence) quiet_[one.incident_key()] = one.change();
  }
}

// For one batch; while one is under way and well, for the next, where that can be made ready; else for its beginning: what one sink may hold of a backlog.
bool StreamCourier::HasRoom() const {
  const bool next = work_.empty() ? !next_ : works_ahead() && !next_ && retry_.state() == Retry::State::kDelivering;
  return !stalled() && waiting_.size() < kMostWaiting && !FillsABatch() && (next || bytes_waiting_ < context().most_message_bytes / kMostBesideABatch);
}

void StreamCourier::TakeEvent(FeedEvent event, WallTime now) {
  std::optional<OpenGap>& gap = gaps_[event.source];
  switch (event.kind) {
    case FeedEvent::Kind::kConnected:
    case FeedEvent::Kind::kDisconnected: caught_up_[event.source] = false; break;
    case FeedEvent::Kind::kChange: Admit(std::move(event), now); break;
    case FeedEvent::Kind::kGap:
      if (event.gap.reason == "compacted") {
        if (!gap) gap = OpenGap{event.gap.first_sequence, 0, {}, 0};
        gap->last = std::max(gap->last, event.gap.last_sequence);
      } else if (event.gap.reason == "journal_rewound") {  // what comes next has the numbers of what was lost
        gap = OpenGap{event.gap.last_sequence + 1, UINT64_MAX, {}, 0};
      } else if (event.gap.reason == "feed_replaced") {
        gap = OpenGap{event.gap.first_sequence, UINT64_MAX, {}, 0};
      }
      Admit(std::move(event), now);
      break;
    case FeedEvent::Kind::kReplaced:
      EndGone(event.source, event.old_feed_id, {}, "its host began a new journal", gap.value_or(OpenGap{followed_.size() + 1, UINT64_MAX, {}, 0}), now);
      gap.reset();
      caught_up_[event.source] = false;
      break;
    case FeedEvent::Kind::kCaughtUp: {
      if (gap) {
        gap->reached = std::max(gap->reached, event.sequence);
        break;
      }
      const SourceState& source = sources_[event.source];
      if (waiting_.empty() && work_.empty() && source.feed_id == event.feed_id && source.position == event.sequence && source.written) break;
      Enqueue({event.source, Cursor{context().sources[event.source], event.feed_id, event.sequence}, now, std::nullopt, 0, {}, {}}, now);
      break;
    }
    case FeedEvent::Kind::kOpenNow: {
      if (gap) {
        std::set<std::string> open;
        for (const v1::Incident& incident : event.open) open.insert(IncidentKey(incident));
        EndGone(event.source, event.feed_id, open, "it is no longer open at its source", *gap, now);
        Enqueue({event.source, Cursor{context().sources[event.source], event.feed_id, std::max(gap->reached, event.sequence)}, now, std::nullopt, 0, {}, {}}, now);
        gap.reset();
      }
      for (const v1::Incident& incident : event.open) {
        const auto quiet = quiet_.find(IncidentKey(incident));
        if (quiet == quiet_.end()) continue;
        v1::IncidentChange change = quiet->second;
        *change.mutable_incident() = incident;
        BeQuiet(quiet->first, change);
      }
      caught_up_[event.source] = true;
      silences_seen_ = 0;
      std::erase_if(event.open, [&](const v1::Incident& incident) { return !context().route.Admits(incident); });
      v1::Source source;
      source.set_feed_id(event.feed_id);
      source.set_host_name(sources_[event.source].host_name);
      sink_->SetOpen(event.open.empty() ? source : event.open.front().source(), event.open);
      break;
    }
  }
}

void StreamCourier::EndGone(size_t source, const std::string& feed_id, const std::set<std::string>& open, const std::string& why, const OpenGap& gap,
                            WallTime now) {
  uint64_t sequence = gap.first;
  for (auto it = followed_.lower_bound(feed_id + ":"); it != followed_.end();) {
    if (!it->first.starts_with(feed_id + ":")) break;
    v1::IncidentChange last;
    if (!last.ParseFromString(it->second) || last.incident().source().feed_id() != feed_id || open.contains(it->first)) {
      ++it;
      continue;
    }
    while (gap.seen.contains(sequence)) ++sequence;
    if (sequence > gap.last) break;  // its end is still to come
    Finding finding;
    finding.labels = context().labels;
    finding.change = std::move(last);
    finding.change.set_sequence(sequence++);
    finding.change.set_kind(v1::IncidentChange::RESOLVED);
    *finding.change.mutable_time() = ToTimestamp(Wall(now));
    v1::Incident& incident = *finding.change.mutable_incident();
    incident.set_state(v1::Incident::RESOLVED);
    *incident.mutable_resolved_time() = *incident.mutable_updated_time() = ToTimestamp(Wall(now));
    incident.set_summary(incident.summary() + " (" + why + ")");
    finding.silence = context().silences->Covering(incident, Wall(now));
    Waiting waiting{source, std::nullopt, now, std::nullopt, 0, {}, it->first};
    if (quiet_.erase(it->first) == 0 && sink_->Wants(finding)) waiting.finding = std::move(finding);
    it = followed_.erase(it);
    Enqueue(std::move(waiting), now);
  }
}

void StreamCourier::Admit(FeedEvent event, WallTime now) {
  std::optional<OpenGap>& gap = gaps_[event.source];
  Waiting waiting{event.source, std::nullopt, now, std::nullopt, event.bytes, {}, {}};
  Finding finding;
  finding.labels = context().labels;
  const bool takes_changes = sink_->limits().changes;
  if (event.kind == FeedEvent::Kind::kGap) {
    finding.gap = event.gap;
    *finding.change.mutable_time() = ToTimestamp(event.time);
    *finding.change.mutable_incident()->mutable_source() = event.host;
    finding.change.mutable_incident()->mutable_source()->set_feed_id(event.feed_id);
    if (takes_changes && sink_->Wants(finding)) waiting.finding = std::move(finding);
  } else {
    const uint64_t sequence = event.change.sequence();
    if (gap) {
      gap->reached = std::max(gap->reached, sequence);
      if (sequence <= gap->last && gap->seen.size() < kMostSeen) gap->seen.insert(sequence);
    } else {
      waiting.cursor = Cursor{context().sources[event.source], event.feed_id, sequence};
    }
    const v1::Incident& incident = event.change.incident();
    const std::string key = IncidentKey(incident);
    const bool over = incident.state() == v1::Incident::RESOLVED;
    const auto followed = followed_.find(key);
    const bool follows = followed != followed_.end();
    if (takes_changes && (follows || (over && unfollowed_some_) || context().route.Admits(incident))) {
      if (over && follows) {
        waiting.unfollows = key;
        followed_.erase(followed);
      } else if (!over && !follows) {
        if (followed_.size() < kMostFollowed) {
          std::string slim = Slim(event.change).SerializeAsString();
          followed_.emplace(key, slim);
          waiting.follows.emplace(key, Kept{std::move(slim)});
        } else {
          unfollowed_some_ = true;
        }
      }
      finding.silence = context().silences->Covering(incident, TimeOf(event.change.time()));
      finding.change = std::move(event.change);
      const bool wanted = sink_->limits().opens_after_silence ? TellsOfQuiet(key, follows, &finding, &waiting, now) : sink_->Wants(finding);
      if (wanted) waiting.finding = std::move(finding);
    }
  }
  Enqueue(std::move(waiting), now);
}

void StreamCourier::BeQuiet(const std::string& key, const v1::IncidentChange& change) {
  v1::IncidentChange& latest = quiet_[key];
  v1::IncidentChange kept = Slim(change);
  if (quiet_.size() <= kMostExplained) {
    const v1::Incident& from = change.incident();
    for (int i = 0; i < std::min(from.contributions_size(), 8); ++i) *kept.mutable_incident()->add_contributions() = from.contributions(i);
    for (int i = 0; i < std::min(from.suspects_size(), 3); ++i) *kept.mutable_incident()->add_suspects() = from.suspects(i);
  }
  latest = std::move(kept);
}

Finding StreamCourier::OpeningOf(const v1::IncidentChange& latest, const google::protobuf::Timestamp& time) const {
  Finding finding;
  finding.labels = context().labels;
  finding.change = latest;
  finding.change.set_kind(v1::IncidentChange::OPENED);
  *finding.change.mutable_time() = time;
  return finding;
}

bool StreamCourier::TellsOfQuiet(const std::string& key, bool followed, Finding* finding, Waiting* waiting, WallTime now) {
  const v1::Incident& incident = finding->incident();
  const auto quiet = quiet_.find(key);
  if (incident.state() == v1::Incident::RESOLVED) {
    if (quiet == quiet_.end()) return (followed || unfollowed_some_) && sink_->Wants(*finding);
    // It outlived its silence, and was not heard of between.
    const bool outlived = !finding->silence && context().route.Admits(quiet->second.incident());
    if (outlived) {
      Waiting opening{waiting->source, std::nullopt, now, OpeningOf(quiet->second, finding->change.time()), 0, {}, {}};
      opening.follows.emplace(key, Kept{Slim(quiet->second).SerializeAsString()});
      Enqueue(std::move(opening), now);
    }
    quiet_.erase(quiet);
    return outlived && sink_->Wants(*finding);
  }
  if (followed && quiet == quiet_.end()) return sink_->Wants(*finding);
  if (!followed && !waiting->follows) return sink_->Wants(*finding);  // there are too many to know
  if (finding->silence || !context().route.Admits(incident)) {
    BeQuiet(key, finding->change);
    if (waiting->follows) waiting->follows->second.quiet = true;
    return false;
  }
  if (quiet != quiet_.end()) {
    quiet_.erase(quiet);
    waiting->follows.emplace(key, Kept{followed_.at(key)});
    finding->change.set_kind(v1::IncidentChange::OPENED);
  }
  if (!sink_->Wants(*finding)) finding->change.set_kind(v1::IncidentChange::OPENED);  // its opening was never heard of
  return true;
}

// What is open and quiet is told when nothing covers it any more.
void StreamCourier::Housekeep(WallTime now) {
  if (quiet_.empty()) return;
  const uint64_t generation = context().silences->generation();
  const WallTime wall = Wall(now);
  if (generation == silences_seen_ && wall < silences_change_ && wall >= silences_looked_) {
    silences_looked_ = wall;
    return;
  }
  silences_seen_ = generation;
  silences_looked_ = wall;
  silences_change_ = context().silences->NextChange(wall);
  for (auto it = quiet_.begin(); it != quiet_.end();) {
    const v1::Incident& incident = it->second.incident();
    size_t source = 0;
    while (source < sources_.size() && sources_[source].feed_id != incident.source().feed_id()) ++source;
    if (source == sources_.size() || !caught_up_[source] || !context().route.Admits(incident) || context().silences->Covering(incident, wall)) {
      ++it;
      continue;
    }
    Waiting waiting{source, std::nullopt, now, OpeningOf(it->second, ToTimestamp(wall)), 0, {}, {}};
    waiting.follows.emplace(it->first, Kept{followed_.at(it->first)});
    it = quiet_.erase(it);
    Enqueue(std::move(waiting), now);
  }
}

void StreamCourier::Enqueue(Waiting waiting, WallTime now) {
  if (waiting.finding) {
    if (waiting.bytes == 0) waiting.bytes = waiting.finding->change.ByteSizeLong();
    ++findings_waiting_;
    bytes_waiting_ += waiting.bytes;
    auto& oldest = sources_[waiting.source].oldest_waiting;
    if (!oldest) oldest = TimeOf(waiting.finding->change.time());
  } else if (waiting_.empty()) {
    idle_since_ = now;
  }
  waiting_.push_back(std::move(waiting));
}

void StreamCourier::Resend(std::vector<relay::v1::DeadLetter> letters) {
  if (resend_.empty() && work_.empty() && !stalled()) asked_.clear();
  for (relay::v1::DeadLetter& letter : NewLetters(std::move(letters))) resend_.push_back(std::move(letter));
}

void StreamCourier::LoseSamples(uint64_t samples) {
  counted_.samples_lost += samples;
  entry_.counted.samples_lost += samples;
}

void StreamCourier::Offer(std::shared_ptr<const Samples> samples) {
  if (!wants_samples()) return;
  // Of a sink that cannot be reached the newest are worth as little as the oldest: none are kept for it.
  if (retry_.state() != Retry::State::kDelivering) {
    LoseSamples(static_cast<uint64_t>(samples->sample.workloads_size()));
    return;
  }
  samples_.push_back(std::move(samples));
  while (samples_.size() > kMostSamples) {
    LoseSamples(static_cast<uint64_t>(samples_.front()->sample.workloads_size()));
    samples_.pop_front();
  }
}

std::shared_ptr<Request> StreamCourier::NextSamples(WallTime now) {
  while (sample_requests_.empty() && !samples_.empty()) {
    const std::shared_ptr<const Samples> samples = samples_.front();
    samples_.pop_front();
    for (Request& request : sink_->EncodeSamples(*samples, Wall(now))) sample_requests_.push_back(std::move(request));
    samples_in_requests_ = static_cast<uint64_t>(samples->sample.workloads_size());
  }
  if (sample_requests_.empty()) return nullptr;
  auto request = std::make_shared<Request>(std::move(sample_requests_.front()));
  sample_requests_.pop_front();
  request->compress = request->compress && context().config.delivery().compression() == "gzip";
  sending_samples_ = true;
  return request;
}

}  // namespace outlier
