#include "userspace/detectors/detectors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "models/histogram_shape.h"
#include "models/lanes.h"
#include "userspace/base/archive.h"

namespace outlier {
namespace {

constexpr DetectorLine kLines[] = {
#define DETECTOR(kind, model, channel, only) {FeatureKind::kind, #model, Channel::channel, only},
#include "userspace/detectors/detectors.def"
#undef DETECTOR
};
constexpr uint32_t kVersion = 2;  // 1 did not know when it was saved
constexpr double kDay = 86400.0, kMinute = 60.0;
constexpr double kMostWeeksSkipped = 57;
constexpr double kJudgedShare = 0.5;     // of the warm-up, from which models speak: what nearly every workload does meanwhile is common
constexpr double kSettleSeconds = 15.0;  // the start of a replica is no news, whatever is known of its siblings

double SecondsOr(int64_t nanoseconds, double fallback) {
  return nanoseconds > 0 ? static_cast<double>(nanoseconds) * 1e-9 : fallback;
}

std::unique_ptr<models::Model> MakeModel(std::string_view name, const models::Options& options) {
  for (int i = 0; i < models::kModelCount; ++i) {
    if (models::kModels[i].name == name) return models::kModels[i].make(options);
  }
  return nullptr;  // a line of detectors.def names no model: the conformance test fails
}

// Of the calls of each slot, on the scale that durations are watched on. What stands where there were none does not matter.
void MeanLogarithm(const Eigen::ArrayXXf& counts, Eigen::ArrayXd* out) {
  static const Eigen::Matrix<float, 2, kDurationBuckets> kSums = [] {
    Eigen::Matrix<float, 2, kDurationBuckets> sums;
    for (int b = 0; b < kDurationBuckets; ++b) {
      const double lower = models::histogram_shape::BucketLowerSeconds(std::max(b, 1)), upper = models::histogram_shape::BucketLowerSeconds(b + 1);
      const double middle = b == 0 ? lower / std::sqrt(2.0) : std::sqrt(lower * upper);
      sums(0, b) = 1.0f;
      sums(1, b) = static_cast<float>(kLogOfDuration.Forward(middle, 1.0));
    }
    return sums;
  }();
  const Eigen::Matrix<float, 2, Eigen::Dynamic> of_slots = kSums * counts.matrix();
  *out = (of_slots.row(1).array() / of_slots.row(0).array().max(1.0f)).cast<double>().transpose();
}

FeatureTick Padded(const FeatureTick& tick, int slots) {
  FeatureTick out;
  const int64_t features = tick.values.cols(), rows = tick.values.rows();
  out.values.setZero(slots, features);
  out.values.topRows(rows) = tick.values;
  out.present.setConstant(slots, features, false);
  out.present.topRows(rows) = tick.present;
  for (int c = 0; c < kSyscallClasses; ++c) {
    out.durations[c].setZero(kDurationBuckets, slots);
    if (tick.durations[c].cols() == rows) out.durations[c].leftCols(rows) = tick.durations[c];
  }
  out.born.setConstant(slots, false);
  out.born.head(tick.born.size()) = tick.born;
  out.sibling = tick.sibling;
  out.interval_seconds = tick.interval_seconds;
  out.wall_time_ns = tick.wall_time_ns;
  return out;
}

}  // namespace

std::span<const DetectorLine> DetectorLines() { return kLines; }

std::unique_ptr<Detectors> Detectors::Make(const config::v1::Config& config, std::span<const FeatureSpec> specs) {
  return std::unique_ptr<Detectors>(new Detectors(config, specs));
}

Detectors::Detectors(const config::v1::Config& config, std::span<const FeatureSpec> specs)
    : config_(config), specs_(specs.begin(), specs.end()) {
  assessment_.notable = kNotable;
  MakeWatches();
}

// The calls of which these are the failures.
int Detectors::CallsOf(int feature) const {
  const auto calls = std::find_if(specs_.begin(), specs_.end(), [&](const FeatureSpec& spec) {
    return spec.kind == FeatureKind::kRate && spec.syscall_class >= 0 && spec.syscall_class == specs_[feature].syscall_class;
  });
  return calls == specs_.end() ? -1 : static_cast<int>(calls - specs_.begin());
}

void Detectors::MakeWatches() {
  models::Options options;
  options.tick_seconds = SecondsOr(config_.tick(), options.tick_seconds);
  options.half_life_seconds = SecondsOr(config_.detection().half_life(), options.half_life_seconds);
  const double warm_up = SecondsOr(config_.detection().warm_up(), options.warm_up_seconds);
  warm_up_ticks_ = std::ceil(warm_up / options.tick_seconds);
  judge_ticks_ = std::ceil(kJudgedShare * warm_up_ticks_);
  tick_seconds_ = options.tick_seconds;
  settle_ticks_ = std::ceil(kSettleSeconds / options.tick_seconds);
  for (int f = 0; f < static_cast<int>(specs_.size()); ++f) {
    for (const DetectorLine& line : kLines) {
      if (line.kind != specs_[f].kind || (!line.only.empty() && line.only != specs_[f].attribute_value)) continue;
      Watch watch;
      watch.feature = f;
      watch.channel = line.channel;
      watch.kind = line.kind;
      watch.syscall_class = specs_[f].syscall_class;
      watch.prior = line.channel == Channel::kHeldShare ? PriorOfHeldShare() : PriorOf(specs_[f], line.model);
      options.prior = watch.prior.prior;
      options.warm_up_seconds = warm_up * watch.prior.warm_up_share;
      options.judge_seconds = kJudgedShare * options.warm_up_seconds;
      if (IsShare(line.channel) && (watch.of = CallsOf(f)) < 0) continue;
      options.width = line.channel == Channel::kShape ? kDurationBuckets : 1;
      watch.model = MakeModel(line.model, options);
      watches_.push_back(std::move(watch));
    }
  }
}

void Detectors::Resize(int count) {
  const int old = slots();
  if (count <= old) return;
  presence_.conservativeResize(count);
  presence_.tail(count - old).setZero();
  transformed_.setZero(count);
  shares_.setZero(2, count);
  assessment_.Resize(count);
  always_.setConstant(count, true);
  notable_.reserve(count);
  for (Watch& watch : watches_) watch.model->Resize(count);
}

// Models count their day and week in ticks. After a time in which nobody watched, or a clock that was set, their hour follows the wall's; a minute
// is too little for an hour's profile to care. Of what it was set back whole weeks change nothing.
void Detectors::FollowClock(int64_t wall_time_ns) {
  if (wall_time_ns == 0) return;
  if (wall_time_ns_ != 0) behind_ += (static_cast<double>(wall_time_ns) - static_cast<double>(wall_time_ns_)) * 1e-9 / tick_seconds_ - 1.0;
  wall_time_ns_ = wall_time_ns;
  const double week = 7.0 * kDay / tick_seconds_;
  if (std::abs(behind_) < std::max(kMinute / tick_seconds_, 1.0)) return;
  const double within = std::fmod(behind_, week), weeks = std::clamp(std::trunc(behind_ / week), 0.0, kMostWeeksSkipped);
  const int64_t ticks = std::llround(within + week * weeks);
  behind_ = 0.0;
  if (ticks == 0) return;
  for (Watch& watch : watches_) watch.model->Skip(ticks);
}

void Detectors::ScoreAndUpdate(const FeatureTick& tick, ScoreTick* out) {
  const int count = static_cast<int>(tick.values.rows());
  if (count < slots()) {  // a snapshot may know more slots than its first tick: the others are absent
    ScoreAndUpdate(Padded(tick, slots()), out);
    return;
  }
  Resize(count);
  FollowClock(tick.wall_time_ns);
  for (int slot = 0; slot < std::min(count, static_cast<int>(tick.born.size())); ++slot) {
    if (!tick.born(slot)) continue;
    const int sibling = slot < static_cast<int>(tick.sibling.size()) ? tick.sibling[slot] : 0;
    presence_(slot) = sibling == 0 ? 0 : std::max(std::min(presence_(sibling), warm_up_ticks_) - settle_ticks_, 0.0);
    for (Watch& watch : watches_) sibling == 0 ? watch.model->Forget(slot) : watch.model->Adopt(sibling, slot);
  }
  out->detectors.resize(watches_.size());
  transformed_feature_ = -1;
  judged_ = presence_ >= judge_ticks_;
  out->warm = presence_ >= warm_up_ticks_;
  for (size_t w = 0; w < watches_.size(); ++w) Run(watches_[w], tick, &out->detectors[w]);
  // One feature after the other, as they lie.
  any_.setConstant(count, false);
  for (Eigen::Index f = 0; f < tick.present.cols(); ++f) any_ = any_ || tick.present.col(f);
  presence_ += any_.cast<double>();
}

void Detectors::Run(Watch& watch, const FeatureTick& tick, DetectorScores* out) {
  const models::SeriesMask present = tick.present.col(watch.feature);
  const bool nobody = std::memchr(present.data(), true, present.size()) == nullptr;  // has it now
  const double seconds = tick.interval_seconds > 0 ? tick.interval_seconds : 1.0;
  out->feature = watch.feature;
  out->channel = watch.channel;
  watch.seen |= !nobody;
  if (!watch.seen) {
    Rest(out);
    return;
  }
  out->idle = false;
  if (watch.channel == Channel::kShape) {
    watch.model->StepCounts(tick.durations[watch.syscall_class], present, &assessment_);
    Judge(watch, seconds, out);
    return;
  }
  if (watch.channel == Channel::kShare) {
    shares_.row(0) = tick.values.col(watch.feature).transpose() * seconds;
    shares_.row(1) = tick.values.col(watch.of).transpose() * seconds;
    watch.model->Step(shares_, present, &assessment_);
    Judge(watch, seconds, out);
    return;
  }
  const Transform& transform = watch.prior.transform;
  if (watch.kind == FeatureKind::kDuration) {
    MeanLogarithm(tick.durations[watch.syscall_class], &transformed_);
    transformed_feature_ = -1;
  } else if (watch.channel == Channel::kHeldShare) {  // a call a second more is believed, and was well: of none, none failed
    transformed_ = tick.values.col(watch.feature) / (tick.values.col(watch.of) + 1.0);
    transformed_feature_ = -1;
    // The models of one feature follow one another and mostly see it on the same scale. Where nobody has it, what stands there does not matter.
  } else if (!nobody && (watch.feature != transformed_feature_ || transform != transformed_by_)) {
    transform.Forward(tick.values.col(watch.feature), seconds, &transformed_);
    transformed_feature_ = watch.feature;
    transformed_by_ = transform;
  }
  watch.model->Step(Eigen::Map<const Eigen::ArrayXXd>(transformed_.data(), 1, slots()), present, &assessment_);
  Judge(watch, seconds, out);
}

// There is nothing to judge, and it says so, once.
void Detectors::Rest(DetectorScores* out) const {
  if (out->idle && out->z.size() == slots()) return;
  out->idle = true;
  out->z.setZero(slots());
  out->ready.setConstant(slots(), false);
}

void Detectors::Judge(const Watch& watch, double seconds, DetectorScores* out) {
  const models::Assessment& a = assessment_;
  const Transform& transform = watch.prior.transform;
  out->z.resize(slots());
  for (Eigen::ArrayXd* column : {&out->tail_probability, &out->expected, &out->lower, &out->upper, &out->rate}) {
    if (column->size() != slots()) column->setZero(slots());
  }
  out->ready.resize(slots());
  const bool fact = watch.prior.warm_up_share == 0.0;
  notable_.clear();
  Tell(fact ? always_.data() : judged_.data(), out);
  for (const int slot : notable_) {
    out->tail_probability(slot) = a.tail_probability(slot);
    out->rate(slot) = a.rate(slot);
    out->expected(slot) = transform.Inverse(a.expected(slot), seconds);
    out->lower(slot) = transform.Inverse(a.lower(slot), seconds);
    out->upper(slot) = transform.Inverse(a.upper(slot), seconds);
  }
}

// z and ready, four slots at a time, where four are alike; notes those that are notable, and where any is loud.
void Detectors::Tell(const bool* judged, DetectorScores* out) {
  using models::kLanes;
  constexpr auto kNotableZ = static_cast<float>(kNotable), kLoudZ = static_cast<float>(kLoud);
  constexpr bool kAll[kLanes] = {true, true, true, true};
  const double* z = assessment_.z.data();
  const bool* ready = assessment_.ready.data();
  bool* ready_out = out->ready.data();
  float* z_out = out->z.data();
  const int count = slots(), fours = count - count % kLanes;
  out->loud.assign((count + kLoudSlots - 1) / kLoudSlots, 0);
  uint8_t* loud_out = out->loud.data();
  const auto tell_one = [&](int slot) {
    ready_out[slot] = ready[slot] && judged[slot];
    z_out[slot] = ready_out[slot] ? static_cast<float>(z[slot]) : 0.0f;
    if (std::abs(z_out[slot]) >= kLoudZ) loud_out[slot / kLoudSlots] = 1;
    if (std::abs(z_out[slot]) >= kNotableZ) notable_.push_back(slot);
  };
  for (int slot = 0; slot < fours; slot += kLanes) {
    uint32_t is_ready, is_judged;
    std::memcpy(&is_ready, ready + slot, sizeof is_ready);
    std::memcpy(&is_judged, judged + slot, sizeof is_judged);
    const uint32_t told = is_ready & is_judged;
    if (told != 0 && told != std::bit_cast<uint32_t>(kAll)) {
      for (int lane = 0; lane < kLanes; ++lane) tell_one(slot + lane);
      continue;
    }
    models::Lanes four{};
    if (told != 0) four = models::Narrowed(models::LanePair{z[slot], z[slot + 1]}, models::LanePair{z[slot + 2], z[slot + 3]});
    std::memcpy(ready_out + slot, &told, sizeof told);
    std::memcpy(z_out + slot, &four, sizeof four);
    if (!models::Any(models::Abs(four) >= kLoudZ)) continue;
    for (int lane = 0; lane < kLanes; ++lane) tell_one(slot + lane);
  }
  for (int slot = fours; slot < count; ++slot) tell_one(slot);
}

void Detectors::Save(std::string* out) const {
  ArchiveWriter archive(out);
  const uint64_t count = watches_.size();
  archive(kVersion, count, presence_, wall_time_ns_, behind_);
  for (const Watch& watch : watches_) {
    std::string state;
    watch.model->Save(&state);
    const int32_t feature = watch.feature;
    archive(feature, watch.channel, state);
  }
}

bool Detectors::Load(std::string_view bytes, std::vector<int>* saved_as) {
  Detectors loaded(config_, specs_);
  ArchiveReader archive(bytes);
  uint32_t version = 0;
  uint64_t count = 0;
  archive(version, count, loaded.presence_);
  if (version >= 2) archive(loaded.wall_time_ns_, loaded.behind_);
  if (!archive.ok() || version == 0 || version > kVersion || !loaded.presence_.isFinite().all() || !std::isfinite(loaded.behind_)) return false;
  std::vector<int> from(loaded.watches_.size(), -1);
  for (uint64_t saved = 0; saved < count; ++saved) {
    int32_t feature = 0;
    Channel channel{};
    std::string state;
    archive(feature, channel, state);
    if (!archive.ok()) return false;
    for (size_t w = 0; w < from.size(); ++w) {
      Watch& watch = loaded.watches_[w];
      if (feature != watch.feature || channel != watch.channel) continue;
      if (from[w] >= 0 || !watch.model->Load(state) || watch.model->series() != loaded.presence_.size()) return false;
      from[w] = static_cast<int>(saved);
    }
  }
  if (!archive.done() || std::count(from.begin(), from.end(), -1) == static_cast<std::ptrdiff_t>(from.size())) return false;
  for (size_t w = 0; w < from.size(); ++w) {
    loaded.watches_[w].seen = from[w] >= 0;
    if (from[w] < 0) loaded.watches_[w].model->Resize(loaded.presence_.size());
  }
  if (saved_as != nullptr) *saved_as = std::move(from);
  loaded.transformed_.setZero(loaded.presence_.size());
  shares_.setZero(2, loaded.presence_.size());
  assessment_.Resize(loaded.presence_.size());
  always_.setConstant(loaded.presence_.size(), true);
  notable_.reserve(loaded.presence_.size());
  watches_ = std::move(loaded.watches_);
  presence_.swap(loaded.presence_);
  wall_time_ns_ = loaded.wall_time_ns_;
  behind_ = loaded.behind_;
  transformed_.swap(loaded.transformed_);
  return true;
}

int64_t Detectors::state_bytes_per_slot() const {
  int64_t sum = sizeof(double);
  for (const Watch& watch : watches_) sum += watch.model->state_bytes_per_series();
  return sum;
}

}  // namespace outlier
