#include "tests/quality/campaign.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include <fmt/format.h>

#include "userspace/config/config.h"

namespace outlier::quality {

void SideBySide(int jobs, size_t count, const std::function<void(size_t)>& run) {
  std::atomic<size_t> next = 0, done = 0;
  const auto work = [&] {
    for (size_t i = next++; i < count; i = next++) {
      run(i);
      fmt::print(stderr, "\r{} of {} hosts ", ++done, count);
    }
  };
  std::vector<std::jthread> threads;
  for (int j = 0; j < jobs; ++j) threads.emplace_back(work);
  threads.clear();
  fmt::print(stderr, "\n");
}

std::optional<config::v1::Config> ConfigWith(const std::vector<std::string>& sets) {
  const auto config = ParseConfig("", "none", sets);
  if (config.ok()) return *config;
  fmt::print(stderr, "{}\n", std::string(config.status().message()));
  return std::nullopt;
}

std::vector<std::string> WorldNames() {
  std::vector<std::string> names;
  for (int w = 0; w < kWorlds; ++w) names.emplace_back(NameOf(static_cast<World>(w)));
  return names;
}

std::vector<World> WorldsOf(const std::vector<std::string>& names) {
  std::vector<World> worlds;
  for (int w = 0; w < kWorlds; ++w) {
    const World world = static_cast<World>(w);
    if (names.empty() || std::find(names.begin(), names.end(), NameOf(world)) != names.end()) worlds.push_back(world);
  }
  return worlds;
}

}  // namespace outlier::quality
