// Cost of one tick per series and model, over many series in memory order: time_per_series, and bytes of state.
#include <benchmark/benchmark.h>

#include <cmath>
#include <random>

#include "models/model.h"

namespace outlier::models {
namespace {

void Tick(benchmark::State& state, const Registration& registration) {
  const int64_t series = state.range(0);
  Options options;
  options.width = 52;
  auto model = registration.make(options);
  model->Resize(series);
  Assessment out;
  out.Resize(series);
  const Eigen::Array<bool, Eigen::Dynamic, 1> mask = Eigen::Array<bool, Eigen::Dynamic, 1>::Constant(series, true);
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal;
  std::vector<Eigen::ArrayXXd> world(16, Eigen::ArrayXXd(model->width(), series));
  for (Eigen::ArrayXXd& x : world) x = x.unaryExpr([&](double) { return std::floor(std::abs(10 + 3 * normal(random))); });
  size_t t = 0;
  auto tick = [&] {
    const Eigen::ArrayXXd& x = world[t++ % world.size()];
    model->Score(x, mask, &out);
    model->Update(x, mask);
  };
  while (t < 200) tick();  // past the warm-up
  for (auto _ : state) tick();
  state.counters["time_per_series"] =
      benchmark::Counter(static_cast<double>(series), benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
  state.counters["bytes_per_series"] = static_cast<double>(model->state_bytes_per_series());
}

}  // namespace
}  // namespace outlier::models

int main(int argc, char** argv) {
  using namespace outlier::models;
  for (int i = 0; i < kModelCount; ++i) {
    benchmark::RegisterBenchmark(std::string(kModels[i].name).c_str(), [i](benchmark::State& state) { Tick(state, kModels[i]); })
        ->Arg(500)->Arg(20000);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
