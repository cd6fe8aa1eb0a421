#include "userspace/incidents/open_incident.h"

#include <algorithm>
#include <cmath>

#include "userspace/incidents/evidence.h"
#include "userspace/incidents/onset.h"

namespace outlier {
namespace {

constexpr int kContributions = 8;       // more say less

Recent RecentValues(const History& history, int slot, int feature) {
  Recent recent;
  for (int age = 0; age < history.length(); ++age) recent.push_back(history.Value(slot, feature, age));
  return recent;
}

v1::Contribution ToContribution(const FeatureSpec& feature, const Peak& peak) {
  v1::Contribution c;
  c.set_signal(std::string(feature.signal));
  c.set_unit(std::string(feature.unit));
  if (!feature.attribute_key.empty()) {
    (*c.mutable_attributes())[std::string(feature.attribute_key)] = std::string(feature.attribute_value);
  }
  // A latency histogram that moves to longer durations is up; one that only changes its form has no direction.
  c.set_direction(peak.channel == Channel::kShape && std::abs(std::log((peak.observed + 1e-12) / (peak.expected + 1e-12))) < 0.2
                      ? v1::Contribution::SHAPE
                  : peak.z > 0 ? v1::Contribution::UP
                               : v1::Contribution::DOWN);
  c.set_observed(peak.observed);
  c.set_expected(peak.expected);
  c.set_lower(peak.lower);
  c.set_upper(peak.upper);
  c.set_tail_probability(std::clamp(peak.tail_probability, 1e-300, 1.0));
  return c;
}

v1::Contribution RestartContribution(const v1::Restart& restart) {
  const bool oom = restart.cause() == v1::Restart::OUT_OF_MEMORY || restart.cause() == v1::Restart::CHILD_OUT_OF_MEMORY;
  v1::Contribution c;
  c.set_signal(oom ? "workload.exits" : "workload.restarts");
  c.set_unit(oom ? "{process}" : "{restart}");
  if (oom) (*c.mutable_attributes())["reason"] = "oom";
  c.set_direction(v1::Contribution::UP);
  c.set_observed(std::max<uint32_t>(restart.count(), 1));
  c.set_tail_probability(RestartTailProbability(std::max<uint32_t>(restart.count(), 1), 3600));
  return c;
}

}  // namespace

double ScoreOf(double strength) { return 100.0 * (1.0 - std::exp(-0.5 * strength)); }

double ScoreOf(const v1::Restart& restart) {
  switch (restart.cause()) {
    case v1::Restart::CRASH_LOOP: return 80;
    case v1::Restart::OUT_OF_MEMORY: return 70;
    case v1::Restart::CHILD_OUT_OF_MEMORY: return 55;
    case v1::Restart::CRASH: return 52;
    case v1::Restart::KILLED: return 30;
    default: return 3;
  }
}

v1::Incident::Severity SeverityOf(double score) {
  if (score >= 75) return v1::Incident::CRITICAL;
  if (score >= 50) return v1::Incident::MAJOR;
  if (score >= 25) return v1::Incident::MINOR;
  return v1::Incident::WARNING;
}

double RestartTailProbability(uint32_t count, double window_seconds) {
  constexpr double kWeek = 7 * 86400.0;
  const double mean = window_seconds / kWeek;
  // Upper tail directly: 1 - CDF would cancel.
  double term = std::exp(-mean), tail = 0;
  for (uint32_t k = 1; k <= count + 40; ++k) {
    term *= mean / k;
    if (k >= count) tail += term;
  }
  return std::clamp(count == 0 ? 1.0 : tail, 1e-300, 1.0);
}

void RememberPeak(const Peak& peak, std::vector<Peak>* peaks) {
  for (Peak& known : *peaks) {
    if (known.feature != peak.feature) continue;
    if ((peak.z > 0) != (known.z > 0)) return;  // an overshoot on the way back is not the departure
    // Silence and drift explain what the level only shows, so they keep their channel.
    const bool explains = IsAbsence(peak.channel) || peak.channel == Channel::kDrift;
    const bool explained = IsAbsence(known.channel) || known.channel == Channel::kDrift;
    if (std::abs(peak.z) > std::abs(known.z)) {
      const Channel channel = explained && !explains ? known.channel : peak.channel;
      const double rate = peak.rate != 0 ? peak.rate : known.rate;
      known = peak;
      known.channel = channel;
      known.rate = rate;
    } else if (explains && !explained) {
      known.channel = peak.channel;
      known.rate = peak.rate;
    }
    return;
  }
  peaks->push_back(peak);
}

void SetTime(int64_t wall_ns, google::protobuf::Timestamp* time) {
  time->set_seconds(wall_ns / 1'000'000'000);
  time->set_nanos(static_cast<int32_t>(wall_ns % 1'000'000'000));
}

bool OpenIncident::Disturb(const v1::Contribution& fact, uint64_t now_ns) {
  last_fact_ns = now_ns;
  if (disturbed.signal().empty() || (disturbed.signal() == fact.signal() && std::abs(fact.observed()) > std::abs(disturbed.observed()))) {
    dirty |= disturbed.signal().empty();
    disturbed = fact;
    return true;
  }
  return false;
}

void Compose(std::span<const FeatureSpec> features, const History& history, double memory_left_bytes, OpenIncident* open) {
  v1::Incident& incident = open->incident;
  const auto weight = [&](const Peak& p) {
    const double clipped = std::min(std::abs(p.z), 200.0);
    const double direction = p.z < 0 && p.channel == Channel::kLevel ? kDownWeight : 1.0;
    return direction * clipped * TellingWeight(features[p.feature]);
  };
  std::stable_sort(open->peaks.begin(), open->peaks.end(), [&](const Peak& a, const Peak& b) { return weight(a) > weight(b); });

  incident.clear_contributions();
  if (!open->disturbed.signal().empty()) *incident.add_contributions() = open->disturbed;
  if (open->has_fact) *incident.add_contributions() = RestartContribution(incident.restart());
  for (const Peak& peak : open->peaks) {
    if (incident.contributions_size() >= kContributions) break;
    if (open->has_fact && features[peak.feature].kind == FeatureKind::kFact) continue;  // said by the restart
    *incident.add_contributions() = ToContribution(features[peak.feature], peak);
  }
  if (open->opened_by_fact) {
    incident.set_pattern(v1::Incident::COUNT);
    return;  // the onset of a fact is the moment of the fact
  }
  if (!open->disturbed.signal().empty()) {
    incident.set_pattern(v1::Incident::STEP);
    return;  // so is that of a disturbed host
  }
  if (open->peaks.empty()) return;

  const Peak& lead = open->peaks.front();
  const Recent recent = RecentValues(history, open->slot, lead.feature);
  const bool silent = std::any_of(open->peaks.begin(), open->peaks.end(), [](const Peak& p) { return IsAbsence(p.channel); });
  int age = 0;
  if (IsAbsence(lead.channel) || (silent && lead.z < 0)) {
    incident.set_pattern(v1::Incident::SILENCE);
    age = SilenceOnset(recent, lead.expected);
  } else if (lead.channel == Channel::kShape) {
    incident.set_pattern(v1::Incident::SHAPE);
    age = StepOnset(recent, lead.expected);
  } else if (lead.channel == Channel::kCount) {
    incident.set_pattern(v1::Incident::COUNT);
    age = StepOnset(recent, lead.expected);
  } else {
    incident.set_pattern(v1::Incident::STEP);
    age = StepOnset(recent, lead.expected);
    if (features[lead.feature].kind == FeatureKind::kBytes && lead.z > 0) {
      const Growth growth = GrowthOf(recent, lead.expected);
      const bool was_drift = incident.growth_per_second() > 0;  // a leak that pauses is still that leak
      if (lead.channel == Channel::kDrift || was_drift || IsDrift(growth, growth.onset)) {
        incident.set_pattern(v1::Incident::DRIFT);
        const double seconds = history.length() > 1 ? static_cast<double>(history.UsualTick()) * 1e-9 : 1.0;
        if (growth.per_tick > 0) {
          incident.set_growth_per_second(growth.per_tick / seconds);
          const double left = memory_left_bytes / incident.growth_per_second();
          if (left < 1e9) incident.mutable_time_to_exhaustion()->set_seconds(static_cast<int64_t>(left));
          if (!was_drift) age = growth.onset;
        }
        if (was_drift) return;  // its onset was dated while the growth was fresh
      }
    }
  }
  if (history.length() == 0) return;
  // A value covers the tick that ended at its time, so the departure began at the end of the tick before.
  const int oldest = history.length() - 1, before = std::min(age + 1, oldest);
  const uint64_t beyond = age < oldest ? 0 : static_cast<uint64_t>(age + 1 - before) * history.UsualTick();
  const uint64_t at = std::min(history.BootTime(before), history.BootTime(0));  // of a boot before, the clock was another
  open->onset_ns = at - std::min(beyond, at);
}

}  // namespace outlier
