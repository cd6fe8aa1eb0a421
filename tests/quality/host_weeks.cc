// How often the engine is wrong, and what it finds: simulated hosts through detectors and incidents.
//
//   host_weeks [--world NAME] [--hours H] [--workloads N] [--seed S] [--set key=value]...
//   host_weeks --fault step|ramp --sds 10 --seconds 600 --runs 6 ...      one series of one workload departs, after an hour
//
// Not a test: prints a table.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <chrono>
#include <map>

#include "tests/quality/simulated_host.h"
#include "userspace/config/config.h"
#include "userspace/detectors/detectors.h"
#include "userspace/features/features.h"
#include "userspace/incidents/incidents.h"

namespace outlier::quality {
namespace {

constexpr double kWeekHours = 168;

struct Options {
  std::string world;
  double hours = 24;
  int workloads = 20;
  uint64_t seed = 1;
  std::vector<std::string> sets;
  std::string fault;
  double sds = 10;
  uint64_t seconds = 600;
  int runs = 6;
};

class Host {
 public:
  Host(const config::v1::Config& config, World world, int workloads, uint64_t seed)
      : host_(world, workloads, seed), detectors_(Detectors::Make(config, FeatureSpecs())), incidents_(config, v1::Source(), FeatureSpecs()) {}
  std::vector<v1::IncidentChange> Tick() {
    host_.Next();
    detectors_->ScoreAndUpdate(host_.features(), &scores_);
    return incidents_.Judge(host_.workloads(), host_.features(), scores_);
  }
  SimulatedHost& host() { return host_; }

 private:
  SimulatedHost host_;
  std::unique_ptr<Detectors> detectors_;
  Incidents incidents_;
  ScoreTick scores_;
};

void NullWorld(const config::v1::Config& config, World world, const Options& options) {
  Host host(config, world, options.workloads, options.seed);
  const auto ticks = static_cast<uint64_t>(options.hours * 3600);
  std::map<std::string, int> leads;
  int opened = 0, first_hour = 0;
  const auto began = std::chrono::steady_clock::now();
  for (uint64_t t = 0; t < ticks; ++t) {
    for (const v1::IncidentChange& change : host.Tick()) {
      if (change.kind() != v1::IncidentChange::OPENED) continue;
      ++opened;
      first_hour += t < 3600;
      const v1::Incident& incident = change.incident();
      std::string lead = v1::Incident::Pattern_Name(incident.pattern());
      if (incident.contributions_size() > 0) lead += " " + incident.contributions(0).signal();
      ++leads[lead];
    }
  }
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  fmt::print("{:<16} {:>8.2f} {:>7} {:>10} {:>10.1f} {:>8.0f}  ", NameOf(world), options.hours / kWeekHours, opened, first_hour,
             (opened - first_hour) / std::max((options.hours - 1) / kWeekHours, 1e-9), took / static_cast<double>(ticks) * 1e6);
  for (const auto& [lead, count] : leads) fmt::print("{} x {}; ", count, lead);
  fmt::print("\n");
  fflush(stdout);
}

void Planted(const config::v1::Config& config, World world, const Options& options) {
  constexpr uint64_t kLearned = 3600;
  int found = 0;
  std::vector<uint64_t> delays;
  for (int run = 0; run < options.runs; ++run) {
    Host host(config, world, options.workloads, options.seed + static_cast<uint64_t>(run));
    Fault fault;
    fault.kind = options.fault == "ramp" ? Fault::Kind::kRamp : Fault::Kind::kStep;
    fault.slot = kFirstOwnedSlot;
    fault.feature = run % 2 == 0 ? FeatureColumn("process.cpu.utilization") : FeatureColumn("process.context_switches", "voluntary");
    fault.sds = options.sds;
    fault.begin = kLearned;
    fault.seconds = options.seconds;
    host.host().Plant(fault);
    bool told = false;
    for (uint64_t t = 1; t < kLearned + options.seconds + 60 && !told; ++t) {
      for (const v1::IncidentChange& change : host.Tick()) {
        if (t < kLearned || change.kind() != v1::IncidentChange::OPENED || change.incident().workload().name() != "service-003") continue;
        told = true;
        delays.push_back(t - kLearned);
      }
    }
    found += told;
  }
  std::sort(delays.begin(), delays.end());
  fmt::print("{:<16} {} of {} found, median delay {} s\n", NameOf(world), found, options.runs, delays.empty() ? 0 : delays[delays.size() / 2]);
  fflush(stdout);
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Simulated hosts through the engine");
  app.add_option("--world", options.world);
  app.add_option("--hours", options.hours)->check(CLI::PositiveNumber);
  app.add_option("--workloads", options.workloads)->check(CLI::Range(1, 4000));
  app.add_option("--seed", options.seed);
  app.add_option("--set", options.sets);
  app.add_option("--fault", options.fault)->check(CLI::IsMember({"step", "ramp"}));
  app.add_option("--sds", options.sds);
  app.add_option("--seconds", options.seconds);
  app.add_option("--runs", options.runs);
  CLI11_PARSE(app, argc, argv);
  const auto config = ParseConfig("", "none", options.sets);
  if (!config.ok()) {
    fmt::print(stderr, "{}\n", std::string(config.status().message()));
    return 2;
  }
  if (options.fault.empty()) {
    fmt::print("{:<16} {:>8} {:>7} {:>10} {:>10} {:>8}  {}\n", "world", "weeks", "opened", "first hour", "later/week", "us/tick", "told as");
  }
  for (int w = 0; w < kWorlds; ++w) {
    const World world = static_cast<World>(w);
    if (!options.world.empty() && NameOf(world) != options.world) continue;
    options.fault.empty() ? NullWorld(*config, world, options) : Planted(*config, world, options);
  }
  return 0;
}

}  // namespace
}  // namespace outlier::quality

int main(int argc, char** argv) { return outlier::quality::Main(argc, argv); }
