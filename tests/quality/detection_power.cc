// What the engine finds, and when: faults planted on simulated hosts that it has learned from, each run another seed and workload.
//
//   detection_power [--world NAME]... [--fault KIND]... [--sizes 2 5 10] [--seconds 60 600] [--runs R] [--learn HOURS] [--csv FILE] ...
//
// One host carries several faults, far apart in workload and begun one after the other, so that one warm-up serves many runs. A fault is
// found when an incident of its workload opens between its begin and a minute after its end. Not a test: prints a table.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <fstream>
#include <map>

#include "tests/quality/campaign.h"
#include "tests/quality/judged_host.h"
#include "userspace/features/features.h"

namespace outlier::quality {
namespace {

constexpr uint64_t kGrace = 60;  // s after its end, in which a fault can still be told

struct Options {
  std::vector<std::string> worlds, faults, sets;
  std::vector<double> sizes;
  std::vector<uint64_t> seconds;
  double learn = 4;
  int runs = 20, workloads = 200, on_a_host = 10, jobs = 1;
  uint64_t gap = 300, seed = 1000;
  std::string csv;
};

// What is planted when nothing else is asked for.
struct Usual {
  FaultKind kind;
  std::vector<double> sizes;
  std::vector<uint64_t> seconds;
};
const Usual kUsual[] = {
    {FaultKind::kStep, {2, 3, 4, 5, 6, 8, 10, 14, 20}, {60, 600, 3600}},
    {FaultKind::kRamp, {3, 5, 10, 20}, {3600}},
    {FaultKind::kLeak, {10, 20, 40}, {6 * 3600}},
    {FaultKind::kVariance, {3}, {1800}},
    {FaultKind::kTogether, {1.5, 3}, {60, 600}},
    {FaultKind::kSilence, {1}, {600}},
    {FaultKind::kRhythm, {2}, {3600}},
    {FaultKind::kSecondMode, {0.1, 0.3}, {600}},
    {FaultKind::kCountBurst, {1, 3, 10}, {60, 600}},
    {FaultKind::kCorrelation, {1}, {3600}},
};

struct Case {
  World world;
  FaultKind kind;
  double size;
  uint64_t seconds;
  auto operator<=>(const Case&) const = default;
};
struct Outcome {
  int runs = 0;
  std::vector<uint64_t> delays;  // of those found
};
using Outcomes = std::map<Case, Outcome>;

bool Makes(World world, FaultKind kind) { return kind != FaultKind::kRhythm || world == World::kPeriodicJobs; }

int FeatureOf(const Case& c, int run) {
  switch (c.kind) {
    case FaultKind::kLeak: return FeatureColumn("process.memory.usage");
    case FaultKind::kCorrelation: return FeatureColumn("process.context_switches", "voluntary");
    case FaultKind::kSecondMode: return FeatureColumn("process.syscall.duration", "file");
    case FaultKind::kCountBurst: return FeatureColumn("process.syscall.errors", "file");
    default: break;
  }
  const int features[] = {FeatureColumn("process.cpu.utilization"), FeatureColumn("process.context_switches", "voluntary"),
                          FeatureColumn("process.disk.io", "write"), FeatureColumn("process.syscall.rate", "file"),
                          FeatureColumn("process.memory.usage")};
  // Teeth as high as the memory itself, and a variance in units of a page, would hide any such fault.
  const int n = c.world == World::kSawTooth || c.kind == FaultKind::kVariance ? 4 : 5;
  return features[run % n];
}

// Some cases on one host.
Outcomes RunHost(const config::v1::Config& config, const Options& options, const std::vector<Case>& cases, uint64_t seed) {
  JudgedHost judged(config, {.world = cases[0].world, .workloads = options.workloads, .seed = seed});
  const auto learned = static_cast<uint64_t>(options.learn * 3600);
  std::vector<Fault> faults;
  uint64_t end = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    Fault fault;
    fault.kind = cases[i].kind;
    fault.size = cases[i].size;
    fault.seconds = cases[i].seconds;
    fault.slot = kFirstOwnedSlot + static_cast<Slot>(i * static_cast<size_t>(options.workloads) / cases.size());
    if (fault.kind == FaultKind::kRhythm) fault.slot -= (fault.slot - kFirstOwnedSlot) % 2;  // jobs of 5 min are those of even number
    fault.feature = FeatureOf(cases[i], static_cast<int>(seed + i));
    fault.begin = learned + i * options.gap;
    end = std::max(end, fault.begin + fault.seconds + kGrace);
    judged.host().Plant(fault);
    faults.push_back(fault);
  }
  for (uint64_t t = 0; t < end; ++t) judged.Tick();
  Outcomes outcomes;
  for (size_t i = 0; i < cases.size(); ++i) {
    Outcome& outcome = outcomes[cases[i]];
    outcome.runs += 1;
    const Fault& fault = faults[i];
    const auto told = judged.FirstTold(fault.slot, fault.begin);
    if (told && *told <= fault.begin + fault.seconds + kGrace) outcome.delays.push_back(*told - fault.begin);
  }
  return outcomes;
}

// Every run of every case, in hosts of one world. Cases of like length share a host.
std::vector<std::vector<Case>> Plan(const Options& options) {
  std::vector<std::vector<Case>> hosts;
  for (const World world : WorldsOf(options.worlds)) {
    std::map<uint64_t, std::vector<Case>> by_length;
    for (int run = 0; run < options.runs; ++run) {
      for (const Usual& usual : kUsual) {
        const auto& wanted = options.faults;
        if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), NameOf(usual.kind)) == wanted.end()) continue;
        if (!Makes(world, usual.kind)) continue;
        for (const uint64_t seconds : options.seconds.empty() ? usual.seconds : options.seconds) {
          std::vector<Case>& cases = by_length[seconds];
          for (const double size : options.sizes.empty() ? usual.sizes : options.sizes) cases.push_back({world, usual.kind, size, seconds});
        }
      }
    }
    for (const auto& [seconds, cases] : by_length) {
      for (size_t i = 0; i < cases.size(); i += static_cast<size_t>(options.on_a_host)) {
        hosts.emplace_back(cases.begin() + static_cast<std::ptrdiff_t>(i),
                           cases.begin() + static_cast<std::ptrdiff_t>(std::min(i + static_cast<size_t>(options.on_a_host), cases.size())));
      }
    }
  }
  return hosts;
}

void Print(const Outcomes& outcomes, const std::string& path) {
  std::ofstream csv;
  if (!path.empty()) csv.open(path);
  csv << "world,fault,size,seconds,runs,found,median_delay_s\n";
  fmt::print("{:<16} {:<12} {:>6} {:>8} {:>9} {:>14}\n", "world", "fault", "size", "seconds", "found", "median delay s");
  for (const auto& [c, outcome] : outcomes) {
    std::vector<uint64_t> delays = outcome.delays;
    std::sort(delays.begin(), delays.end());
    const std::string delay = delays.empty() ? "" : fmt::format("{}", delays[delays.size() / 2]);
    const std::string found = fmt::format("{}/{}", delays.size(), outcome.runs);
    fmt::print("{:<16} {:<12} {:>6} {:>8} {:>9} {:>14}\n", NameOf(c.world), NameOf(c.kind), c.size, c.seconds, found, delay);
    csv << fmt::format("{},{},{},{},{},{},{}\n", NameOf(c.world), NameOf(c.kind), c.size, c.seconds, outcome.runs, delays.size(), delay);
  }
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Planted faults on simulated hosts: what the engine finds of them, and when");
  std::vector<std::string> kinds;
  for (int k = 0; k < kFaultKinds; ++k) kinds.emplace_back(NameOf(static_cast<FaultKind>(k)));
  app.add_option("--world", options.worlds)->check(CLI::IsMember(WorldNames()));
  app.add_option("--fault", options.faults)->check(CLI::IsMember(kinds));
  app.add_option("--sizes", options.sizes, "of every fault asked for; without it, the usual ones of each");
  app.add_option("--seconds", options.seconds, "likewise, how long");
  app.add_option("--runs", options.runs, "of each case")->check(CLI::Range(1, 10000));
  app.add_option("--learn", options.learn, "hours before the first fault of a host");
  app.add_option("--workloads", options.workloads)->check(CLI::Range(2, 8000));
  app.add_option("--on-a-host", options.on_a_host, "faults")->check(CLI::Range(1, 1000));
  app.add_option("--gap", options.gap, "seconds between their begins");
  app.add_option("--seed", options.seed, "of the first host");
  app.add_option("--jobs", options.jobs)->check(CLI::Range(1, 256));
  app.add_option("--csv", options.csv, "write the table there too");
  app.add_option("--set", options.sets, "a setting of the configuration");
  CLI11_PARSE(app, argc, argv);
  if (options.on_a_host > options.workloads / 2) {
    fmt::print(stderr, "--on-a-host {} faults take at least {} workloads\n", options.on_a_host, 2 * options.on_a_host);
    return 2;
  }
  const auto config = ConfigWith(options.sets);
  if (!config) return 2;
  const std::vector<std::vector<Case>> hosts = Plan(options);
  std::vector<Outcomes> outcomes(hosts.size());
  SideBySide(options.jobs, hosts.size(), [&](size_t i) { outcomes[i] = RunHost(*config, options, hosts[i], options.seed + i); });
  Outcomes all;
  for (const Outcomes& some : outcomes) {
    for (const auto& [c, outcome] : some) {
      all[c].runs += outcome.runs;
      all[c].delays.insert(all[c].delays.end(), outcome.delays.begin(), outcome.delays.end());
    }
  }
  Print(all, options.csv);
  return 0;
}

}  // namespace
}  // namespace outlier::quality

int main(int argc, char** argv) { return outlier::quality::Main(argc, argv); }
