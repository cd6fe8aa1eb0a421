// FeatureFrame: what the models see. One column of slots per feature; a slot is a workload's dense index (= its account).
#pragma once
#include <Eigen/Core>
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "userspace/stream/syscall_class.h"

namespace outlier {

// How a feature behaves statistically: decides its transform, scale floor, priors and which models watch it.
enum class FeatureKind : uint8_t {
  kUtilization,   // share of a core, s/s
  kBytes,         // a level in bytes that may leak
  kByteRate,
  kRate,          // events a second, usually many
  kCount,         // rare events in one tick, as a number
  kPopulation,    // a small integer level: threads, processes
  kDuration,      // a histogram of durations; the scalar column holds its median in seconds
  kFact,          // a kernel fact that needs no baseline to matter: restarts, OOM kills
  kShown,         // published, never judged (uptime, p99)
};

struct FeatureSpec {
  std::string_view signal;
  std::string_view unit;
  std::string_view attribute_key;    // "" = none
  std::string_view attribute_value;
  FeatureKind kind;
  int8_t syscall_class;              // -1 = none
};

// Every feature, in column order. Defined by userspace/stream/features.def.
enum class Feature : uint16_t;

using Mask = Eigen::Array<bool, Eigen::Dynamic, 1>;

// One tick: slots x features, column-major, so that one feature of all workloads is contiguous.
struct FeatureTick {
  Eigen::ArrayXXd values;                                   // [slots x features]
  Eigen::Array<bool, Eigen::Dynamic, Eigen::Dynamic> present;  // same shape; false = absent, never NaN or 0
  // Durations of this tick per syscall class: [buckets x slots], counts, in the precision of the model. Present follows the class's kDuration feature.
  std::array<Eigen::ArrayXXf, kSyscallClasses> durations;
  Mask born;                                                // [slots]: slot was (re)assigned at this tick: forget what was learned
  std::vector<int> sibling;                                 // [slots]: where born, a slot of the same program to learn from; 0 = none
  int64_t wall_time_ns = 0;  // 0 = unknown
  double interval_seconds = 0;
};

struct FeatureFrame {
  std::vector<FeatureTick> ticks;  // a batch of T ticks gives exactly what T batches of one give
};

}  // namespace outlier
