#include "userspace/incidents/incidents.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <xxhash.h>

#include "userspace/base/text.h"
#include "userspace/stream/incident_text.h"

namespace outlier {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr double kContributes = 0.3;      // strength from which a signal is named
constexpr double kMostWatchedSeconds = 60;  // of one tick: a host that was suspended was not watched
constexpr double kMissedTicks = 3;        // a tick that took so many left the rest unobserved

// Whether any of `more` was not among `slots`.
bool Add(std::span<const Slot> more, std::vector<Slot>* slots) {
  const size_t before = slots->size();
  for (const Slot slot : more) {
    if (std::find(slots->begin(), slots->end(), slot) == slots->end()) slots->push_back(slot);
  }
  return slots->size() > before;
}

}  // namespace

Incidents::Incidents(const config::v1::Config& config, v1::Source source, std::span<const FeatureSpec> features)
    : config_(config),
      source_(std::move(source)),
      features_(features.begin(), features.end()),
      history_(static_cast<int>(features.size())),
      evidence_(features) {
  Reload(config);
  for (size_t f = 0; f < features_.size(); ++f) {
    if (features_[f].signal == "workload.restarts") restarts_feature_ = f;
    if (features_[f].signal == "workload.exits" && features_[f].attribute_value == "oom") oom_feature_ = f;
    if (features_[f].signal == "process.cpu.run_delay") waits_feature_ = static_cast<int>(f);
  }
}

void Incidents::Reload(const config::v1::Config& config) {
  config_ = config;
  recurrences_.SetWarmUp(static_cast<uint64_t>(std::max<int64_t>(config.detection().warm_up(), 0)));
  ignored_.clear();
}

// The signal that such a fact is told by.
size_t Incidents::FeatureOf(const RestartFact& fact) const {
  const bool memory = fact.cause == v1::Restart::OUT_OF_MEMORY || fact.cause == v1::Restart::CHILD_OUT_OF_MEMORY;
  return memory ? oom_feature_ : restarts_feature_;
}

const std::vector<bool>& Incidents::IgnoredBy(Slot slot) {
  if (slot >= ignored_.size()) ignored_.resize(slot + 1);
  std::vector<bool>& ignored = ignored_[slot];
  if (!ignored.empty()) return ignored;
  ignored.assign(features_.size(), false);
  const v1::Workload& workload = names_[slot].workload;
  for (const config::v1::WorkloadRule& rule : config_.workloads()) {
    const config::v1::Match& match = rule.match();
    if (!GlobMatch(match.executable(), workload.executable()) || !GlobMatch(match.name(), workload.name()) ||
        !GlobMatch(match.unit(), workload.unit()) || !GlobMatch(match.user(), workload.user())) {
      continue;
    }
    for (const std::string& signal : rule.ignore()) {
      for (size_t f = 0; f < features_.size(); ++f) ignored[f] = ignored[f] || features_[f].signal == signal;
    }
    break;  // first match wins
  }
  return ignored;
}

std::vector<v1::IncidentChange> Incidents::Judge(const WorkloadTick& tick, const FeatureTick& features, const ScoreTick& scores) {
  Changes changes;
  for (const Command& command : tick.commands) {
    if (command.kind == Command::Kind::kSource) source_.ParseFromString(command.config);
  }
  history_.Append(features, tick.boot_time_ns, tick.wall_time_ns);
  WarmUp(scores);
  evidence_.Append(features, scores);
  events_lost_ = tick.events_lost;
  const double watched = std::min(tick.interval_seconds, kMostWatchedSeconds);
  watched_ns_ += static_cast<uint64_t>(std::llround(watched * 1e9));
  const double tick_seconds = static_cast<double>(config_.tick()) * 1e-9;
  missed_before_ns_ = missed_ns_;
  if (tick_seconds > 0 && tick.interval_seconds > kMissedTicks * tick_seconds) missed_ns_ += static_cast<uint64_t>(std::llround((tick.interval_seconds - tick_seconds) * 1e9));
  if (tick.interval_seconds == 0 && history_.length() > 1) missed_ns_ += static_cast<uint64_t>(std::max<int64_t>(history_.WallTime(0) - history_.WallTime(1), 0));
  const Slot slots = static_cast<Slot>(tick.totals.size());
  scores_.resize(slots, 0.0);
  names_.resize(slots);
  recurrences_.Resize(slots);
  disturbance_.Resize(slots);
  departures_.resize(slots);
  departs_.resize(slots, 0);
  for (const auto& [slot, name] : tick.named) {
    names_[slot] = name;
    if (slot < ignored_.size()) ignored_[slot].clear();
  }

  std::map<Slot, std::vector<const RestartFact*>> facts;
  for (const RestartFact& fact : tick.restarts) facts[fact.slot].push_back(&fact);
  const std::vector<const RestartFact*> none;
  size_t active = 0;
  for (Slot slot = 0; slot < slots; ++slot) {
    // Two flags of a large record each: far ahead, so that the waits coincide.
    constexpr Slot kAhead = 16;
    if (slot + kAhead < slots) __builtin_prefetch(&tick.totals[slot + kAhead]);
    active += tick.totals[slot].observed ? 1 : 0;
    if (tick.totals[slot].born) Begin(slot, tick, &changes);
    FindDeparture(slot, tick, scores);
  }
  disturbance_.SetWorkloads(active);
  const std::optional<v1::Contribution> interrupted = disturbance_.Interruption(tick);
  const double of_many_per_week = disturbance_.PerWeek(watched_ns_);
  std::vector<Slot> departing;
  double departing_per_week = std::numeric_limits<double>::infinity();
  for (Slot slot = 0; slot < slots; ++slot) {
    if (departs_[slot] == 0 && open_.empty() && facts.empty()) continue;  // as nearly all, nearly always
    Departure& departure = departures_[slot];
    const auto it = facts.find(slot);
    const auto& own_facts = it == facts.end() ? none : it->second;
    if (const auto open = open_.find(slot); open != open_.end()) {
      Follow(tick, own_facts, departure, features, scores, &open->second, &changes);
      if (open->second.incident.state() == v1::Incident::RESOLVED) open_.erase(open);
      continue;
    }
    const bool told = std::any_of(own_facts.begin(), own_facts.end(), [&](const auto* f) { return f->told && !IgnoredBy(slot)[FeatureOf(*f)]; });
    if (!told && departure.per_week > config_.budgets().false_alarms_per_week()) FindTaker(slot, tick, &departure);
    const bool departs = departure.per_week <= config_.budgets().false_alarms_per_week();
    std::vector<Slot> together;
    if (departs && !told && !departure.waits) together = disturbance_.Together(slot, Known(slot), watched_ns_);
    const double by_chance = together.empty() || Known(slot) ? 0 : disturbance_.ByChance(slot);
    const double per_week = std::max({departure.per_week, of_many_per_week, by_chance});
    if (!together.empty() && per_week <= config_.budgets().false_alarms_per_week()) {
      departing_per_week = std::min(departing_per_week, per_week);
      if (together.size() > departing.size()) departing.swap(together);
    } else if (!together.empty() && (!Known(slot) || disturbance_.feedback() > 1)) {
      // What so many do for the first time, one after the other or as before, is no news of any of them; nor is what a person called a false alarm of all of them.
    } else if (told || departs) {
      Open(slot, tick, own_facts, departure, features, scores, &changes);
    }
  }
  // A clock is a fact, and tells what departs with it.
  if (interrupted) {
    DisturbHost(*interrupted, departing, 0, tick, features, scores, &changes);
  } else if (!departing.empty()) {
    DisturbHost(HostDisturbance::Of(static_cast<int>(departing.size())), departing, departing_per_week, tick, features, scores, &changes);
  }
  recurrences_.EndTick(active, watched);
  for (const Command& command : tick.commands) Obey(command, tick, &changes);
  return changes;
}

// What a workload holds when its warm-up ends has to hold on before it is told.
void Incidents::WarmUp(const ScoreTick& scores) {
  warm_.resize(static_cast<size_t>(scores.warm.size()), 0);
  for (size_t slot = 0; slot < warm_.size(); ++slot) {
    if (scores.warm(static_cast<Eigen::Index>(slot)) == static_cast<bool>(warm_[slot])) continue;
    warm_[slot] = scores.warm(static_cast<Eigen::Index>(slot));
    if (warm_[slot]) evidence_.Forget(static_cast<int>(slot));
  }
}

void Incidents::Begin(Slot slot, const WorkloadTick& tick, Changes* changes) {
  disturbance_.Forget(slot);
  const Slot sibling = tick.totals[slot].sibling;
  sibling == 0 ? recurrences_.Forget(slot, watched_ns_) : recurrences_.Adopt(sibling, slot, watched_ns_);
  for (const Feedback::Word& word : feedback_.Of(names_[slot].workload)) recurrences_.SetFeedback(slot, word.kind, word.factor);
  if (const auto open = open_.find(slot); open != open_.end()) {
    Resolve(tick, "the workload was forgotten", &open->second, changes);
    open_.erase(open);
  }
}

// For a person: the first ones, and how many more.
std::string Incidents::NamesOf(std::span<const Slot> slots) const {
  constexpr size_t kNamed = 10;
  std::string names;
  for (size_t i = 0; i < std::min(slots.size(), kNamed); ++i) names += (i > 0 ? ", " : "departing: ") + names_[slots[i]].workload.name();
  if (slots.size() > kNamed) names += fmt::format(" and {} more", slots.size() - kNamed);
  return names;
}

// The host's own incident, of something that is no departure of its own signals.
void Incidents::DisturbHost(const v1::Contribution& fact, std::span<const Slot> departing, double per_week, const WorkloadTick& tick,
                            const FeatureTick& features, const ScoreTick& scores, Changes* changes) {
  if (const auto open = open_.find(kHostSlot); open != open_.end()) {
    OpenIncident& of_host = open->second;
    of_host.Disturb(fact, tick.boot_time_ns);
    if (per_week > 0) of_host.incident.set_recurrences_per_week(std::min(of_host.incident.recurrences_per_week(), per_week));
    // Also where it began with something else: they have no incidents of their own. Those that follow are told when it is told again.
    of_host.dirty |= !departing.empty() && of_host.departing.empty();
    if (Add(departing, &of_host.departing)) of_host.news = NamesOf(departing);
    return;
  }
  Departure departure = departures_[kHostSlot];
  departure.per_week = per_week;
  departure.feedback = per_week > 0 ? disturbance_.feedback() : 1;
  Open(kHostSlot, tick, {}, departure, features, scores, changes, &fact, departing.empty() ? "" : NamesOf(departing));
  Add(departing, &open_.at(kHostSlot).departing);
}

void Incidents::Remember(std::span<const Strength> strengths, const FeatureTick& features, const ScoreTick& scores,
                         OpenIncident* open) {
  for (const Strength& strength : strengths) {
    if (strength.strength < kContributes) continue;
    const DetectorScores& d = scores.detectors[strength.detector];
    const Slot slot = open->slot;
    if (!features.present(slot, d.feature)) continue;
    Peak peak;
    peak.feature = d.feature;
    peak.channel = d.channel;
    peak.z = d.z(slot);
    peak.observed = Observed(slot, d.feature, d.channel, features.values(slot, d.feature));
    peak.expected = d.expected(slot);
    peak.lower = d.lower(slot);
    peak.upper = d.upper(slot);
    peak.tail_probability = d.tail_probability(slot);
    peak.rate = d.rate(slot);
    RememberPeak(peak, &open->peaks);
  }
}

void Incidents::AddFact(const RestartFact& fact, OpenIncident* open) {
  v1::Restart& restart = *open->incident.mutable_restart();
  const bool first = !open->has_fact;
  // A loop or an OOM kill says more than the single restart that is part of it.
  const bool worse = first || fact.told || restart.cause() == v1::Restart::CAUSE_UNSPECIFIED;
  if (worse) {
    v1::Restart candidate;
    candidate.set_cause(fact.cause);
    if (first || ScoreOf(candidate) >= ScoreOf(restart)) {
      if (restart.cause() != fact.cause) {
        open->dirty = true;
        open->news = fmt::format("restart cause is {}", v1::Restart::Cause_Name(fact.cause));
        if (!fact.detail.empty()) open->news += ": " + fact.detail;
      }
      restart.set_cause(fact.cause);
      restart.set_exit_code(fact.exit_code);
      restart.set_signal(fact.signal);
    }
  }
  restart.set_count(std::max(restart.count(), fact.count));
  if (open->last_fact_ns != 0 && fact.time_ns > open->last_fact_ns) open->fact_gap_ns = fact.time_ns - open->last_fact_ns;
  open->last_fact_ns = std::max(open->last_fact_ns, fact.time_ns);
  open->has_fact = true;
}

void Incidents::Open(Slot slot, const WorkloadTick& tick, const std::vector<const RestartFact*>& facts,
                     const Departure& departure, const FeatureTick& features, const ScoreTick& scores, Changes* changes,
                     const v1::Contribution* disturbed, const std::string& news) {
  OpenIncident open;
  open.news = news;
  open.slot = slot;
  open.opened_ns = tick.boot_time_ns;
  open.onset_ns = tick.boot_time_ns;
  open.lost_before = events_lost_;
  open.missed_before = missed_before_ns_;
  open.strength = departure.strength;
  for (const RestartFact* fact : facts) {
    if (!fact->told && !open.has_fact) continue;
    if (!open.has_fact) open.onset_ns = fact->time_ns;
    AddFact(*fact, &open);
  }
  open.opened_by_fact = open.has_fact;
  v1::Incident& incident = open.incident;
  *incident.mutable_source() = source_;
  *incident.mutable_workload() = names_[slot].workload;
  incident.set_state(v1::Incident::OPEN);
  // The tick is unique in this state folder and a workload has one incident at a time: the same input gives the same id.
  const std::string identity = fmt::format("{}|{}|{}", source_.feed_id(), names_[slot].key, tick.tick);
  incident.set_id(fmt::format("{:016x}", XXH3_64bits(identity.data(), identity.size())));
  SetTime(tick.wall_time_ns, incident.mutable_opened_time());
  if (disturbed != nullptr) {
    open.Disturb(*disturbed, tick.boot_time_ns);
    // A long tick began when it began.
    if (disturbed->signal() == "host.tick.interval") open.onset_ns -= std::min(open.onset_ns, static_cast<uint64_t>(disturbed->observed() * 1e9));
  }
  const bool by_fact = open.opened_by_fact || ((disturbed != nullptr || departure.waits) && departure.per_week == 0);
  incident.set_recurrences_per_week(by_fact ? 0 : departure.per_week);
  incident.set_promised_per_week(config_.budgets().false_alarms_per_week());
  incident.set_feedback_factor(by_fact ? 1 : departure.feedback);
  Remember(departure.strengths, features, scores, &open);
  if (departure.waits) {
    RememberPeak(*departure.waits, &open.peaks);
    open.waits_above = departure.waits->upper;
    open.waits_for = departure.waits_for;
    open.strength = std::max(open.strength, 1.0);
  }
  Refresh(tick, &open);
  opened_ += 1;
  departures_opened_ += by_fact ? 0 : 1;
  OpenIncident& kept = open_[slot] = std::move(open);
  Relate(&kept);
  if (const auto taker = open_.find(departure.waits_for); departure.waits && taker != open_.end()) Relate(&kept, &taker->second);
  Tell(v1::IncidentChange::OPENED, tick, "opened", kept.news, &kept.incident, changes);
  kept.dirty = false;
  kept.news.clear();
  kept.last_told_ns = tick.boot_time_ns;
}

}  // namespace outlier
