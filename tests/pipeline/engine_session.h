// Sessions of a simulated host through an engine, shared by the engine's tests.
#pragma once
#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "tests/pipeline/simulated_host.h"
#include "userspace/pipeline/engine.h"

namespace outlier {

inline config::v1::Config ShortWarmUp() {
  config::v1::Config config;
  config.set_tick(kSecondNs);
  config.mutable_budgets()->set_false_alarms_per_week(1);
  config.mutable_detection()->set_warm_up(45 * kSecondNs);
  config.mutable_detection()->set_half_life(86400 * kSecondNs);
  return config;
}

inline std::unique_ptr<Engine> MakeEngine(const config::v1::Config& config = ShortWarmUp()) {
  v1::Source source;
  source.set_feed_id("feed");
  return Engine::Make({config, source});
}

// 60 healthy ticks, then `fault` (called before each further tick with its number from 0), then healthy again.
struct Session {
  std::vector<TickInput> inputs;
  uint64_t fault_ns = 0;
};
inline Session Record(const std::function<void(SimulatedHost&, int)>& fault, int fault_ticks, const std::function<void(SimulatedHost&)>& heal,
                      int healed_ticks = 60, int services = 3) {
  Session session;
  SimulatedHost host(services);
  for (int i = 0; i < 60; ++i) session.inputs.push_back(host.Tick());
  session.fault_ns = host.now_ns();
  for (int i = 0; i < fault_ticks; ++i) {
    fault(host, i);
    session.inputs.push_back(host.Tick());
  }
  heal(host);
  for (int i = 0; i < healed_ticks; ++i) session.inputs.push_back(host.Tick());
  return session;
}

inline std::vector<v1::IncidentChange> Changes(Engine* engine, std::span<const TickInput> inputs, size_t batch = 1) {
  std::vector<v1::IncidentChange> changes;
  for (size_t i = 0; i < inputs.size(); i += batch) {
    for (const TickOutput& output : engine->Step(inputs.subspan(i, std::min(batch, inputs.size() - i)))) {
      changes.insert(changes.end(), output.changes.begin(), output.changes.end());
    }
  }
  return changes;
}

}  // namespace outlier
