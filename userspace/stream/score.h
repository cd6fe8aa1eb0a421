// ScoreFrame: what the detectors say of every feature of every workload.
#pragma once
#include <Eigen/Core>
#include <cstdint>
#include <string_view>
#include <vector>

namespace outlier {

// Which departure a detector looks for; the incident's pattern is decided from these and from the shape over time. Saved by number:
// kDifference is left of older states, and no detector of today has it. kShare and kHeldShare tell nothing themselves: failures depart only as far
// as their share of the calls does.
enum class Channel : uint8_t { kLevel, kDifference, kDrift, kSilence, kCount, kShape, kHeld, kShare, kRhythm, kRecord, kHeldShare };

inline bool IsShare(Channel channel) { return channel == Channel::kShare || channel == Channel::kHeldShare; }

// Something that should have come has not.
inline bool IsAbsence(Channel channel) { return channel == Channel::kSilence || channel == Channel::kRhythm; }

// |z| from which a departure may become evidence; of what is less, nothing more than z is told.
inline constexpr double kNotable = 3.0;
inline constexpr double kLoud = 2.0;  // what is less holds nothing
inline constexpr int kLoudSlots = 8;

// One detector over all slots at one tick. Units of expected, lower, upper: the feature's own. Only z and ready say something of
// every slot; the other columns do where |z| >= kNotable.
struct DetectorScores {
  int feature = 0;                // column of FeatureTick
  Channel channel = Channel::kLevel;
  bool idle = false;              // no slot has ever had this feature: z is 0 everywhere
  Eigen::ArrayXd tail_probability;  // (0, 1]
  Eigen::ArrayXf z;                 // signed robust z or its equivalent; + is up; 0 where absent or warming up
  std::vector<uint8_t> loud;        // of kLoudSlots slots after the other: whether |z| >= kLoud in any of them
  Eigen::ArrayXd expected;
  Eigen::ArrayXd lower;
  Eigen::ArrayXd upper;
  Eigen::ArrayXd rate;              // kDrift: growth per second; else 0
  Eigen::Array<bool, Eigen::Dynamic, 1> ready;  // past its own warm-up
};

struct ScoreTick {
  std::vector<DetectorScores> detectors;  // in registration order, the same every tick
  Eigen::Array<bool, Eigen::Dynamic, 1> warm;  // slots seen for detection.warm_up; of the others only kernel facts are told
};

struct ScoreFrame {
  std::vector<ScoreTick> ticks;
};

}  // namespace outlier
