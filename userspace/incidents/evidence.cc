#include "userspace/incidents/evidence.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <type_traits>

namespace outlier {
namespace {

struct Hold {
  int assessments;
  double z;  // demanded
};

// The longer it holds, the less it has to be. Tuned on a quiet host and on hosts with periodic jobs: what a job of a few
// seconds does is not told, a tenfold rise is told after five ticks and a threefold one after twelve.
constexpr std::array<Hold, 3> kLevelHolds = {{{5, 16}, {8, 10.5}, {12, 8}}};
constexpr std::array<Hold, 3> kCountHolds = {{{4, 14}, {7, 10}, {15, 7}}};
constexpr std::array<Hold, 3> kShapeHolds = {{{4, 8}, {8, 6}, {16, 5}}};
// These have persistence inside: a gap of silence, a window of growth, minutes. Most windows of a wandering level grow by nothing, and the few that
// do go far: from 10 on, two simulated weeks of such levels told two of them as rarer than once in three weeks.
constexpr std::array<Hold, 1> kSilenceHolds = {{{3, 7}}};
constexpr std::array<Hold, 1> kDriftHolds = {{{3, 14}}};
constexpr std::array<Hold, 1> kHeldHolds = {{{1, 7}}};

constexpr double kAgrees = 0.18;         // strength from which a second kind of signal confirms the first: a z of 3 held for five ticks
constexpr double kStrongest = 40.0;       // one signal does not say more than this, whatever its z
constexpr double kSmallerWeight = 0.25;  // fewer processes with less memory are hardly ever one

std::span<const Hold> HoldsOf(Channel channel) {
  switch (channel) {
    case Channel::kLevel: return kLevelHolds;
    case Channel::kCount:
    case Channel::kShare: return kCountHolds;
    case Channel::kShape: return kShapeHolds;
    case Channel::kDrift: return kDriftHolds;
    case Channel::kSilence:
    case Channel::kRhythm: return kSilenceHolds;
    case Channel::kHeld:
    case Channel::kHeldShare:
    case Channel::kRecord: return kHeldHolds;
    case Channel::kDifference: return {};
  }
  return {};
}

EvidenceLayer LayerOf(Channel channel) {
  return channel == Channel::kHeld ? EvidenceLayer::kHeld : channel == Channel::kRecord ? EvidenceLayer::kRecord : EvidenceLayer::kSudden;
}

}  // namespace

void Evidence::Resize(int64_t slots) {
  for (size_t d = 0; d < z_.size(); ++d) {
    const Eigen::Index had = z_[d].cols(), more = slots - had;
    runs_[d].resize(std::max<size_t>(slots, runs_[d].size()), 0);
    if (more <= 0) continue;
    z_[d].conservativeResize(kDepth, slots);
    z_[d].rightCols(more).setZero();
    for (auto* of_slots : {&newest_[d], &absent_[d]}) {
      of_slots->conservativeResize(1, slots);
      of_slots->rightCols(more).setZero();
    }
  }
}

void Evidence::Forget(int slot) {
  for (size_t d = 0; d < z_.size(); ++d) {
    if (slot >= z_[d].cols()) continue;
    z_[d].col(slot).setZero();
    runs_[d][slot] = 0;
  }
}

void Evidence::FindRuns() {
  newest_.resize(z_.size());
  absent_.resize(z_.size());
  runs_.assign(z_.size(), {});
  for (int d = 0; d < static_cast<int>(z_.size()); ++d) {
    if (z_[d].rows() != kDepth || newest_[d].rows() != 1 || absent_[d].rows() != 1 || newest_[d].cols() != z_[d].cols() ||
        absent_[d].cols() != z_[d].cols() || (newest_[d] >= kDepth).any()) {  // not of this class: begins anew
      z_[d].resize(kDepth, 0);
      newest_[d].resize(1, 0);
      absent_[d].resize(1, 0);
    }
    runs_[d].resize(z_[d].cols());
    for (int slot = 0; slot < z_[d].cols(); ++slot) runs_[d][slot] = Z(d, slot, 0) != 0.0;
  }
}

void Evidence::Rearrange(std::span<const int> saved_as) {
  const auto rearrange = [&](auto& of_detectors) {
    std::remove_reference_t<decltype(of_detectors)> out(saved_as.size());
    for (size_t d = 0; d < saved_as.size(); ++d) {
      if (saved_as[d] >= 0 && saved_as[d] < static_cast<int>(of_detectors.size())) out[d] = std::move(of_detectors[saved_as[d]]);
    }
    of_detectors = std::move(out);
  };
  rearrange(z_);
  rearrange(newest_);
  rearrange(absent_);
  FindRuns();
}

void Evidence::Append(const FeatureTick& tick, const ScoreTick& scores) {
  const Eigen::Index slots = tick.values.rows();
  z_.resize(scores.detectors.size());
  newest_.resize(scores.detectors.size());
  absent_.resize(scores.detectors.size());
  runs_.resize(scores.detectors.size());
  Resize(slots);
  noticed_.clear();
  first_noticed_.assign(static_cast<size_t>(slots), -1);
  for (Eigen::Index slot = 0; slot < slots; ++slot) {
    if (tick.born(slot)) Forget(static_cast<int>(slot));
  }
  for (int d = 0; d < static_cast<int>(scores.detectors.size()); ++d) {
    if (scores.detectors[d].idle) continue;
    const Eigen::ArrayXf& z = scores.detectors[d].z;
    const uint8_t *runs = runs_[d].data(), *loud = scores.detectors[d].loud.data();
    // Where nothing runs and nothing begins there is nothing to do.
    for (Eigen::Index begin = 0; begin < slots; begin += kLoudSlots) {
      const Eigen::Index end = std::min<Eigen::Index>(begin + kLoudSlots, slots);
      if (end - begin == kLoudSlots) {
        uint64_t running;
        static_assert(sizeof running == kLoudSlots);
        std::memcpy(&running, runs + begin, sizeof running);
        if (running == 0 && loud[begin / kLoudSlots] == 0) continue;
      }
      for (Eigen::Index slot = begin; slot < end; ++slot) {
        if (runs[slot] != 0 || std::abs(z(slot)) >= kLoud) Append(d, slot, z(slot), tick.present(slot, scores.detectors[d].feature));
      }
    }
  }
}

// Where a run is under way, or begins.
void Evidence::Append(int d, Eigen::Index slot, float z, bool present) {
  uint8_t& absent = absent_[d](0, slot);
  if (!present) {
    if (absent < kForgetAfterAbsent && ++absent == kForgetAfterAbsent) {
      z_[d].col(slot).setZero();
      runs_[d][slot] = 0;
    }
    if (absent < kForgetAfterAbsent && std::abs(Z(d, slot, 0)) >= kNotable) Notice(d, slot);
    return;
  }
  absent = 0;
  uint8_t& newest = newest_[d](0, slot);
  newest = newest == 0 ? kDepth - 1 : newest - 1;
  runs_[d][slot] = std::abs(z) >= kLoud;
  z_[d](newest, slot) = runs_[d][slot] != 0 ? z : 0.0f;
  if (std::abs(z) >= kNotable) Notice(d, slot);
}

void Evidence::Notice(int d, Eigen::Index slot) {
  noticed_.push_back({d, first_noticed_[slot]});
  first_noticed_[slot] = static_cast<int>(noticed_.size()) - 1;
}

EvidenceGroup Evidence::GroupOf(const DetectorScores& scores) const {
  if (IsAbsence(scores.channel)) return EvidenceGroup::kSilence;
  const FeatureSpec& feature = features_[scores.feature];
  switch (feature.kind) {
    case FeatureKind::kBytes: return EvidenceGroup::kMemory;
    case FeatureKind::kByteRate: return EvidenceGroup::kIo;
    case FeatureKind::kDuration: return EvidenceGroup::kLatency;
    case FeatureKind::kPopulation: return EvidenceGroup::kPopulation;
    case FeatureKind::kFact: return EvidenceGroup::kErrors;
    case FeatureKind::kCount: return feature.signal == "workload.process.started" ? EvidenceGroup::kPopulation : EvidenceGroup::kErrors;
    case FeatureKind::kUtilization: return feature.signal == "process.cpu.run_delay" ? EvidenceGroup::kWaiting : EvidenceGroup::kCpu;
    case FeatureKind::kRate:
      if (feature.attribute_value == "involuntary") return EvidenceGroup::kWaiting;
      return feature.signal == "process.paging.faults" ? EvidenceGroup::kIo : EvidenceGroup::kActivity;
    case FeatureKind::kShown: break;
  }
  return EvidenceGroup::kActivity;
}

double Evidence::StrengthOf(int detector, int slot, const DetectorScores& scores) const {
  const double newest = Z(detector, slot, 0);
  if (std::abs(newest) < kNotable || !scores.ready(slot)) return 0;
  const double sign = newest > 0 ? 1 : -1;
  double strength = 0, least = std::abs(newest);
  int held = 1;
  for (const Hold& hold : HoldsOf(scores.channel)) {
    for (; held < hold.assessments; ++held) least = std::min(least, sign * Z(detector, slot, held));
    strength = std::max(strength, least / hold.z);
  }
  if (sign < 0 && !IsAbsence(scores.channel) && scores.channel != Channel::kShape) {
    const FeatureKind kind = features_[scores.feature].kind;
    strength *= kind == FeatureKind::kBytes || kind == FeatureKind::kPopulation ? kSmallerWeight : kDownWeight;
  }
  return std::clamp(strength, 0.0, kStrongest);
}

// The detector of the share of these failures, which follows theirs in the registry; -1 = they are no share of anything.
int Evidence::ShareOf(int d, const ScoreTick& scores) {
  if (d + 1 >= static_cast<int>(scores.detectors.size()) || IsShare(scores.detectors[d].channel)) return -1;
  const DetectorScores& next = scores.detectors[d + 1];
  return IsShare(next.channel) && next.feature == scores.detectors[d].feature ? d + 1 : -1;
}

std::vector<Strength> Evidence::Of(int slot, const ScoreTick& scores, const std::vector<bool>& ignored) const {
  std::vector<Strength> out;
  for (int n = first_noticed_[slot]; n >= 0; n = noticed_[n].next) {
    const int d = noticed_[n].detector;
    const DetectorScores& detector = scores.detectors[d];
    if (ignored[detector.feature] || IsShare(detector.channel)) continue;
    double strength = StrengthOf(d, slot, detector);
    if (const int share = ShareOf(d, scores); share >= 0 && scores.detectors[share].ready(slot)) {
      strength = std::min(strength, StrengthOf(share, slot, scores.detectors[share]));
    }
    if (strength > 0) out.push_back({d, strength, Z(d, slot, 0)});
  }
  std::sort(out.begin(), out.end(), [](const Strength& a, const Strength& b) {
    return a.strength != b.strength ? a.strength > b.strength : a.detector < b.detector;
  });
  return out;
}

GroupStrengths Evidence::Groups(std::span<const Strength> strengths, const ScoreTick& scores) const {
  GroupStrengths out;
  for (const Strength& strength : strengths) {
    const DetectorScores& detector = scores.detectors[strength.detector];
    const int group = static_cast<int>(LayerOf(detector.channel)) * kEvidenceGroups + static_cast<int>(GroupOf(detector));
    if (strength.strength <= out.strength[group]) continue;
    out.strength[group] = strength.strength;
    out.up[group] = strength.z > 0;
  }
  return out;
}

// All of them: what is left out would tell the like of it again.
std::vector<EvidenceKind> Evidence::KindsOf(const v1::Incident& incident) const {
  std::array<std::array<bool, 2>, kEvidenceGroups> named{};
  for (const v1::Contribution& c : incident.contributions()) {
    const auto feature = std::find_if(features_.begin(), features_.end(), [&](const FeatureSpec& f) {
      return f.signal == c.signal() && (c.attributes().empty() || c.attributes().begin()->second == f.attribute_value);
    });
    if (feature == features_.end() || feature->kind == FeatureKind::kFact) continue;  // facts are told whatever is said of them
    DetectorScores scores;
    scores.feature = static_cast<int>(feature - features_.begin());
    std::array<bool, 2>& group = named[static_cast<size_t>(GroupOf(scores))];
    group[0] = group[0] || c.direction() != v1::Contribution::UP;  // a changed form has no direction
    group[1] = group[1] || c.direction() != v1::Contribution::DOWN;
  }
  if (incident.pattern() == v1::Incident::SILENCE) named[static_cast<size_t>(EvidenceGroup::kSilence)][0] = true;
  std::vector<EvidenceKind> kinds;
  for (int entry = 0; entry < kEvidenceEntries; ++entry) {
    for (const bool up : {false, true}) {
      if (named[entry % kEvidenceGroups][up ? 1 : 0]) kinds.push_back({entry, up});
    }
  }
  return kinds;
}

bool Evidence::Agree(std::span<const Strength> strengths, const ScoreTick& scores) const {
  const auto kind_of = [&](const Strength& strength) {
    constexpr std::string_view kMemory = "process.memory.";
    const std::string_view name = features_[scores.detectors[strength.detector].feature].signal;
    return name.starts_with(kMemory) ? kMemory : name;
  };
  return std::any_of(strengths.begin(), strengths.end(), [&](const Strength& strength) {
    return strength.strength >= kAgrees && kind_of(strength) != kind_of(strengths.front());
  });
}

double Led(const GroupStrengths& groups, int lead) {
  const double own = groups.strength[lead];
  double second = 0, third = 0;
  for (int group = 0; group < kEvidenceGroups; ++group) {
    if (group == lead % kEvidenceGroups) continue;
    double strength = 0;
    for (int entry = group; entry < kEvidenceEntries; entry += kEvidenceGroups) strength = std::max(strength, groups.strength[entry]);
    strength = std::min(own, strength);
    third = std::max(third, std::min(second, strength));
    second = std::max(second, strength);
  }
  return own + 0.5 * second + 0.25 * third;
}

double Combine(const GroupStrengths& groups) {
  const auto strongest = std::max_element(groups.strength.begin(), groups.strength.end());
  return Led(groups, static_cast<int>(strongest - groups.strength.begin()));
}

double TellingWeight(const FeatureSpec& feature) {
  if (feature.signal == "workload.process.started") return 4.0;  // each start may fail, so errors follow from it
  switch (feature.kind) {
    case FeatureKind::kFact: return 8.0;    // the kernel said so
    case FeatureKind::kCount: return 3.0;   // errors and starts cause load, not the other way round
    case FeatureKind::kUtilization:
    case FeatureKind::kBytes:
    case FeatureKind::kByteRate:
    case FeatureKind::kDuration: return 1.0;
    case FeatureKind::kRate:
    case FeatureKind::kPopulation:
    case FeatureKind::kShown: return 0.4;   // side effects of the others
  }
  return 1.0;
}

}  // namespace outlier
