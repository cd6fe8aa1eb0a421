#include "userspace/relay/state_courier.h"

#include <algorithm>

#include <fmt/format.h>

#include "userspace/base/status.h"
#include "userspace/base/text.h"

namespace outlier {
namespace {

using Action = Page::Action;
using Kind = FeedEvent::Kind;

constexpr auto kCursorWrite = std::chrono::seconds(1);
constexpr auto kLook = std::chrono::seconds(1);            // silences, hold-downs and repeats are looked at this often
constexpr auto kLeastUpdateGap = std::chrono::minutes(5);  // between two updates that do not make it worse
constexpr auto kDigestGap = std::chrono::minutes(10);
constexpr auto kHour = std::chrono::hours(1);
constexpr size_t kMostNamed = 20;                          // in a digest
constexpr size_t kMostMissed = 1000;
constexpr size_t kMostFlaps = 10'000;

std::string FlapKey(const v1::Incident& incident) {
  const v1::Workload& workload = incident.workload();
  return fmt::format("{}\n{}\n{}\n{}", incident.source().feed_id(), static_cast<int>(workload.kind()), workload.name(), workload.container_id());
}

bool Contains(const google::protobuf::RepeatedPtrField<std::string>& texts, const std::string& text) {
  return std::find(texts.begin(), texts.end(), text) != texts.end();
}

// The id of dedup: what a feed or an incident of a hostile source calls itself must not make it longer or odd.
std::string PageKey(const std::string& incident_key) {
  std::string key;
  for (const char c : incident_key) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == ':' || c == '-' || c == '_' || c == '.';
    key += plain ? c : '_';
  }
  return "outlier/" + key.substr(0, 120);
}

}  // namespace

StateCourier::StateCourier(CourierContext given, std::unique_ptr<StateSink> sink)
    : Courier(std::move(given)), sink_(std::move(sink)), caught_up_(context().sources.size()), read_to_(context().sources.size()) {
  if (auto held = context().ledger->Held(name()); held.ok()) {
    for (relay::v1::Held& one : *held) held_[one.incident_key()] = std::move(one);
  }
  for (size_t i = 0; i < read_to_.size(); ++i) read_to_[i] = sources_[i].position;
}

void StateCourier::TakeEvent(FeedEvent event, WallTime now) {
  const size_t source = event.source;
  switch (event.kind) {
    case Kind::kConnected:
      caught_up_[source] = false;
      read_to_[source] = event.sequence;
      break;
    case Kind::kDisconnected: caught_up_[source] = false; break;
    case Kind::kChange: TakeChange(event, now); break;
    case Kind::kCaughtUp:
      read_to_[source] = std::max(read_to_[source], event.sequence);
      cursors_moved_ = true;
      break;
    case Kind::kOpenNow:
      TakeOpenNow(event, now);
      caught_up_[source] = true;
      break;
    case Kind::kReplaced:
      ResolveGone(event.old_feed_id, {}, source, "its host began a new journal", now);
      read_to_[source] = 0;
      caught_up_[source] = false;
      break;
    case Kind::kGap: break;  // what is open is listed afterwards
  }
  look_again_ = now;
}

void StateCourier::TakeChange(const FeedEvent& event, WallTime now) {
  const v1::Incident& incident = event.change.incident();
  const std::string key = IncidentKey(incident);
  read_to_[event.source] = std::max(read_to_[event.source], event.change.sequence());
  cursors_moved_ = true;
  const auto held = held_.find(key);
  if (held != held_.end() && held->second.resolved() && event.change.sequence() <= held->second.sequence()) return;  // said again
  auto [it, is_new] = known_.try_emplace(key);
  Known& known = it->second;
  if (is_new) {
    known.source = event.source;
    known.first_seen = now;
  } else if (event.change.sequence() < known.latest.sequence()) {
    return;
  }
  known.latest = event.change;
  if (incident.state() != v1::Incident::RESOLVED) return;
  if (held != held_.end() && !held->second.resolved()) return;  // to be told
  Miss(known);
  known_.erase(it);
}

// Resolved before anybody was told. Worth a digest where a person would have been paged, had the sink answered.
void StateCourier::Miss(const Known& known) {
  const v1::Incident& incident = known.latest.incident();
  if (!context().route.Admits(incident) || context().silences->Covering(incident, TimeOf(incident.opened_time()))) return;
  if (known.refused_at) return;
  if (caught_up_[known.source] && retry_.state() == Retry::State::kDelivering && !known.withheld) {
    return;  // came and went between two looks, or rode on another's page
  }
  if (missed_.size() >= kMostMissed) {
    ++missed_more_;
    return;
  }
  missed_.push_back({known.source, known.latest.sequence(), TimeOf(incident.resolved_time()), incident.summary(), incident.source()});
}

void StateCourier::TakeOpenNow(const FeedEvent& event, WallTime now) {
  std::set<std::string> open;
  for (const v1::Incident& incident : event.open) {
    const std::string key = IncidentKey(incident);
    open.insert(key);
    auto [it, is_new] = known_.try_emplace(key);
    Known& known = it->second;
    if (!is_new && TimeOf(known.latest.incident().updated_time()) >= TimeOf(incident.updated_time())) continue;
    if (is_new) {
      known.source = event.source;
      known.first_seen = now;
    }
    const auto held = held_.find(key);
    known.latest.set_kind(held == held_.end() ? v1::IncidentChange::OPENED : v1::IncidentChange::UPDATED);
    known.latest.set_sequence(std::max(known.latest.sequence(), event.sequence));
    *known.latest.mutable_time() = incident.updated_time();
    *known.latest.mutable_incident() = incident;
  }
  ResolveGone(event.feed_id, open, event.source, "it is no longer open at its source", now);
}

// No ghost pages: what is held, but known as open nowhere, is resolved.
void StateCourier::ResolveGone(const std::string& feed_id, const std::set<std::string>& open, size_t source, const std::string& why, WallTime now) {
  for (auto it = known_.begin(); it != known_.end();) {
    const bool gone = it->second.latest.incident().source().feed_id() == feed_id && it->second.latest.incident().state() == v1::Incident::OPEN && !open.contains(it->first);
    const auto held = held_.find(it->first);
    const bool told = held != held_.end() && !held->second.resolved();
    it = gone && !told ? known_.erase(it) : std::next(it);
  }
  for (const auto& [key, held] : held_) {
    if (held.resolved() || held.change().incident().source().feed_id() != feed_id || open.contains(key)) continue;
    Known& known = known_[key];
    if (known.latest.incident().state() == v1::Incident::RESOLVED) continue;
    known.source = source;
    known.latest = held.change();
    known.latest.set_kind(v1::IncidentChange::RESOLVED);
    *known.latest.mutable_time() = ToTimestamp(now);
    v1::Incident& incident = *known.latest.mutable_incident();
    incident.set_state(v1::Incident::RESOLVED);
    *incident.mutable_resolved_time() = ToTimestamp(now);
    incident.set_summary(fmt::format("{} ({})", incident.summary(), why));
  }
}

bool StateCourier::Capped(WallTime now) {
  while (!opened_at_.empty() && opened_at_.front() + kHour <= now) opened_at_.pop_front();
  return opened_at_.size() >= context().config.paging().max_pages_per_hour();
}

bool StateCourier::HeldDown(const Known& known, WallTime now) const {
  const auto hold = std::chrono::nanoseconds(context().config.paging().hold_down());
  const auto flap = flaps_.find(FlapKey(known.latest.incident()));
  if (hold.count() == 0 || flap == flaps_.end() || known.latest.incident().severity() > flap->second.severity) return false;
  return known.first_seen < flap->second.resolved + hold && now < known.first_seen + hold;
}

std::string StateCourier::LeadOf(const std::string& key, const v1::Incident& incident) const {
  if (!context().config.paging().group_related()) return "";
  for (const auto& [other, held] : held_) {
    const v1::Incident& lead = held.change().incident();
    if (held.resolved() || other == key || lead.source().feed_id() != incident.source().feed_id() || incident.severity() > held.severity()) continue;
    const auto it = known_.find(other);
    if (it == known_.end() || it->second.latest.incident().state() != v1::Incident::OPEN) continue;  // about to be resolved
    const v1::Incident& newest = it->second.latest.incident();
    if (Contains(newest.related_incident_ids(), incident.id()) || Contains(incident.related_incident_ids(), lead.id())) return other;
  }
  return "";
}

std::vector<std::string> StateCourier::RelatedTo(const std::string& key) const {
  std::vector<std::string> summaries;
  if (!context().config.paging().group_related()) return summaries;
  const auto self = known_.find(key);
  if (self == known_.end()) return summaries;
  const v1::Incident& incident = self->second.latest.incident();
  for (const auto& [other, known] : known_) {
    const v1::Incident& one = known.latest.incident();
    if (other == key || one.source().feed_id() != incident.source().feed_id() || one.state() != v1::Incident::OPEN) continue;
    if (!Contains(incident.related_incident_ids(), one.id()) && !Contains(one.related_incident_ids(), incident.id())) continue;
    const auto held = held_.find(other);
    if (held != held_.end() && !held->second.resolved()) continue;  // has a page of its own
    summaries.push_back(one.summary());
  }
  return summaries;
}

void StateCourier::WithholdOnce(Known& known) {
  if (known.withheld) return;
  known.withheld = true;
  ++counted_only_.counted.withheld;
}

bool StateCourier::MayOpen(const std::string& key, Known& known, WallTime now) {
  const v1::Incident& incident = known.latest.incident();
  if (known.refused_at && incident.severity() <= *known.refused_at) return false;
  if (!context().route.Admits(incident) || context().silences->Covering(incident, now)) return false;
  if (!LeadOf(key, incident).empty()) return false;
  if (HeldDown(known, now) || Capped(now)) {
    WithholdOnce(known);
    return false;
  }
  return true;
}

Page StateCourier::MakePage(Action action, const std::string& key, const Known& known, WallTime) const {
  Page page;
  page.action = action;
  page.key = PageKey(key);
  page.finding.change = known.latest;
  page.finding.labels = context().labels;
  page.related = RelatedTo(key);
  return page;
}

// What this incident needs now, if anything.
std::optional<Page> StateCourier::PageOf(const std::string& key, Known& known, WallTime now) {
  const StateSink::Capabilities can = sink_->capabilities();
  const v1::Incident& incident = known.latest.incident();
  const auto held = held_.find(key);
  const bool told = held != held_.end() && !held->second.resolved();
  if (incident.state() == v1::Incident::RESOLVED) return told ? std::optional(MakePage(Action::kResolve, key, known, now)) : std::nullopt;
  if (!told) return MayOpen(key, known, now) ? std::optional(MakePage(Action::kOpen, key, known, now)) : std::nullopt;
  const relay::v1::Held& there = held->second;
  const auto since = now - TimeOf(there.told());
  if (incident.acknowledged() && !there.acknowledged() && can.acknowledge) return MakePage(Action::kAcknowledge, key, known, now);
  const bool worse = incident.severity() > there.severity();
  const bool newer = TimeOf(incident.updated_time()) > TimeOf(there.change().incident().updated_time());
  if (can.update && (worse || (since >= kLeastUpdateGap && ((newer && incident.summary() != there.change().incident().summary()) || RelatedTo(key).size() != there.related())))) {
    return MakePage(Action::kUpdate, key, known, now);
  }
  std::chrono::nanoseconds repeat = can.repeat_open;
  if (repeat.count() == 0) repeat = std::chrono::nanoseconds(context().config.paging().repeat_interval());
  const bool silenced = context().silences->Covering(incident, now).has_value();
  if (repeat.count() > 0 && since >= repeat && (can.repeat_open.count() > 0 || (!silenced && !incident.acknowledged()))) return MakePage(Action::kRepeat, key, known, now);
  return std::nullopt;
}

std::optional<Page> StateCourier::Digest(WallTime now) {
  if (missed_.empty() || (digest_told_ && now < *digest_told_ + kDigestGap)) return std::nullopt;
  // What is still being read may be missed, too.
  for (size_t i = 0; i < caught_up_.size(); ++i) {
    if (sources_[i].connected && !caught_up_[i]) return std::nullopt;
  }
  Page page;
  page.action = Action::kDigest;
  page.digest_quiet = true;
  page.key = fmt::format("outlier/digest/{}", std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count());
  page.finding.labels = context().labels;
  *page.finding.change.mutable_time() = ToTimestamp(now);
  *page.finding.change.mutable_incident()->mutable_source() = missed_.front().host;
  const uint64_t all = missed_.size() + missed_more_;
  page.text = fmt::format("{} incident{} opened and resolved without a page (sink not reached, or held back):", all, all == 1 ? "" : "s");
  for (size_t i = 0; i < std::min(missed_.size(), kMostNamed); ++i) {
    page.text += fmt::format("\n{} {}: {}", Rfc3339(missed_[i].resolved), Printable(missed_[i].host.host_name(), 200), Printable(missed_[i].summary, 300));
  }
  if (all > kMostNamed) page.text += fmt::format("\nand {} more", all - kMostNamed);
  return page;
}

// Resolutions first, then what is new, the worst first, then what has changed.
std::vector<Page> StateCourier::Choose(WallTime now) {
  const size_t most = std::min(most_pages_, std::max<size_t>(sink_->capabilities().pages_per_request, 1));
  struct Candidate {
    int rank;
    int severity;
    WallTime onset;
    Page page;
  };
  std::vector<Candidate> candidates;
  for (auto& [key, known] : known_) {
    const bool of_lost_source = known.latest.incident().state() == v1::Incident::RESOLVED;
    if (!caught_up_[known.source] && !of_lost_source) continue;
    auto page = PageOf(key, known, now);
    if (!page) continue;
    static constexpr int kRank[] = {1, 2, 3, 0, 4, 5};  // by Action
    const v1::Incident& incident = known.latest.incident();
    candidates.push_back({kRank[static_cast<int>(page->action)], -static_cast<int>(incident.severity()), TimeOf(incident.onset_time()), *std::move(page)});
  }
  std::stable_sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return std::tie(a.rank, a.severity, a.onset) < std::tie(b.rank, b.severity, b.onset);
  });
  std::vector<Page> pages;
  size_t opening = 0;
  const size_t left = context().config.paging().max_pages_per_hour() - std::min<size_t>(opened_at_.size(), context().config.paging().max_pages_per_hour());
  for (Candidate& candidate : candidates) {
    if (pages.size() >= most) break;
    if (candidate.page.action == Action::kOpen && ++opening > left) continue;
    pages.push_back(std::move(candidate.page));
  }
  if (pages.empty() && sink_->capabilities().digest) {
    if (auto digest = Digest(now)) pages.push_back(*std::move(digest));
  } else if (pages.empty() && !missed_.empty()) {
    counted_only_.counted.withheld += missed_.size() + missed_more_;  // there is no way to tell
    missed_.clear();
    missed_more_ = 0;
  }
  return pages;
}

std::optional<Request> StateCourier::NextOfKind(WallTime now) {
  if (letters_.empty()) {
    pages_.clear();
    if (!resend_.empty()) {
      // As it stands now, if it still stands.
      const std::string key = IncidentKey(resend_.front().change().incident());
      if (const auto it = known_.find(key); it != known_.end()) it->second.refused_at.reset();
      counted_only_.buried.push_back(resend_.front().id());
      resend_.pop_front();
    }
    pages_ = Choose(now);
    if (!context().config.paging().send_resolved()) {
      // Nobody wants to hear of it; it is forgotten all the same.
      std::vector<Page> said;
      std::swap(said, pages_);
      for (Page& page : said) {
        if (page.action != Action::kResolve) {
          pages_.push_back(std::move(page));
          continue;
        }
        const std::string key = IncidentKey(page.finding.incident());
        known_.erase(key);
        held_.erase(key);
        counted_only_.no_longer_held.push_back(key);
      }
    }
    look_again_ = now + kLook;
    if (pages_.empty()) {
      if (!counted_only_.empty() || (cursors_moved_ && now >= cursors_written_ + kCursorWrite)) {
        Entry entry;
        std::swap(entry, counted_only_);
        AddCursors(&entry);
        cursors_moved_ = false;
        cursors_written_ = now;
        Write(std::move(entry), now);
      }
      return std::nullopt;
    }
    auto letters = sink_->Encode(pages_, now);
    if (!letters.ok()) {
      const std::string why = MessageOf(letters.status());
      if (absl::IsInvalidArgument(letters.status())) {
        Entry entry;
        for (const Page& page : pages_) PageRefused(page, why, now, &entry);
        Write(std::move(entry), now);
      } else {
        retry_.Suspended(now, why);
      }
      pages_.clear();
      return std::nullopt;
    }
    all_needed_ = letters->all_needed;
    any_delivered_ = false;
    last_reason_.clear();
    for (Request& request : letters->requests) letters_.push_back(std::move(request));
    if (letters_.empty()) {  // nothing to say there
      PagesDone(now);
      return std::nullopt;
    }
  }
  Request request = letters_.front();
  request.compress = request.compress && context().config.delivery().compression() == "gzip";
  return request;
}

void StateCourier::ReceiveOfKind(const Response& response, WallTime now) {
  const Outcome outcome = sink_->Judge(response, pages_);
  letters_.pop_front();
  const auto refused = std::count(outcome.items.begin(), outcome.items.end(), ItemOutcome::kRefused) + std::count(outcome.items.begin(), outcome.items.end(), ItemOutcome::kExpired);
  const auto again = std::count(outcome.items.begin(), outcome.items.end(), ItemOutcome::kRetry);
  const bool delivered = outcome.kind == Outcome::Kind::kItems && refused == 0 && again == 0;
  if (delivered) any_delivered_ = true;
  if (delivered || (!all_needed_ && outcome.kind != Outcome::Kind::kRefused && (!letters_.empty() || any_delivered_))) {
    if (!delivered) {
      last_reason_ = outcome.reason;
      ++counted_only_.counted.retried;
    }
    if (!letters_.empty()) return;
    if (any_delivered_) {
      retry_.Succeeded(now);
      return PagesDone(now);
    }
  }
  letters_.clear();
  switch (outcome.kind) {
    case Outcome::Kind::kRetry:
      counted_only_.counted.retried += pages_.size();
      retry_.Failed(now, outcome.reason, outcome.retry_after);
      break;
    case Outcome::Kind::kSuspend: retry_.Suspended(now, outcome.reason); break;
    case Outcome::Kind::kItems:
      if (again > 0) {
        counted_only_.counted.retried += pages_.size();
        retry_.Failed(now, outcome.reason, outcome.retry_after);
        break;
      }
      [[fallthrough]];
    case Outcome::Kind::kSplit:
    case Outcome::Kind::kRefused:
      retry_.Succeeded(now);  // it answers
      if (pages_.size() > 1) {
        most_pages_ = 1;
        break;
      }
      Entry entry;
      PageRefused(pages_.front(), outcome.reasons.empty() ? outcome.reason : outcome.reasons.front(), now, &entry);
      Write(std::move(entry), now);
      break;
  }
  pages_.clear();
}

void StateCourier::PageRefused(const Page& page, const std::string& reason, WallTime now, Entry* entry) {
  ++entry->counted.refused;
  if (page.action == Action::kDigest) {
    missed_.clear();
    missed_more_ = 0;
    digest_told_ = now;
    return;
  }
  const std::string key = IncidentKey(page.finding.incident());
  entry->refused.push_back(Letter(page.finding, reason, now));
  const auto it = known_.find(key);
  if (page.action == Action::kResolve) {
    // Nothing further can be said of it there.
    if (it != known_.end()) known_.erase(it);
    held_.erase(key);
    entry->no_longer_held.push_back(key);
    return;
  }
  if (page.action == Action::kOpen) {
    if (it != known_.end()) it->second.refused_at = page.finding.incident().severity();
    return;
  }
  relay::v1::Held& held = held_[key];
  *held.mutable_told() = ToTimestamp(now);
  *held.mutable_change() = page.finding.change;
  held.set_severity(std::max(held.severity(), page.finding.incident().severity()));
  held.set_acknowledged(held.acknowledged() || page.finding.incident().acknowledged());
  entry->held.push_back(held);
}

void StateCourier::PagesDone(WallTime now) {
  Entry entry;
  std::swap(entry, counted_only_);
  for (const Page& page : pages_) {
    if (page.action == Action::kDigest) {
      missed_.clear();
      missed_more_ = 0;
      digest_told_ = now;
      cursors_moved_ = true;
      ++entry.counted.delivered;
      continue;
    }
    const v1::Incident& incident = page.finding.incident();
    const std::string key = IncidentKey(incident);
    relay::v1::Held& held = held_[key];
    const bool first = held.incident_key().empty();
    if (page.action != Action::kRepeat) ++entry.counted.delivered;
    held.set_incident_key(key);
    held.set_sequence(std::max(held.sequence(), page.finding.change.sequence()));
    *held.mutable_told() = ToTimestamp(now);
    *held.mutable_change() = page.finding.change;
    held.set_severity(std::max(held.severity(), incident.severity()));
    held.set_acknowledged(held.acknowledged() || (page.action == Action::kAcknowledge));
    held.set_related(static_cast<uint32_t>(page.related.size()));
    if (first) *held.mutable_opened() = ToTimestamp(now);
    if (page.action == Action::kOpen) opened_at_.push_back(now);
    if (const auto it = known_.find(key); it != known_.end()) {
      held.set_source(context().sources[it->second.source]);
      it->second.withheld = false;
    }
    if (page.action == Action::kResolve) {
      held.set_resolved(true);
      known_.erase(key);
      if (flaps_.size() >= kMostFlaps) flaps_.clear();
      flaps_[FlapKey(incident)] = {now, held.severity()};
    }
    entry.held.push_back(held);
  }
  pages_.clear();
  letters_.clear();
  AddCursors(&entry);
  cursors_moved_ = false;
  cursors_written_ = now;
  Write(std::move(entry), now);
  look_again_ = now;
}

// Up to what was read, but not past what a digest still has to tell; and what no replay can bring back is forgotten.
void StateCourier::AddCursors(Entry* entry) {
  for (size_t i = 0; i < sources_.size(); ++i) {
    if (sources_[i].feed_id.empty()) continue;
    uint64_t sequence = read_to_[i];
    for (const Missed& missed : missed_) {
      if (missed.source == i && missed.sequence > 0) sequence = std::min(sequence, missed.sequence - 1);
    }
    if (sequence > sources_[i].position || sources_[i].position == 0) entry->cursors.push_back({context().sources[i], sources_[i].feed_id, sequence});
    for (auto it = held_.begin(); it != held_.end();) {
      const bool of_this = it->second.change().incident().source().feed_id() == sources_[i].feed_id;
      if (it->second.resolved() && of_this && it->second.sequence() <= sequence) {
        std::erase_if(entry->held, [&](const auto& other) { return other.incident_key() == it->first; });
        entry->no_longer_held.push_back(it->first);
        it = held_.erase(it);
      } else {
        ++it;
      }
    }
  }
}

void StateCourier::Resend(std::vector<relay::v1::DeadLetter> letters) {
  for (relay::v1::DeadLetter& letter : letters) resend_.push_back(std::move(letter));
}

void StateCourier::FillStatus(relay::v1::SinkStatus* status) const {
  status->set_open_there(static_cast<uint32_t>(std::count_if(held_.begin(), held_.end(), [](const auto& held) { return !held.second.resolved(); })));
}

WallTime StateCourier::WakeOfKind() const {
  if (!letters_.empty() || !resend_.empty()) return WallTime::min();
  if (known_.empty() && missed_.empty() && !cursors_moved_) return WallTime::max();
  return look_again_.value_or(WallTime::min());
}

}  // namespace outlier
