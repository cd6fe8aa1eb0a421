#include "userspace/relay/courier.h"

#include <algorithm>

#include <fmt/format.h>
#include <xxhash.h>

#include "userspace/base/status.h"
#include "userspace/relay/state_courier.h"
#include "userspace/relay/stream_courier.h"

namespace outlier {
namespace {

constexpr auto kWriteAgain = std::chrono::seconds(5);

}  // namespace

Courier::Courier(CourierContext context)
    : retry_(context.config.delivery(), XXH3_64bits(context.config.name().data(), context.config.name().size())),
      sources_(context.sources.size()),
      context_(std::move(context)) {
  if (const auto counted = context_.ledger->Counted(context_.config.name()); counted.ok()) counted_ = *counted;
  if (const auto count = context_.ledger->DeadLetterCount(context_.config.name()); count.ok()) dead_letters_ = *count;
  const auto cursors = context_.ledger->Cursors(context_.config.name());
  if (!cursors.ok()) return;
  for (const Cursor& cursor : *cursors) {
    for (size_t i = 0; i < sources_.size(); ++i) {
      if (context_.sources[i] != cursor.source) continue;
      sources_[i].feed_id = cursor.feed_id;
      sources_[i].position = cursor.sequence;
    }
  }
}

void Courier::Take(FeedEvent event, WallTime now) {
  SourceState& source = sources_[event.source];
  switch (event.kind) {
    case FeedEvent::Kind::kConnected:
      source.connected = true;
      source.message.clear();
      if (source.feed_id != event.feed_id) source.position = 0;
      source.feed_id = event.feed_id;
      source.last_sequence = std::max(source.last_sequence, event.sequence);
      break;
    case FeedEvent::Kind::kDisconnected:
      source.connected = false;
      source.message = event.message;
      break;
    case FeedEvent::Kind::kReplaced:
      source.feed_id = event.feed_id;
      source.position = source.last_sequence = 0;
      break;
    case FeedEvent::Kind::kChange:
      source.host_name = event.change.incident().source().host_name();
      source.last_sequence = std::max(source.last_sequence, event.change.sequence());
      break;
    case FeedEvent::Kind::kCaughtUp: source.last_sequence = std::max(source.last_sequence, event.sequence); break;
    case FeedEvent::Kind::kGap: source.message = fmt::format("{} changes could not be read: {}", event.gap.lost == 0 ? "some" : std::to_string(event.gap.lost), event.gap.reason); break;
    case FeedEvent::Kind::kOpenNow: break;
  }
  TakeEvent(std::move(event), now);
}

std::optional<Request> Courier::Next(WallTime now) {
  Flush(now);
  if (stalled() || !retry_.Ready(now)) return std::nullopt;
  if (auto preparation = sink().Prepare(now)) {
    preparing_ = true;
    return std::move(preparation->request);
  }
  return NextOfKind(now);
}

void Courier::Receive(const Response& response, WallTime now) {
  if (!preparing_) return ReceiveOfKind(response, now);
  preparing_ = false;
  const Outcome outcome = sink().Prepared(response, now);
  switch (outcome.kind) {
    case Outcome::Kind::kItems: return;  // what it was for goes next
    case Outcome::Kind::kRetry: return retry_.Failed(now, outcome.reason, outcome.retry_after);
    default: return retry_.Suspended(now, outcome.reason);
  }
}

WallTime Courier::WakeAt() const {
  if (stalled()) return write_again_;
  const WallTime wake = WakeOfKind();
  return retry_.state() == Retry::State::kDelivering ? wake : std::max(wake, retry_.at());
}

void Courier::Flush(WallTime now) {
  if (!unwritten_ || now < write_again_) return;
  const absl::Status status = context_.ledger->Write(*unwritten_);
  if (status.ok()) {
    unwritten_.reset();
    stalled_because_.clear();
    return;
  }
  stalled_because_ = MessageOf(status);
  write_again_ = now + kWriteAgain;
}

void Courier::Write(Entry entry, WallTime now) {
  if (entry.empty()) return;
  entry.sink = name();
  for (auto member : {&Counters::delivered, &Counters::retried, &Counters::refused, &Counters::expired, &Counters::withheld, &Counters::samples_delivered, &Counters::samples_lost}) {
    counted_.*member += entry.counted.*member;
  }
  dead_letters_ += entry.refused.size();
  dead_letters_ -= std::min<uint64_t>(dead_letters_, entry.buried.size());
  dead_letters_ = std::min<uint64_t>(dead_letters_, Ledger::kMostDeadLetters);
  for (const Cursor& cursor : entry.cursors) {
    for (size_t i = 0; i < sources_.size(); ++i) {
      if (context_.sources[i] == cursor.source && sources_[i].feed_id == cursor.feed_id) sources_[i].position = std::max(sources_[i].position, cursor.sequence);
    }
  }
  unwritten_ = std::move(entry);  // nothing is sent while one waits, so there is never a second
  write_again_ = now;
  Flush(now);
}

relay::v1::DeadLetter Courier::Letter(const Finding& finding, const std::string& reason, WallTime now) const {
  relay::v1::DeadLetter letter;
  letter.set_sink(name());
  letter.set_reason(reason);
  *letter.mutable_time() = ToTimestamp(now);
  *letter.mutable_change() = finding.change;
  return letter;
}

relay::v1::SinkStatus Courier::Status(WallTime now) const {
  using relay::v1::SinkStatus;
  SinkStatus status;
  status.set_name(name());
  status.set_kind(context_.kind);
  status.set_message(stalled() ? stalled_because_ : retry_.reason());
  status.set_state(stalled()                                              ? SinkStatus::STALLED
                   : retry_.state() == Retry::State::kDelivering ? SinkStatus::DELIVERING
                   : retry_.state() == Retry::State::kSuspended  ? SinkStatus::SUSPENDED
                                                                  : SinkStatus::BACKING_OFF);
  if (status.state() == SinkStatus::SUSPENDED || status.state() == SinkStatus::BACKING_OFF) *status.mutable_retry_time() = ToTimestamp(retry_.at());
  if (retry_.last_success()) *status.mutable_last_success_time() = ToTimestamp(*retry_.last_success());
  for (size_t i = 0; i < sources_.size(); ++i) {
    const SourceState& source = sources_[i];
    relay::v1::SourcePosition& position = *status.add_sources();
    position.set_source(context_.sources[i]);
    position.set_host_name(source.host_name);
    position.set_feed_id(source.feed_id);
    position.set_sequence(source.position);
    position.set_last_sequence(source.last_sequence);
    position.set_connected(source.connected);
    position.set_message(source.message);
    if (source.oldest_waiting && *source.oldest_waiting < now) {
      const auto lag = std::chrono::duration_cast<std::chrono::milliseconds>(now - *source.oldest_waiting);
      position.mutable_lag()->set_seconds(lag.count() / 1000);
      position.mutable_lag()->set_nanos(static_cast<int32_t>(lag.count() % 1000 * 1'000'000));
    }
  }
  status.set_delivered(counted_.delivered);
  status.set_retried(counted_.retried);
  status.set_refused(counted_.refused);
  status.set_expired(counted_.expired);
  status.set_dead_letters(dead_letters_);
  status.set_samples_delivered(counted_.samples_delivered);
  status.set_samples_lost(counted_.samples_lost);
  status.set_pages_withheld(counted_.withheld);
  FillStatus(&status);
  return status;
}

std::unique_ptr<Courier> MakeCourier(CourierContext context, AnySink sink) {
  if (sink.stream) return std::make_unique<StreamCourier>(std::move(context), std::move(sink.stream));
  return std::make_unique<StateCourier>(std::move(context), std::move(sink.state));
}

}  // namespace outlier
