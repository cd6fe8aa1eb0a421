// What people say of incidents, and what they are told of the promise.
#include <algorithm>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/incidents/incidents.h"
#include "userspace/incidents/poisson_interval.h"

namespace outlier {
namespace {

constexpr double kWeekSeconds = 7 * 86400.0;

}  // namespace

// What a person called a false alarm has to be rarer from now on; what was useful is told again when it comes back.
void Incidents::LearnFrom(const v1::Incident& incident, bool false_alarm) {
  if (incident.contributions_size() > 0 && incident.contributions(0).signal() == "host.workloads.departing") {
    false_alarm ? disturbance_.MakeRarer() : disturbance_.TakeBack();
  }
  const v1::Workload& workload = incident.workload();
  std::vector<Slot> slots;
  for (Slot slot = 0; slot < names_.size(); ++slot) {
    if (names_[slot].workload.name() == workload.name() && names_[slot].workload.kind() == workload.kind()) slots.push_back(slot);
  }
  for (const EvidenceKind& kind : evidence_.KindsOf(incident)) {
    double factor = 1;
    if (false_alarm) {  // of a replica that had one from its sibling, too
      factor = feedback_.Of(workload, kind);
      for (const Slot slot : slots) factor = std::max(factor, recurrences_.Feedback(slot, kind));
      factor = Recurrences::Rarer(factor);
    }
    feedback_.Say(workload, kind, factor);
    for (const Slot slot : slots) recurrences_.SetFeedback(slot, kind, factor);
  }
}

void Incidents::FillBudgets(v1::Budgets* budgets) const {
  const double watched = static_cast<double>(watched_ns_) * 1e-9, weeks = watched / kWeekSeconds;
  const double promised = config_.budgets().false_alarms_per_week();
  budgets->set_watched_seconds(watched);
  budgets->set_false_alarms_per_week_promised(promised);
  // Before a week is over the rate would be an extrapolation of next to nothing: what was told is counted as one week's.
  budgets->set_false_alarms_per_week_told(static_cast<double>(opened_) / std::max(weeks, 1.0));
  budgets->set_false_alarms_confirmed(static_cast<double>(false_alarms_));
  budgets->set_useful_confirmed(static_cast<double>(useful_));
  const PoissonInterval interval = PoissonIntervalOf(departures_opened_);
  budgets->set_false_alarms_per_week_achieved(static_cast<double>(departures_opened_) / std::max(weeks, 1.0));
  budgets->set_false_alarms_per_week_lower(interval.lower / std::max(weeks, 1.0));
  budgets->set_false_alarms_per_week_upper(interval.upper / std::max(weeks, 1.0));
  const Recurrences::Account account = recurrences_.account();
  budgets->set_false_alarms_per_week_expected(promised * account.excess / account.correction);
  budgets->set_threshold_per_week(promised / account.correction);
  budgets->set_stretched(std::max(1.0, account.correction / std::max(promised * weeks, 1e-9)));
  budgets->set_from_prior(account.from_prior || budgets->stretched() > 1.0);
}

void Incidents::Obey(const Command& command, const WorkloadTick& tick, Changes* changes) {
  if (command.kind == Command::Kind::kReload || command.kind == Command::Kind::kSource) return;  // not about an incident
  v1::Incident attached;
  v1::Incident* incident = nullptr;
  for (auto& [slot, open] : open_) {
    if (open.incident.id() == command.incident_id) incident = &open.incident;
  }
  if (command.kind == Command::Kind::kAbandon && incident != nullptr) return;
  if (incident == nullptr) {  // resolved long ago, or lost with the state: the journal's copy serves, but for what this tick told
    if (!attached.ParseFromString(command.incident) || attached.id() != command.incident_id) return;
    for (const v1::IncidentChange& change : *changes) {
      if (change.incident().id() == command.incident_id) attached = change.incident();
    }
    incident = &attached;
  }
  const std::string author = command.author.empty() ? "" : fmt::format("by {}", Printable(command.author, 256));
  switch (command.kind) {
    case Command::Kind::kAcknowledge:
      incident->set_acknowledged(true);
      Tell(v1::IncidentChange::ACKNOWLEDGED, tick, "acknowledged", author, incident, changes);
      break;
    case Command::Kind::kFalseAlarm:
    case Command::Kind::kUseful: {
      const bool false_alarm = command.kind == Command::Kind::kFalseAlarm;
      const bool said_so_before = incident->feedback() == (false_alarm ? "false_alarm" : "useful");
      // The last word counts, once.
      if (incident->feedback() == "false_alarm" && false_alarms_ > 0) --false_alarms_;
      if (incident->feedback() == "useful" && useful_ > 0) --useful_;
      ++(false_alarm ? false_alarms_ : useful_);
      incident->set_feedback(false_alarm ? "false_alarm" : "useful");
      if (!said_so_before) LearnFrom(*incident, false_alarm);
      Tell(v1::IncidentChange::FEEDBACK, tick, incident->feedback(), author, incident, changes);
      break;
    }
    case Command::Kind::kAbandon:
      incident->set_state(v1::Incident::RESOLVED);
      SetTime(tick.wall_time_ns, incident->mutable_resolved_time());
      Tell(v1::IncidentChange::RESOLVED, tick, "resolved", "the model state that followed it was lost", incident, changes);
      break;
    case Command::Kind::kReload:
    case Command::Kind::kSource:
      break;
  }
}

}  // namespace outlier
