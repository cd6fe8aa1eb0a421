// Detectors: models at work on the features of all workloads. FeatureTick in, ScoreTick out.
//
// detectors.def says which model watches which kind of feature; priors.h what is believed before anything was seen. A
// slot is judged by what was learned of it before, then learned from. Units of expected, lower, upper, rate: the
// feature's own, where |z| is notable (userspace/stream/score.h). z is 0 where a feature is absent or its workload has not been seen for
// half of its warm-up (kernel facts need none). Deterministic; not thread-safe.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/model.h"
#include "outlier/config/v1/config.pb.h"
#include "userspace/detectors/priors.h"
#include "userspace/stream/feature.h"
#include "userspace/stream/score.h"

namespace outlier {

// One line of detectors.def.
struct DetectorLine {
  FeatureKind kind;
  std::string_view model;
  Channel channel;
  std::string_view only;
};
std::span<const DetectorLine> DetectorLines();

class Detectors {
 public:
  // Settings absent from the configuration (0) mean 1 s ticks, 60 s warm-up, a half-life of one day.
  static std::unique_ptr<Detectors> Make(const config::v1::Config& config, std::span<const FeatureSpec> specs);

  // More slots keep what is known of the first ones. Fewer than before is ignored.
  void Resize(int slots);
  int slots() const { return static_cast<int>(presence_.size()); }

  // Slots `born` are forgotten first, or know what a sibling knows; grows to the tick's slots. `out` is reused between ticks without allocation.
  void ScoreAndUpdate(const FeatureTick& tick, ScoreTick* out);

  // Everything learned. Load accepts what Save of the same features wrote, else returns false and changes nothing. A build with other
  // detectors may have written it: one that it did not have knows nothing yet, one that is no more is left out. `saved_as`: the
  // place of each detector among the saved ones, -1 = it was not there.
  void Save(std::string* out) const;
  bool Load(std::string_view bytes, std::vector<int>* saved_as = nullptr);

  int64_t state_bytes_per_slot() const;

 private:
  struct Watch {
    int feature = 0;
    Channel channel = Channel::kLevel;
    FeatureKind kind = FeatureKind::kShown;
    int syscall_class = -1;
    int of = -1;               // feature of the calls that its failures are a share of; -1 = none
    SignalPrior prior;
    bool seen = false;         // any slot has had this feature, as far as is known: until then there is nothing to do
    std::unique_ptr<models::Model> model;
  };
  Detectors(const config::v1::Config& config, std::span<const FeatureSpec> specs);
  void MakeWatches();
  int CallsOf(int feature) const;
  void FollowClock(int64_t wall_time_ns);
  void Run(Watch& watch, const FeatureTick& tick, DetectorScores* out);
  void Rest(DetectorScores* out) const;
  void Judge(const Watch& watch, double seconds, DetectorScores* out);
  void Tell(const bool* judged, DetectorScores* out);

  config::v1::Config config_;
  std::vector<FeatureSpec> specs_;
  std::vector<Watch> watches_;
  double warm_up_ticks_ = 0, judge_ticks_ = 0, settle_ticks_ = 0, tick_seconds_ = 1;
  int64_t wall_time_ns_ = 0;    // of the newest tick; 0 = unknown
  double behind_ = 0;           // ticks that the clock of the wall is ahead of the models'
  Eigen::ArrayXd presence_;     // ticks in which the slot had any feature
  Eigen::Array<bool, Eigen::Dynamic, 1> judged_;  // scratch: that was long enough for models to speak
  Eigen::Array<bool, Eigen::Dynamic, 1> always_, any_;  // scratch: true; any feature is present
  std::vector<int> notable_;    // scratch: slots where one detector's |z| is notable
  models::Assessment assessment_;  // scratch: one detector's of this tick
  // Scratch: one feature of this tick, -1 = none yet, on one scale.
  Eigen::ArrayXd transformed_;
  int transformed_feature_ = -1;
  Transform transformed_by_;
  Eigen::ArrayXXd shares_;      // scratch: [failures; calls] of every slot
};

}  // namespace outlier
