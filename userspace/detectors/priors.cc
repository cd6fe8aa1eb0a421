#include "userspace/detectors/priors.h"

#include <algorithm>
#include <cmath>

#include "models/special.h"

namespace outlier {
namespace {

using Law = Transform::Law;


SignalPrior Utilization(std::string_view signal) {
  SignalPrior out;
  if (signal == "process.cpu.run_delay") {
    // Waiting for a CPU comes and goes with the neighbours: 0.1 s/s is everyday (z below 8), 0.2 s/s held, which is what a
    // service of 40 ms in 100 feels when its core is taken, is not (z about 12). ln(1 + x/0.05) in steps of 0.12 keeps it
    // below the CPU use of the process that causes it.
    out.transform = {Law::kLog, 0.05};
    out.prior.scale_floor = 0.12;
  } else {
    // A twentieth of a core is housekeeping. A floor of 0.1 there is 5 millicores near zero and 10 % of a busy core.
    out.transform = {Law::kLog, 0.05};
    out.prior.scale_floor = 0.1;
  }
  out.prior.relative_floor = 0.01;
  return out;
}

SignalPrior Bytes() {
  // Allocators keep arenas of about 1 MiB, and resident sets breathe by some 2 %.
  SignalPrior out;
  out.prior.scale_floor = 1 << 20;
  out.prior.relative_floor = 0.02;
  return out;
}

SignalPrior Logarithmic(double knee, double floor) {
  SignalPrior out;
  out.transform = {Law::kLog, knee};
  out.prior.scale_floor = floor;
  out.prior.relative_floor = 0.01;
  return out;
}

SignalPrior Counts(double rate, double weight) {
  SignalPrior out;
  out.transform = {Law::kPerTick, 1.0};
  out.prior.rate = rate;
  out.prior.weight = weight;
  return out;
}

// The mean of a minute is quieter than a value, so what the signal itself shows is the scale; these floors are its resolution. A
// resident set breathes by a hundredth; a thread more is a thread more at any clock.
SignalPrior Held(FeatureKind kind, SignalPrior prior) {
  if (kind == FeatureKind::kPopulation || kind == FeatureKind::kCount || kind == FeatureKind::kDuration) return prior;
  prior.prior.scale_floor *= kind == FeatureKind::kBytes ? 0.25 : 0.02;
  prior.prior.relative_floor = kind == FeatureKind::kBytes ? 0.01 : 0.005;
  return prior;
}

SignalPrior OfKind(const FeatureSpec& spec, std::string_view model) {
  SignalPrior out;
  switch (spec.kind) {
    case FeatureKind::kUtilization: return Utilization(spec.signal);
    case FeatureKind::kBytes:
      return Bytes();
    case FeatureKind::kByteRate:
      // Below 256 KiB/s is log files and metadata; bursts by a quarter are nothing.
      return Logarithmic(256.0 * 1024.0, 0.25);
    case FeatureKind::kRate:
      // A job that is missed does more than a few timers.
      if (model == "rhythm") {
        out.prior.scale_floor = 5.0;
        return out;
      }
      if (model == "silence") {
        // On the raw rate. A series under half an event a second has no rhythm to lose.
        out.prior.scale_floor = 0.5;
        return out;
      }
      // Ten calls or switches a second are timers; a quarter more or less is nothing.
      return Logarithmic(10.0, 0.25);
    case FeatureKind::kCount:
      // Of calls, one in fifty may fail, which is believed for fifty calls: one failure of a few calls is nothing.
      if (model == "beta_binomial") return Counts(0.02, 50.0);
      if (model == "held_level") {
        // Minutes with six more than usual are nothing; 0.7/s for five minutes where there was next to none are seven of that.
        out.prior.scale_floor = 0.1;
        out.prior.relative_floor = 0.1;
        return out;
      }
      // Failures and starts: one in 20 s is believed for a minute, so that a single one says little and a stream much.
      return Counts(0.05, 60.0);
    case FeatureKind::kPopulation:
      // sqrt evens out the noise of a number of threads: a quarter there is half a process at 1, five at 100.
      out.transform = {Law::kSqrt, 1.0};
      out.prior.scale_floor = 0.25;
      return out;
    case FeatureKind::kDuration:
      if (model == "held_level") {
        out.transform = kLogOfDuration;
        out.prior.scale_floor = 0.025;  // minutes that are slower by a fortieth are nothing, by a fifth seven of that
        out.prior.relative_floor = 0.0;  // it is a logarithm
        return out;
      }
      return out;  // the model works on whole histograms in octaves, see models/histogram_shape.h
    case FeatureKind::kFact:
      // Restarts and OOM kills: one a day is believed for an hour. Already a number per tick.
      out.prior.rate = 1.0 / 86400.0;
      out.prior.weight = 3600.0;
      out.warm_up_share = 0.0;
      return out;
    case FeatureKind::kShown: return out;
  }
  return out;
}

}  // namespace

void Transform::Forward(const Eigen::Ref<const Eigen::ArrayXd>& x, double seconds, Eigen::ArrayXd* out) const {
  switch (law) {
    case Law::kIdentity: *out = x; return;
    case Law::kLog: models::LogOfOnePlus({x.data(), static_cast<size_t>(x.size())}, 1.0 / knee, out->data()); return;
    case Law::kSqrt: *out = x.max(0.0).sqrt(); return;
    case Law::kPerTick: *out = x.max(0.0) * seconds; return;
  }
}

double Transform::Forward(double x, double seconds) const {
  Eigen::ArrayXd out(1);
  Forward(Eigen::ArrayXd::Constant(1, x), seconds, &out);
  return out(0);
}

double Transform::Inverse(double y, double seconds) const {
  switch (law) {
    case Law::kIdentity: return y;
    case Law::kLog: return knee * std::expm1(std::clamp(y, 0.0, 600.0));  // e^600 is finite, and beyond any signal
    case Law::kSqrt: return y > 0.0 ? y * y : 0.0;
    case Law::kPerTick: return seconds > 0.0 ? std::max(y, 0.0) / seconds : 0.0;
  }
  return y;
}

SignalPrior PriorOfHeldShare() {
  SignalPrior out;
  out.prior.scale_floor = 0.0003;  // minutes in which two in a thousand fail where none did are seven of that
  out.prior.relative_floor = 0.1;
  return out;
}

SignalPrior PriorOf(const FeatureSpec& spec, std::string_view model) {
  const SignalPrior prior = OfKind(spec, model);
  return model == "held_level" ? Held(spec.kind, prior) : prior;
}

}  // namespace outlier
