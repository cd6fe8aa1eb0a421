// Cost of one tick per series and model, over many series in memory order: time_per_series, and bytes of state. Last the pair that
// `outlierctl score` runs over every column, from a thousand series to a million.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "models/model.h"

namespace outlier::models {
namespace {

constexpr int kWarmUp = 200;             // ticks
constexpr int64_t kLeastDraws = 200000;  // so many that no branch predictor knows them by heart

// `table`: as in `outlierctl score`, a row a minute, and nobody asks what was expected. Else as in the daemon.
void Tick(benchmark::State& state, const std::vector<std::string_view>& names, bool table) {
  const int64_t series = state.range(0);
  Options options;
  options.tick_seconds = table ? 60 : 1;  // series born at different minutes are in different hours of their day
  options.warm_up_seconds = 60 * options.tick_seconds;
  options.width = 52;
  std::vector<std::unique_ptr<Model>> models;
  std::vector<Assessment> out(names.size());
  for (int i = 0; i < kModelCount; ++i) {
    if (std::find(names.begin(), names.end(), kModels[i].name) == names.end()) continue;
    Assessment& a = out[models.size()];
    table ? a.ResizeToJudge(series) : a.Resize(series);
    if (!table) a.notable = 3.0;  // kNotable of userspace/stream/score.h
    models.push_back(kModels[i].make(options));
    models.back()->Resize(series);
  }
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal;
  std::vector<Eigen::ArrayXXd> world(2 + kLeastDraws / series, Eigen::ArrayXXd(models.front()->width(), series));
  for (Eigen::ArrayXXd& x : world) x = x.unaryExpr([&](double) { return std::floor(std::abs(10 + 3 * normal(random))); });
  Eigen::Array<bool, Eigen::Dynamic, 1> mask(series);
  int64_t t = 0;
  auto tick = [&] {
    const Eigen::ArrayXXd& x = world[t++ % world.size()];
    for (size_t m = 0; m < models.size(); ++m) models[m]->Step(x, mask, &out[m]);
  };
  while (t < kWarmUp) {
    for (int64_t i = 0; i < series; ++i) mask(i) = i * 7919 % (kWarmUp / 2) <= t;
    tick();
  }
  for (auto _ : state) tick();
  state.counters["time_per_series"] =
      benchmark::Counter(static_cast<double>(series), benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
  state.counters["bytes_per_series"] = std::accumulate(models.begin(), models.end(), 0.0, [](double sum, const auto& model) {
    return sum + static_cast<double>(model->state_bytes_per_series());
  });
}

void Register(const std::string& title, std::vector<std::string_view> names, bool table, std::initializer_list<int64_t> sizes) {
  auto* it = benchmark::RegisterBenchmark(title.c_str(), [=](benchmark::State& state) { Tick(state, names, table); });
  for (const int64_t series : sizes) it->Arg(series);
}

}  // namespace
}  // namespace outlier::models

int main(int argc, char** argv) {
  using namespace outlier::models;
  for (int i = 0; i < kModelCount; ++i) Register(std::string(kModels[i].name), {kModels[i].name}, false, {500, 20000});
  Register("level_profile_scale_difference_tails", {"seasonal_level", "step"}, true, {1000, 10000, 100000, 1000000});
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
