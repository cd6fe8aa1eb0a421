// SimulatedHost: what the models would see of a host at 1 s, without a host. In a null world nothing is wrong, so every
// incident is a false alarm; faults are planted on top and leave everything else as it would have been. Deterministic for a seed.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "tests/quality/calls.h"
#include "tests/quality/faults.h"
#include "tests/quality/noise.h"
#include "tests/quality/worlds.h"
#include "userspace/stream/feature.h"
#include "userspace/stream/workload.h"

namespace outlier::quality {

std::string NameOfWorkload(Slot slot);

class SimulatedHost {
 public:
  struct Options {
    World world = World::kHeavyTails;
    int workloads = 200;
    uint64_t seed = 1;
    bool lone = false;     // one series of each workload follows the world's law, the others are quiet
    int replicas = 0;      // further slots, empty until StartReplica
  };
  explicit SimulatedHost(const Options& options);

  // Makes the next second. The two ticks stay valid until the next call.
  void Next();
  const WorkloadTick& workloads() const { return workloads_; }
  const FeatureTick& features() const { return features_; }
  uint64_t tick() const { return workloads_.tick; }
  int slots() const { return static_cast<int>(kFirstOwnedSlot) + options_.workloads + options_.replicas; }

  // The next tick is the first of a new boot, a minute and a half later: all processes are new, their memory is cold.
  void Reboot();
  // From the next tick on: a new process of the workload, told as a rollout; or another workload of the same executable.
  void Restart(Slot slot);
  Slot StartReplica(Slot of);
  void Plant(const Fault& fault) { faults_.push_back(fault); }
  // One sd of a series, in its unit: what its world generates, or the scale floor of its signal where that is more (the series is
  // flat to the models then).
  double SdOf(Slot slot, int feature);
  double MeanOf(Slot slot, int feature) const { return mean_(slot, feature); }
  // The series that follows the law in a lone world.
  int LoneFeature(Slot slot) const { return lone_[slot]; }

 private:
  // Workloads of one pure world.
  struct Block {
    World world;
    int begin, end;  // slots
    Activity activity;
  };
  struct Excursion {
    int slot, feature;
    double factor;
    uint64_t until;
  };
  void Describe(const Block& block, int slot);
  void Introduce(Slot slot, Slot executable);
  void SetPresence();
  void TellStarts();
  const double* FactorsOf(const Block& block, int feature);
  void FillCounts(const Block& block, int feature);
  void FillNoise(const Block& block, int feature);
  void FillValues(const Block& block, int feature);
  void FillDurations(const Block& block, int feature);
  void Burst(const Block& block);
  void FillShown();
  void Apply(const Fault& fault);
  void MoveCalls(const Fault& fault);
  Block& BlockOf(Slot slot);
  double Center(Slot slot, int feature);

  Options options_;
  Random random_, fault_random_;
  Normals normals_;
  HeavyTails heavy_tails_;
  DurationTables duration_tables_;
  Counts calls_;                          // of one class in one second
  std::vector<Counts> counts_;            // rare events by class of rate, then the two of sparse counts
  std::vector<Block> blocks_;
  std::vector<int> made_, work_, together_;  // features
  int cpu_, switches_, host_cpu_, uptime_;
  // [slots x features]; sd = generating, in units of the signal; quantum 0 = continuous; state of the autoregression.
  Eigen::ArrayXXd mean_, sd_, quantum_, state_;
  Eigen::ArrayXd phi_;
  Eigen::Array<uint8_t, Eigen::Dynamic, Eigen::Dynamic> law_;  // which of counts_, or which median of durations
  std::vector<double> noise_, cpu_noise_, factors_;            // of one column
  std::vector<int> lone_;                 // by slot
  std::vector<uint8_t> started_;          // by slot
  std::vector<Excursion> excursions_;
  std::vector<Fault> faults_;
  std::vector<Slot> next_restarts_;       // told with the next tick
  std::vector<Slot> program_;  // by slot: the slot that ran its program first
  std::vector<std::pair<Slot, NamedWorkload>> next_named_;  // likewise, and born
  bool first_of_boot_ = true;             // the next tick is; it has no rates
  bool presence_changes_ = true;
  WorkloadTick workloads_;
  FeatureTick features_;
};

}  // namespace outlier::quality
