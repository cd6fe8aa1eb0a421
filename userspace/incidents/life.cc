// What becomes of an incident once it is open: followed, told again, related to others, resolved.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>

#include "userspace/base/text.h"
#include "userspace/incidents/incidents.h"
#include "userspace/incidents/suspects.h"
#include "userspace/stream/incident_text.h"

namespace outlier {
namespace {

using google::protobuf::util::TimeUtil;

constexpr uint64_t kSecond = 1'000'000'000;
constexpr double kCalm = 0.35;            // hysteresis: below this nothing is left of it
constexpr uint32_t kCalmTicks = 10;       // in a row, until it is resolved
constexpr uint64_t kFactCalm = 30 * kSecond;       // a restarted workload that stays up this long is well
constexpr uint64_t kFactCalmDead = 90 * kSecond;   // one that does not come back is told of for this long
constexpr uint64_t kHostCalm = 600 * kSecond;      // workloads that depart for the same reason may do so one after the other
constexpr uint64_t kRefresh = 60 * kSecond;        // numbers of a long incident are told again
constexpr uint64_t kLeastGap = 5 * kSecond;        // between two updates of the same kind
constexpr uint64_t kSameMoment = 5 * kSecond;      // onsets this close are related
constexpr double kDisturbedScore = 50;    // of a host as a whole
constexpr double kInterruptedScore = 30;  // of its clocks
constexpr double kSlowSeconds = 60;       // a value of the slow clocks is the mean of a minute,
constexpr int64_t kSlowNs = 300 * static_cast<int64_t>(kSecond);  // and they judge five of them
constexpr int64_t kClockSlew = 100'000'000;  // of minutes, at most
constexpr int kLifeEvents = 50;

bool IsSlow(Channel channel) { return channel == Channel::kHeld || channel == Channel::kHeldShare || channel == Channel::kRecord; }

// What a workload can still take: of the host, or of its cgroup's limit where that is less.
double MemoryLeft(const WorkloadTick& tick, Slot slot) {
  const WorkloadTotals& totals = tick.totals[slot];
  const double of_host = static_cast<double>(tick.host.memory_available_bytes);
  if (totals.memory_limit_bytes == 0) return of_host;
  return std::min(of_host, static_cast<double>(totals.memory_limit_bytes - std::min(totals.memory_limit_bytes, totals.memory_bytes)));
}

}  // namespace

// Everything of the incident that follows from what was remembered.
void Incidents::Refresh(const WorkloadTick& tick, OpenIncident* open) {
  v1::Incident& incident = open->incident;
  Compose(features_, history_, MemoryLeft(tick, open->slot), open);
  double score = open->strength > 0 ? ScoreOf(open->strength) : 0;
  if (open->has_fact) score = std::max(score, ScoreOf(incident.restart()));
  if (!open->disturbed.signal().empty()) score = std::max(score, incident.recurrences_per_week() == 0 ? kInterruptedScore : kDisturbedScore);
  incident.set_score(std::max(score, incident.score()));  // never rewritten downwards
  incident.set_severity(SeverityOf(incident.score()));
  // It is dated by the last minute: later it would slide along, and with the wall clock, which is being set a little all the time. Of a boot
  // before it stands.
  const int64_t onset = ToldOnset(*open);
  if (open->onset_ns <= tick.boot_time_ns && (!incident.has_onset_time() || onset < TimeUtil::TimestampToNanoseconds(incident.onset_time()) - kClockSlew)) {
    SetTime(onset, incident.mutable_onset_time());
  }
  const std::vector<v1::Suspect> suspects = SuspectsOf(*open, tick, names_);
  const double before = incident.suspects_size() > 0 ? incident.suspects(0).share() : 0;
  // The best evidence stays: when a thief has stopped, nobody is left to suspect.
  if (!suspects.empty() && (incident.suspects_size() == 0 || suspects[0].share() >= before || tick.boot_time_ns < open->opened_ns + 15 * kSecond)) {
    incident.clear_suspects();
    for (const v1::Suspect& suspect : suspects) *incident.add_suspects() = suspect;
  }
  Cover(tick, open);
  incident.set_summary(SummarySentence(incident));
}

// What of the time of an incident was seen. By either clock: one may have been set, the other began anew at a boot.
void Incidents::Cover(const WorkloadTick& tick, OpenIncident* open) const {
  v1::Coverage& coverage = *open->incident.mutable_coverage();
  coverage.set_events_lost(events_lost_ - std::min(events_lost_, open->lost_before));
  const double by_wall = static_cast<double>(tick.wall_time_ns - TimeUtil::TimestampToNanoseconds(open->incident.onset_time()));
  const double since = std::max(by_wall, static_cast<double>(tick.boot_time_ns - std::min(open->onset_ns, tick.boot_time_ns)));
  const double missed = static_cast<double>(missed_ns_ - std::min(missed_ns_, open->missed_before));
  coverage.set_sampled_share(missed > 0 ? std::clamp(1.0 - missed / std::max(since, missed), 0.0, 1.0) : 1.0);
  coverage.clear_probes_missing();
  for (const std::string& probe : tick.probes_missing) coverage.add_probes_missing(probe);
}

void Incidents::Follow(const WorkloadTick& tick, const std::vector<const RestartFact*>& facts, const Departure& departure,
                       const FeatureTick& features, const ScoreTick& scores, OpenIncident* open, Changes* changes) {
  v1::Incident& incident = open->incident;
  const v1::Incident before = incident;
  // After a boot the clock begins anew: what is remembered of the old one is in its future.
  for (uint64_t* time : {&open->last_fact_ns, &open->last_told_ns, &open->opened_ns}) *time = std::min(*time, tick.boot_time_ns);
  const uint32_t count_before = incident.restart().count();
  for (const RestartFact* fact : facts) {
    if (fact->told || open->has_fact) AddFact(*fact, open);
  }
  Remember(departure.strengths, features, scores, open);
  open->strength = std::max(open->strength, departure.strength);
  incident.set_recurrences_per_week(std::min(incident.recurrences_per_week(), departure.per_week));
  if (const auto taker = open_.find(open->waits_for); WaitsStill(*open) && taker != open_.end() && taker->second.incident.recurrences_per_week() > 0) {
    incident.set_recurrences_per_week(std::min(incident.recurrences_per_week(), PerWeekOfVictim(open->slot, taker->second)));
  }

  const bool alive = tick.totals[open->slot].processes > 0 || open->slot == kHostSlot;
  const uint64_t calm = open->slot == kHostSlot ? kHostCalm : alive ? kFactCalm : kFactCalmDead;
  const uint64_t fact_calm = std::max(calm, 3 * open->fact_gap_ns);
  const bool fact_is_fresh = open->last_fact_ns != 0 && tick.boot_time_ns < open->last_fact_ns + fact_calm;
  open->calm_ticks = departure.strength < kCalm && !fact_is_fresh && !WaitsStill(*open) ? open->calm_ticks + 1 : 0;
  if (open->calm_ticks >= (open->has_fact && departure.strengths.empty() ? 1 : kCalmTicks)) {
    Resolve(tick, !alive ? "the workload has ended" : IsStillAway(*open) ? AcceptedText(tick, *open) : "back to normal", open, changes);
    return;
  }
  if (open->calm_ticks == 0) Refresh(tick, open);

  const uint64_t since_told = tick.boot_time_ns - open->last_told_ns;
  if (incident.severity() > before.severity()) {
    open->news = fmt::format("severity rose to {}", v1::Incident::Severity_Name(incident.severity()));
    open->dirty = true;
  }
  if (incident.pattern() != before.pattern()) {
    open->news = fmt::format("pattern is {}", v1::Incident::Pattern_Name(incident.pattern()));
    open->dirty = true;
  }
  const bool lead_changed = before.contributions_size() > 0 && incident.contributions(0).signal() != before.contributions(0).signal();
  const bool suspected = incident.suspects_size() > 0 &&
                         (before.suspects_size() == 0 || before.suspects(0).process().pid() != incident.suspects(0).process().pid());
  if (lead_changed) open->news = "another signal tells more";
  if (suspected) open->news = fmt::format("suspect: {} (pid {})", incident.suspects(0).workload().name(), incident.suspects(0).process().pid());
  constexpr std::string_view kRestarted = "restarted ";
  if (incident.restart().count() > count_before && (open->news.empty() || open->news.starts_with(kRestarted))) open->news = fmt::format("{}{} times", kRestarted, incident.restart().count());
  open->dirty |= lead_changed || suspected || incident.restart().count() > count_before;
  const bool urgent = incident.severity() > before.severity() || incident.pattern() != before.pattern() ||
                      incident.restart().cause() != before.restart().cause();
  if ((open->dirty && (urgent || since_told >= kLeastGap)) || (since_told >= kRefresh && open->calm_ticks == 0)) {
    // A rise of severity has a kind of its own: whatever else is news, pagers and chats have to see it.
    const char* what = incident.severity() > before.severity() ? "severity" : "updated";
    Tell(v1::IncidentChange::UPDATED, tick, what, open->news.empty() ? "still going on" : open->news, &incident, changes);
    open->dirty = false;
    open->news.clear();
    open->last_told_ns = tick.boot_time_ns;
  }
}

bool Incidents::WaitsStill(const OpenIncident& open) const {
  return open.waits_above > 0 && history_.Value(static_cast<int>(open.slot), waits_feature_, 0).value_or(0) > open.waits_above;
}

// Whether the signal that told most is where it was while it departed: then it was the baseline that moved.
bool Incidents::IsStillAway(const OpenIncident& open) const {
  if (open.peaks.empty() || open.has_fact || !open.disturbed.signal().empty()) return false;
  const Peak& lead = open.peaks.front();
  const std::optional<double> value = history_.Value(static_cast<int>(open.slot), lead.feature, 0);
  if (!value) return false;
  const double now = Observed(open.slot, lead.feature, lead.channel, *value);
  return lead.z > 0 ? now > lead.upper : now < lead.lower;
}

std::string Incidents::AcceptedText(const WorkloadTick& tick, const OpenIncident& open) const {
  const double seconds = std::max(0.0, static_cast<double>(tick.wall_time_ns - TimeUtil::TimestampToNanoseconds(open.incident.onset_time())) * 1e-9);
  return fmt::format("its new level has lasted {} and is normal from now on", HumanDuration(seconds));
}

void Incidents::Resolve(const WorkloadTick& tick, const std::string& why, OpenIncident* open, Changes* changes) {
  v1::Incident& incident = open->incident;
  incident.set_state(v1::Incident::RESOLVED);
  SetTime(tick.wall_time_ns, incident.mutable_resolved_time());
  Cover(tick, open);
  incident.set_summary(SummarySentence(incident));
  Tell(v1::IncidentChange::RESOLVED, tick, "resolved", why, &incident, changes);
}

void Incidents::Relate(OpenIncident* open) {
  for (auto& [slot, other] : open_) {
    if (slot == open->slot) continue;
    const uint64_t apart = std::max(other.onset_ns, open->onset_ns) - std::min(other.onset_ns, open->onset_ns);
    if (apart > kSameMoment) continue;
    Relate(open, &other);
  }
}

void Incidents::Relate(OpenIncident* open, OpenIncident* other) {
  const auto& known = open->incident.related_incident_ids();
  if (std::find(known.begin(), known.end(), other->incident.id()) != known.end()) return;
  open->incident.add_related_incident_ids(other->incident.id());
  other->incident.add_related_incident_ids(open->incident.id());
  other->dirty = true;
  if (other->news.empty()) other->news = "related to " + open->incident.id();
}

// What the channel judged: of the slow clocks the mean of a minute, not the second in which they spoke.
double Incidents::Observed(Slot slot, int feature, Channel channel, double now) const {
  if (!IsSlow(channel)) return now;
  double sum = 0, number = 0;
  const double tick_seconds = static_cast<double>(std::max<int64_t>(config_.tick(), 1)) * 1e-9;
  const int ticks = static_cast<int>(std::clamp(std::round(kSlowSeconds / tick_seconds), 1.0, static_cast<double>(std::max(history_.length(), 1))));
  for (int age = 0; age < std::min(history_.length(), ticks); ++age) {
    const std::optional<double> value = history_.Value(static_cast<int>(slot), feature, age);
    sum += value.value_or(0);
    number += value ? 1 : 0;
  }
  return number > 0 ? sum / number : now;
}

// Wall time, ns. What the slow clocks found has been so for as long as they look back.
int64_t Incidents::ToldOnset(const OpenIncident& open) const {
  const int64_t onset = history_.WallTimeOf(open.onset_ns);
  const bool slow = !open.opened_by_fact && open.disturbed.signal().empty() && !open.peaks.empty() && IsSlow(open.peaks.front().channel);
  return slow ? std::min(onset, history_.WallTime(0) - kSlowNs) : onset;
}

void Incidents::Tell(v1::IncidentChange::Kind kind, const WorkloadTick& tick, const std::string& what, const std::string& detail,
                     v1::Incident* incident, Changes* changes) {
  SetTime(tick.wall_time_ns, incident->mutable_updated_time());
  if (incident->changes_size() >= kLifeEvents) incident->mutable_changes()->DeleteSubrange(1, 1);  // the opening stays
  v1::LifeEvent& event = *incident->add_changes();
  event.set_kind(what);
  event.set_detail(detail);
  SetTime(tick.wall_time_ns, event.mutable_time());
  v1::IncidentChange& change = changes->emplace_back();
  change.set_kind(kind);
  SetTime(tick.wall_time_ns, change.mutable_time());
  *change.mutable_incident() = *incident;
}

}  // namespace outlier
