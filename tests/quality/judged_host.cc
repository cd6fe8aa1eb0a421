#include "tests/quality/judged_host.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "userspace/base/archive.h"
#include "userspace/features/features.h"

namespace outlier::quality {
namespace {

// P(X <= n) of a Poisson number.
double PoissonBelow(int n, double mean) {
  double sum = 0;
  for (int k = 0; k <= n; ++k) sum += std::exp(k * std::log(mean) - mean - std::lgamma(k + 1.0));
  return sum;
}

// Of this thread's own computing, so that neighbours on the machine do not count.
double Now() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace

JudgedHost::JudgedHost(const config::v1::Config& config, const SimulatedHost::Options& options)
    : config_(config),
      host_(options),
      detectors_(Detectors::Make(config, FeatureSpecs())),
      incidents_(std::make_unique<Incidents>(config, v1::Source(), FeatureSpecs())) {}

void JudgedHost::Tick() {
  const double began = Now();
  host_.Next();
  const double made = Now();
  detectors_->ScoreAndUpdate(host_.features(), &scores_);
  const std::vector<v1::IncidentChange> changes = incidents_->Judge(host_.workloads(), host_.features(), scores_);
  generator_seconds_ += made - began;
  engine_seconds_ += Now() - made;
  for (const v1::IncidentChange& change : changes) Keep(change);
}

void JudgedHost::Keep(const v1::IncidentChange& change) {
  const v1::Incident& incident = change.incident();
  if (change.kind() == v1::IncidentChange::OPENED) {
    Told& told = told_.emplace_back();
    told.id = incident.id();
    told.workload = incident.workload().name();
    told.tick = host_.tick();
    told.as = v1::Incident::Pattern_Name(incident.pattern());
    if (incident.contributions_size() > 0) told.as += " " + incident.contributions(0).signal();
  }
  // The newest are at the end, and an incident changes while it is new.
  const auto told = std::find_if(told_.rbegin(), told_.rend(), [&](const Told& t) { return t.id == incident.id(); });
  if (told != told_.rend()) told->recurrences = incident.recurrences_per_week();
}

void JudgedHost::Reboot() {
  std::string learned, under_way;
  detectors_->Save(&learned);
  ArchiveWriter writer(&under_way);
  writer(*incidents_);
  detectors_ = Detectors::Make(config_, FeatureSpecs());
  incidents_ = std::make_unique<Incidents>(config_, v1::Source(), FeatureSpecs());
  ArchiveReader reader(under_way);
  reader(*incidents_);
  if (!detectors_->Load(learned) || !reader.done()) throw std::runtime_error("the engine does not load what it saved");
  host_.Reboot();
}

int JudgedHost::ToldAt(double promise) const {
  return static_cast<int>(std::count_if(told_.begin(), told_.end(), [&](const Told& t) { return t.recurrences <= promise; }));
}

std::optional<uint64_t> JudgedHost::FirstTold(Slot slot, uint64_t since) const {
  const std::string name = NameOfWorkload(slot);
  for (const Told& told : told_) {
    if (told.workload == name && told.tick >= since) return told.tick;
  }
  return std::nullopt;
}

double UpperRate(int events, double weeks) {
  double low = 0, high = 10.0 * events + 10;
  for (int step = 0; step < 100; ++step) {
    const double middle = (low + high) / 2;
    (PoissonBelow(events, middle) > 0.05 ? low : high) = middle;
  }
  return high / weeks;
}

int UnlikelyCount(double mean, double probability) {
  int n = 0;
  while (1 - PoissonBelow(n, mean) >= probability) ++n;
  return n + 1;
}

}  // namespace outlier::quality
