#include "tests/quality/series.h"

namespace outlier::quality {
namespace {

constexpr int kObservedClasses = 3;  // of system calls: file, network, memory

}  // namespace

bool IsMade(const FeatureSpec& spec) {
  return spec.kind != FeatureKind::kShown && !spec.signal.starts_with("host.") && spec.syscall_class < kObservedClasses;
}
bool IsWork(FeatureKind kind) {
  return kind == FeatureKind::kUtilization || kind == FeatureKind::kByteRate || kind == FeatureKind::kRate;
}
bool IsGauge(FeatureKind kind) { return kind == FeatureKind::kBytes || kind == FeatureKind::kPopulation || kind == FeatureKind::kFact; }

std::pair<double, double> RangeOf(FeatureKind kind) {
  switch (kind) {
    case FeatureKind::kUtilization: return {0.01, 1.5};
    case FeatureKind::kBytes: return {2e7, 4e9};
    case FeatureKind::kByteRate: return {1e4, 1e7};
    case FeatureKind::kRate: return {5, 5000};
    case FeatureKind::kPopulation: return {1, 60};
    default: return {1, 1};
  }
}

double QuantumOf(FeatureKind kind) { return kind == FeatureKind::kPopulation ? 1 : kind == FeatureKind::kBytes ? 4096 : 0; }

}  // namespace outlier::quality
