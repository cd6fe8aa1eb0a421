// What is believed of a feature before it is seen, by kind of signal: its transform and the models' priors.
#pragma once
#include <Eigen/Core>
#include <string_view>

#include "models/model.h"
#include "userspace/stream/feature.h"

namespace outlier {

// The scale on which a feature's noise is even. Monotone; `knee` in the feature's unit.
//   kIdentity  y = x
//   kLog       y = ln(1 + x / knee): linear below the knee, where values are noise, ratios above it
//   kSqrt      y = sqrt(x)
//   kPerTick   y = x seconds: a rate of rare events back to their number in this tick
struct Transform {
  enum class Law : uint8_t { kIdentity, kLog, kSqrt, kPerTick };
  Law law = Law::kIdentity;
  double knee = 1.0;
  // Of many at once; negative x counts as 0, except for kIdentity. `out` has the size of x.
  void Forward(const Eigen::Ref<const Eigen::ArrayXd>& x, double seconds, Eigen::ArrayXd* out) const;
  double Forward(double x, double seconds) const;
  double Inverse(double y, double seconds) const;   // never below 0, except for kIdentity
  bool operator==(const Transform&) const = default;
};

struct SignalPrior {
  Transform transform;
  models::Prior prior;
  double warm_up_share = 1.0;  // of detection.warm_up; 0 for kernel facts, which matter from the first moment
};

// Of seconds. A nanosecond is far below every bucket: ln(1 + x / ns) is as good as the logarithm.
inline constexpr Transform kLogOfDuration{Transform::Law::kLog, 1e-9};

// The prior for a model watching this feature. Scale floors are natural units: a departure of one floor is not worth a
// word on any host, so that z of different features can be compared.
SignalPrior PriorOf(const FeatureSpec& spec, std::string_view model);
// Of the share of calls that fail, by the minute: it says whether as many more fail as are made.
SignalPrior PriorOfHeldShare();

}  // namespace outlier
