// What an answer means for the batch under way: delivered, again, in halves, or refused, and who is to blame for that.
#include <algorithm>
#include <utility>

#include "userspace/base/status.h"
#include "userspace/relay/stream_courier.h"

namespace outlier {

void StreamCourier::ReceiveOfKind(const Response& response, WallTime now) {
  if (!sending_samples_) {
    Settle(sink_->Judge(response, work_.front().findings), now);
    if (retry_.state() == Retry::State::kDelivering) return;
    // It may take days: what is dealt with is written, and an answer to what was sent ahead will say nothing of the sink as it is then.
    if (!finished_.empty()) WriteFinished(now);
    if (next_) next_->request.reset();
    return;
  }
  sending_samples_ = false;
  SettleSamples(sink_->JudgeSamples(response), now);
}

// Each request of a tick once: what is not taken is lost and counted, and the reason told.
void StreamCourier::SettleSamples(const Outcome& outcome, WallTime now) {
  if (!outcome.warning.empty()) warning_ = outcome.warning;
  switch (outcome.kind) {
    case Outcome::Kind::kItems:
      if (sample_requests_.empty()) {
        counted_.samples_delivered += samples_in_requests_;
        entry_.counted.samples_delivered += samples_in_requests_;
        samples_in_requests_ = 0;
      }
      return retry_.Succeeded(now);
    case Outcome::Kind::kSplit:
    case Outcome::Kind::kRefused:  // the others of the tick may be taken
      warning_ = "samples were not taken: " + outcome.reason;
      LoseSamples(std::exchange(samples_in_requests_, 0));
      return;
    case Outcome::Kind::kRetry:
    case Outcome::Kind::kSuspend:
    case Outcome::Kind::kEnded:
      LoseSamples(std::exchange(samples_in_requests_, 0));
      sample_requests_.clear();
      return retry_.Undone(now, outcome);
  }
}

void StreamCourier::Settle(const Outcome& outcome, WallTime now) {
  Work& work = work_.front();
  if (outcome.kind != Outcome::Kind::kItems && next_) next_->request.reset();  // keys, addresses and places may be others when its turn comes
  if (!outcome.warning.empty()) warning_ = outcome.warning;
  switch (outcome.kind) {
    case Outcome::Kind::kItems: SettleItems(outcome, now); break;
    case Outcome::Kind::kRetry:
      entry_.counted.retried += work.findings.size();
      [[fallthrough]];
    case Outcome::Kind::kSuspend:
    case Outcome::Kind::kEnded: retry_.Undone(now, outcome); break;
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
        Told(work.findings[i]);
        if (!letter.empty()) entry_.buried.push_back(letter);
        break;
      case ItemOutcome::kExpired:
        CountExpired(work.findings[i]);
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
  if (next_) dealt_with_.push_back(std::move(work));
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
  front.bytes = 0;
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

void StreamCourier::Told(const Finding& finding) {
  if (!untold_.empty() && !finding.gap) untold_.erase(IncidentKey(finding.incident()));
}

void StreamCourier::Believe(WallTime now) {
  for (Doubted& doubted : doubted_) {
    ++entry_.counted.refused;
    if (doubted.finding.change.kind() == v1::IncidentChange::RESOLVED) Told(doubted.finding);  // it is a letter's now
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
      from.bytes = 0;
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

}  // namespace outlier
