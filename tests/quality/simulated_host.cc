#include "tests/quality/simulated_host.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "tests/quality/series.h"
#include "userspace/features/features.h"

namespace outlier::quality {
namespace {

constexpr int64_t kStartWallNs = 1'790'000'000'000'000'000;
constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kFirstBootTime = 1000 * kSecond, kNextBootTime = 30 * kSecond;
constexpr int64_t kRebootNs = 90'000'000'000;
constexpr double kLeastRare = 0.001, kMostRare = 0.05;  // events a second
constexpr double kQuietSpread = 0.02;
constexpr double kMovesWithCpu = 0.95;  // correlation of voluntary switches with CPU use
constexpr double kBurstSeconds = 8, kBurstsPerSecond = 1.0 / 600;

}  // namespace

std::string NameOfWorkload(Slot slot) { return fmt::format("service-{:03}", slot); }

SimulatedHost::SimulatedHost(const Options& options)
    : options_(options),
      random_(options.seed),
      fault_random_(~options.seed),
      calls_(Counts::OfPoisson(options.world == World::kLatencies ? 12 : 6)) {
  const int features = static_cast<int>(FeatureSpecs().size());
  for (int f = 0; f < features; ++f) {
    if (!IsMade(FeatureSpecs()[f])) continue;
    made_.push_back(f);
    if (IsWork(FeatureSpecs()[f].kind)) work_.push_back(f);
    if (FeatureSpecs()[f].signal == "process.syscall.rate") together_.push_back(f);
  }
  together_.push_back(cpu_ = FeatureColumn("process.cpu.utilization"));
  together_.push_back(switches_ = FeatureColumn("process.context_switches", "voluntary"));
  host_cpu_ = FeatureColumn("host.cpu.utilization");
  uptime_ = FeatureColumn("process.uptime");
  for (int i = 0; i < kRareRates; ++i) {
    counts_.push_back(Counts::OfPoisson(kLeastRare * std::pow(kMostRare / kLeastRare, (i + 0.5) / kRareRates)));
  }
  for (const double rate : kSparseRates) counts_.push_back(Counts::OfLogNormalRate(rate, kSparseSigma));
  for (Eigen::ArrayXXd* table : {&mean_, &sd_, &quantum_, &state_}) table->setZero(slots(), features);
  law_.setZero(slots(), features);
  phi_.setZero(slots());
  lone_.assign(static_cast<size_t>(slots()), -1);
  started_.assign(static_cast<size_t>(slots()), 0);
  for (std::vector<double>* column : {&noise_, &cpu_noise_, &factors_}) column->resize(static_cast<size_t>(slots()));

  const bool mixed = options.world == World::kMixture;
  const int owned = options.workloads + options.replicas, worlds = mixed ? kPureWorlds : 1;
  for (int w = 0; w < worlds; ++w) {
    const World world = mixed ? static_cast<World>(w) : options.world;
    const int begin = static_cast<int>(kFirstOwnedSlot) + owned * w / worlds;
    const int end = static_cast<int>(kFirstOwnedSlot) + owned * (w + 1) / worlds;
    blocks_.push_back({world, begin, end, Activity(world, end - begin, &random_)});
    for (int slot = begin; slot < end; ++slot) Describe(blocks_.back(), slot);
  }
  mean_.bottomRows(options.replicas).setZero();  // nobody there yet
  sd_.bottomRows(options.replicas).setZero();

  workloads_.boot_time_ns = kFirstBootTime;
  workloads_.wall_time_ns = kStartWallNs;
  workloads_.interval_seconds = 1;
  workloads_.totals.resize(static_cast<size_t>(slots()));
  workloads_.host.memory_total_bytes = workloads_.host_before.memory_total_bytes = uint64_t{64} << 30;
  workloads_.host.memory_available_bytes = uint64_t{32} << 30;
  workloads_.host.cpus = 64;
  for (int c = 0; c < kSyscallClasses; ++c) features_.durations[c].setZero(kDurationBuckets, slots());
  features_.values.setZero(slots(), features);
  features_.present.setConstant(slots(), features, false);
  features_.born.setConstant(slots(), false);
  features_.sibling.assign(slots(), 0);
  features_.interval_seconds = 1;
  program_.assign(slots(), 0);
  for (Slot slot = 0; slot < kFirstOwnedSlot + static_cast<Slot>(options.workloads); ++slot) Introduce(slot, slot);
}

// The parameters of one workload.
void SimulatedHost::Describe(const Block& block, int slot) {
  const double spreads[] = {0.05, 0.1, 0.2, 0.3}, phis[] = {0.9, 0.95, 0.98};
  phi_(slot) = phis[random_.Below(3)];
  std::vector<int> lawful;  // features that the world's law is about
  for (const int f : made_) {
    const FeatureKind kind = FeatureSpecs()[f].kind;
    const auto [least, most] = RangeOf(kind);
    double& mean = mean_(slot, f);
    double& sd = sd_(slot, f);
    mean = random_.Scattered(least, most);
    const double spread = spreads[random_.Below(4)] * (kind == FeatureKind::kBytes ? 0.2 : 1);
    sd = mean * (options_.lone ? kQuietSpread : spread);
    quantum_(slot, f) = QuantumOf(kind);
    if (kind == FeatureKind::kPopulation) mean = std::round(mean);
    if (kind == FeatureKind::kCount) law_(slot, f) = static_cast<uint8_t>(random_.Below(kRareRates));
    if (kind == FeatureKind::kDuration) {
      law_(slot, f) = static_cast<uint8_t>(random_.Below(DurationTables::kMedians));
      mean = DurationTables::MedianNs(law_(slot, f)) * 1e-9;
    }
    if (kind == FeatureKind::kRate && block.world == World::kSparseCounts) {
      law_(slot, f) = static_cast<uint8_t>(kRareRates + random_.Below(std::size(kSparseRates)));
    }
    if (block.world == World::kFlat) {
      if (random_.Bits() % 2 == 0) sd = 0;
      quantum_(slot, f) = std::max({quantum_(slot, f), sd, 1e-9});
    }
    if (block.world == World::kSawTooth    ? kind == FeatureKind::kBytes
        : block.world == World::kSparseCounts ? kind == FeatureKind::kRate
                                              : IsWork(kind)) {
      lawful.push_back(f);
    }
  }
  if (options_.lone) lone_[slot] = lawful[random_.Below(lawful.size())];
}

void SimulatedHost::Introduce(Slot slot, Slot executable) {
  v1::Workload workload;
  workload.set_name(NameOfWorkload(slot));
  workload.set_kind(v1::Workload::SYSTEMD_UNIT);
  workload.set_executable("/usr/bin/" + NameOfWorkload(executable));
  workload.set_unit(workload.name() + ".service");
  next_named_.push_back({slot, {workload.name(), workload}});
  started_[slot] = 1;
  program_[slot] = executable;
}

void SimulatedHost::Reboot() {
  first_of_boot_ = true;
  workloads_.boot_time_ns = kNextBootTime;
  workloads_.wall_time_ns += kRebootNs;
  for (Block& block : blocks_) {
    for (int slot = block.begin; slot < block.end; ++slot) block.activity.Restart(slot - block.begin, tick() + 1);
  }
}

void SimulatedHost::Restart(Slot slot) {
  next_restarts_.push_back(slot);
  Block& block = BlockOf(slot);
  block.activity.Restart(static_cast<int>(slot) - block.begin, tick() + 1);
}

Slot SimulatedHost::StartReplica(Slot of) {
  const Slot slot = static_cast<Slot>(std::find(started_.begin(), started_.end(), 0) - started_.begin());
  for (Eigen::ArrayXXd* table : {&mean_, &sd_, &quantum_}) table->row(slot) = table->row(of).eval();
  law_.row(slot) = law_.row(of).eval();
  phi_(slot) = phi_(of);
  lone_[slot] = lone_[of];
  Introduce(slot, of);
  Block& block = BlockOf(slot);
  block.activity.Restart(static_cast<int>(slot) - block.begin, tick() + 1);
  return slot;
}

SimulatedHost::Block& SimulatedHost::BlockOf(Slot slot) {
  return *std::find_if(blocks_.begin(), blocks_.end(), [&](const Block& b) { return static_cast<int>(slot) < b.end; });
}

// One factor a workload of the block; in `factors_` or the activity's own.
const double* SimulatedHost::FactorsOf(const Block& block, int feature) {
  const FeatureKind kind = FeatureSpecs()[feature].kind;
  const int n = block.end - block.begin;
  const double* own = IsWork(kind) ? block.activity.load().data() : kind == FeatureKind::kBytes ? block.activity.memory().data() : nullptr;
  if (own != nullptr && !options_.lone) return own;
  for (int i = 0; i < n; ++i) factors_[i] = own != nullptr && lone_[block.begin + i] == feature ? own[i] : 1.0;
  return factors_.data();
}

void SimulatedHost::FillNoise(const Block& block, int feature) {
  const size_t n = static_cast<size_t>(block.end - block.begin);
  const std::span<double> noise(noise_.data(), n);
  if (block.world == World::kHeavyTails) {
    heavy_tails_.Fill(normals_, &random_, noise);
  } else {
    normals_.Fill(&random_, noise);
  }
  if (block.world == World::kAutocorrelation) {
    double* state = &state_(block.begin, feature);
    const double* phi = &phi_(block.begin);
    for (size_t i = 0; i < n; ++i) noise[i] = state[i] = phi[i] * state[i] + std::sqrt(1 - phi[i] * phi[i]) * noise[i];
  }
  if (feature == cpu_) std::copy(noise.begin(), noise.end(), cpu_noise_.begin());
  if (feature != switches_ || options_.lone) return;
  const double own = std::sqrt(1 - kMovesWithCpu * kMovesWithCpu);
  for (size_t i = 0; i < n; ++i) noise[i] = kMovesWithCpu * cpu_noise_[i] + own * noise[i];
}

void SimulatedHost::FillValues(const Block& block, int feature) {
  FillNoise(block, feature);
  const FeatureKind kind = FeatureSpecs()[feature].kind;
  const int n = block.end - block.begin;
  const double* factor = FactorsOf(block, feature);
  const double* mean = &mean_(block.begin, feature);
  const double* sd = &sd_(block.begin, feature);
  const double* quantum = &quantum_(block.begin, feature);
  double* out = &features_.values(block.begin, feature);
  if (block.world == World::kLatencies && (kind == FeatureKind::kRate || kind == FeatureKind::kByteRate)) {
    for (int i = 0; i < n; ++i) out[i] = factor[i] * mean[i] * std::exp(kLogNormalSigma * noise_[i]);
    return;
  }
  for (int i = 0; i < n; ++i) out[i] = std::max(factor[i] * (mean[i] + sd[i] * noise_[i]), 0.0);
  if (quantum[0] > 0) {
    for (int i = 0; i < n; ++i) out[i] = Rounded(out[i] / quantum[i]) * quantum[i];
  }
}

void SimulatedHost::FillCounts(const Block& block, int feature) {
  const bool all = !options_.lone || FeatureSpecs()[feature].kind == FeatureKind::kCount;
  for (int slot = block.begin; slot < block.end; ++slot) {
    if (all || lone_[slot] == feature) features_.values(slot, feature) = counts_[law_(slot, feature)].Draw(&random_);
  }
}

void SimulatedHost::FillDurations(const Block& block, int feature) {
  const int c = FeatureSpecs()[feature].syscall_class;
  Eigen::ArrayXXf& durations = features_.durations[c];
  for (int slot = block.begin; slot < block.end; ++slot) {
    float* counts = &durations(0, slot);
    duration_tables_.Clear(law_(slot, feature), counts);
    const int calls = started_[slot] ? calls_.Draw(&random_) : 0;
    features_.present(slot, feature) = calls > 0 && !first_of_boot_;
    if (!features_.present(slot, feature)) continue;
    features_.values(slot, feature) = mean_(slot, feature);
    duration_tables_.Add(law_(slot, feature), calls, &random_, counts);
  }
}

void SimulatedHost::Burst(const Block& block) {
  const int n = block.end - block.begin;
  const double series = static_cast<double>(n) * static_cast<double>(work_.size());
  for (int k = random_.Poisson(series * kBurstsPerSecond); k > 0; --k) {
    Excursion e;
    e.slot = block.begin + static_cast<int>(random_.Below(static_cast<uint64_t>(n)));
    e.feature = work_[random_.Below(work_.size())];
    e.factor = std::min(std::pow(random_.Positive(), -1 / 1.5), 100.0);
    e.until = tick() + 1 + static_cast<uint64_t>(random_.Exponential(kBurstSeconds));
    excursions_.push_back(e);
  }
  std::erase_if(excursions_, [&](const Excursion& e) { return e.until <= tick(); });
  for (const Excursion& e : excursions_) features_.values(e.slot, e.feature) *= e.factor;
}

void SimulatedHost::TellStarts() {
  WorkloadTick& w = workloads_;
  w.restarts.clear();
  for (Block& block : blocks_) {
    for (const int workload : block.activity.released()) next_restarts_.push_back(static_cast<Slot>(block.begin + workload));
  }
  for (const Slot slot : next_restarts_) {
    RestartFact fact;
    fact.slot = slot;
    fact.cause = v1::Restart::ROLLOUT;
    fact.time_ns = w.boot_time_ns;
    fact.process = {1000 + static_cast<int32_t>(slot), w.boot_time_ns};
    w.restarts.push_back(fact);
  }
  next_restarts_.clear();
  for (const auto& [slot, name] : w.named) w.totals[slot].born = features_.born(slot) = false;
  w.named.swap(next_named_);
  next_named_.clear();
  for (const auto& [slot, name] : w.named) {
    w.totals[slot].born = features_.born(slot) = true;
    w.totals[slot].sibling = program_[slot] == slot ? 0 : program_[slot];
    features_.sibling[slot] = static_cast<int>(w.totals[slot].sibling);
  }
}

void SimulatedHost::SetPresence() {
  for (Slot slot = 0; slot < static_cast<Slot>(slots()); ++slot) {
    if (!started_[slot]) continue;
    WorkloadTotals& totals = workloads_.totals[slot];
    totals.observed = true;
    totals.has_rates = !first_of_boot_;
    totals.processes = totals.threads = 4;
    if (slot < kFirstOwnedSlot) continue;
    features_.present(slot, uptime_) = !first_of_boot_;
    for (const int f : made_) {
      const FeatureKind kind = FeatureSpecs()[f].kind;
      if (kind != FeatureKind::kDuration) features_.present(slot, f) = IsGauge(kind) || !first_of_boot_;
    }
  }
  features_.present(kHostSlot, host_cpu_) = !first_of_boot_;
}

// What the others of the host follow from: its own CPU use, and the ages of processes.
void SimulatedHost::FillShown() {
  for (Block& block : blocks_) {
    for (int slot = block.begin; slot < block.end; ++slot) {
      const double uptime = block.activity.Uptime(slot - block.begin, tick());
      workloads_.totals[slot].uptime_seconds = features_.values(slot, uptime_) = started_[slot] ? uptime : 0.0;
    }
  }
  features_.values(kHostSlot, host_cpu_) = features_.values.col(cpu_).tail(slots() - static_cast<int>(kFirstOwnedSlot)).sum();
}

void SimulatedHost::Next() {
  WorkloadTick& w = workloads_;
  w.tick += 1;
  w.boot_time_ns += kSecond;
  w.wall_time_ns += kSecond;
  features_.wall_time_ns = w.wall_time_ns;
  for (const Fault& fault : faults_) {
    if (fault.kind != FaultKind::kRhythm) continue;
    Block& block = BlockOf(fault.slot);
    block.activity.Halve(static_cast<int>(fault.slot) - block.begin, fault.ActiveAt(w.tick));
  }
  for (Block& block : blocks_) block.activity.Next(w.tick, &random_);
  TellStarts();
  if (first_of_boot_ || presence_changes_ || !w.named.empty()) SetPresence();
  presence_changes_ = first_of_boot_;
  for (Block& block : blocks_) {
    for (const int f : made_) {
      const FeatureKind kind = FeatureSpecs()[f].kind;
      const bool sparse = kind == FeatureKind::kRate && block.world == World::kSparseCounts;
      if (kind == FeatureKind::kFact) continue;
      if (kind == FeatureKind::kDuration) {
        FillDurations(block, f);
        continue;
      }
      if (kind != FeatureKind::kCount && !(sparse && !options_.lone)) FillValues(block, f);
      if (kind == FeatureKind::kCount || sparse) FillCounts(block, f);
    }
    if (block.world == World::kBursts) Burst(block);
  }
  FillShown();
  for (const Fault& fault : faults_) {
    if (fault.ActiveAt(w.tick)) Apply(fault);
  }
  first_of_boot_ = false;
}

}  // namespace outlier::quality
