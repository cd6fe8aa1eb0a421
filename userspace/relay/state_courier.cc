// What the sources say, and what a restart needs.
#include "userspace/relay/state_courier.h"

#include <algorithm>

#include <fmt/format.h>

#include "userspace/base/text.h"

namespace outlier {
namespace {

using Kind = FeedEvent::Kind;

constexpr auto kCursorWrite = std::chrono::seconds(1);     // cursors alone are written this often
constexpr auto kCursorWriteDown = std::chrono::seconds(10);  // and while the sink cannot be reached
constexpr size_t kMostMissed = 1000;
constexpr size_t kLongestText = 2000;                      // bytes, of what is held

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

}  // namespace

StateCourier::StateCourier(CourierContext given, std::unique_ptr<StateSink> sink)
    : Courier(std::move(given)), sink_(std::move(sink)), caught_up_(context().sources.size()), read_to_(context().sources.size()) {
  if (!loaded().ok()) return;
  for (size_t i = 0; i < read_to_.size(); ++i) read_to_[i] = sources_[i].position;
  for (auto& [key, one] : TakeHeld(sink_.get())) {
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
  SetWaits(key, &known, std::nullopt);
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

// Resolved before anybody was told. Worth a digest where a person would have been paged.
void StateCourier::Miss(const std::string& key, const Known& known, WallTime now) {
  const v1::Incident& incident = known.latest.incident();
  if (!known.admitted || known.refused_at || Left(key) || Rides(key, incident, now)) return;
  if (context().silences->Covering(incident, TimeOf(incident.opened_time())) || context().silences->Covering(incident, Wall(now))) return;
  if (missed_.size() >= kMostMissed) {
    ++missed_more_;
    return;
  }
  Missed missed{known.source, known.latest.sequence(), TimeOf(incident.resolved_time()), Printable(incident.summary(), 300), incident.source(), DigestAt(now)};
  missed_.push_back(std::move(missed));
}

void StateCourier::TakeOpenNow(const FeedEvent& event, WallTime now) {
  std::set<std::string> open;
  for (const v1::Incident& incident : event.open) {
    const std::string key = IncidentKey(incident);
    open.insert(key);
    const bool is_new = !known_.contains(key);
    if (const auto held = held_.find(key); held != held_.end()) held->second.set_ending(false);  // its source had only been taken for gone
    Known* known = Admit(key, event.source, incident, true, now);
    if (known == nullptr || (!is_new && TimeOf(known->latest.incident().updated_time()) > TimeOf(incident.updated_time()))) continue;
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
  if (!failing_.empty()) status->set_message(status->message().empty() ? failing_ : failing_ + "; " + status->message());
}

}  // namespace outlier
