// Worlds: the laws that healthy workloads follow. Each is a whole host's, so that its false alarms are its own; the last mixes them.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "tests/quality/noise.h"

namespace outlier::quality {

enum class World {
  kHeavyTails,       // Student t, 3 degrees of freedom
  kAutocorrelation,  // AR(1), coefficient .9, .95 or .98
  kDailyCycle,       // a sine of a day, amplitude 40 % of the mean, less on the sixth and seventh day
  kBursts,           // of each series: Pareto(1.5) high, about 8 s long, one in 10 min
  kSparseCounts,     // rates that are log-normal Poisson, mostly zero
  kFlat,             // half of the series constant, half quantised at their own spread
  kLatencies,        // rates log-normal, twice the calls
  kPeriodicJobs,     // ten times the work: for 20 s each 5 min, or for 60 s each hour
  kDailyJobs,        // one workload in 40 does five times its work for 10 min, once a day
  kSawTooth,         // memory that doubles and is collected, periods of 20 s to 2 h
  kRollouts,         // a new release each 2 to 10 h: memory starts at half and warms up
  kRegimes,          // on and off: two to eight times the work for a minute to an hour, as long in between
  kCompaction,       // a rare phase: four to sixteen times the work for half a minute to three, memory by 30 %; once in 5 min to 2 h
  kMixture,          // each workload of another of the worlds above
};
inline constexpr int kWorlds = 14;
inline constexpr int kPureWorlds = kWorlds - 1;
std::string_view NameOf(World world);
// The name without what is no letter, for identifiers and files.
std::string_view WordOf(World world);

// How much the workloads of one pure world do, second by second, as factors on their means.
class Activity {
 public:
  Activity(World world, int workloads, Random* random);
  // Ticks in ascending order.
  void Next(uint64_t tick, Random* random);
  std::span<const double> load() const { return load_; }      // of everything but memory, numbers of threads, and errors
  std::span<const double> memory() const { return memory_; }
  std::span<const int> released() const { return released_; }  // workloads whose new release began at this tick
  // A new process of this workload: its memory warms up from half, as after a release.
  void Restart(int workload, uint64_t tick) { of_[static_cast<size_t>(workload)].started = static_cast<int64_t>(tick); }
  double Uptime(int workload, uint64_t tick) const {
    return static_cast<double>(static_cast<int64_t>(tick) - of_[static_cast<size_t>(workload)].started);
  }
  // Jobs that come each other time only: twice the period.
  void Halve(int workload, bool halved) { of_[static_cast<size_t>(workload)].halved = halved; }
  // Standard deviation of load over time where chance switches it back and forth, as in regimes and compaction: that is noise, too.
  double LoadSpread(int workload) const;

 private:
  struct OfWorkload {
    uint64_t period = 0, length = 0;      // of a job, or a tooth
    double phase = 0;                     // in [0, 1) of the period
    double factor = 1;                    // of load while a job or phase is on
    double mean_off = 0, mean_on = 0;     // seconds
    double until = 0;                     // of the phase, or the next release
    bool on = false, halved = false;
    int64_t started = 0;                  // tick at which its process began, and its memory to warm up
  };
  void Switch(OfWorkload* w, double t, Random* random);

  World world_;
  std::vector<OfWorkload> of_;
  std::vector<double> load_, memory_;
  std::vector<int> released_;
};

}  // namespace outlier::quality
