#include "userspace/detectors/detectors.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "userspace/base/archive.h"

namespace outlier {
namespace {

constexpr DetectorLine kLines[] = {
#define DETECTOR(kind, model, channel, only) {FeatureKind::kind, #model, Channel::channel, only},
#include "userspace/detectors/detectors.def"
#undef DETECTOR
};
constexpr uint32_t kVersion = 1;
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
  return out;
}

}  // namespace

std::span<const DetectorLine> DetectorLines() { return kLines; }

std::unique_ptr<Detectors> Detectors::Make(const config::v1::Config& config, std::span<const FeatureSpec> specs) {
  return std::unique_ptr<Detectors>(new Detectors(config, specs));
}

Detectors::Detectors(const config::v1::Config& config, std::span<const FeatureSpec> specs)
    : config_(config), specs_(specs.begin(), specs.end()) {
  MakeWatches();
}

void Detectors::MakeWatches() {
  models::Options options;
  options.tick_seconds = SecondsOr(config_.tick(), options.tick_seconds);
  options.half_life_seconds = SecondsOr(config_.detection().half_life(), options.half_life_seconds);
  const double warm_up = SecondsOr(config_.detection().warm_up(), options.warm_up_seconds);
  warm_up_ticks_ = std::ceil(warm_up / options.tick_seconds);
  settle_ticks_ = std::ceil(kSettleSeconds / options.tick_seconds);
  for (int f = 0; f < static_cast<int>(specs_.size()); ++f) {
    for (const DetectorLine& line : kLines) {
      if (line.kind != specs_[f].kind || (!line.only.empty() && line.only != specs_[f].attribute_value)) continue;
      Watch watch;
      watch.feature = f;
      watch.channel = line.channel;
      watch.kind = line.kind;
      watch.syscall_class = specs_[f].syscall_class;
      watch.prior = PriorOf(specs_[f], line.model);
      options.prior = watch.prior.prior;
      options.warm_up_seconds = warm_up * watch.prior.warm_up_share;
      options.width = line.kind == FeatureKind::kDuration ? kDurationBuckets : 1;
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
  for (Watch& watch : watches_) {
    watch.model->Resize(count);
    watch.assessment.Resize(count);
  }
}

void Detectors::ScoreAndUpdate(const FeatureTick& tick, ScoreTick* out) {
  const int count = static_cast<int>(tick.values.rows());
  if (count < slots()) {  // a snapshot may know more slots than its first tick: the others are absent
    ScoreAndUpdate(Padded(tick, slots()), out);
    return;
  }
  Resize(count);
  for (int slot = 0; slot < std::min(count, static_cast<int>(tick.born.size())); ++slot) {
    if (!tick.born(slot)) continue;
    const int sibling = slot < static_cast<int>(tick.sibling.size()) ? tick.sibling[slot] : 0;
    presence_(slot) = sibling == 0 ? 0 : std::max(std::min(presence_(sibling), warm_up_ticks_) - settle_ticks_, 0.0);
    for (Watch& watch : watches_) sibling == 0 ? watch.model->Forget(slot) : watch.model->Adopt(sibling, slot);
  }
  out->detectors.resize(watches_.size());
  transformed_feature_ = -1;
  for (size_t w = 0; w < watches_.size(); ++w) Run(watches_[w], tick, &out->detectors[w]);
  for (int slot = 0; slot < count; ++slot) presence_(slot) += tick.present.row(slot).any();
}

void Detectors::Run(Watch& watch, const FeatureTick& tick, DetectorScores* out) {
  const models::SeriesMask present = tick.present.col(watch.feature);
  const double seconds = tick.interval_seconds > 0 ? tick.interval_seconds : 1.0;
  out->feature = watch.feature;
  out->channel = watch.channel;
  if (watch.kind == FeatureKind::kDuration) {
    Judge(watch, tick.durations[watch.syscall_class], present, seconds, out);
    return;
  }
  // The models of one feature follow one another and mostly see it on the same scale.
  const Transform& transform = watch.prior.transform;
  if (watch.feature != transformed_feature_ || transform != transformed_by_) {
    for (int slot = 0; slot < slots(); ++slot) {
      transformed_(slot) = present(slot) ? transform.Forward(tick.values(slot, watch.feature), seconds) : 0.0;
    }
    transformed_feature_ = watch.feature;
    transformed_by_ = transform;
  }
  Judge(watch, Eigen::Map<const Eigen::ArrayXXd>(transformed_.data(), 1, slots()), present, seconds, out);
}

void Detectors::Judge(Watch& watch, const models::Values& x, const models::SeriesMask& mask, double seconds, DetectorScores* out) {
  models::Assessment& a = watch.assessment;
  watch.model->Step(x, mask, &a);
  const Transform& transform = watch.prior.transform;
  for (Eigen::ArrayXd* column : {&out->tail_probability, &out->z, &out->expected, &out->lower, &out->upper, &out->rate}) {
    column->resize(slots());
  }
  out->ready.resize(slots());
  const bool fact = watch.prior.warm_up_share == 0.0;
  // Neighbouring slots often expect the same, above all nothing: the last answer of each column is kept.
  struct Inverse {
    double of = 0.0, is;
    double operator()(double y, const Transform& transform, double seconds) {
      if (y != of) is = transform.Inverse(of = y, seconds);
      return is;
    }
  };
  const double inverse_of_nothing = transform.Inverse(0.0, seconds);
  Inverse expected{0.0, inverse_of_nothing}, lower = expected, upper = expected;
  for (int slot = 0; slot < slots(); ++slot) {
    const bool ready = a.ready(slot) && (fact || presence_(slot) >= warm_up_ticks_);
    out->ready(slot) = ready;
    out->tail_probability(slot) = ready ? a.tail_probability(slot) : 1.0;
    out->z(slot) = ready ? a.z(slot) : 0.0;
    out->rate(slot) = ready ? a.rate(slot) : 0.0;
    out->expected(slot) = expected(a.expected(slot), transform, seconds);
    out->lower(slot) = lower(a.lower(slot), transform, seconds);
    out->upper(slot) = upper(a.upper(slot), transform, seconds);
  }
}

void Detectors::Save(std::string* out) const {
  ArchiveWriter archive(out);
  const uint64_t count = watches_.size();
  archive(kVersion, count, presence_);
  for (const Watch& watch : watches_) {
    std::string state;
    watch.model->Save(&state);
    const int32_t feature = watch.feature;
    archive(feature, watch.channel, state);
  }
}

bool Detectors::Load(std::string_view bytes) {
  Detectors loaded(config_, specs_);
  ArchiveReader archive(bytes);
  uint32_t version = 0;
  uint64_t count = 0;
  archive(version, count, loaded.presence_);
  if (!archive.ok() || version != kVersion || count != loaded.watches_.size() || !loaded.presence_.isFinite().all()) return false;
  for (Watch& watch : loaded.watches_) {
    int32_t feature = 0;
    Channel channel{};
    std::string state;
    archive(feature, channel, state);
    if (!archive.ok() || feature != watch.feature || channel != watch.channel || !watch.model->Load(state) ||
        watch.model->series() != loaded.presence_.size()) {
      return false;
    }
    watch.assessment.Resize(loaded.presence_.size());
  }
  if (!archive.done()) return false;
  loaded.transformed_.setZero(loaded.presence_.size());
  watches_ = std::move(loaded.watches_);
  presence_.swap(loaded.presence_);
  transformed_.swap(loaded.transformed_);
  return true;
}

int64_t Detectors::state_bytes_per_slot() const {
  int64_t sum = sizeof(double);
  for (const Watch& watch : watches_) sum += watch.model->state_bytes_per_series();
  return sum;
}

}  // namespace outlier
