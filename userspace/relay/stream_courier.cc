#include "userspace/relay/stream_courier.h"

#include <algorithm>

#include <fmt/format.h>

#include "userspace/base/status.h"
#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr size_t kMostWaiting = 20'000;             // findings
constexpr size_t kMostWaitingBytes = 2 << 20;       // of their messages, three times that in memory: what one sink may hold of a backlog
constexpr size_t kMostSeen = 100'000;               // of a gap
constexpr size_t kMostSamples = 4;                  // ticks
constexpr auto kIdleWrite = std::chrono::seconds(1);  // cursors over what is not for this sink are written this often

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
  return slim;
}

}  // namespace

StreamCourier::StreamCourier(CourierContext given, std::unique_ptr<StreamSink> sink)
    : Courier(std::move(given)), sink_(std::move(sink)), gaps_(context().sources.size()) {
  auto followed = context().ledger->Followed(name());
  Loaded(followed.status());
  if (!followed.ok()) return;
  for (relay::v1::Followed& one : *followed) followed_[one.incident_key()] = std::move(*one.mutable_change());
}

bool StreamCourier::HasRoom() const { return !stalled() && waiting_.size() < kMostWaiting && bytes_waiting_ < kMostWaitingBytes; }

size_t StreamCourier::MostItems() const { return std::min<size_t>(sink_->limits().max_items, context().config.delivery().max_items()); }

void StreamCourier::TakeEvent(FeedEvent event, WallTime now) {
  std::optional<OpenGap>& gap = gaps_[event.source];
  switch (event.kind) {
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
      break;
    case FeedEvent::Kind::kCaughtUp: {
      if (gap) {
        gap->reached = std::max(gap->reached, event.sequence);
        break;
      }
      const SourceState& source = sources_[event.source];
      if (waiting_.empty() && work_.empty() && source.feed_id == event.feed_id && source.position == event.sequence && source.written) break;
      Enqueue({event.source, Cursor{context().sources[event.source], event.feed_id, event.sequence}, now, std::nullopt, 0, {}}, now);
      break;
    }
    case FeedEvent::Kind::kOpenNow: {
      if (gap) {
        std::set<std::string> open;
        for (const v1::Incident& incident : event.open) open.insert(IncidentKey(incident));
        EndGone(event.source, event.feed_id, open, "it is no longer open at its source", *gap, now);
        Enqueue({event.source, Cursor{context().sources[event.source], event.feed_id, std::max(gap->reached, event.sequence)}, now, std::nullopt, 0, {}}, now);
        gap.reset();
      }
      std::erase_if(event.open, [&](const v1::Incident& incident) { return !context().route.Admits(incident); });
      v1::Source source;
      source.set_feed_id(event.feed_id);
      source.set_host_name(sources_[event.source].host_name);
      sink_->SetOpen(event.open.empty() ? source : event.open.front().source(), event.open);
      break;
    }
    default: break;
  }
}

void StreamCourier::EndGone(size_t source, const std::string& feed_id, const std::set<std::string>& open, const std::string& why, const OpenGap& gap,
                            WallTime now) {
  uint64_t sequence = gap.first;
  for (auto it = followed_.lower_bound(feed_id + ":"); it != followed_.end();) {
    const v1::IncidentChange& last = it->second;
    if (last.incident().source().feed_id() != feed_id) {
      if (!it->first.starts_with(feed_id + ":")) break;
      ++it;
      continue;
    }
    if (open.contains(it->first)) {
      ++it;
      continue;
    }
    while (gap.seen.contains(sequence)) ++sequence;
    if (sequence > gap.last) break;  // its end is still to come
    Finding finding;
    finding.labels = context().labels;
    finding.change = last;
    finding.change.set_sequence(sequence++);
    finding.change.set_kind(v1::IncidentChange::RESOLVED);
    *finding.change.mutable_time() = ToTimestamp(Wall(now));
    v1::Incident& incident = *finding.change.mutable_incident();
    incident.set_state(v1::Incident::RESOLVED);
    *incident.mutable_resolved_time() = *incident.mutable_updated_time() = ToTimestamp(Wall(now));
    incident.set_summary(incident.summary() + " (" + why + ")");
    finding.silence = context().silences->Covering(incident, Wall(now));
    Waiting waiting{source, std::nullopt, now, std::nullopt, 0, it->first};
    if (sink_->Wants(finding)) waiting.finding = std::move(finding);
    it = followed_.erase(it);
    Enqueue(std::move(waiting), now);
  }
}

void StreamCourier::Admit(FeedEvent event, WallTime now) {
  std::optional<OpenGap>& gap = gaps_[event.source];
  Waiting waiting{event.source, std::nullopt, now, std::nullopt, 0, {}};
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
          relay::v1::Followed row;
          row.set_incident_key(key);
          *row.mutable_change() = Slim(event.change);
          followed_.emplace(key, row.change());
          entry_.followed.push_back(std::move(row));
        } else {
          unfollowed_some_ = true;
        }
      }
      finding.silence = context().silences->Covering(incident, TimeOf(event.change.time()));
      finding.change = std::move(event.change);
      if (sink_->Wants(finding)) waiting.finding = std::move(finding);
    }
  }
  Enqueue(std::move(waiting), now);
}

void StreamCourier::Enqueue(Waiting waiting, WallTime now) {
  if (waiting.finding) {
    waiting.bytes = waiting.finding->change.ByteSizeLong();
    ++findings_waiting_;
    bytes_waiting_ += waiting.bytes;
    auto& oldest = sources_[waiting.source].oldest_waiting;
    if (!oldest) oldest = TimeOf(waiting.finding->change.time());
  } else if (waiting_.empty()) {
    idle_since_ = now;
  }
  waiting_.push_back(std::move(waiting));
}

void StreamCourier::Rank(const Cursor& cursor) {
  for (Cursor& known : entry_.cursors) {
    if (known.source == cursor.source && known.feed_id == cursor.feed_id) {
      known.sequence = std::max(known.sequence, cursor.sequence);
      return;
    }
  }
  entry_.cursors.push_back(cursor);
}

bool StreamCourier::BatchIsDue(WallTime now) const {
  if (findings_waiting_ == 0) return !waiting_.empty() && (now >= idle_since_ + kIdleWrite || waiting_.size() >= kMostWaiting / 2);
  const auto first = std::find_if(waiting_.begin(), waiting_.end(), [](const Waiting& w) { return w.finding.has_value(); });
  return now >= first->arrived + std::chrono::nanoseconds(context().config.delivery().linger()) || findings_waiting_ >= MostItems() ||
         static_cast<double>(bytes_waiting_) * encoded_per_byte_ >= static_cast<double>(context().config.delivery().max_batch());
}

// Takes from what waits. False when nothing is due.
bool StreamCourier::FormBatch(WallTime now) {
  if (!BatchIsDue(now)) return false;
  const StreamSink::Limits limits = sink_->limits();
  const double room = static_cast<double>(std::min<int64_t>(context().config.delivery().max_batch(), static_cast<int64_t>(limits.max_bytes)));
  Work work;
  double bytes = 0;
  while (!waiting_.empty()) {
    Waiting& next = waiting_.front();
    if (next.finding) {
      const double more = static_cast<double>(next.bytes) * encoded_per_byte_;
      if (work.findings.size() >= MostItems() || (!work.findings.empty() && bytes + more > room)) break;
      const bool expired = limits.oldest.count() > 0 && !next.finding->gap && TimeOf(next.finding->change.time()) + limits.oldest < Wall(now);
      --findings_waiting_;
      bytes_waiting_ -= next.bytes;
      if (expired) {
        ++entry_.counted.expired;
      } else {
        bytes += more;
        work.findings.push_back(std::move(*next.finding));
      }
    }
    if (!next.unfollows.empty()) entry_.unfollowed.push_back(next.unfollows);
    if (next.cursor) Rank(*next.cursor);
    waiting_.pop_front();
  }
  idle_since_ = now;
  for (size_t i = 0; i < sources_.size(); ++i) {
    // What is under way waits, too, until the batch is finished; only an empty one is not behind.
    if (work.findings.empty() && findings_waiting_ == 0) sources_[i].oldest_waiting.reset();
  }
  if (!work.findings.empty()) work_.push_back(std::move(work));
  return true;
}

std::optional<Request> StreamCourier::NextOfKind(WallTime now) {
  sending_samples_ = false;
  if (work_.empty() && !resend_.empty()) {
    Work work;
    while (!resend_.empty() && work.findings.size() < MostItems()) {
      work.findings.push_back(FindingOf(resend_.front()));
      work.letters.push_back(resend_.front().id());
      resend_.pop_front();
    }
    work_.push_back(std::move(work));
  }
  if (work_.empty() && FormBatch(now) && work_.empty()) FinishBatch(now);
  while (!work_.empty() && !stalled() && retry_.Ready(now)) {
    if (auto request = EncodeFront(now)) return request;
  }
  if (!work_.empty() || stalled() || !retry_.Ready(now)) return std::nullopt;
  return NextSamples(now);
}

std::optional<Request> StreamCourier::EncodeFront(WallTime now) {
  DropExpired(now);
  if (work_.empty()) {
    FinishBatch(now);
    return std::nullopt;
  }
  Work& front = work_.front();
  if ((retry_.breaker_open() || doubt_ == Doubt::kFirst) && front.findings.size() > 1) {  // one goes first to see whether the sink is back
    Work rest;
    rest.findings.assign(std::make_move_iterator(front.findings.begin() + 1), std::make_move_iterator(front.findings.end()));
    front.findings.resize(1);
    if (!front.letters.empty()) {
      rest.letters.assign(front.letters.begin() + 1, front.letters.end());
      front.letters.resize(1);
    }
    work_.insert(work_.begin() + 1, std::move(rest));
  }
  Work& work = work_.front();
  absl::StatusOr<Request> request = sink_->Encode(work.findings, Wall(now));
  if (!request.ok()) {
    const std::string why = MessageOf(request.status());
    absl::IsInvalidArgument(request.status()) ? Settle(Outcome::Of(Outcome::Kind::kRefused, why), now) : retry_.Suspended(now, why);
    return std::nullopt;
  }
  size_t bytes = 0;
  for (const Finding& finding : work.findings) bytes += finding.change.ByteSizeLong();
  if (bytes > 0) encoded_per_byte_ = 0.5 * encoded_per_byte_ + 0.5 * static_cast<double>(request->body.size()) / static_cast<double>(bytes);
  const bool too_large = request->body.size() > sink_->limits().max_bytes;
  if (too_large || (work.findings.size() > 1 && request->body.size() > static_cast<size_t>(context().config.delivery().max_batch()))) {
    Settle(Outcome::Of(Outcome::Kind::kSplit, fmt::format("{} bytes, but {} takes at most {}", request->body.size(), context().kind, sink_->limits().max_bytes)), now);
    return std::nullopt;
  }
  request->compress = request->compress && context().config.delivery().compression() == "gzip";
  return *std::move(request);
}

void StreamCourier::ReceiveOfKind(const Response& response, WallTime now) {
  if (!sending_samples_) return Settle(sink_->Judge(response, work_.front().findings), now);
  sending_samples_ = false;
  const Outcome outcome = sink_->JudgeSamples(response);
  if (outcome.kind == Outcome::Kind::kItems) {
    if (sample_requests_.empty()) {
      counted_.samples_delivered += samples_in_requests_;
      entry_.counted.samples_delivered += samples_in_requests_;
      samples_in_requests_ = 0;
    }
    return retry_.Succeeded(now);
  }
  LoseSamples(samples_in_requests_);
  samples_in_requests_ = 0;
  sample_requests_.clear();
  if (outcome.kind == Outcome::Kind::kRetry) retry_.Failed(now, outcome.reason, outcome.retry_after);
  if (outcome.kind == Outcome::Kind::kSuspend) retry_.Suspended(now, outcome.reason);
}

void StreamCourier::Settle(const Outcome& outcome, WallTime now) {
  Work& work = work_.front();
  if (!outcome.warning.empty()) warning_ = outcome.warning;
  switch (outcome.kind) {
    case Outcome::Kind::kItems: SettleItems(outcome, now); break;
    case Outcome::Kind::kRetry:
      entry_.counted.retried += work.findings.size();
      retry_.Failed(now, outcome.reason, outcome.retry_after);
      break;
    case Outcome::Kind::kSuspend: retry_.Suspended(now, outcome.reason); break;
    case Outcome::Kind::kSplit:
    case Outcome::Kind::kRefused:
      if (work.findings.size() > 1) {
        Halve();
      } else {
        Refused(outcome.reason, now);
      }
      break;
  }
  if (work_.empty()) FinishBatch(now);
}

void StreamCourier::SettleItems(const Outcome& outcome, WallTime now) {
  Work work = std::move(work_.front());
  work_.pop_front();
  Work again;
  std::vector<Doubted> refused;
  std::string reason = outcome.reason;
  bool delivered = false;
  for (size_t i = 0; i < work.findings.size(); ++i) {
    const std::string why = i < outcome.reasons.size() && !outcome.reasons[i].empty() ? outcome.reasons[i] : outcome.reason;
    const std::string letter = work.letters.empty() ? "" : work.letters[i];
    switch (i < outcome.items.size() ? outcome.items[i] : ItemOutcome::kRetry) {
      case ItemOutcome::kDelivered:
        ++entry_.counted.delivered;
        delivered = true;
        if (!letter.empty()) entry_.buried.push_back(letter);
        break;
      case ItemOutcome::kExpired:
        ++entry_.counted.expired;
        if (!letter.empty()) entry_.buried.push_back(letter);
        break;
      case ItemOutcome::kRefused: refused.push_back({std::move(work.findings[i]), letter, why}); break;
      case ItemOutcome::kRetry:
        ++entry_.counted.retried;
        if (reason.empty()) reason = why;
        again.findings.push_back(std::move(work.findings[i]));
        if (!work.letters.empty()) again.letters.push_back(letter);
        break;
    }
  }
  const uint64_t unnamed = std::min<uint64_t>(outcome.refused_unnamed, entry_.counted.delivered);
  entry_.counted.delivered -= unnamed;
  entry_.counted.refused += unnamed;
  const bool more = !again.findings.empty();
  if (more) work_.push_front(std::move(again));
  if (delivered) {
    doubt_ = Doubt::kNone;
    refused_in_a_row_ = 0;
  } else {
    refused_in_a_row_ += static_cast<int>(refused.size());
  }
  const size_t refusals = refused.size();
  const std::string last = refusals == 0 ? "" : refused.back().reason.empty() ? "no reason given" : refused.back().reason;
  std::move(refused.begin(), refused.end(), std::back_inserter(doubted_));
  if (delivered) Believe(now);
  if (refusals > 0 && !delivered && (doubt_ != Doubt::kNone || (refused_in_a_row_ > kAllRefused && !word_given_))) {
    if (refusals == 1) return BeginDoubt(last, now);
    // Different ones of one request: no other needs to be tried.
    PutBack();
    doubt_ = Doubt::kFirst;
    return retry_.Suspended(now, RefusesEverything(refused_in_a_row_, "findings", last));
  }
  if (more) {
    retry_.Failed(now, reason, outcome.retry_after);
  } else {
    retry_.Succeeded(now);
  }
}

void StreamCourier::Halve() {
  Work& front = work_.front();
  const auto half = static_cast<ptrdiff_t>(front.findings.size() / 2);
  Work second;
  second.findings.assign(std::make_move_iterator(front.findings.begin() + half), std::make_move_iterator(front.findings.end()));
  front.findings.resize(static_cast<size_t>(half));
  if (!front.letters.empty()) {
    second.letters.assign(front.letters.begin() + half, front.letters.end());
    front.letters.resize(static_cast<size_t>(half));
  }
  work_.insert(work_.begin() + 1, std::move(second));
}

// The one finding of the front.
void StreamCourier::Refused(const std::string& reason, WallTime now) {
  Work work = std::move(work_.front());
  work_.pop_front();
  doubted_.push_back({std::move(work.findings.front()), work.letters.empty() ? "" : work.letters.front(), reason});
  ++refused_in_a_row_;
  if (doubt_ != Doubt::kNone || (refused_in_a_row_ > kAllRefused && !word_given_)) BeginDoubt(reason, now);
}

void StreamCourier::Believe(WallTime now) {
  for (Doubted& doubted : doubted_) {
    ++entry_.counted.refused;
    if (doubted.letter.empty()) entry_.refused.push_back(Letter(doubted.finding, doubted.reason, now));
  }
  doubted_.clear();
}

void StreamCourier::PutBack() {
  if (doubted_.empty()) return;
  Work work;
  for (Doubted& doubted : doubted_) {
    work.findings.push_back(std::move(doubted.finding));
    if (!doubted.letter.empty()) work.letters.push_back(std::move(doubted.letter));
  }
  doubted_.clear();
  work_.push_front(std::move(work));
}

// Something was refused, and it may be the sink. One of another incident is tried out of its turn, the last one that is the first of its incident: that
// keeps the order within each.
void StreamCourier::BeginDoubt(const std::string& reason, WallTime now) {
  if (doubt_ != Doubt::kProbe) {
    std::set<std::string> seen;
    for (const Doubted& doubted : doubted_) seen.insert(IncidentKey(doubted.finding.incident()));
    std::optional<std::pair<size_t, size_t>> chosen;
    for (size_t i = 0; i < work_.size(); ++i) {
      for (size_t k = 0; k < work_[i].findings.size(); ++k) {
        if (seen.insert(IncidentKey(work_[i].findings[k].incident())).second) chosen = {i, k};
      }
    }
    if (chosen) {
      const auto [i, k] = *chosen;
      Work& from = work_[i];
      Work probe;
      probe.findings.push_back(std::move(from.findings[k]));
      from.findings.erase(from.findings.begin() + static_cast<ptrdiff_t>(k));
      if (!from.letters.empty()) {
        probe.letters.push_back(std::move(from.letters[k]));
        from.letters.erase(from.letters.begin() + static_cast<ptrdiff_t>(k));
      }
      if (from.findings.empty()) work_.erase(work_.begin() + static_cast<ptrdiff_t>(i));
      work_.push_front(std::move(probe));
      doubt_ = Doubt::kProbe;
      return;
    }
  }
  PutBack();
  doubt_ = Doubt::kFirst;
  retry_.Suspended(now, RefusesEverything(refused_in_a_row_, "findings", reason));
}

void StreamCourier::TryNow() {
  if (doubt_ == Doubt::kNone) return;
  doubt_ = Doubt::kNone;
  word_given_ = true;
  refused_in_a_row_ = 0;
}

// What waited too long behind an outage: the server would refuse it.
void StreamCourier::DropExpired(WallTime now) {
  const auto oldest = sink_->limits().oldest;
  while (oldest.count() > 0 && !work_.empty()) {
    Work& front = work_.front();
    Work kept;
    for (size_t i = 0; i < front.findings.size(); ++i) {
      const bool expired = !front.findings[i].gap && TimeOf(front.findings[i].change.time()) + oldest < Wall(now);
      if (expired) {
        ++entry_.counted.expired;
        if (!front.letters.empty()) entry_.buried.push_back(front.letters[i]);
        continue;
      }
      kept.findings.push_back(std::move(front.findings[i]));
      if (!front.letters.empty()) kept.letters.push_back(std::move(front.letters[i]));
    }
    if (kept.findings.empty()) {
      if (doubt_ == Doubt::kProbe) doubt_ = Doubt::kFirst;
      work_.pop_front();
      continue;
    }
    front = std::move(kept);
    return;
  }
}

void StreamCourier::FinishBatch(WallTime now) {
  Believe(now);
  doubt_ = Doubt::kNone;
  word_given_ = false;
  Entry entry;
  std::swap(entry, entry_);
  Write(std::move(entry), now);
  for (SourceState& source : sources_) source.oldest_waiting.reset();
  for (const Waiting& waiting : waiting_) {
    auto& oldest = sources_[waiting.source].oldest_waiting;
    if (waiting.finding && !oldest) oldest = TimeOf(waiting.finding->change.time());
  }
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

std::optional<Request> StreamCourier::NextSamples(WallTime now) {
  while (sample_requests_.empty() && !samples_.empty()) {
    const std::shared_ptr<const Samples> samples = samples_.front();
    samples_.pop_front();
    for (Request& request : sink_->EncodeSamples(*samples, Wall(now))) sample_requests_.push_back(std::move(request));
    samples_in_requests_ = static_cast<uint64_t>(samples->sample.workloads_size());
  }
  if (sample_requests_.empty()) return std::nullopt;
  Request request = std::move(sample_requests_.front());
  sample_requests_.pop_front();
  request.compress = request.compress && context().config.delivery().compression() == "gzip";
  sending_samples_ = true;
  return request;
}

WallTime StreamCourier::WakeOfKind() const {
  if (!work_.empty() || !resend_.empty() || !samples_.empty() || !sample_requests_.empty()) return WallTime::min();
  if (waiting_.empty()) return WallTime::max();
  if (findings_waiting_ == 0) return idle_since_ + kIdleWrite;
  const auto first = std::find_if(waiting_.begin(), waiting_.end(), [](const Waiting& w) { return w.finding.has_value(); });
  return BatchIsDue(first->arrived) ? WallTime::min() : first->arrived + std::chrono::nanoseconds(context().config.delivery().linger());
}

}  // namespace outlier
