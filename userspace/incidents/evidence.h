// Evidence: how strongly a workload departs, from what its detectors said lately. Pure.
//
// A departure counts for what it held: the least same-sign |z| over the last h assessments (h = 3..20), divided by what
// that hold demands; 1 is the strength at which one signal alone opens an incident. Persistence comes before
// combination, because sums of single-tick surprisals are dominated by bursts. Signals that move together for one reason
// (groups) count once, and the strongest groups of a workload add up with falling weights.
#pragma once
#include <Eigen/Core>
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "outlier/v1/feed.pb.h"
#include "userspace/base/archive.h"
#include "userspace/stream/feature.h"
#include "userspace/stream/score.h"

namespace outlier {

// Signals that answer one question, so that two of them are one piece of evidence.
enum class EvidenceGroup : uint8_t { kCpu, kWaiting, kMemory, kIo, kActivity, kErrors, kLatency, kPopulation, kSilence };
inline constexpr int kEvidenceGroups = 9;
// What of a group departs: what came suddenly, what the slow clocks hold, what was never held before; each is judged by its own past.
enum class EvidenceLayer : uint8_t { kSudden, kHeld, kRecord };
inline constexpr int kEvidenceLayers = 3;
inline constexpr int kEvidenceEntries = kEvidenceLayers * kEvidenceGroups;

inline constexpr double kDownWeight = 0.5;  // doing less is more often the end of work, or follows from something, than a fault

struct Strength {
  int detector = -1;
  double strength = 0;  // >= 0; 1 opens alone
  double z = 0;         // signed, now
};

// The strongest departure of each group at one tick, and its direction: layer after layer, the groups in order.
struct GroupStrengths {
  std::array<double, kEvidenceEntries> strength{};
  std::array<bool, kEvidenceEntries> up{};
  bool taken = false;  // it waits for a CPU that others are seen to have taken
};
// One entry of it, in one direction.
struct EvidenceKind {
  int group;  // entry of GroupStrengths
  bool up;
};
// All together: the strongest group, half of the second, a quarter of the third.
double Combine(const GroupStrengths& groups);
// The same with entry `lead` first: the other groups corroborate it, each with no more than its own strength.
double Led(const GroupStrengths& groups, int lead);

class Evidence {
 public:
  Evidence(std::span<const FeatureSpec> features) : features_(features.begin(), features.end()) {}

  void Append(const FeatureTick& tick, const ScoreTick& scores);
  void Forget(int slot);  // what it held
  // After a state was read that a build with other detectors may have written: `saved_as` as Detectors::Load gives it.
  void Rearrange(std::span<const int> saved_as);
  // Whether none of the slot's detectors has anything notable to say now.
  bool Silent(int slot) const { return first_noticed_[slot] < 0; }
  // Of one slot, now: every detector with a strength > 0 and a feature that is not ignored, strongest first.
  std::vector<Strength> Of(int slot, const ScoreTick& scores, const std::vector<bool>& ignored) const;
  GroupStrengths Groups(std::span<const Strength> strengths, const ScoreTick& scores) const;
  EvidenceGroup GroupOf(const DetectorScores& scores) const;
  // What an incident was about, each kind once: its contributions but for kernel facts, sudden and slow.
  std::vector<EvidenceKind> KindsOf(const v1::Incident& incident) const;
  // Whether two kinds of signal depart, and not one alone. A kind: a signal's name; those of memory are one.
  bool Agree(std::span<const Strength> strengths, const ScoreTick& scores) const;

  template <class Archive>
  void Serialize(Archive& a) {
    a(z_, newest_, absent_);
    if constexpr (Archive::kReading) FindRuns();
  }

 private:
  static constexpr int kDepth = 20;
  static constexpr int kForgetAfterAbsent = 10;  // ticks without an observation
  static int ShareOf(int detector, const ScoreTick& scores);
  void Append(int detector, Eigen::Index slot, float z, bool present);
  void Notice(int detector, Eigen::Index slot);
  void Resize(int64_t slots);
  void FindRuns();
  double StrengthOf(int detector, int slot, const DetectorScores& scores) const;
  // Of `age` assessments ago; 0 is the newest.
  double Z(int detector, int slot, int age) const { return z_[detector]((newest_[detector](0, slot) + age) % kDepth, slot); }

  std::vector<FeatureSpec> features_;
  // Made by Append: the detectors whose newest z is notable, by slot; the last one first.
  struct Noticed {
    int detector, next;
  };
  std::vector<Noticed> noticed_;
  std::vector<int> first_noticed_;          // of noticed_, by slot; -1 = none
  std::vector<std::vector<uint8_t>> runs_;  // a detector: by slot, its newest z is not 0; derived
  std::vector<Eigen::ArrayXXf> z_;   // a detector: [kDepth x slots], a ring each: of the run under way, and 0 before it
  std::vector<Eigen::Array<uint8_t, Eigen::Dynamic, Eigen::Dynamic>> newest_;  // a detector: [1 x slots], row of the newest; older ones follow
  std::vector<Eigen::Array<uint8_t, Eigen::Dynamic, Eigen::Dynamic>> absent_;  // a detector: [1 x slots], ticks since observed
};

// How much a kind of signal says about the cause rather than the consequence: orders contributions.
double TellingWeight(const FeatureSpec& feature);

}  // namespace outlier
