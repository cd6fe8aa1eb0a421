#include "userspace/pipeline/engine.h"

#include <algorithm>

#include <fmt/format.h>
#include <xxhash.h>

#include "userspace/base/archive.h"
#include "userspace/base/text.h"
#include "userspace/detectors/detectors.h"
#include "userspace/features/features.h"
#include "userspace/incidents/incidents.h"
#include "userspace/stream/losses.h"
#include "userspace/workloads/workloads.h"

namespace outlier {
namespace {

constexpr std::string_view kMagic = "OUTLSNAP";

int64_t TickOf(const std::string& config_bytes) {
  config::v1::Config config;
  return config.ParseFromString(config_bytes) ? config.tick() : 0;
}

class Street : public Engine {
 public:
  explicit Street(const Options& options)
      : config_(options.config),
        workloads_(options.config.detection().warm_up()),
        detectors_(Detectors::Make(options.config, FeatureSpecs())),
        incidents_(options.config, options.source, FeatureSpecs()) {}

  // The whole street. Each station takes the batch to its end before the next begins; none knows those after it.
  std::vector<TickOutput> Step(std::span<const TickInput> inputs) override {
    std::vector<TickOutput> outputs;
    while (!inputs.empty()) {
      const size_t batch = UpToReload(inputs);
      Walk(inputs.first(batch), &outputs);
      for (const Command& command : inputs[batch - 1].commands) Reload(command);
      inputs = inputs.subspan(batch);
    }
    return outputs;
  }

  std::string Save() const override {
    std::string body;
    ArchiveWriter archive(&body);
    std::string detectors;
    detectors_->Save(&detectors);
    archive(last_tick_, config_bytes_, workloads_, detectors, incidents_, losses_);
    std::string out(kMagic);
    ArchiveWriter header(&out);
    const uint64_t checksum = XXH3_64bits(body.data(), body.size());
    header(kNewestState, checksum);
    return out + body;
  }

  absl::Status Load(std::string_view snapshot) override {
    if (!snapshot.starts_with(kMagic) || snapshot.size() < kMagic.size() + 12) {
      return absl::DataLossError("cannot load model state: it does not begin as a snapshot of outlierd does");
    }
    snapshot.remove_prefix(kMagic.size());
    uint32_t version = 0;
    uint64_t checksum = 0;
    ArchiveReader(snapshot.substr(0, 12))(version, checksum);
    snapshot.remove_prefix(12);
    if (version < kOldestState || version > kNewestState) {
      return absl::FailedPreconditionError(
          fmt::format("cannot load model state: it has layout {}, this build reads {} to {}", version, kOldestState, kNewestState));
    }
    if (checksum != XXH3_64bits(snapshot.data(), snapshot.size())) {
      return absl::DataLossError("cannot load model state: its checksum is wrong");
    }
    // Into a second engine, so that this one is unchanged when something does not fit.
    Street other({config_, incidents_.source()});
    ArchiveReader archive(snapshot, version);
    std::string detectors;
    archive(other.last_tick_, other.config_bytes_, other.workloads_, detectors, other.incidents_, other.losses_);
    std::vector<int> saved_as;
    if (!archive.done() || !other.detectors_->Load(detectors, &saved_as)) {
      return absl::FailedPreconditionError("cannot load model state: it was written by a build with other features or models");
    }
    detectors_ = std::move(other.detectors_);
    ArchiveReader again(snapshot, version);
    again(last_tick_, config_bytes_, workloads_, detectors, incidents_, losses_);
    incidents_.Rearrange(saved_as);
    return absl::OkStatus();
  }

  uint64_t last_tick() const override { return last_tick_; }
  int64_t learned_tick_ns() const override { return TickOf(config_bytes_); }

  std::vector<v1::WorkloadState> Workloads(bool with_values) const override {
    std::vector<v1::WorkloadState> states;
    for (Slot slot = 0; slot < static_cast<Slot>(workloads_.slots()); ++slot) {
      if (!workloads_.used(slot)) continue;
      v1::WorkloadState& state = states.emplace_back();
      workloads_.Describe(slot, &state);
      state.set_score(incidents_.score(slot));
      state.set_warming_up(slot >= kFirstOwnedSlot && incidents_.warming_up(slot));
      for (int f = 0; with_values && f < static_cast<int>(FeatureSpecs().size()); ++f) {
        const auto value = incidents_.history().Value(slot, f, 0);
        if (!value) continue;
        v1::SeriesValue& out = *state.add_values();
        FillSignal(f, &out);
        out.set_value(*value);
        FillExpected(slot, f, &out);
      }
    }
    return states;
  }

  v1::QuerySeriesResponse Query(const v1::QuerySeriesRequest& request) const override {
    v1::QuerySeriesResponse response;
    const History& history = incidents_.history();
    const int64_t span = request.has_since() ? request.since().seconds() * 1'000'000'000 + request.since().nanos() : 0;
    for (Slot slot = 0; slot < static_cast<Slot>(workloads_.slots()); ++slot) {
      if (!workloads_.used(slot) || workloads_.workload(slot).name() != request.workload()) continue;
      for (int f = 0; f < static_cast<int>(FeatureSpecs().size()); ++f) {
        if (!request.signal().empty() && FeatureSpecs()[f].signal != request.signal()) continue;
        v1::Series series;
        for (int age = history.length() - 1; age >= 0; --age) {
          if (span > 0 && history.WallTime(age) < history.WallTime(0) - span) continue;
          const auto value = history.Value(slot, f, age);
          if (!value) continue;
          SetTime(history.WallTime(age), series.add_times());
          series.add_values(*value);
        }
        if (series.values().empty()) continue;
        *series.mutable_workload() = workloads_.workload(slot);
        FillSignal(f, &series);
        *response.add_series() = std::move(series);
      }
    }
    return response;
  }

  std::vector<std::string> OpenIncidents() const override {
    std::vector<std::string> ids;
    for (const auto& [slot, open] : incidents_.open()) ids.push_back(open.incident.id());
    return ids;
  }

  void FillStatus(v1::Status* status) const override {
    uint32_t workloads = 0, warming = 0;
    for (Slot slot = kFirstOwnedSlot; slot < static_cast<Slot>(workloads_.slots()); ++slot) {
      if (!workloads_.used(slot)) continue;
      workloads += 1;
      warming += incidents_.warming_up(slot);
    }
    status->set_ticks(last_tick_);
    status->set_workloads(workloads);
    status->set_warming_up(warming);
    status->set_processes(workloads_.living_processes());
    uint32_t judged = 0;
    for (const FeatureSpec& spec : FeatureSpecs()) judged += spec.kind != FeatureKind::kShown;
    status->set_series(workloads * judged);
    status->set_open_incidents(incidents_.open().size());
    v1::Budgets& budgets = *status->mutable_budgets();
    incidents_.FillBudgets(&budgets);
    budgets.set_cpu_percent_promised(config_.budgets().cpu_percent());
    status->mutable_feed_retained()->set_seconds(config_.feed().retain() / 1'000'000'000);
    budgets.set_memory_promised_bytes(config_.budgets().memory());
    for (const LossSample& loss : losses_) {
      v1::LossCounter& counter = *status->add_losses();
      counter.set_name(loss.name);
      counter.set_count(loss.count);
      counter.set_meaning(std::string(LossMeaning(loss.name)));
    }
    v1::LossCounter& full = *status->add_losses();
    full.set_name("workloads_full");
    full.set_count(workloads_.accounts_full());
    full.set_meaning(std::string(LossMeaning(full.name())));
  }

 private:
  static size_t UpToReload(std::span<const TickInput> inputs) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      for (const Command& command : inputs[i].commands) {
        if (command.kind == Command::Kind::kReload) return i + 1;
      }
    }
    return inputs.size();
  }

  void Walk(std::span<const TickInput> inputs, std::vector<TickOutput>* outputs) {
    std::vector<WorkloadTick>& workloads = workload_ticks_;
    workloads.resize(inputs.size());
    const size_t first = outputs->size();
    for (size_t t = 0; t < inputs.size(); ++t) {
      const TickInput& input = inputs[t];
      TickOutput& output = outputs->emplace_back();
      output.tick = input.tick;
      workloads_.Observe(input, &output.assignments, &workloads[t]);
      if (!input.losses.empty()) losses_ = input.losses;
      last_tick_ = input.tick;
    }
    features_.ticks.resize(workloads.size());
    scores_.ticks.resize(workloads.size());
    for (size_t t = 0; t < workloads.size(); ++t) ComputeFeatures(workloads[t], &features_.ticks[t]);
    for (size_t t = 0; t < workloads.size(); ++t) detectors_->ScoreAndUpdate(features_.ticks[t], &scores_.ticks[t]);
    for (size_t t = 0; t < workloads.size(); ++t) {
      (*outputs)[first + t].changes = incidents_.Judge(workloads[t], features_.ticks[t], scores_.ticks[t]);
    }
  }

  void Reload(const Command& command) {
    config::v1::Config config;
    if (command.kind != Command::Kind::kReload || !config.ParseFromString(command.config)) return;
    std::string learned;
    detectors_->Save(&learned);
    const int64_t learned_tick = learned_tick_ns();
    config_ = config;
    config_bytes_ = command.config;
    detectors_ = Detectors::Make(config_, FeatureSpecs());
    // The same features and models: only their settings changed. But ages and hours are counted in ticks: of another one nothing can be kept.
    const bool same_tick = learned_tick == 0 || learned_tick == config_.tick();
    if (same_tick) detectors_->Load(learned);
    workloads_.SetWarmUp(config_.detection().warm_up());
    incidents_.Reload(config_);
    if (!same_tick) incidents_.TickChanged();
  }

  // Of the last tick, of the level, and only what was told of it.
  void FillExpected(Slot slot, int feature, v1::SeriesValue* out) const {
    if (scores_.ticks.empty()) return;
    for (const DetectorScores& d : scores_.ticks.back().detectors) {
      if (d.feature != feature || d.channel != Channel::kLevel) continue;
      if (slot >= static_cast<Slot>(d.z.size()) || !d.ready(slot) || std::abs(d.z(slot)) < kNotable) return;
      out->set_expected(d.expected(slot));
      out->set_lower(d.lower(slot));
      out->set_upper(d.upper(slot));
      out->set_tail_probability(d.tail_probability(slot));
      return;
    }
  }

  template <class Message>
  static void FillSignal(int feature, Message* out) {
    const FeatureSpec& spec = FeatureSpecs()[feature];
    out->set_signal(std::string(spec.signal));
    out->set_unit(std::string(spec.unit));
    if (!spec.attribute_key.empty()) (*out->mutable_attributes())[std::string(spec.attribute_key)] = std::string(spec.attribute_value);
  }

  config::v1::Config config_;
  std::string config_bytes_;  // of the last reload
  class Workloads workloads_;
  std::unique_ptr<Detectors> detectors_;
  Incidents incidents_;
  std::vector<LossSample> losses_;
  uint64_t last_tick_ = 0;
  // Of the last batch, kept for their memory: 2 KB to 20 KB a workload, in the same place each tick.
  std::vector<WorkloadTick> workload_ticks_;
  FeatureFrame features_;
  ScoreFrame scores_;
};

}  // namespace

std::unique_ptr<Engine> Engine::Make(const Options& options) { return std::make_unique<Street>(options); }

}  // namespace outlier
