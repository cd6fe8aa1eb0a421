#include "tests/quality/simulated_host.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "userspace/features/features.h"

namespace outlier::quality {
namespace {

constexpr int64_t kStartWallNs = 1'790'000'000'000'000'000;
constexpr uint64_t kSecond = 1'000'000'000;
constexpr int kJobPeriod = 300, kJobSeconds = 20;
constexpr int kObservedClasses = 3;  // of system calls: file, network, memory; the others are not made

bool OfHost(const FeatureSpec& spec) { return spec.signal.starts_with("host."); }

bool IsMade(const FeatureSpec& spec) { return spec.syscall_class < 0 || spec.syscall_class < kObservedClasses; }

// Means spread over the range that hosts show, on a logarithmic scale.
std::pair<double, double> RangeOf(FeatureKind kind) {
  switch (kind) {
    case FeatureKind::kUtilization: return {0.01, 1.5};
    case FeatureKind::kBytes: return {2e7, 4e9};
    case FeatureKind::kByteRate: return {1e4, 1e7};
    case FeatureKind::kRate: return {5, 5000};
    case FeatureKind::kCount: return {0.001, 0.05};
    case FeatureKind::kPopulation: return {1, 60};
    case FeatureKind::kDuration: return {2e3, 2e6};  // ns
    default: return {0, 0};
  }
}

double Quantum(FeatureKind kind) {
  return kind == FeatureKind::kPopulation ? 1 : kind == FeatureKind::kBytes ? 4096 : 0;
}

}  // namespace

std::string_view NameOf(World world) {
  static constexpr std::string_view kNames[kWorlds] = {"heavy tails", "autocorrelation", "daily cycle", "bursts", "sparse counts",
                                                       "flat", "latencies", "periodic jobs", "saw-tooth", "rollouts"};
  return kNames[static_cast<int>(world)];
}

SimulatedHost::SimulatedHost(World world, int workloads, uint64_t seed)
    : world_(world), count_(workloads), features_per_slot_(static_cast<int>(FeatureSpecs().size())), random_(seed) {
  series_.resize(static_cast<size_t>(slots()) * features_per_slot_);
  released_.assign(slots(), 0);
  next_release_.assign(slots(), 0);
  for (int slot = 0; slot < slots(); ++slot) {
    for (int f = 0; f < features_per_slot_; ++f) {
      const FeatureKind kind = FeatureSpecs()[f].kind;
      const auto [least, most] = RangeOf(kind);
      if (most == 0) continue;
      Series& s = at(slot, f);
      s.mean = least * std::pow(most / least, Uniform());
      if (kind == FeatureKind::kPopulation) s.mean = std::round(s.mean);
      const double spreads[] = {0.02, 0.05, 0.1, 0.2};
      s.sd = s.mean * spreads[random_() % 4] * (kind == FeatureKind::kBytes ? 0.2 : 1);
      const double phis[] = {0.9, 0.95, 0.98};
      s.phi = phis[random_() % 3];
      s.phase = Uniform();
      s.period = 20 * std::pow(360.0, Uniform());
      s.quantum = Quantum(kind);
      if (world_ == World::kFlat) {
        s.sd = random_() % 2 == 0 ? 0 : s.sd;
        s.quantum = std::max({s.quantum, s.sd, 1e-9});
      }
    }
    next_release_[slot] = 3600 + random_() % (6 * 3600);
  }
  workloads_.interval_seconds = 1;
  workloads_.totals.resize(slots());
  workloads_.host.memory_total_bytes = workloads_.host_before.memory_total_bytes = uint64_t{64} << 30;
  workloads_.host.memory_available_bytes = uint64_t{32} << 30;
  workloads_.host.cpus = 64;
  for (int c = 0; c < kSyscallClasses; ++c) features_.durations[c].setZero(kDurationBuckets, slots());
  features_.interval_seconds = 1;
}

double SimulatedHost::Noise(Series* s) {
  switch (world_) {
    case World::kHeavyTails: {
      double squares = 0;
      for (int i = 0; i < 3; ++i) {
        const double n = normal_(random_);
        squares += n * n;
      }
      return normal_(random_) / std::sqrt(squares / 3.0) / std::sqrt(3.0);  // unit variance
    }
    case World::kAutocorrelation:
      s->state = s->phi * s->state + std::sqrt(1 - s->phi * s->phi) * normal_(random_);
      return s->state;
    default: return normal_(random_);
  }
}

double SimulatedHost::Value(const FeatureSpec& spec, int slot, Series* s) {
  const uint64_t t = workloads_.tick;
  if (spec.kind == FeatureKind::kFact) return 0;
  if (spec.kind == FeatureKind::kCount || (world_ == World::kSparseCounts && spec.kind == FeatureKind::kRate)) {
    const double rate = world_ == World::kSparseCounts ? 0.02 * std::exp(1.2 * normal_(random_)) * (s->mean > 1 ? 5 : 1) : s->mean;
    return static_cast<double>(std::poisson_distribution<int>(rate)(random_));
  }
  double mean = s->mean;
  switch (world_) {
    case World::kDailyCycle:
      if (spec.kind != FeatureKind::kPopulation) mean *= 1 + 0.4 * std::sin(2 * M_PI * (static_cast<double>(t) / 86400 + s->phase));
      break;
    case World::kBursts:
      if (spec.kind == FeatureKind::kBytes || spec.kind == FeatureKind::kPopulation) break;
      if (s->burst_left <= 0 && Uniform() < 1.0 / 600) {
        s->burst = std::min(std::pow(1 - Uniform(), -1 / 1.5), 100.0);
        s->burst_left = -8 * std::log(1 - Uniform());
      }
      if ((s->burst_left -= 1) > 0) mean *= s->burst;
      break;
    case World::kPeriodicJobs:
      if (spec.kind == FeatureKind::kBytes || spec.kind == FeatureKind::kPopulation) break;
      if ((t + static_cast<uint64_t>(at(slot, 0).phase * kJobPeriod)) % kJobPeriod < kJobSeconds) mean *= 10;
      break;
    case World::kSawTooth:
      if (spec.kind == FeatureKind::kBytes) mean *= 1 + std::fmod(static_cast<double>(t) / at(slot, 0).period + s->phase, 1.0);
      break;
    case World::kRollouts:
      if (spec.kind == FeatureKind::kBytes) mean *= 1 - 0.5 * std::exp(-static_cast<double>(t - released_[slot]) / 300);
      break;
    case World::kLatencies:
      if (spec.kind == FeatureKind::kRate || spec.kind == FeatureKind::kByteRate) return mean * std::exp(0.3 * Noise(s));
      break;
    default: break;
  }
  double value = mean + s->sd * Noise(s);
  for (const Fault& fault : faults_) {
    if (fault.slot != static_cast<Slot>(slot) || &at(slot, fault.feature) != s || t < fault.begin || t >= fault.begin + fault.seconds) continue;
    const double share = fault.kind == Fault::Kind::kStep ? 1.0 : static_cast<double>(t - fault.begin) / static_cast<double>(fault.seconds);
    value += fault.sds * share * (s->sd > 0 ? s->sd : 0.05 * s->mean);
  }
  if (s->quantum > 0) value = std::round(value / s->quantum) * s->quantum;
  return std::max(value, 0.0);
}

void SimulatedHost::FillDurations(int slot, int feature, const Series& s) {
  const FeatureSpec& spec = FeatureSpecs()[feature];
  auto counts = features_.durations[spec.syscall_class].col(slot);
  counts.setZero();
  const int calls = std::poisson_distribution<int>(world_ == World::kLatencies ? 40 : 10)(random_);
  for (int i = 0; i < calls; ++i) {
    const double ns = s.mean * std::exp(0.6 * normal_(random_));
    const double lower = DurationBucketLowerNs(1);
    // The log-linear law of duration_bucket: found by halving, since it is monotone.
    int low = 0, high = kDurationBuckets - 1;
    while (ns >= lower && low < high) {
      const int middle = (low + high + 1) / 2;
      (DurationBucketLowerNs(middle) <= ns ? low : high) = DurationBucketLowerNs(middle) <= ns ? middle : middle - 1;
    }
    counts(low) += 1;
  }
  features_.present(slot, feature) = calls > 0;
  features_.values(slot, feature) = calls > 0 ? s.mean * 1e-9 : 0;
}

void SimulatedHost::Release(int slot) {
  released_[slot] = workloads_.tick;
  next_release_[slot] = workloads_.tick + 2 * 3600 + random_() % (8 * 3600);
  RestartFact fact;
  fact.slot = static_cast<Slot>(slot);
  fact.cause = v1::Restart::ROLLOUT;
  fact.time_ns = workloads_.boot_time_ns;
  fact.process = {1000 + slot, workloads_.boot_time_ns};
  workloads_.restarts.push_back(fact);
}

void SimulatedHost::Next() {
  WorkloadTick& w = workloads_;
  w.tick += 1;
  w.boot_time_ns = w.tick * kSecond;
  w.wall_time_ns = kStartWallNs + static_cast<int64_t>(w.tick * kSecond);
  w.restarts.clear();
  w.named.clear();
  features_.values.setZero(slots(), features_per_slot_);
  features_.present.setConstant(slots(), features_per_slot_, false);
  features_.born.setConstant(slots(), w.tick == 1);
  for (int slot = 0; slot < slots(); ++slot) {
    WorkloadTotals& totals = w.totals[slot];
    totals.observed = totals.has_rates = true;
    totals.processes = totals.threads = 4;
    totals.born = w.tick == 1;
    if (w.tick == 1) {
      v1::Workload workload;
      workload.set_name(fmt::format("service-{:03}", slot));
      workload.set_kind(v1::Workload::SYSTEMD_UNIT);
      w.named.push_back({static_cast<Slot>(slot), {workload.name(), workload}});
    }
    if (slot < static_cast<int>(kFirstOwnedSlot)) continue;  // the host's own are not simulated
    if (world_ == World::kRollouts && w.tick >= next_release_[slot]) Release(slot);
    for (int f = 0; f < features_per_slot_; ++f) {
      const FeatureSpec& spec = FeatureSpecs()[f];
      if (spec.kind == FeatureKind::kShown || OfHost(spec) || !IsMade(spec)) continue;
      Series& s = at(slot, f);
      if (spec.kind == FeatureKind::kDuration) {
        FillDurations(slot, f, s);
        continue;
      }
      features_.values(slot, f) = Value(spec, slot, &s);
      features_.present(slot, f) = true;
    }
  }
}

}  // namespace outlier::quality
