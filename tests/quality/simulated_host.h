// SimulatedHost: what the models would see of a host at 1 s, without a host. In a null world nothing is wrong, so every
// incident is a false alarm; faults are planted on top. Deterministic for a seed.
#pragma once
#include <random>
#include <string_view>
#include <vector>

#include "userspace/stream/feature.h"
#include "userspace/stream/workload.h"

namespace outlier::quality {

// A law that healthy signals follow. Each is the whole host's: its false alarms are its own.
enum class World {
  kHeavyTails,       // Student t, 3 degrees of freedom
  kAutocorrelation,  // AR(1), coefficient .9, .95 or .98
  kDailyCycle,       // a sine of a day, amplitude 40 % of the mean
  kBursts,           // Pareto(1.5) bursts of about 8 s, one in 10 min
  kSparseCounts,     // log-normal Poisson, mostly zero
  kFlat,             // constant or quantised
  kLatencies,        // log-normal durations of calls, levels log-normal too
  kPeriodicJobs,     // ten times the work for 20 s, each 5 min
  kSawTooth,         // memory that grows and is collected, periods of 20 s to 2 h
  kRollouts,         // a new release each few hours: memory starts low and warms up
};
inline constexpr int kWorlds = 10;
std::string_view NameOf(World world);

struct Fault {
  enum class Kind { kStep, kRamp };
  Kind kind = Kind::kStep;
  Slot slot = 0;
  int feature = 0;
  double sds = 10;       // of the world's generating sd, or the spread the signal's prior calls credible where it is flat
  uint64_t begin = 0;    // tick
  uint64_t seconds = 600;
};

class SimulatedHost {
 public:
  SimulatedHost(World world, int workloads, uint64_t seed);
  // Makes the next second. The two ticks stay valid until the next call.
  void Next();
  void Plant(const Fault& fault) { faults_.push_back(fault); }
  const WorkloadTick& workloads() const { return workloads_; }
  const FeatureTick& features() const { return features_; }
  int slots() const { return static_cast<int>(kFirstOwnedSlot) + count_; }

 private:
  struct Series {
    double mean = 0, sd = 0;     // sd = generating, in units of the signal
    double phi = 0, state = 0;   // AR
    double phase = 0, period = 0;
    double burst = 1, burst_left = 0;
    double quantum = 0;          // 0 = continuous
  };
  double Noise(Series* series);
  double Value(const FeatureSpec& spec, int slot, Series* series);
  void FillDurations(int slot, int feature, const Series& series);
  void Release(int slot);
  double Uniform() { return std::uniform_real_distribution<double>()(random_); }
  Series& at(int slot, int feature) { return series_[static_cast<size_t>(slot) * features_per_slot_ + feature]; }

  World world_;
  int count_, features_per_slot_;
  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
  std::vector<Series> series_;
  std::vector<uint64_t> released_;       // by slot: tick of the last release
  std::vector<uint64_t> next_release_;
  std::vector<Fault> faults_;
  WorkloadTick workloads_;
  FeatureTick features_;
};

}  // namespace outlier::quality
