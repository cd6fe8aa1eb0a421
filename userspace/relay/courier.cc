#include "userspace/relay/courier.h"

#include <algorithm>

#include <fmt/format.h>
#include <xxhash.h>

#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/relay/state_courier.h"
#include "userspace/relay/stream_courier.h"

namespace outlier {
namespace {

constexpr auto kWriteAgain = std::chrono::seconds(5);

void Rename(relay::v1::Held* row, const std::string& key, Entry* entry) {
  entry->no_longer_held.push_back(row->incident_key());
  row->set_incident_key(key);
  entry->held.push_back(*row);
}

}  // namespace

Courier::Courier(CourierContext context)
    : retry_(context.config.delivery(), XXH3_64bits(context.config.name().data(), context.config.name().size())),
      sources_(context.sources.size()),
      context_(std::move(context)) {
  const auto counted = context_.ledger->Counted(name());
  const auto letters = context_.ledger->DeadLetterCount(name());
  const auto cursors = context_.ledger->Cursors(name());
  for (const absl::Status& status : {counted.status(), letters.status(), cursors.status()}) Loaded(status);
  if (!loaded_.ok()) return;
  counted_ = *counted;
  dead_letters_ = *letters;
  for (const Cursor& cursor : *cursors) {
    for (size_t i = 0; i < sources_.size(); ++i) {
      if (context_.sources[i] != cursor.source) continue;
      sources_[i].feed_id = cursor.feed_id;
      sources_[i].position = cursor.sequence;
      sources_[i].written = true;
    }
  }
}

WallTime Courier::Axis(WallTime wall) {
  if (wall + set_back_ < latest_) set_back_ = latest_ - wall;
  return latest_ = wall + set_back_;
}

bool Courier::IsForeign(const FeedEvent& event) {
  SourceState& source = sources_[event.source];
  if (event.kind == FeedEvent::Kind::kConnected || event.kind == FeedEvent::Kind::kReplaced) {
    source.foreign = false;
    for (size_t i = 0; i < sources_.size(); ++i) {
      if (i == event.source || event.feed_id.empty() || sources_[i].feed_id != event.feed_id) continue;
      source.foreign = true;
      source.connected = false;
      source.message = fmt::format("says that it is feed {}, which {} is: it is not heard; where both addresses lead to the same outlierd, name one of them only",
                                   Printable(event.feed_id, 80), Printable(context_.sources[i], 200));
    }
  }
  return source.foreign;
}

void Courier::Take(FeedEvent event, WallTime wall) {
  const WallTime now = Axis(wall);
  SourceState& source = sources_[event.source];
  const bool was_foreign = source.foreign;
  if (IsForeign(event) && (was_foreign || event.kind != FeedEvent::Kind::kReplaced)) return;
  switch (event.kind) {
    case FeedEvent::Kind::kConnected:
      source.connected = true;
      source.message.clear();
      if (source.feed_id != event.feed_id) {
        source.position = source.last_sequence = 0;
        source.written = false;
      }
      source.feed_id = event.feed_id;
      source.last_sequence = std::max(source.last_sequence, event.sequence);
      break;
    case FeedEvent::Kind::kDisconnected:
      source.connected = false;
      source.message = event.message;
      break;
    case FeedEvent::Kind::kReplaced:  // of a foreign one, too, what it had before is gone
      source.feed_id = source.foreign ? "" : event.feed_id;
      source.position = source.last_sequence = 0;
      source.written = false;
      break;
    case FeedEvent::Kind::kChange:
      source.host_name = Printable(event.change.incident().source().host_name(), 256);
      source.last_sequence = std::max(source.last_sequence, event.change.sequence());
      break;
    case FeedEvent::Kind::kCaughtUp: source.last_sequence = std::max(source.last_sequence, event.sequence); break;
    case FeedEvent::Kind::kGap:
      source.message = fmt::format("{} changes could not be read: {}", event.gap.lost == 0 ? "some" : std::to_string(event.gap.lost), event.gap.reason);
      if (event.gap.reason == "journal_rewound") {
        source.position = source.last_sequence = std::min(source.position, event.gap.first_sequence - 1);
        source.written = false;
      }
      break;
    case FeedEvent::Kind::kOpenNow: break;
  }
  TakeEvent(std::move(event), now);
}

std::shared_ptr<const Request> Courier::Next(WallTime wall) {
  const WallTime now = Axis(wall);
  Flush(now);
  if (stalled()) return nullptr;
  Housekeep(now);
  if (stalled() || !retry_.Ready(now)) return nullptr;
  if (auto preparation = sink().Prepare(wall)) {
    preparing_ = true;
    return std::make_shared<Request>(std::move(preparation->request));
  }
  return NextOfKind(now);
}

void Courier::Receive(const Response& response, WallTime wall) {
  const WallTime now = Axis(wall);
  if (!preparing_) return ReceiveOfKind(response, now);
  preparing_ = false;
  const Outcome outcome = sink().Prepared(response, wall);
  if (!outcome.warning.empty()) warning_ = outcome.warning;
  if (outcome.kind != Outcome::Kind::kItems) retry_.Undone(now, outcome);  // else what it was for goes next
}

WallTime Courier::WakeAt() const {
  WallTime wake = stalled() ? write_again_ : WakeOfKind();
  if (!stalled() && retry_.state() != Retry::State::kDelivering) wake = std::max(wake, retry_.at());
  return wake == WallTime::max() || wake == WallTime::min() ? wake : Wall(wake);
}

void Courier::Sign(const StateSink& sink, const std::string& kind, relay::v1::Held* held) {
  held->set_kind(kind);
  held->set_forgets(sink.capabilities().repeat_open.count() > 0);
}

// Of this kind of sink, or of a relay that did not write whose it is.
void Courier::TakeBack(const StateSink& sink, relay::v1::Held* row, Entry* entry) {
  if (row->kind().empty()) {
    Sign(sink, context_.kind, row);
    entry->held.push_back(*row);
  } else if (row->left()) {
    row->set_left(false);
    Rename(row, IncidentKey(row->change().incident()), entry);
  }
}

// At another kind of sink, which ends it by itself or never.
void Courier::Leave(relay::v1::Held row, Entry* entry) {
  if (row.forgets()) {
    entry->no_longer_held.push_back(row.incident_key());
    return;
  }
  if (!row.left()) {
    row.set_left(true);
    Rename(&row, fmt::format("left at {}: {}", row.kind(), IncidentKey(row.change().incident())), entry);
  }
  left_.push_back(std::move(row));
}

std::map<std::string, relay::v1::Held> Courier::TakeHeld(const StateSink* sink) {
  std::map<std::string, relay::v1::Held> held;
  auto rows = context_.ledger->Held(name());
  Loaded(rows.status());
  if (!rows.ok()) return held;
  Entry entry;
  for (relay::v1::Held& row : *rows) {
    if (sink != nullptr && (row.kind() == context_.kind || row.kind().empty())) {
      TakeBack(*sink, &row, &entry);
      const std::string key = row.incident_key();
      held[key] = std::move(row);
    } else if (!row.resolved()) {
      Leave(std::move(row), &entry);
    } else if (sink != nullptr) {
      held.try_emplace(row.incident_key(), std::move(row));
    }
  }
  std::erase_if(entry.no_longer_held, [&](const std::string& key) {  // two may change places
    return std::any_of(entry.held.begin(), entry.held.end(), [&](const auto& row) { return row.incident_key() == key; });
  });
  Write(std::move(entry), latest_);
  return held;
}

bool Courier::Left(const std::string& incident_key) const {
  return std::any_of(left_.begin(), left_.end(), [&](const auto& row) { return IncidentKey(row.change().incident()) == incident_key; });
}

std::string Courier::LeftWords() const {
  std::map<std::string, size_t> by_kind;
  for (const relay::v1::Held& row : left_) ++by_kind[row.kind().empty() ? "a pager" : row.kind()];
  std::string words;
  for (const auto& [kind, count] : by_kind) {
    words += fmt::format("{}{} page{} sent to {}", words.empty() ? "" : ", ", count, count == 1 ? " that was" : "s that were", Printable(kind, 40));
  }
  if (words.empty()) return words;
  return fmt::format("{}, when that was called {}, will be closed there by nobody but you; `outlierctl sinks retry {}` says that it is done", words, name(), name());
}

void Courier::RetryNow(WallTime wall) {
  const bool well = retry_.state() == Retry::State::kDelivering && !stalled();  // else it is asked for that
  retry_.TryNow(Axis(wall));
  write_again_ = latest_;
  if (well && !left_.empty()) {
    Entry entry;
    for (const relay::v1::Held& row : std::exchange(left_, {})) entry.no_longer_held.push_back(row.incident_key());
    Write(std::move(entry), latest_);
  }
  TryNow();
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
  // Samples are counted when they go or are lost, and written when something else is.
  for (auto member : {&Counters::delivered, &Counters::retried, &Counters::refused, &Counters::expired, &Counters::withheld}) {
    counted_.*member += entry.counted.*member;
  }
  dead_letters_ += entry.refused.size();
  dead_letters_ -= std::min<uint64_t>(dead_letters_, entry.buried.size());
  dead_letters_ = std::min<uint64_t>(dead_letters_, Ledger::kMostDeadLetters);
  for (const Cursor& cursor : entry.cursors) {
    for (size_t i = 0; i < sources_.size(); ++i) {
      if (context_.sources[i] == cursor.source && sources_[i].feed_id == cursor.feed_id) {
        sources_[i].position = cursor.sequence;
        sources_[i].written = true;
      }
    }
  }
  unwritten_ = std::move(entry);  // nothing is sent while one waits, so there is never a second
  write_again_ = now;
  Flush(now);
}

std::vector<relay::v1::DeadLetter> Courier::NewLetters(std::vector<relay::v1::DeadLetter> letters) {
  std::erase_if(letters, [&](const relay::v1::DeadLetter& letter) {
    const auto there = context_.ledger->HasDeadLetter(name(), letter.id());  // it may have gone since it was asked for
    return (there.ok() && !*there) || !asked_.insert(letter.id()).second;
  });
  return letters;
}

Finding Courier::FindingOf(const relay::v1::DeadLetter& letter) const {
  Finding finding;
  finding.labels = context_.labels;
  finding.change = letter.change();
  if (letter.has_gap()) {
    finding.gap = Gap{letter.gap().first_sequence(), letter.gap().last_sequence(), letter.gap().lost(), letter.gap().reason()};
  } else {
    finding.silence = context_.silences->Covering(finding.incident(), TimeOf(finding.change.time()));
  }
  return finding;
}

relay::v1::DeadLetter Courier::Letter(const Finding& finding, const std::string& reason, WallTime now) const {
  relay::v1::DeadLetter letter;
  letter.set_sink(name());
  letter.set_reason(reason);
  *letter.mutable_time() = ToTimestamp(Wall(now));
  *letter.mutable_change() = finding.change;
  if (finding.gap) {
    letter.mutable_gap()->set_first_sequence(finding.gap->first_sequence);
    letter.mutable_gap()->set_last_sequence(finding.gap->last_sequence);
    letter.mutable_gap()->set_lost(finding.gap->lost);
    letter.mutable_gap()->set_reason(finding.gap->reason);
  }
  return letter;
}

std::string Courier::RefusesEverything(int in_a_row, std::string_view of_what, const std::string& last) const {
  return fmt::format("refuses everything, {} {} in a row; `outlierctl sinks retry {}` makes dead letters of what it refuses then; the last answer: {}",
                     in_a_row, of_what, name(), last);
}

relay::v1::SinkStatus Courier::Status(WallTime now) const {
  using relay::v1::SinkStatus;
  SinkStatus status;
  status.set_name(name());
  status.set_kind(context_.kind);
  status.set_message(stalled() ? stalled_because_ : retry_.reason().empty() ? warning_ : retry_.reason());
  status.set_state(stalled()                                              ? SinkStatus::STALLED
                   : retry_.state() == Retry::State::kDelivering ? SinkStatus::DELIVERING
                   : retry_.state() == Retry::State::kSuspended  ? SinkStatus::SUSPENDED
                                                                  : SinkStatus::BACKING_OFF);
  if (!stalled() && retry_.ended()) {
    status.set_message(fmt::format("{}; nothing more is sent to it until `outlierctl sinks retry {}`, or a start of the relay", retry_.reason(), name()));
  } else if (status.state() == SinkStatus::SUSPENDED || status.state() == SinkStatus::BACKING_OFF) {
    *status.mutable_retry_time() = ToTimestamp(Wall(retry_.at()));
  }
  if (retry_.last_success()) *status.mutable_last_success_time() = ToTimestamp(Wall(*retry_.last_success()));
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
    if (const auto oldest = OldestWaiting(i); oldest && *oldest < now) {
      const auto lag = std::chrono::duration_cast<std::chrono::milliseconds>(now - *oldest);
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
  if (const std::string left = LeftWords(); !left.empty()) status.set_message(status.message().empty() ? left : status.message() + "; " + left);
  return status;
}

std::unique_ptr<Courier> MakeCourier(CourierContext context, AnySink sink) {
  if (sink.stream) return std::make_unique<StreamCourier>(std::move(context), std::move(sink.stream));
  return std::make_unique<StateCourier>(std::move(context), std::move(sink.state));
}

}  // namespace outlier
