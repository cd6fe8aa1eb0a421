// What should be said, and when it has to be looked at again.
#include "userspace/relay/state_courier.h"

#include <algorithm>

#include <fmt/format.h>
#include <xxhash.h>

#include "userspace/base/text.h"

namespace outlier {
namespace {

using Action = Page::Action;

constexpr auto kLeastUpdateGap = std::chrono::minutes(5);  // between two updates that do not make it worse
constexpr auto kDigestGap = std::chrono::minutes(10);
constexpr auto kHour = std::chrono::hours(1);
constexpr size_t kMostNamed = 20;                          // in a digest
constexpr size_t kMostFlaps = 10'000;

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

std::string Lines(const std::string& head, const std::vector<std::string>& named, uint64_t all) {
  std::string text = head;
  for (const std::string& line : named) text += "\n" + line;
  if (all > named.size()) text += fmt::format("\nand {} more", all - named.size());
  return text;
}

}  // namespace

void StateCourier::NoteFlap(const Known& known, v1::Incident::Severity severity, WallTime now) {
  const auto hold = std::chrono::nanoseconds(context().config.paging().hold_down());
  if (hold.count() == 0) return;
  if (flaps_.size() >= kMostFlaps) std::erase_if(flaps_, [&](const auto& flap) { return flap.second.resolved + hold <= now; });
  if (flaps_.size() >= kMostFlaps) flaps_.clear();
  Flap& flap = flaps_[FlapKey(known.latest.incident())];
  flap.severity = flap.resolved + hold > now ? std::max(flap.severity, severity) : severity;
  flap.resolved = now;
}

std::vector<std::string> StateCourier::Related(const std::string& key, const v1::Incident& incident) const {
  std::vector<std::string> keys;
  if (!context().config.paging().group_related()) return keys;
  for (const std::string& id : incident.related_incident_ids()) keys.push_back(incident.source().feed_id() + ":" + id);
  if (const auto named = named_by_.find(key); named != named_by_.end()) keys.insert(keys.end(), named->second.begin(), named->second.end());
  return keys;
}

bool StateCourier::Rides(const std::string& key, const v1::Incident& incident, WallTime now) const {
  for (const std::string& other : Related(key, incident)) {
    const auto held = held_.find(other);
    if (other == key || held == held_.end() || held->second.resolved() || held->second.uncertain() || incident.severity() > held->second.severity()) continue;
    const auto lead = known_.find(other);
    if (lead == known_.end() || lead->second.latest.incident().state() != v1::Incident::OPEN) continue;  // about to be resolved
    if (!context().silences->Covering(lead->second.latest.incident(), Wall(now))) return true;           // else its page is told nothing
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
  const bool untold = known.capped && !known.capped_told;
  if (!plan.action && !untold) {
    SetWaits(key, &known, std::nullopt);
  } else {
    // What is open and was not seen before should have been told when it opened, as before a restart; all else from now on.
    const bool opens = plan.action == Action::kOpen && !known.examined && known.latest.has_time();
    const WallTime since = opens ? std::min(TimeOf(known.latest.time()), Wall(now)) : plan.action ? Wall(now) : DigestAt(now);
    if (!known.waits_since || since < *known.waits_since) SetWaits(key, &known, since);
  }
  known.examined = known.examined || caught_up_[known.source];
  if (plan.look_at != known.due) {
    if (known.due) due_.erase({*known.due, key});
    if (plan.look_at) due_.insert({*plan.look_at, key});
    known.due = plan.look_at;
  }
}

void StateCourier::SetWaits(const std::string& key, Known* known, std::optional<WallTime> since) {
  if (known->waits_since) waiting_.erase({known->source, *known->waits_since, key});
  if (since) waiting_.insert({known->source, *since, key});
  known->waits_since = since;
}

std::optional<WallTime> StateCourier::OldestWaiting(size_t source) const {
  std::optional<WallTime> oldest;
  if (const auto first = waiting_.lower_bound({source, WallTime::min(), ""}); first != waiting_.end() && std::get<0>(*first) == source) oldest = std::get<1>(*first);
  const auto missed = std::find_if(missed_.begin(), missed_.end(), [&](const Missed& one) { return one.source == source; });
  if (missed != missed_.end()) oldest = oldest ? std::min(*oldest, missed->waits_since) : missed->waits_since;
  return oldest;
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
  if (refused || !context().route.Admits(incident) || context().silences->Covering(incident, Wall(now)) || Rides(key, incident, now)) {
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
    if (incident.summary() != there.change().incident().summary() || RidersOf(key).size() != there.related()) {
      if (since >= kLeastUpdateGap) return {Action::kUpdate, std::nullopt};
      look_in(kLeastUpdateGap - since);
    }
  }
  // A sink that forgets is told again even while the source is away: what is held as open must not look resolved for that.
  std::chrono::nanoseconds repeat = can.repeat_open;
  if (repeat.count() == 0 && caught_up && !silenced && !incident.acknowledged()) repeat = std::chrono::nanoseconds(context().config.paging().repeat_interval());
  if (repeat.count() > 0 && !there.ending()) {
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

WallTime StateCourier::DigestAt(WallTime now) const { return Wall(digest_told_ ? std::max(now, *digest_told_ + kDigestGap) : now); }

Page StateCourier::Digest(WallTime now) {
  Page page;
  page.action = Action::kDigest;
  page.digest_quiet = capped_untold_ == 0;
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
    std::vector<const v1::Incident*> open;
    for (const std::string& key : capped_) {
      const Known& known = known_.at(key);
      if (known.capped_told) continue;
      open.push_back(&known.latest.incident());
      if (missed_.empty() && identity.empty()) {
        *page.finding.change.mutable_incident()->mutable_source() = open.back()->source();
        identity = "open:" + key;
      }
    }
    std::stable_sort(open.begin(), open.end(), [](const auto* a, const auto* b) { return a->severity() > b->severity(); });
    page.finding.change.mutable_incident()->set_severity(open.front()->severity());
    std::vector<std::string> named;
    for (size_t i = 0; i < std::min(open.size(), kMostNamed); ++i) {
      named.push_back(fmt::format("{}: {}", Printable(open[i]->source().host_name(), 200), Printable(open[i]->summary(), 300)));
    }
    if (!page.text.empty()) page.text += "\n";
    const char* are = capped_untold_ == 1 ? "incident is" : "incidents are";
    const uint32_t cap = context().config.paging().max_pages_per_hour();
    page.text += Lines(fmt::format("{} more {} open without a page: max_pages_per_hour is {}:", capped_untold_, are, cap), named, capped_untold_);
  }
  page.key = PageKey("digest:" + identity);
  return page;
}

void StateCourier::DigestTold(WallTime now) {
  missed_.clear();
  missed_more_ = 0;
  for (const std::string& key : capped_) {
    Known& known = known_.at(key);
    known.capped_told = true;
    if (!known.ready) SetWaits(key, &known, std::nullopt);
  }
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
  std::erase_if(over_, [&](const auto& over) { return over.second.until <= now; });
  for (const auto& [key, over] : over_) {
    if (pages.size() < most && over.next <= now) pages.push_back(over.page);
  }
  if (!pages.empty() || !DigestDue(now)) return pages;
  if (sink_->capabilities().digest) {
    pages.push_back(Digest(now));
  } else {
    counted_only_.counted.withheld += missed_.size() + missed_more_;  // there is no way to tell
    DigestTold(now);
  }
  return pages;
}

WallTime StateCourier::WakeOfKind() const {
  if (!letters_.empty() || !dirty_.empty() || !ready_.empty()) return WallTime::min();
  WallTime wake = WallTime::max();
  const auto at = [&](WallTime time) { wake = std::min(wake, time); };
  if (!due_.empty()) at(due_.begin()->first);
  if (!known_.empty() && silences_change_ != WallTime::max()) at(silences_change_ + (AxisNow() - Wall(AxisNow())));
  if (!capped_.empty() && !opened_at_.empty()) at(opened_at_.front() + kHour);
  for (const auto& [key, over] : over_) at(over.next);
  if (!missed_.empty() || capped_untold_ > 0) {
    const WallTime due = digest_told_ ? *digest_told_ + kDigestGap : WallTime::min();
    if (DigestDue(std::max(due, AxisNow()))) at(due);
  }
  if (cursors_moved_ || !counted_only_.empty()) at(cursors_written_ + CursorInterval());
  return wake;
}

}  // namespace outlier
