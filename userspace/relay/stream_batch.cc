// What a stream courier sends next: batches out of what waits, and when each is finished.
#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "userspace/base/status.h"
#include "userspace/relay/stream_courier.h"

namespace outlier {
namespace {

constexpr auto kIdleWrite = std::chrono::seconds(1);  // cursors over what is not for this sink are written this often

constexpr double kAim = 0.9;  // of what a request may hold: bodies differ, and one that is too large is written a second time, in halves

constexpr auto kStale = std::chrono::seconds(2);  // a request that was made ahead longer ago is made anew: a key may be another by now

constexpr auto kWriteTogether = std::chrono::milliseconds(500);

void Append(Entry from, Entry* to) {
  for (const Cursor& cursor : from.cursors) {
    const auto same = std::find_if(to->cursors.begin(), to->cursors.end(), [&](const Cursor& one) { return one.source == cursor.source && one.feed_id == cursor.feed_id; });
    same == to->cursors.end() ? to->cursors.push_back(cursor) : void(same->sequence = std::max(same->sequence, cursor.sequence));
  }
  const auto append = [](auto* more, auto* all) { std::move(more->begin(), more->end(), std::back_inserter(*all)); };
  append(&from.followed, &to->followed);
  append(&from.unfollowed, &to->unfollowed);
  append(&from.refused, &to->refused);
  append(&from.buried, &to->buried);
  for (const auto counter : {&Counters::delivered, &Counters::retried, &Counters::refused, &Counters::expired, &Counters::withheld, &Counters::samples_delivered,
                             &Counters::samples_lost, &Counters::letters_dropped}) {
    to->counted.*counter += from.counted.*counter;
  }
}

}  // namespace

size_t StreamCourier::MostItems() const { return std::min<size_t>(sink_->limits().max_items, context().config.delivery().max_items()); }

void StreamCourier::Rank(const Cursor& cursor) {
  for (Cursor& known : entry_.cursors) {
    if (known.source == cursor.source && known.feed_id == cursor.feed_id) {
      known.sequence = std::max(known.sequence, cursor.sequence);
      return;
    }
  }
  entry_.cursors.push_back(cursor);
}

// What waits: as many, or as large as a request may be, by what the last ones made of theirs.
bool StreamCourier::FillsABatch() const {
  // Some bodies are a fraction of what they were made of, which has to lie in memory all the same.
  const double bytes = static_cast<double>(bytes_waiting_) * std::max(1.0, encoded_per_byte_);
  return findings_waiting_ >= MostItems() || bytes >= kAim * static_cast<double>(context().config.delivery().max_batch()) ||
         bytes_waiting_ >= context().most_message_bytes;
}

bool StreamCourier::BatchIsDue(WallTime now) const {
  if (findings_waiting_ == 0) return !waiting_.empty() && (now >= idle_since_ + kIdleWrite || waiting_.size() >= kMostWaiting / 2);
  const auto first = std::find_if(waiting_.begin(), waiting_.end(), [](const Waiting& w) { return w.finding.has_value(); });
  return now >= first->arrived + std::chrono::nanoseconds(context().config.delivery().linger()) || FillsABatch();
}

// Takes from what waits. False when nothing is due.
bool StreamCourier::FormBatch(WallTime now) {
  if (!BatchIsDue(now)) return false;
  const StreamSink::Limits limits = sink_->limits();
  const double room = kAim * static_cast<double>(std::min<int64_t>(context().config.delivery().max_batch(), static_cast<int64_t>(limits.max_bytes)));
  Work work;
  double bytes = 0;
  oldest_taken_.assign(sources_.size(), std::nullopt);
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
        work.bytes += next.bytes;
        if (auto& oldest = oldest_taken_[next.source]; !oldest) oldest = TimeOf(next.finding->change.time());
        work.findings.push_back(std::move(*next.finding));
      }
    }
    if (next.follows) begun_.insert_or_assign(std::move(next.follows->first), std::move(next.follows->second));
    // What was quiet stands in the ledger, though it may have been told with this batch.
    if (!next.unfollows.empty() && (begun_.erase(next.unfollows) == 0 || limits.opens_after_silence)) entry_.unfollowed.push_back(std::move(next.unfollows));
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

std::shared_ptr<Request> StreamCourier::NextOfKind(WallTime now) {
  sending_samples_ = false;
  if (!next_) dealt_with_.clear();
  if (work_.empty() && !next_ && !finished_.empty()) {  // the ledger could not be written while the last one was under way
    WriteFinished(now);
    if (stalled()) return nullptr;
  }
  if (work_.empty() && next_) TakeNextBatch(now);
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
  if (!work_.empty() || stalled() || !retry_.Ready(now)) return nullptr;
  return NextSamples(now);
}

// While one is under way. What becomes of that may make this another request, but no other batch: the findings are in order already.
std::shared_ptr<Request> StreamCourier::ReadyOfKind(WallTime now) {
  dealt_with_.clear();
  if (!finished_.empty() && now >= written_ + kWriteTogether) WriteFinished(now);
  if (stalled() || retry_.state() != Retry::State::kDelivering) return nullptr;
  if (next_) return next_->sent || now < next_->made + kStale ? next_->request : nullptr;
  if (!works_ahead() || sending_samples_ || work_.size() != 1 || doubt_ != Doubt::kNone || !FillsABatch()) return nullptr;
  NextBatch next;
  std::swap(next.work, work_);
  std::swap(next.entry, entry_);
  std::swap(next.begun, begun_);
  const std::vector<SourceState> sources = sources_;  // what is under way is still the oldest that waits
  FormBatch(now);
  for (size_t i = 0; i < sources.size(); ++i) sources_[i].oldest_waiting = sources[i].oldest_waiting;
  std::swap(next.work, work_);
  std::swap(next.entry, entry_);
  std::swap(next.begun, begun_);
  next.oldest = std::move(oldest_taken_);
  next.made = now;
  if (!next.work.empty()) {
    absl::StatusOr<Request> request = Encode(next.work.front(), now);
    // What is wrong with it is told when its turn comes.
    if (request.ok() && !TooLarge(next.work.front(), *request)) next.request = std::make_shared<Request>(*std::move(request));
  }
  next_ = std::move(next);
  return next_->request;
}

void StreamCourier::TakeNextBatch(WallTime now) {
  NextBatch next = *std::move(next_);
  next_.reset();
  next.entry.counted.samples_delivered += entry_.counted.samples_delivered;
  next.entry.counted.samples_lost += entry_.counted.samples_lost;
  entry_ = std::move(next.entry);
  work_ = std::move(next.work);
  begun_ = std::move(next.begun);
  if (work_.empty()) return FinishBatch(now);  // all of it was too old
  if (next.request && (next.sent || now < next.made + kStale)) ready_ = std::move(next.request);
}

absl::StatusOr<Request> StreamCourier::Encode(const Work& work, WallTime now) {
  absl::StatusOr<Request> request = sink_->Encode(work.findings, Wall(now));
  if (!request.ok()) return request;
  if (work.bytes > 0) encoded_per_byte_ = 0.5 * encoded_per_byte_ + 0.5 * static_cast<double>(request->body.size()) / static_cast<double>(work.bytes);
  request->compress = request->compress && context().config.delivery().compression() == "gzip";
  return request;
}

bool StreamCourier::TooLarge(const Work& work, const Request& request) const {
  if (request.body.size() > sink_->limits().max_bytes) return true;
  return work.findings.size() > 1 && request.body.size() > static_cast<size_t>(context().config.delivery().max_batch());
}

std::shared_ptr<Request> StreamCourier::EncodeFront(WallTime now) {
  if (std::shared_ptr<Request> ready = std::exchange(ready_, nullptr); ready && !retry_.breaker_open() && doubt_ == Doubt::kNone) return ready;
  DropExpired(now);
  if (work_.empty()) {
    FinishBatch(now);
    return nullptr;
  }
  Work& front = work_.front();
  if ((retry_.breaker_open() || doubt_ == Doubt::kFirst) && front.findings.size() > 1) {  // one goes first to see whether the sink is back
    Work rest;
    rest.findings.assign(std::make_move_iterator(front.findings.begin() + 1), std::make_move_iterator(front.findings.end()));
    front.findings.resize(1);
    front.bytes = 0;
    if (!front.letters.empty()) {
      rest.letters.assign(front.letters.begin() + 1, front.letters.end());
      front.letters.resize(1);
    }
    work_.insert(work_.begin() + 1, std::move(rest));
  }
  Work& work = work_.front();
  absl::StatusOr<Request> request = Encode(work, now);
  if (!request.ok()) {
    const std::string why = MessageOf(request.status());
    absl::IsInvalidArgument(request.status()) ? Settle(Outcome::Of(Outcome::Kind::kRefused, why), now) : retry_.Suspended(now, why);
    return nullptr;
  }
  if (TooLarge(work, *request)) {
    Settle(Outcome::Of(Outcome::Kind::kSplit, fmt::format("{} bytes, but {} takes at most {}", request->body.size(), context().kind, sink_->limits().max_bytes)), now);
    return nullptr;
  }
  return std::make_shared<Request>(*std::move(request));
}

// What waited too long behind an outage: the server would refuse it.
void StreamCourier::DropExpired(WallTime now) {
  const auto oldest = sink_->limits().oldest;
  const auto expired = [&](const Finding& finding) { return !finding.gap && TimeOf(finding.change.time()) + oldest < Wall(now); };
  while (oldest.count() > 0 && !work_.empty()) {
    Work& front = work_.front();
    if (std::none_of(front.findings.begin(), front.findings.end(), expired)) return;
    Work kept;
    for (size_t i = 0; i < front.findings.size(); ++i) {
      if (expired(front.findings[i])) {
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
  for (auto& [key, kept] : begun_) {
    relay::v1::Followed& row = entry.followed.emplace_back();
    row.set_incident_key(key);
    row.mutable_change()->ParseFromString(kept.change);
    row.set_quiet(kept.quiet);
  }
  begun_.clear();
  Append(std::move(entry), &finished_);
  // Only where the next batch goes at once: it is written while that is under way, or with it.
  const bool later = knows_repeats() && next_ && finished_.refused.empty() && finished_.buried.empty();
  if (!later) WriteFinished(now);
  for (SourceState& source : sources_) source.oldest_waiting.reset();
  for (size_t i = 0; next_ && i < sources_.size(); ++i) sources_[i].oldest_waiting = next_->oldest[i];
  for (const Waiting& waiting : waiting_) {
    auto& oldest = sources_[waiting.source].oldest_waiting;
    if (waiting.finding && !oldest) oldest = TimeOf(waiting.finding->change.time());
  }
}

void StreamCourier::WriteFinished(WallTime now) {
  if (stalled()) return;  // it is written with the batch after that
  written_ = now;
  Write(std::exchange(finished_, {}), now);
}

WallTime StreamCourier::WakeOfKind() const {
  if (!quiet_.empty() && silences_change_ != WallTime::max()) return std::min(WakeForWaiting(), silences_change_ + (AxisNow() - Wall(AxisNow())));
  return WakeForWaiting();
}

WallTime StreamCourier::WakeForWaiting() const {
  if (!work_.empty() || next_ || !resend_.empty() || !samples_.empty() || !sample_requests_.empty()) return WallTime::min();
  if (waiting_.empty()) return WallTime::max();
  if (findings_waiting_ == 0) return idle_since_ + kIdleWrite;
  const auto first = std::find_if(waiting_.begin(), waiting_.end(), [](const Waiting& w) { return w.finding.has_value(); });
  return BatchIsDue(first->arrived) ? WallTime::min() : first->arrived + std::chrono::nanoseconds(context().config.delivery().linger());
}

}  // namespace outlier
