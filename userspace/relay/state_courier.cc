#include "userspace/relay/state_courier.h"

#include <algorithm>

#include <fmt/format.h>
#include <xxhash.h>

#include "userspace/base/status.h"
#include "userspace/base/text.h"

namespace outlier {
namespace {

using Action = Page::Action;
using Kind = FeedEvent::Kind;

constexpr auto kCursorWrite = std::chrono::seconds(1);     // cursors alone are written this often
constexpr auto kCursorWriteDown = std::chrono::seconds(10);  // and while the sink cannot be reached
constexpr auto kLeastUpdateGap = std::chrono::minutes(5);  // between two updates that do not make it worse
constexpr auto kDigestGap = std::chrono::minutes(10);
constexpr auto kHour = std::chrono::hours(1);
constexpr size_t kMostNamed = 20;                          // in a digest
constexpr size_t kMostMissed = 1000;
constexpr size_t kMostFlaps = 10'000;
constexpr size_t kLongestText = 2000;                      // bytes, of what is held

uint64_t Hash(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

uint64_t FlapKey(const v1::Incident& incident) {
  const v1::Workload& workload = incident.workload();
  return Hash(fmt::format("{}\n{}\n{}\n{}", incident.source().feed_id(), static_cast<int>(workload.kind()), workload.name(), workload.container_id()));
}

// The identity at the pager: what a hostile source calls a feed or an incident makes it neither longer nor odd, nor another's.
std::string PageKey(const std::string& incident_key) {
  constexpr size_t kMost = 100;
  std::string key;
  for (const char c : incident_key.substr(0, kMost)) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == ':' || c == '-' || c == '_' || c == '.';
    key += plain ? c : '_';
  }
  if (key != incident_key) key += fmt::format("-{:016x}", Hash(incident_key));
  return "outlier/" + key;
}

void Cut(std::string* text) {
  if (text->size() > kLongestText) *text = Printable(*text, kLongestText);
}

template <class Repeated>
void Keep(Repeated* all, int most) {
  if (all->size() > most) all->DeleteSubrange(most, all->size() - most);
}

// Without what no page tells: 50,000 of them must fit.
void Slim(v1::Incident* incident, bool much) {
  Keep(incident->mutable_contributions(), much ? 2 : 8);
  Keep(incident->mutable_suspects(), much ? 1 : 5);
  Keep(incident->mutable_related_incident_ids(), much ? 8 : 64);
  const int changes = incident->changes_size();
  if (changes > 1) incident->mutable_changes()->DeleteSubrange(0, changes - 1);  // the newest says why it was told
  Cut(incident->mutable_summary());
  v1::Workload& workload = *incident->mutable_workload();
  for (std::string* text : {workload.mutable_name(), workload.mutable_executable(), workload.mutable_container_id(), workload.mutable_unit(), workload.mutable_pod(),
                            workload.mutable_namespace_(), workload.mutable_user(), workload.mutable_script(), incident->mutable_source()->mutable_host_name()}) {
    Cut(text);
  }
  for (v1::Suspect& suspect : *incident->mutable_suspects()) {
    Keep(suspect.mutable_evidence(), much ? 1 : 5);
    for (std::string& text : *suspect.mutable_evidence()) Cut(&text);
  }
}

// No server that answered so has it; 5xx may come from something before it that gave up waiting.
bool CannotHaveArrived(const Response& response) {
  using Failure = Response::Failure;
  if (response.answered()) return response.status >= 300 && response.status < 500 && response.status != 408;
  return response.failure == Failure::kConnect || response.failure == Failure::kTls || response.failure == Failure::kLocal;
}

std::string Lines(const std::string& head, const std::vector<std::string>& named, uint64_t all) {
  std::string text = head;
  for (const std::string& line : named) text += "\n" + line;
  if (all > named.size()) text += fmt::format("\nand {} more", all - named.size());
  return text;
}

}  // namespace

StateCourier::StateCourier(CourierContext given, std::unique_ptr<StateSink> sink)
    : Courier(std::move(given)), sink_(std::move(sink)), caught_up_(context().sources.size()), read_to_(context().sources.size()) {
  auto held = context().ledger->Held(name());
  Loaded(held.status());
  if (!held.ok()) return;
  for (size_t i = 0; i < read_to_.size(); ++i) read_to_[i] = sources_[i].position;
  for (relay::v1::Held& one : *held) {
    const std::string key = one.incident_key();
    if (one.resolved()) {
      resolved_.insert(key);
    } else {
      // What it holds is known before its source answers: a sink that forgets is told again.
      for (size_t i = 0; i < context().sources.size(); ++i) {
        if (context().sources[i] != one.source()) continue;
        Known& known = known_[key];
        known.source = i;
        known.admitted = true;
        SetLatest(key, &known, one.change());
        Touch(key);
      }
    }
    held_[key] = std::move(one);
  }
}

void StateCourier::TakeEvent(FeedEvent event, WallTime now) {
  const size_t source = event.source;
  switch (event.kind) {
    case Kind::kConnected:
      caught_up_[source] = false;
      read_to_[source] = event.sequence;
      TouchSource(source);
      break;
    case Kind::kDisconnected:
      caught_up_[source] = false;
      TouchSource(source);
      break;
    case Kind::kChange: TakeChange(event, now); break;
    case Kind::kCaughtUp:
      read_to_[source] = std::max(read_to_[source], event.sequence);
      if (!sources_[source].written || read_to_[source] > sources_[source].position) cursors_moved_ = true;
      break;
    case Kind::kOpenNow:
      TakeOpenNow(event, now);
      caught_up_[source] = true;
      TouchSource(source);
      ResolveOrphans(now);
      break;
    case Kind::kReplaced:
      ResolveGone(event.old_feed_id, {}, 0, "its host began a new journal", now);
      read_to_[source] = 0;
      caught_up_[source] = false;
      TouchSource(source);
      break;
    case Kind::kGap:  // what is open is listed afterwards
      if (event.gap.reason == "journal_rewound") TakeRewind(event.feed_id);
      break;
  }
}

// What comes next has numbers that were given out before.
void StateCourier::TakeRewind(const std::string& feed_id) {
  for (auto& [key, known] : known_) {
    if (known.latest.incident().source().feed_id() == feed_id && known.latest.incident().state() == v1::Incident::OPEN) known.latest.set_sequence(0);
  }
  for (auto it = held_.begin(); it != held_.end();) {
    const bool of_this = it->second.change().incident().source().feed_id() == feed_id;
    if (of_this && it->second.resolved()) {
      counted_only_.no_longer_held.push_back(it->first);
      resolved_.erase(it->first);
      it = held_.erase(it);
      continue;
    }
    if (of_this) it->second.set_sequence(0);
    ++it;
  }
}

StateCourier::Known* StateCourier::Admit(const std::string& key, size_t source, const v1::Incident& incident, bool opens, WallTime now) {
  const auto it = known_.find(key);
  if (it != known_.end()) return &it->second;
  if (!held_.contains(key)) {
    if (!context().route.Admits(incident)) return nullptr;  // when that changes it is said
    if (known_.size() >= (incident.severity() >= v1::Incident::MAJOR ? 2 * kMostKnown : kMostKnown)) {
      if (opens) ++counted_only_.counted.withheld;
      return nullptr;
    }
  }
  Known& known = known_[key];
  known.source = source;
  known.first_seen = now;
  return &known;
}

void StateCourier::SetLatest(const std::string& key, Known* known, const v1::IncidentChange& change) {
  const auto unname = [&](const v1::Incident& incident) {
    for (const std::string& id : incident.related_incident_ids()) {
      const auto named = named_by_.find(incident.source().feed_id() + ":" + id);
      if (named == named_by_.end()) continue;
      named->second.erase(key);
      if (named->second.empty()) named_by_.erase(named);
    }
  };
  unname(known->latest.incident());
  known->latest = change;
  Slim(known->latest.mutable_incident(), known_.size() > kMostWhole);
  const v1::Incident& incident = known->latest.incident();
  known->admitted = known->admitted || context().route.Admits(incident);
  for (const std::string& id : incident.related_incident_ids()) named_by_[incident.source().feed_id() + ":" + id].insert(key);
}

void StateCourier::Forget(const std::string& key) {
  const auto it = known_.find(key);
  if (it == known_.end()) return;
  Known& known = it->second;
  SetLatest(key, &known, {});
  if (known.ready) ready_.erase(*known.ready);
  if (known.due) due_.erase({*known.due, key});
  if (known.capped && !known.capped_told) --capped_untold_;
  capped_.erase(key);
  dirty_.erase(key);
  known_.erase(it);
  if (const auto letters = letters_of_.find(key); letters != letters_of_.end()) {  // it is over: nothing to be said again
    for (const std::string& id : letters->second) {
      counted_only_.buried.push_back(id);
      asked_.erase(id);
    }
    letters_of_.erase(letters);
  }
}

void StateCourier::TakeChange(const FeedEvent& event, WallTime now) {
  const v1::IncidentChange& change = event.change;
  const v1::Incident& incident = change.incident();
  const std::string key = IncidentKey(incident);
  read_to_[event.source] = std::max(read_to_[event.source], change.sequence());
  cursors_moved_ = true;
  const auto held = held_.find(key);
  const bool held_at_all = held != held_.end();
  if (held_at_all && held->second.resolved()) {  // said again, or feedback on what is over
    if (held->second.uncertain() && change.kind() == v1::IncidentChange::RESOLVED) {  // and the digest that told of it, too
      Known over;
      over.source = event.source;
      over.latest = change;
      over.admitted = true;
      Miss(key, over, now);
    }
    held->second.set_sequence(std::max(held->second.sequence(), change.sequence()));
    return;
  }
  const bool over = incident.state() == v1::Incident::RESOLVED;
  if (over && !known_.contains(key) && change.kind() != v1::IncidentChange::RESOLVED) return;
  Known* known = Admit(key, event.source, incident, change.kind() == v1::IncidentChange::OPENED, now);
  if (known == nullptr || change.sequence() < known->latest.sequence() || known->latest.incident().state() == v1::Incident::RESOLVED) return;
  SetLatest(key, known, change);
  Touch(key);
  if (over && held_at_all && held->second.uncertain()) Miss(key, *known, now);  // it may never have been opened there: better told twice than never
  if (!over || held_at_all) return;  // to be told
  if (caught_up_[event.source]) NoteFlap(*known, incident.severity(), now);
  Miss(key, *known, now);
  Forget(key);
}

void StateCourier::NoteFlap(const Known& known, v1::Incident::Severity severity, WallTime now) {
  const auto hold = std::chrono::nanoseconds(context().config.paging().hold_down());
  if (hold.count() == 0) return;
  if (flaps_.size() >= kMostFlaps) std::erase_if(flaps_, [&](const auto& flap) { return flap.second.resolved + hold <= now; });
  if (flaps_.size() >= kMostFlaps) flaps_.clear();
  Flap& flap = flaps_[FlapKey(known.latest.incident())];
  flap.severity = flap.resolved + hold > now ? std::max(flap.severity, severity) : severity;
  flap.resolved = now;
}

// Resolved before anybody was told. Worth a digest where a person would have been paged.
void StateCourier::Miss(const std::string& key, const Known& known, WallTime now) {
  const v1::Incident& incident = known.latest.incident();
  if (!known.admitted || known.refused_at || Rides(key, incident)) return;
  if (context().silences->Covering(incident, TimeOf(incident.opened_time())) || context().silences->Covering(incident, Wall(now))) return;
  if (missed_.size() >= kMostMissed) {
    ++missed_more_;
    return;
  }
  Missed missed{known.source, known.latest.sequence(), TimeOf(incident.resolved_time()), Printable(incident.summary(), 300), incident.source()};
  missed_.push_back(std::move(missed));
}

void StateCourier::TakeOpenNow(const FeedEvent& event, WallTime now) {
  std::set<std::string> open;
  for (const v1::Incident& incident : event.open) {
    const std::string key = IncidentKey(incident);
    open.insert(key);
    const bool is_new = !known_.contains(key);
    Known* known = Admit(key, event.source, incident, true, now);
    if (known == nullptr || (!is_new && TimeOf(known->latest.incident().updated_time()) >= TimeOf(incident.updated_time()))) continue;
    v1::IncidentChange change;
    change.set_kind(held_.contains(key) ? v1::IncidentChange::UPDATED : v1::IncidentChange::OPENED);
    change.set_sequence(std::max(known->latest.sequence(), event.sequence));
    *change.mutable_time() = incident.updated_time();
    *change.mutable_incident() = incident;
    SetLatest(key, known, change);
  }
  ResolveGone(event.feed_id, open, event.sequence, "it is no longer open at its source", now);
}

// No ghost pages: what is held, but known as open nowhere, is resolved.
void StateCourier::ResolveGone(const std::string& feed_id, const std::set<std::string>& open, uint64_t sequence, const std::string& why, WallTime now) {
  const std::string prefix = feed_id + ":";
  std::vector<std::string> gone;
  for (auto it = known_.lower_bound(prefix); it != known_.end() && it->first.starts_with(prefix); ++it) {
    const v1::Incident& incident = it->second.latest.incident();
    if (incident.source().feed_id() == feed_id && incident.state() == v1::Incident::OPEN && !open.contains(it->first)) gone.push_back(it->first);
  }
  for (auto it = held_.lower_bound(prefix); it != held_.end() && it->first.starts_with(prefix); ++it) {
    if (!it->second.resolved() && it->second.change().incident().source().feed_id() == feed_id && !open.contains(it->first)) gone.push_back(it->first);
  }
  for (const std::string& key : gone) ResolveHeld(key, sequence, why, now);
}

void StateCourier::ResolveHeld(const std::string& key, uint64_t sequence, const std::string& why, WallTime now) {
  const auto held = held_.find(key);
  if (held == held_.end() || held->second.resolved()) return Forget(key);
  Known& known = known_[key];
  if (known.latest.incident().state() == v1::Incident::RESOLVED) return;
  v1::IncidentChange change = known.latest.has_incident() && !known.latest.incident().id().empty() ? known.latest : held->second.change();
  change.set_kind(v1::IncidentChange::RESOLVED);
  change.set_sequence(std::max(change.sequence(), sequence));
  *change.mutable_time() = ToTimestamp(Wall(now));
  v1::Incident& incident = *change.mutable_incident();
  incident.set_state(v1::Incident::RESOLVED);
  *incident.mutable_resolved_time() = ToTimestamp(Wall(now));
  incident.set_summary(fmt::format("{} ({})", incident.summary(), why));
  SetLatest(key, &known, change);
  if (held->second.uncertain()) Miss(key, known, now);
  Touch(key);
}

// Of sources that are no longer followed: known when all that are have said what they are.
void StateCourier::ResolveOrphans(WallTime now) {
  if (!std::all_of(caught_up_.begin(), caught_up_.end(), [](bool is) { return is; })) return;
  std::vector<std::string> orphans;
  for (const auto& [key, held] : held_) {
    const std::string& feed_id = held.change().incident().source().feed_id();
    const bool followed = std::any_of(sources_.begin(), sources_.end(), [&](const SourceState& source) { return source.feed_id == feed_id; });
    if (!held.resolved() && !followed) orphans.push_back(key);
  }
  for (const std::string& key : orphans) ResolveHeld(key, 0, "its source is no longer followed", now);
}

std::vector<std::string> StateCourier::Related(const std::string& key, const v1::Incident& incident) const {
  std::vector<std::string> keys;
  if (!context().config.paging().group_related()) return keys;
  for (const std::string& id : incident.related_incident_ids()) keys.push_back(incident.source().feed_id() + ":" + id);
  if (const auto named = named_by_.find(key); named != named_by_.end()) keys.insert(keys.end(), named->second.begin(), named->second.end());
  return keys;
}

bool StateCourier::Rides(const std::string& key, const v1::Incident& incident) const {
  for (const std::string& other : Related(key, incident)) {
    const auto held = held_.find(other);
    if (other == key || held == held_.end() || held->second.resolved() || held->second.uncertain() || incident.severity() > held->second.severity()) continue;
    const auto lead = known_.find(other);
    if (lead != known_.end() && lead->second.latest.incident().state() == v1::Incident::OPEN) return true;  // else about to be resolved
  }
  return false;
}

std::vector<std::string> StateCourier::RidersOf(const std::string& key) const {
  std::set<std::string> seen;
  std::vector<std::string> summaries;
  for (const std::string& other : Related(key, known_.at(key).latest.incident())) {
    const auto one = known_.find(other);
    if (other == key || one == known_.end() || one->second.latest.incident().state() != v1::Incident::OPEN || !seen.insert(other).second) continue;
    const auto held = held_.find(other);
    if (held == held_.end() || held->second.resolved()) summaries.push_back(one->second.latest.incident().summary());  // else it has a page of its own
  }
  return summaries;
}

void StateCourier::Touch(const std::string& key) {
  dirty_.insert(key);
  const auto it = known_.find(key);
  if (it == known_.end()) return;
  for (const std::string& other : Related(key, it->second.latest.incident())) {
    if (known_.contains(other)) dirty_.insert(other);
  }
}

void StateCourier::TouchSource(size_t source) {
  for (const auto& [key, known] : known_) {
    if (known.source == source) dirty_.insert(key);
  }
}

void StateCourier::TouchAll() {
  for (const auto& [key, known] : known_) dirty_.insert(key);
}

bool StateCourier::Capped(WallTime now) {
  while (!opened_at_.empty() && opened_at_.front() + kHour <= now) opened_at_.pop_front();
  return opened_at_.size() >= context().config.paging().max_pages_per_hour();
}

bool StateCourier::HeldDown(const Known& known, WallTime now) const {
  const auto hold = std::chrono::nanoseconds(context().config.paging().hold_down());
  if (hold.count() == 0) return false;
  const auto flap = flaps_.find(FlapKey(known.latest.incident()));
  if (flap == flaps_.end() || known.latest.incident().severity() > flap->second.severity) return false;
  return known.first_seen < flap->second.resolved + hold && now < known.first_seen + hold;
}

void StateCourier::WithholdOnce(Known* known) {
  if (known->withheld) return;
  known->withheld = true;
  ++counted_only_.counted.withheld;
}

void StateCourier::Refresh(WallTime now) {
  if (!opened_known_) {  // the hour's pages before a restart
    opened_known_ = true;
    for (const auto& [key, held] : held_) {
      const WallTime opened = TimeOf(held.opened());
      if (held.has_opened() && opened <= Wall(now) && opened + kHour > Wall(now)) opened_at_.push_back(now - (Wall(now) - opened));
    }
    std::sort(opened_at_.begin(), opened_at_.end());
  }
  const uint64_t generation = context().silences->generation();
  if (generation != silences_seen_ || Wall(now) >= silences_change_ || Wall(now) < silences_looked_) {
    silences_seen_ = generation;
    silences_change_ = context().silences->NextChange(Wall(now));
    TouchAll();
  }
  silences_looked_ = Wall(now);
  while (!due_.empty() && due_.begin()->first <= now) {
    const std::string key = due_.begin()->second;
    due_.erase(due_.begin());
    known_.at(key).due.reset();
    dirty_.insert(key);
  }
  if (!capped_.empty() && !Capped(now)) dirty_.insert(capped_.begin(), capped_.end());
  std::set<std::string> dirty;
  dirty.swap(dirty_);
  for (const std::string& key : dirty) Examine(key, now);
}

void StateCourier::Examine(const std::string& key, WallTime now) {
  const auto it = known_.find(key);
  if (it == known_.end()) return;
  Known& known = it->second;
  const v1::Incident& incident = known.latest.incident();
  if (incident.state() == v1::Incident::RESOLVED && !context().config.paging().send_resolved() && held_.contains(key)) {
    Resolved(key, now, &counted_only_);  // nobody wants to hear of it
    return;
  }
  const Plan plan = PlanOf(key, &known, now);
  std::optional<Rank> ready;
  if (plan.action) {
    static constexpr int kRank[] = {1, 2, 3, 0, 4, 5};  // by Action: resolutions first, then what is new, the worst first, then what has changed
    const int doubted = doubted_.contains(key) ? 10 : 0;
    ready = Rank{kRank[static_cast<int>(*plan.action)] + doubted, -static_cast<int>(incident.severity()), TimeOf(incident.onset_time()), key};
  }
  if (ready != known.ready) {
    if (known.ready) ready_.erase(*known.ready);
    if (ready) ready_.insert(*ready);
    known.ready = std::move(ready);
  }
  if (plan.look_at != known.due) {
    if (known.due) due_.erase({*known.due, key});
    if (plan.look_at) due_.insert({*plan.look_at, key});
    known.due = plan.look_at;
  }
}

// What this incident needs now, if anything.
StateCourier::Plan StateCourier::PlanOf(const std::string& key, Known* known, WallTime now) {
  const v1::Incident& incident = known->latest.incident();
  const auto held = held_.find(key);
  const bool told = held != held_.end() && !held->second.resolved();
  if (incident.state() == v1::Incident::RESOLVED) return {told ? std::optional(Action::kResolve) : std::nullopt, std::nullopt};
  if (told && !held->second.uncertain()) return PlanOfTold(key, *known, held->second, now);
  if (!caught_up_[known->source]) return {};
  return PlanOpening(key, known, now);
}

StateCourier::Plan StateCourier::PlanOpening(const std::string& key, Known* known, WallTime now) {
  const v1::Incident& incident = known->latest.incident();
  const auto uncap = [&] {
    if (known->capped && !known->capped_told) --capped_untold_;
    known->capped = known->capped_told = false;
    capped_.erase(key);
  };
  const bool refused = known->refused_at && incident.severity() <= *known->refused_at;
  if (refused || !context().route.Admits(incident) || context().silences->Covering(incident, Wall(now)) || Rides(key, incident)) {
    uncap();
    return {};
  }
  if (HeldDown(*known, now)) {
    uncap();
    WithholdOnce(known);
    return {std::nullopt, known->first_seen + std::chrono::nanoseconds(context().config.paging().hold_down())};
  }
  if (Capped(now)) {
    WithholdOnce(known);
    if (!known->capped) ++capped_untold_;
    known->capped = true;
    capped_.insert(key);
    return {};
  }
  return {Action::kOpen, std::nullopt};
}

StateCourier::Plan StateCourier::PlanOfTold(const std::string& key, const Known& known, const relay::v1::Held& there, WallTime now) const {
  const StateSink::Capabilities can = sink_->capabilities();
  const v1::Incident& incident = known.latest.incident();
  const bool caught_up = caught_up_[known.source];
  const bool silenced = context().silences->Covering(incident, Wall(now)).has_value();
  // Of a clock that was set back nobody knows how long ago it was.
  const auto ago = Wall(now) - TimeOf(there.told());
  const std::chrono::nanoseconds since = ago.count() < 0 ? std::chrono::nanoseconds::max() / 2 : ago;
  Plan plan;
  const auto look_in = [&](std::chrono::nanoseconds wait) { plan.look_at = plan.look_at ? std::min(*plan.look_at, now + wait) : now + wait; };
  if (caught_up && known.again) return {can.update ? Action::kUpdate : Action::kRepeat, std::nullopt};
  if (caught_up && incident.acknowledged() && !there.acknowledged() && can.acknowledge) return {Action::kAcknowledge, std::nullopt};
  if (caught_up && can.update && !silenced) {
    if (incident.severity() > there.severity()) return {Action::kUpdate, std::nullopt};
    const bool newer = TimeOf(incident.updated_time()) > TimeOf(there.change().incident().updated_time());
    if ((newer && incident.summary() != there.change().incident().summary()) || RidersOf(key).size() != there.related()) {
      if (since >= kLeastUpdateGap) return {Action::kUpdate, std::nullopt};
      look_in(kLeastUpdateGap - since);
    }
  }
  // A sink that forgets is told again even while the source is away: what is held as open must not look resolved for that.
  std::chrono::nanoseconds repeat = can.repeat_open;
  if (repeat.count() == 0 && caught_up && !silenced && !incident.acknowledged()) repeat = std::chrono::nanoseconds(context().config.paging().repeat_interval());
  if (repeat.count() > 0) {
    if (since >= repeat) return {Action::kRepeat, std::nullopt};
    look_in(repeat - since);
  }
  return plan;
}

Page StateCourier::MakePage(Action action, const std::string& key, const Known& known) const {
  Page page;
  page.action = action;
  page.key = PageKey(key);
  page.finding.change = known.latest;
  page.finding.labels = context().labels;
  page.related = RidersOf(key);
  return page;
}

bool StateCourier::DigestDue(WallTime now) const {
  if ((missed_.empty() && capped_untold_ == 0) || (digest_told_ && now < *digest_told_ + kDigestGap)) return false;
  // What is still being read may be missed, too.
  for (size_t i = 0; i < caught_up_.size(); ++i) {
    if (sources_[i].connected && !caught_up_[i]) return false;
  }
  return true;
}

Page StateCourier::Digest(WallTime now) {
  Page page;
  page.action = Action::kDigest;
  page.digest_quiet = true;
  page.finding.labels = context().labels;
  *page.finding.change.mutable_time() = ToTimestamp(Wall(now));
  std::string identity;
  if (!missed_.empty()) {
    *page.finding.change.mutable_incident()->mutable_source() = missed_.front().host;
    const uint64_t all = missed_.size() + missed_more_;
    std::vector<std::string> named;
    for (size_t i = 0; i < std::min(missed_.size(), kMostNamed); ++i) {
      named.push_back(fmt::format("{} {}: {}", Rfc3339(missed_[i].resolved), Printable(missed_[i].host.host_name(), 200), missed_[i].summary));
    }
    page.text = Lines(fmt::format("{} incident{} opened and resolved without a page (sink not reached, or held back):", all, all == 1 ? "" : "s"), named, all);
    identity = fmt::format("{}:{}", missed_.front().host.feed_id(), missed_.front().sequence);  // the same after a crash
  }
  if (capped_untold_ > 0) {
    std::vector<std::string> named;
    for (const std::string& key : capped_) {
      const Known& known = known_.at(key);
      if (known.capped_told) continue;
      const v1::Incident& incident = known.latest.incident();
      if (missed_.empty() && identity.empty()) {
        *page.finding.change.mutable_incident()->mutable_source() = incident.source();
        identity = "open:" + key;
      }
      named.push_back(fmt::format("{}: {}", Printable(incident.source().host_name(), 200), Printable(incident.summary(), 300)));
      if (named.size() == kMostNamed) break;
    }
    if (!page.text.empty()) page.text += "\n";
    page.text += Lines(fmt::format("{} more {} open without a page: max_pages_per_hour is {}:", capped_untold_, capped_untold_ == 1 ? "incident is" : "incidents are",
                                   context().config.paging().max_pages_per_hour()),
                       named, capped_untold_);
  }
  page.key = PageKey("digest:" + identity);
  return page;
}

void StateCourier::DigestTold(WallTime now) {
  missed_.clear();
  missed_more_ = 0;
  for (const std::string& key : capped_) known_.at(key).capped_told = true;
  capped_untold_ = 0;
  digest_told_ = now;
  cursors_moved_ = true;
}

std::vector<Page> StateCourier::Choose(WallTime now) {
  Refresh(now);
  const size_t most = alone_ > 0 ? 1 : std::max<size_t>(sink_->capabilities().pages_per_request, 1);
  const size_t cap = context().config.paging().max_pages_per_hour();
  std::vector<Page> pages;
  std::set<std::string> chosen;
  std::vector<std::string> beyond;
  size_t opening = 0;
  for (const Rank& rank : ready_) {
    if (pages.size() >= most) break;
    const std::string& key = std::get<3>(rank);
    Known& known = known_.at(key);
    const v1::Incident& incident = known.latest.incident();
    const Plan plan = PlanOf(key, &known, now);
    if (!plan.action) {
      beyond.push_back(key);
      continue;
    }
    if (*plan.action == Action::kOpen) {
      const auto related = Related(key, incident);
      if (std::any_of(related.begin(), related.end(), [&](const std::string& other) { return chosen.contains(other); })) continue;  // it may ride
      if (opened_at_.size() + opening >= cap) break;
      ++opening;
      chosen.insert(key);
    }
    pages.push_back(MakePage(*plan.action, key, known));
  }
  dirty_.insert(beyond.begin(), beyond.end());
  if (!pages.empty() || !DigestDue(now)) return pages;
  if (sink_->capabilities().digest) {
    pages.push_back(Digest(now));
  } else {
    counted_only_.counted.withheld += missed_.size() + missed_more_;  // there is no way to tell
    DigestTold(now);
  }
  return pages;
}

void StateCourier::PutHeld(Entry* entry, const relay::v1::Held& held) {
  for (Entry* one : {entry, &counted_only_}) {
    std::erase(one->no_longer_held, held.incident_key());
    std::erase_if(one->held, [&](const auto& other) { return other.incident_key() == held.incident_key(); });
  }
  entry->held.push_back(held);
}

// Before the first request about an incident leaves. False where that could not be written.
bool StateCourier::WriteIntents(WallTime now) {
  intents_.clear();
  may_have_arrived_ = false;
  Entry entry;
  for (const Page& page : pages_) {
    if (page.action != Action::kOpen) continue;
    const std::string key = IncidentKey(page.finding.incident());
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
  if (intents_.empty()) return true;
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

std::optional<Request> StateCourier::NextOfKind(WallTime now) {
  if (letters_.empty()) {
    pages_ = Choose(now);
    if (pages_.empty()) return std::nullopt;
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
      return std::nullopt;
    }
    if (letters->requests.empty()) {  // nothing to say there
      PagesDone(now);
      return std::nullopt;
    }
    if (!WriteIntents(now)) {
      pages_.clear();
      return std::nullopt;
    }
    all_needed_ = letters->all_needed;
    any_delivered_ = false;
    last_reason_.clear();
    for (Request& request : letters->requests) letters_.push_back(std::move(request));
  }
  Request request = letters_.front();
  request.compress = request.compress && context().config.delivery().compression() == "gzip";
  return request;
}

void StateCourier::ReceiveOfKind(const Response& response, WallTime now) {
  const Outcome outcome = sink_->Judge(response, pages_);
  if (!outcome.warning.empty()) warning_ = outcome.warning;
  letters_.pop_front();
  const auto refused = std::count(outcome.items.begin(), outcome.items.end(), ItemOutcome::kRefused) + std::count(outcome.items.begin(), outcome.items.end(), ItemOutcome::kExpired);
  const auto again = std::count(outcome.items.begin(), outcome.items.end(), ItemOutcome::kRetry);
  const bool delivered = outcome.kind == Outcome::Kind::kItems && refused == 0 && again == 0;
  if (delivered) any_delivered_ = true;
  if (!CannotHaveArrived(response)) may_have_arrived_ = true;
  if (delivered || (!all_needed_ && outcome.kind != Outcome::Kind::kRefused && (!letters_.empty() || any_delivered_))) {
    if (!delivered) {
      last_reason_ = outcome.reason;
      ++counted_only_.counted.retried;
    }
    if (!letters_.empty()) return;
    if (any_delivered_) {
      retry_.Succeeded(now);
      refused_in_a_row_ = 0;
      dirty_.insert(doubted_.begin(), doubted_.end());
      doubted_.clear();
      return PagesDone(now);
    }
  }
  letters_.clear();
  if (!may_have_arrived_) DropIntents();
  intents_.clear();
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
        retry_.Suspended(now, fmt::format("refuses everything, {} pages in a row; `outlierctl sinks retry {}` makes dead letters of what it refuses then; the last answer: {}", refused_in_a_row_, name(), why));
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

std::chrono::nanoseconds StateCourier::CursorInterval() const {
  return retry_.state() == Retry::State::kDelivering ? kCursorWrite : kCursorWriteDown;
}

void StateCourier::Housekeep(WallTime now) {
  if ((!cursors_moved_ && counted_only_.empty()) || now < cursors_written_ + CursorInterval()) return;
  Entry entry;
  std::swap(entry, counted_only_);
  AddCursors(&entry);
  cursors_moved_ = false;
  cursors_written_ = now;
  Write(std::move(entry), now);
}

// Up to what was read, but not past what a digest still has to tell; and what no replay can bring back is forgotten.
void StateCourier::AddCursors(Entry* entry) {
  for (size_t i = 0; i < sources_.size(); ++i) {
    if (sources_[i].feed_id.empty()) continue;
    uint64_t sequence = read_to_[i];
    for (const Missed& missed : missed_) {
      if (missed.source == i && missed.sequence > 0) sequence = std::min(sequence, missed.sequence - 1);
    }
    if (sequence > sources_[i].position || !sources_[i].written) entry->cursors.push_back({context().sources[i], sources_[i].feed_id, sequence});
    sequence = std::max(sequence, sources_[i].position);
    std::erase_if(resolved_, [&](const std::string& key) {
      const relay::v1::Held& held = held_.at(key);
      const std::string& feed_id = held.change().incident().source().feed_id();
      // Of a feed that no source has nothing is said again.
      const bool gone = std::none_of(sources_.begin(), sources_.end(), [&](const SourceState& source) { return source.feed_id == feed_id; });
      if (!gone && (feed_id != sources_[i].feed_id || held.sequence() > sequence)) return false;
      std::erase_if(entry->held, [&](const auto& other) { return other.incident_key() == key; });
      entry->no_longer_held.push_back(key);
      held_.erase(key);
      return true;
    });
  }
}

void StateCourier::Resend(std::vector<relay::v1::DeadLetter> letters) {
  for (relay::v1::DeadLetter& letter : NewLetters(std::move(letters))) {
    const v1::Incident& incident = letter.change().incident();
    const std::string key = IncidentKey(incident);
    const bool over = incident.state() == v1::Incident::RESOLVED;
    auto it = known_.find(key);
    if (it == known_.end() && !over) {  // it is over by now: nothing that could be said
      counted_only_.buried.push_back(letter.id());
      asked_.erase(letter.id());
      continue;
    }
    if (it == known_.end()) {
      relay::v1::Held& held = held_[key];
      if (held.incident_key().empty()) {
        held.set_incident_key(key);
        held.set_sequence(letter.change().sequence());
        held.set_severity(incident.severity());
        *held.mutable_change() = letter.change();
      }
      held.set_resolved(false);
      resolved_.erase(key);
      it = known_.try_emplace(key).first;
      for (size_t i = 0; i < sources_.size(); ++i) {
        if (sources_[i].feed_id == incident.source().feed_id()) it->second.source = i;
      }
      SetLatest(key, &it->second, letter.change());
    }
    const auto held = held_.find(key);
    it->second.again = held != held_.end() && !held->second.resolved() && !held->second.uncertain();
    it->second.refused_at.reset();
    letters_of_[key].push_back(letter.id());
    Touch(key);
  }
}

void StateCourier::FillStatus(relay::v1::SinkStatus* status) const {
  const auto open = std::count_if(held_.begin(), held_.end(), [](const auto& held) { return !held.second.resolved() && !held.second.uncertain(); });
  status->set_open_there(static_cast<uint32_t>(open));
  status->set_pages_withheld(status->pages_withheld() + counted_only_.counted.withheld);
}

WallTime StateCourier::WakeOfKind() const {
  if (!letters_.empty() || !dirty_.empty() || !ready_.empty()) return WallTime::min();
  WallTime wake = WallTime::max();
  const auto at = [&](WallTime time) { wake = std::min(wake, time); };
  if (!due_.empty()) at(due_.begin()->first);
  if (!known_.empty() && silences_change_ != WallTime::max()) at(silences_change_ + (AxisNow() - Wall(AxisNow())));
  if (!capped_.empty() && !opened_at_.empty()) at(opened_at_.front() + kHour);
  if (!missed_.empty() || capped_untold_ > 0) {
    const WallTime due = digest_told_ ? *digest_told_ + kDigestGap : WallTime::min();
    if (DigestDue(std::max(due, AxisNow()))) at(due);
  }
  if (cursors_moved_ || !counted_only_.empty()) at(cursors_written_ + CursorInterval());
  return wake;
}

}  // namespace outlier
