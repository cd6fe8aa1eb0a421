// A whole tick of the part that judges: features of a simulated host through detectors and incidents. ms_per_tick on one core.
#include <benchmark/benchmark.h>

#include "tests/quality/judged_host.h"
#include "userspace/config/config.h"

namespace outlier::quality {
namespace {

// Past every warm-up, and far enough that models which look at windows have full ones.
constexpr uint64_t kLearned = 700;

void Tick(benchmark::State& state, World world) {
  JudgedHost host(DefaultConfig(), {.world = world, .workloads = static_cast<int>(state.range(0))});
  while (host.host().tick() < kLearned) host.Tick();
  const double engine = host.engine_seconds(), generator = host.generator_seconds();
  double before = engine;
  for (auto _ : state) {
    host.Tick();
    state.SetIterationTime(host.engine_seconds() - before);
    before = host.engine_seconds();
  }
  const auto ticks = static_cast<double>(state.iterations());
  const auto series = static_cast<double>((host.host().features().present.count()));
  const double each = (host.engine_seconds() - engine) / ticks;
  state.counters["ms_per_tick"] = each * 1e3;
  state.counters["ns_per_series"] = each / series * 1e9;
  state.counters["series"] = series;
  state.counters["generator_ms"] = (host.generator_seconds() - generator) / ticks * 1e3;
}

BENCHMARK_CAPTURE(Tick, quiet, World::kFlat)->Arg(200)->Arg(2000)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Tick, mixture, World::kMixture)->Arg(2000)->UseManualTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace outlier::quality

BENCHMARK_MAIN();
