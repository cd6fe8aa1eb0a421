// How faults change what a simulated host says.
#include <algorithm>
#include <cmath>

#include "tests/quality/series.h"
#include "tests/quality/simulated_host.h"
#include "userspace/detectors/priors.h"
#include "userspace/features/features.h"

namespace outlier::quality {

std::string_view NameOf(FaultKind kind) {
  static constexpr std::string_view kNames[kFaultKinds] = {"step", "ramp", "leak", "variance", "together",
                                                           "silence", "rhythm", "second-mode", "count-burst", "correlation"};
  return kNames[static_cast<int>(kind)];
}

double SimulatedHost::SdOf(Slot slot, int feature) {
  const FeatureSpec& spec = FeatureSpecs()[feature];
  const Block& block = BlockOf(slot);
  const double mean = mean_(slot, feature);
  const bool work = IsWork(spec.kind);
  double sd = sd_(slot, feature);
  if (work) sd += mean * block.activity.LoadSpread(static_cast<int>(slot) - block.begin);
  if (block.world == World::kLatencies && work && spec.kind != FeatureKind::kUtilization) sd = mean * kLogNormalSigma;
  if (block.world == World::kSparseCounts && spec.kind == FeatureKind::kRate) {
    const double rate = kSparseRates[law_(slot, feature) - kRareRates] * std::exp(kSparseSigma * kSparseSigma / 2);
    sd = std::sqrt(rate + rate * rate * std::expm1(kSparseSigma * kSparseSigma));
  }
  const SignalPrior prior = PriorOf(spec, "robust_level");
  const double at = prior.transform.Forward(mean, 1.0);
  const double floor = std::max(prior.prior.scale_floor, prior.prior.relative_floor * std::abs(at));
  return std::max(sd, prior.transform.Inverse(at + floor, 1.0) - mean);
}

double SimulatedHost::Center(Slot slot, int feature) {
  const Block& block = BlockOf(slot);
  return mean_(slot, feature) * FactorsOf(block, feature)[static_cast<int>(slot) - block.begin];
}

void SimulatedHost::MoveCalls(const Fault& fault) {
  float* counts = &features_.durations[FeatureSpecs()[fault.feature].syscall_class](0, fault.slot);
  for (int b = kDurationBuckets - 1; b >= 0; --b) {
    for (int n = static_cast<int>(counts[b]); n > 0; --n) {
      if (fault_random_.Uniform() >= fault.size) continue;
      counts[b] -= 1;
      counts[std::min(b + DurationTables::kFarther, kDurationBuckets - 1)] += 1;
    }
  }
}

void SimulatedHost::Apply(const Fault& fault) {
  double& value = features_.values(fault.slot, fault.feature);
  switch (fault.kind) {
    case FaultKind::kStep:
    case FaultKind::kRamp:
    case FaultKind::kLeak: value += fault.size * fault.ShareAt(tick()) * SdOf(fault.slot, fault.feature); break;
    case FaultKind::kVariance: value += (fault.size - 1) * (value - Center(fault.slot, fault.feature)); break;
    case FaultKind::kCorrelation: value = 2 * Center(fault.slot, fault.feature) - value; break;
    case FaultKind::kTogether:
      for (const int f : together_) features_.values(fault.slot, f) *= fault.size;
      break;
    case FaultKind::kSilence:
      for (const int f : made_) {
        const FeatureSpec& spec = FeatureSpecs()[f];
        if (IsGauge(spec.kind)) continue;
        features_.values(fault.slot, f) = 0;
        if (spec.kind != FeatureKind::kDuration) continue;
        features_.durations[spec.syscall_class].col(fault.slot).setZero();
        features_.present(fault.slot, f) = false;
      }
      break;
    case FaultKind::kRhythm: break;  // before the second was made
    case FaultKind::kSecondMode: MoveCalls(fault); break;
    case FaultKind::kCountBurst: value += fault_random_.Poisson(fault.size); break;
  }
  const double quantum = quantum_(fault.slot, fault.feature);
  if (quantum > 0) value = Rounded(value / quantum) * quantum;
  value = std::max(value, 0.0);
}

}  // namespace outlier::quality
