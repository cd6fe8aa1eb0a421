#include "userspace/relay/stream_courier.h"

#include <algorithm>

#include <fmt/format.h>

#include "userspace/base/status.h"

namespace outlier {
namespace {

constexpr size_t kMostWaiting = 20'000;             // findings
constexpr size_t kMostWaitingBytes = 8 << 20;       // of their messages: what one sink may hold of a backlog
constexpr size_t kMostSamples = 4;                  // ticks
constexpr auto kIdleWrite = std::chrono::seconds(1);  // cursors over what is not for this sink are written this often

}  // namespace

StreamCourier::StreamCourier(CourierContext given, std::unique_ptr<StreamSink> sink) : Courier(std::move(given)), sink_(std::move(sink)) {
  if (const auto followed = context().ledger->Followed(name()); followed.ok()) followed_.insert(followed->begin(), followed->end());
}

bool StreamCourier::HasRoom() const { return !stalled() && waiting_.size() < kMostWaiting && bytes_waiting_ < kMostWaitingBytes; }

size_t StreamCourier::MostItems() const { return std::min<size_t>(sink_->limits().max_items, context().config.delivery().max_items()); }

void StreamCourier::TakeEvent(FeedEvent event, WallTime now) {
  switch (event.kind) {
    case FeedEvent::Kind::kChange:
    case FeedEvent::Kind::kGap:
      Admit(std::move(event), now);
      break;
    case FeedEvent::Kind::kCaughtUp:
      if (waiting_.empty()) idle_since_ = now;
      waiting_.push_back({event.source, {context().sources[event.source], event.feed_id, event.sequence}, now, std::nullopt, 0, {}});
      break;
    case FeedEvent::Kind::kOpenNow: {
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

void StreamCourier::Admit(FeedEvent event, WallTime now) {
  Waiting waiting{event.source, {context().sources[event.source], event.feed_id, 0}, now, std::nullopt, 0, {}};
  Finding finding;
  finding.labels = context().labels;
  if (event.kind == FeedEvent::Kind::kGap) {
    finding.gap = event.gap;
    *finding.change.mutable_time() = ToTimestamp(event.time);
    *finding.change.mutable_incident()->mutable_source() = event.host;
    finding.change.mutable_incident()->mutable_source()->set_feed_id(event.feed_id);
    if (event.gap.reason == "compacted") waiting.cursor.sequence = event.gap.last_sequence;
    waiting.finding = std::move(finding);
  } else {
    waiting.cursor.sequence = event.change.sequence();
    const v1::Incident& incident = event.change.incident();
    const std::string key = IncidentKey(incident);
    const bool follows = followed_.contains(key);
    const bool admitted = sink_->limits().changes && (follows || context().route.Admits(incident));
    if (admitted) {
      if (incident.state() == v1::Incident::RESOLVED) {
        if (follows) waiting.unfollows = key;
        followed_.erase(key);
      } else if (!follows && context().route.changes()) {
        entry_.followed.push_back(key);
        followed_.insert(key);
      }
      finding.silence = context().silences->Covering(incident, TimeOf(event.change.time()));
      finding.change = std::move(event.change);
      if (sink_->Wants(finding)) waiting.finding = std::move(finding);
    }
  }
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
  if (cursor.sequence == 0) return;
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
      const bool expired = limits.oldest.count() > 0 && !next.finding->gap && TimeOf(next.finding->change.time()) + limits.oldest < now;
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
    Rank(next.cursor);
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
      Finding finding;
      finding.labels = context().labels;
      finding.change = resend_.front().change();
      work.findings.push_back(std::move(finding));
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
  Work& front = work_.front();
  if (retry_.breaker_open() && front.findings.size() > 1) {  // one goes first to see whether the sink is back
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
  absl::StatusOr<Request> request = sink_->Encode(work.findings, now);
  if (!request.ok()) {
    const std::string why = MessageOf(request.status());
    absl::IsInvalidArgument(request.status()) ? Settle(Outcome::Of(Outcome::Kind::kRefused, why), now) : retry_.Suspended(now, why);
    return std::nullopt;
  }
  size_t bytes = 0;
  for (const Finding& finding : work.findings) bytes += finding.change.ByteSizeLong();
  if (bytes > 0) encoded_per_byte_ = 0.5 * encoded_per_byte_ + 0.5 * static_cast<double>(request->body.size()) / static_cast<double>(bytes);
  if (request->body.size() > sink_->limits().max_bytes) {
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
      samples_in_requests_ = 0;
    }
    return retry_.Succeeded(now);
  }
  counted_.samples_lost += samples_in_requests_;
  samples_in_requests_ = 0;
  sample_requests_.clear();
  if (outcome.kind == Outcome::Kind::kRetry) retry_.Failed(now, outcome.reason, outcome.retry_after);
  if (outcome.kind == Outcome::Kind::kSuspend) retry_.Suspended(now, outcome.reason);
}

void StreamCourier::Settle(const Outcome& outcome, WallTime now) {
  Work& work = work_.front();
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
        Bury(outcome.reason, now);
      }
      break;
  }
  if (work_.empty()) FinishBatch(now);
}

void StreamCourier::SettleItems(const Outcome& outcome, WallTime now) {
  Work work = std::move(work_.front());
  work_.pop_front();
  Work again;
  std::string reason = outcome.reason;
  bool delivered = false;
  for (size_t i = 0; i < work.findings.size(); ++i) {
    const std::string why = i < outcome.reasons.size() ? outcome.reasons[i] : outcome.reason;
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
      case ItemOutcome::kRefused:
        ++entry_.counted.refused;
        if (letter.empty()) entry_.refused.push_back(Letter(work.findings[i], why, now));
        break;
      case ItemOutcome::kRetry:
        ++entry_.counted.retried;
        if (reason.empty()) reason = why;
        again.findings.push_back(std::move(work.findings[i]));
        if (!work.letters.empty()) again.letters.push_back(letter);
        break;
    }
  }
  if (delivered) refused_in_a_row_ = 0;
  const uint64_t unnamed = std::min<uint64_t>(outcome.refused_unnamed, entry_.counted.delivered);
  entry_.counted.delivered -= unnamed;
  entry_.counted.refused += unnamed;
  if (again.findings.empty()) return retry_.Succeeded(now);
  work_.push_front(std::move(again));
  retry_.Failed(now, reason, outcome.retry_after);
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

void StreamCourier::Bury(const std::string& reason, WallTime now) {
  if (++refused_in_a_row_ > kAllRefused) {
    retry_.Suspended(now, fmt::format("refuses everything, {} findings in a row; the last answer: {}", kAllRefused, reason));
  }
  ++entry_.counted.refused;
  if (work_.front().letters.empty()) entry_.refused.push_back(Letter(work_.front().findings.front(), reason, now));
  work_.pop_front();
}

void StreamCourier::FinishBatch(WallTime now) {
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
  for (relay::v1::DeadLetter& letter : letters) resend_.push_back(std::move(letter));
}

void StreamCourier::Offer(std::shared_ptr<const Samples> samples) {
  if (!wants_samples()) return;
  // Of a sink that cannot be reached the newest are worth as little as the oldest: none are kept for it.
  if (retry_.state() != Retry::State::kDelivering) {
    counted_.samples_lost += static_cast<uint64_t>(samples->sample.workloads_size());
    return;
  }
  samples_.push_back(std::move(samples));
  while (samples_.size() > kMostSamples) {
    counted_.samples_lost += static_cast<uint64_t>(samples_.front()->sample.workloads_size());
    samples_.pop_front();
  }
}

std::optional<Request> StreamCourier::NextSamples(WallTime now) {
  while (sample_requests_.empty() && !samples_.empty()) {
    const std::shared_ptr<const Samples> samples = samples_.front();
    samples_.pop_front();
    for (Request& request : sink_->EncodeSamples(*samples, now)) sample_requests_.push_back(std::move(request));
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
