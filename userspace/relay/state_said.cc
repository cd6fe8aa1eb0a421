// What was said: intents, answers, and what is written of them.
#include "userspace/relay/state_courier.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "userspace/base/status.h"

namespace outlier {
namespace {

using Action = Page::Action;

constexpr size_t kMostOver = 500;  // resolutions that are said again

// No server that answered so has it; 5xx may come from something before it that gave up waiting.
bool CannotHaveArrived(const Response& response) {
  using Failure = Response::Failure;
  if (response.answered()) return response.status >= 300 && response.status < 500 && response.status != 408;
  return response.failure == Failure::kConnect || response.failure == Failure::kTls || response.failure == Failure::kLocal;
}

bool Delivered(const Outcome& outcome) {
  return outcome.kind == Outcome::Kind::kItems && std::all_of(outcome.items.begin(), outcome.items.end(), [](ItemOutcome item) { return item == ItemOutcome::kDelivered; });
}

bool WantsAgain(const Outcome& outcome) {
  return outcome.kind == Outcome::Kind::kRetry || std::find(outcome.items.begin(), outcome.items.end(), ItemOutcome::kRetry) != outcome.items.end();
}

// "http://am-1:9093": which server it was, without what may be secret.
std::string ServerOf(const std::string& url) {
  const size_t scheme = url.find("://"), host = scheme == std::string::npos ? 0 : scheme + 3;
  const size_t end = std::min(url.find_first_of("/?#", host), url.size()), at = url.rfind('@', end);
  return at == std::string::npos || at < host ? url.substr(0, end) : url.substr(0, host) + url.substr(at + 1, end - at - 1);
}

}  // namespace

void StateCourier::PutHeld(Entry* entry, const relay::v1::Held& held) {
  for (Entry* one : {entry, &counted_only_}) {
    std::erase(one->no_longer_held, held.incident_key());
    std::erase_if(one->held, [&](const auto& other) { return other.incident_key() == held.incident_key(); });
  }
  entry->held.push_back(held);
  Sign(*sink_, context().kind, &entry->held.back());
}

// Before the first request about an incident leaves, and before its end does to a sink that is told again and again what is open: a restart
// must not say so after the end. False where that could not be written.
bool StateCourier::WriteIntents(WallTime now) {
  intents_.clear();
  may_have_arrived_ = false;
  const bool repeats = sink_->capabilities().repeat_open.count() > 0;
  Entry entry;
  for (const Page& page : pages_) {
    const std::string key = IncidentKey(page.finding.incident());
    if (page.action == Action::kResolve && repeats) {
      relay::v1::Held& held = held_[key];
      if (held.ending()) continue;
      held.set_ending(true);
      PutHeld(&entry, held);
    }
    if (page.action != Action::kOpen) continue;
    if (const auto it = held_.find(key); it != held_.end() && !it->second.resolved()) continue;  // uncertain already
    relay::v1::Held held;
    held.set_incident_key(key);
    held.set_source(context().sources[known_.at(key).source]);
    held.set_sequence(page.finding.change.sequence());
    held.set_uncertain(true);
    *held.mutable_told() = ToTimestamp(Wall(now));
    *held.mutable_change() = page.finding.change;
    resolved_.erase(key);
    PutHeld(&entry, held);
    held_[key] = std::move(held);
    intents_.push_back(key);
  }
  if (entry.held.empty()) return true;
  Write(std::move(entry), now);
  return !stalled();
}

// The request cannot have arrived: as if it had never been tried.
void StateCourier::DropIntents() {
  for (const std::string& key : intents_) {
    held_.erase(key);
    counted_only_.no_longer_held.push_back(key);
    // Resolved meanwhile, and there is nothing to resolve.
    if (const auto it = known_.find(key); it != known_.end() && it->second.latest.incident().state() == v1::Incident::RESOLVED) {
      Forget(key);
    } else {
      Touch(key);
    }
  }
  intents_.clear();
}

std::shared_ptr<Request> StateCourier::NextOfKind(WallTime now) {
  if (letters_.empty()) {
    pages_ = Choose(now);
    if (pages_.empty()) return nullptr;
    auto letters = sink_->Encode(pages_, Wall(now));
    if (!letters.ok()) {
      const std::string why = MessageOf(letters.status());
      if (absl::IsInvalidArgument(letters.status())) {
        Entry entry;
        std::swap(entry, counted_only_);
        for (const Page& page : pages_) PageRefused(page, why, now, &entry);
        Write(std::move(entry), now);
      } else {
        retry_.Suspended(now, why);
      }
      pages_.clear();
      return nullptr;
    }
    if (letters->requests.empty()) {  // nothing to say there
      PagesDone(now);
      return nullptr;
    }
    if (!WriteIntents(now)) {
      pages_.clear();
      return nullptr;
    }
    all_needed_ = letters->all_needed;
    any_delivered_ = false;
    servers_ = all_needed_ ? 1 : letters->requests.size();
    failed_.clear();
    mildest_.reset();
    for (Request& request : letters->requests) letters_.push_back(std::move(request));
  }
  auto request = std::make_shared<Request>(letters_.front());
  request->compress = request->compress && context().config.delivery().compression() == "gzip";
  return request;
}

std::optional<Outcome> StateCourier::OfAll(const Outcome& outcome, const std::string& server) {
  const auto rank = [](const Outcome& one) { return WantsAgain(one) ? 0 : one.kind == Outcome::Kind::kSuspend ? 1 : 2; };
  if (Delivered(outcome)) {
    any_delivered_ = true;
  } else {
    const std::string why = outcome.reasons.empty() ? outcome.reason : outcome.reasons.front();
    failed_.push_back(servers_ == 1 ? why : fmt::format("{}: {}", server, why));
    if (!mildest_ || rank(outcome) < rank(*mildest_)) mildest_ = outcome;
  }
  if (!letters_.empty()) return std::nullopt;
  failing_.clear();
  if (!any_delivered_) {
    mildest_->reason = fmt::format("{}", fmt::join(failed_, "; "));
    mildest_->reasons.clear();
    return mildest_;
  }
  if (!failed_.empty()) failing_ = fmt::format("{} of {} servers did not take the last post: {}", failed_.size(), servers_, fmt::join(failed_, "; "));
  counted_only_.counted.retried += failed_.size();
  return Outcome::Delivered(pages_.size());
}

void StateCourier::ReceiveOfKind(const Response& response, WallTime now) {
  Outcome outcome = sink_->Judge(response, pages_);
  if (!outcome.warning.empty()) warning_ = outcome.warning;
  const std::string server = ServerOf(letters_.front().url);
  letters_.pop_front();
  if (!CannotHaveArrived(response)) may_have_arrived_ = true;
  if (!all_needed_) {
    auto of_all = OfAll(outcome, server);
    if (!of_all) return;
    outcome = *std::move(of_all);
  }
  if (Delivered(outcome)) {
    if (!letters_.empty()) return;
    retry_.Succeeded(now);
    refused_in_a_row_ = 0;
    dirty_.insert(doubted_.begin(), doubted_.end());
    doubted_.clear();
    return PagesDone(now);
  }
  letters_.clear();
  if (!may_have_arrived_) DropIntents();
  intents_.clear();
  switch (outcome.kind) {
    case Outcome::Kind::kRetry:
      counted_only_.counted.retried += pages_.size();
      [[fallthrough]];
    case Outcome::Kind::kSuspend:
    case Outcome::Kind::kEnded: retry_.Undone(now, outcome); break;
    case Outcome::Kind::kItems:
      if (WantsAgain(outcome)) {
        counted_only_.counted.retried += pages_.size();
        retry_.Failed(now, outcome.reason, outcome.retry_after);
        break;
      }
      [[fallthrough]];
    case Outcome::Kind::kSplit:
    case Outcome::Kind::kRefused: {
      const std::string why = outcome.reasons.empty() ? outcome.reason : outcome.reasons.front();
      if (pages_.size() > 1) {
        retry_.Answered();
        alone_ = pages_.size();
        break;
      }
      if (alone_ > 0) --alone_;
      if (++refused_in_a_row_ > kAllRefused) {
        if (pages_.front().action != Action::kDigest) {
          const std::string key = IncidentKey(pages_.front().finding.incident());
          doubted_.insert(key);
          dirty_.insert(key);
        }
        retry_.Suspended(now, RefusesEverything(refused_in_a_row_, "pages", why));
        break;
      }
      retry_.Answered();
      Entry entry;
      std::swap(entry, counted_only_);
      PageRefused(pages_.front(), why, now, &entry);
      Write(std::move(entry), now);
      break;
    }
  }
  pages_.clear();
}

void StateCourier::TryNow() {
  refused_in_a_row_ = 0;  // a person's word: what is refused now is refused for good
  dirty_.insert(doubted_.begin(), doubted_.end());
  doubted_.clear();
}

void StateCourier::PageRefused(const Page& page, const std::string& reason, WallTime now, Entry* entry) {
  ++entry->counted.refused;
  if (page.action == Action::kDigest) {
    entry->counted.withheld += missed_.size() + missed_more_;
    DigestTold(now);
    return;
  }
  const std::string key = IncidentKey(page.finding.incident());
  if (page.action == Action::kRepeat && page.finding.incident().state() == v1::Incident::RESOLVED) {  // it was told once
    over_.erase(key);
    return;
  }
  if (const auto letters = letters_of_.find(key); letters != letters_of_.end()) {  // those that are there stay
    for (const std::string& id : letters->second) asked_.erase(id);
    letters_of_.erase(letters);
  } else {
    entry->refused.push_back(Letter(page.finding, reason, now));
  }
  const auto it = known_.find(key);
  if (it != known_.end()) it->second.again = false;
  if (page.action == Action::kResolve) {
    // Nothing further can be said of it there, but by a person who has it sent again.
    Resolved(key, now, entry);
    return;
  }
  Touch(key);
  if (page.action == Action::kOpen) {
    if (it != known_.end()) it->second.refused_at = page.finding.incident().severity();
    return;
  }
  relay::v1::Held& held = held_[key];
  *held.mutable_told() = ToTimestamp(Wall(now));
  *held.mutable_change() = page.finding.change;
  held.set_severity(std::max(held.severity(), page.finding.incident().severity()));
  held.set_related(static_cast<uint32_t>(page.related.size()));
  held.set_acknowledged(held.acknowledged() || page.finding.incident().acknowledged());
  PutHeld(entry, held);
}

// It is over there: kept until no replay can bring it back.
void StateCourier::Resolved(const std::string& key, WallTime now, Entry* entry) {
  relay::v1::Held& held = held_[key];
  held.set_incident_key(key);
  held.set_resolved(true);
  if (const auto it = known_.find(key); it != known_.end()) {
    held.set_sequence(std::max(held.sequence(), it->second.latest.sequence()));
    NoteFlap(it->second, held.severity(), now);
  }
  resolved_.insert(key);
  Touch(key);
  Forget(key);
  cursors_moved_ = true;
  PutHeld(entry, held);
}

void StateCourier::GoOnSaying(const Page& page, WallTime now) {
  const StateSink::Capabilities can = sink_->capabilities();
  if (can.repeat_resolved.count() == 0) return;
  const std::string key = IncidentKey(page.finding.incident());
  const auto known = over_.find(key);
  const WallTime until = known != over_.end() ? known->second.until : now + can.repeat_resolved;
  if (now + can.repeat_open > until) {
    if (known != over_.end()) over_.erase(known);
    return;
  }
  if (known == over_.end() && over_.size() >= kMostOver) return;
  Over& over = over_[key];
  over = {page, now + can.repeat_open, until};
  over.page.action = Action::kRepeat;
}

void StateCourier::PagesDone(WallTime now) {
  Entry entry;
  std::swap(entry, counted_only_);
  for (const Page& page : pages_) {
    if (alone_ > 0) --alone_;
    if (page.action == Action::kDigest) {
      DigestTold(now);
      ++entry.counted.delivered;
      continue;
    }
    const v1::Incident& incident = page.finding.incident();
    const std::string key = IncidentKey(incident);
    if (incident.state() == v1::Incident::RESOLVED) GoOnSaying(page, now);
    if (page.action == Action::kRepeat && incident.state() == v1::Incident::RESOLVED) continue;
    relay::v1::Held& held = held_[key];
    if (page.action != Action::kRepeat) ++entry.counted.delivered;
    held.set_incident_key(key);
    if (page.action != Action::kResolve) held.set_uncertain(false);
    held.set_sequence(std::max(held.sequence(), page.finding.change.sequence()));
    *held.mutable_told() = ToTimestamp(Wall(now));
    *held.mutable_change() = page.finding.change;
    held.set_severity(std::max(held.severity(), incident.severity()));
    held.set_acknowledged(held.acknowledged() || (page.action == Action::kAcknowledge));
    held.set_related(static_cast<uint32_t>(page.related.size()));
    if (!held.has_opened()) *held.mutable_opened() = ToTimestamp(Wall(now));
    if (page.action == Action::kOpen) opened_at_.push_back(now);
    if (const auto letters = letters_of_.find(key); letters != letters_of_.end()) {
      for (const std::string& id : letters->second) {
        entry.buried.push_back(id);
        asked_.erase(id);
      }
      letters_of_.erase(letters);
    }
    if (const auto it = known_.find(key); it != known_.end()) {
      Known& known = it->second;
      held.set_source(context().sources[known.source]);
      known.withheld = known.again = false;
      if (known.capped && !known.capped_told) --capped_untold_;
      known.capped = known.capped_told = false;
      capped_.erase(key);
      if (page.action == Action::kOpen && known.latest.incident().state() == v1::Incident::RESOLVED) {  // over meanwhile, but told now
        std::erase_if(missed_, [&](const Missed& missed) { return missed.source == known.source && missed.sequence == known.latest.sequence(); });
      }
    }
    Touch(key);
    if (page.action == Action::kResolve) {
      Resolved(key, now, &entry);
    } else {
      PutHeld(&entry, held);
    }
  }
  pages_.clear();
  letters_.clear();
  intents_.clear();
  AddCursors(&entry);
  cursors_moved_ = false;
  cursors_written_ = now;
  Write(std::move(entry), now);
}

}  // namespace outlier
