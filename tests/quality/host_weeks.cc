// How often the engine is wrong where nothing is: simulated hosts through detectors and incidents, worlds side by side.
//
//   host_weeks [--world NAME]... [--hours H] [--workloads N] [--seed S] [--hosts K] [--set key=value]... [--jobs N] [--save FILE]
//   host_weeks --pool FILE...      the table of runs that were saved
//
// Each host starts from nothing and boots once more in the middle. Not a test: prints a table. tests/quality/null_weeks is the long run.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>

#include "tests/quality/campaign.h"
#include "tests/quality/judged_host.h"

namespace outlier::quality {
namespace {

constexpr double kHoursOfWeek = 168;
constexpr uint64_t kYoung = 1800;  // s: what is told sooner after a host's first tick or boot is marked
constexpr std::array<double, 4> kPromises = {50, 7, 1, 0.2};
constexpr double kPooledPromise = 0.2;  // takes 15 quiet host-weeks to show: asked of all worlds together only

struct Options {
  std::vector<std::string> worlds;
  double hours = 24;
  int workloads = 200;
  uint64_t seed = 1;
  int hosts = 1;
  int jobs = 1;
  std::vector<std::string> sets, pool;
  std::string save;
  bool list = false;
};

// Of one world, over some hosts.
struct Result {
  double weeks = 0;
  std::array<int, kPromises.size()> told{};
  std::map<std::string, int> as;
  double engine_us = 0, generator_us = 0;  // a tick, weighted by weeks
  void Add(const Result& other) {
    const double both = weeks + other.weeks;
    if (both <= 0) return;
    engine_us = (engine_us * weeks + other.engine_us * other.weeks) / both;
    generator_us = (generator_us * weeks + other.generator_us * other.weeks) / both;
    weeks = both;
    for (size_t p = 0; p < told.size(); ++p) told[p] += other.told[p];
    for (const auto& [name, count] : other.as) as[name] += count;
  }
};

Result Run(const config::v1::Config& config, World world, const Options& options, uint64_t seed) {
  JudgedHost host(config, {.world = world, .workloads = options.workloads, .seed = seed});
  const auto ticks = static_cast<uint64_t>(options.hours * 3600);
  for (uint64_t t = 0; t < ticks; ++t) {
    if (t == ticks / 2) host.Reboot();
    host.Tick();
  }
  Result result;
  result.weeks = options.hours / kHoursOfWeek;
  for (size_t p = 0; p < kPromises.size(); ++p) result.told[p] = host.ToldAt(kPromises[p]);
  for (const Told& told : host.told()) {
    if (options.list) fmt::print("{} {}: {} {}, R {:.3g}\n", NameOf(world), told.tick, told.workload, told.as, told.recurrences);
    const uint64_t up = told.tick <= ticks / 2 ? told.tick : told.tick - ticks / 2;
    ++result.as[told.as + (up > kYoung ? "" : told.tick == up ? " (after start)" : " (after boot)")];
  }
  result.engine_us = host.engine_seconds() / static_cast<double>(ticks) * 1e6;
  result.generator_us = host.generator_seconds() / static_cast<double>(ticks) * 1e6;
  return result;
}

// One line: world;weeks;told at each promise;us of the engine;of the generator;told as=count;...
std::string ToLine(std::string_view world, const Result& r) {
  std::string line = fmt::format("{};{};{};{};{}", world, r.weeks, fmt::join(r.told, ";"), r.engine_us, r.generator_us);
  for (const auto& [as, count] : r.as) line += fmt::format(";{}={}", as, count);
  return line;
}

bool FromLine(const std::string& line, std::string* world, Result* r) {
  std::istringstream fields(line);
  char semicolon = 0;
  std::getline(fields, *world, ';');
  fields >> r->weeks >> semicolon;
  for (int& told : r->told) fields >> told >> semicolon;
  fields >> r->engine_us >> semicolon >> r->generator_us;
  if (!fields) return false;
  fields >> semicolon;
  for (std::string as; std::getline(fields, as, ';');) {
    const size_t at = as.rfind('=');
    if (at != std::string::npos) r->as[as.substr(0, at)] = std::atoi(as.c_str() + at + 1);
  }
  return true;
}

// "told (bound)": what is kept, what is broken, and what so few weeks do not show.
std::string Cell(const Result& r, double promise, bool asked) {
  const size_t p = static_cast<size_t>(std::find(kPromises.begin(), kPromises.end(), promise) - kPromises.begin());
  const double bound = UpperRate(r.told[p], r.weeks);
  // Broken: so many would come once in twenty runs at the most if the promise were just kept.
  const bool broken = r.told[p] >= UnlikelyCount(promise * r.weeks, 0.05);
  const char* said = !asked ? "" : bound <= promise ? " kept" : broken ? " BROKEN" : " not shown";
  return fmt::format("{} (<= {:.3g}){}", r.told[p], bound, said);
}

void PrintRow(std::string_view world, const Result& r, bool pooled) {
  fmt::print("| {} | {:.2f} |", world, r.weeks);
  for (const double promise : kPromises) fmt::print(" {} |", Cell(r, promise, pooled || promise != kPooledPromise));
  fmt::print(" {:.0f} | {:.0f} | ", r.engine_us, r.generator_us);
  std::vector<std::pair<int, std::string>> most;
  for (const auto& [as, count] : r.as) most.push_back({-count, as});
  std::sort(most.begin(), most.end());
  for (size_t i = 0; i < std::min<size_t>(most.size(), 4); ++i) fmt::print("{}{} x {}", i > 0 ? ", " : "", -most[i].first, most[i].second);
  fmt::print(" |\n");
}

void PrintTable(const std::map<std::string, Result>& results) {
  fmt::print("| world | host-weeks |");
  for (const double promise : kPromises) fmt::print(" told at {} a week (95 % bound) |", promise);
  fmt::print(" us/tick, engine | us/tick, generator | told as |\n|---|---|---|---|---|---|---|---|---|\n");
  Result all;
  for (int w = 0; w < kWorlds; ++w) {
    const auto result = results.find(std::string(NameOf(static_cast<World>(w))));
    if (result == results.end()) continue;
    PrintRow(result->first, result->second, false);
    all.Add(result->second);
  }
  PrintRow("all", all, true);
}

int Pool(const Options& options) {
  std::map<std::string, Result> results;
  for (const std::string& path : options.pool) {
    std::ifstream file(path);
    for (std::string line, world; std::getline(file, line);) {
      Result result;
      if (!FromLine(line, &world, &result)) {
        fmt::print(stderr, "{}: not a result of host_weeks --save: {}\n", path, line);
        return 2;
      }
      results[world].Add(result);
    }
  }
  PrintTable(results);
  return 0;
}

int Simulate(const config::v1::Config& config, const Options& options) {
  struct Run {
    World world;
    uint64_t seed;
  };
  std::vector<Run> runs;
  for (const World world : WorldsOf(options.worlds)) {
    for (int h = 0; h < options.hosts; ++h) runs.push_back({world, options.seed + static_cast<uint64_t>(h)});
  }
  std::map<std::string, Result> results;
  std::mutex mutex;
  std::ofstream saved;
  if (!options.save.empty()) saved.open(options.save, std::ios::app);
  SideBySide(options.jobs, runs.size(), [&](size_t i) {
    const Result result = quality::Run(config, runs[i].world, options, runs[i].seed);
    const std::lock_guard lock(mutex);
    const std::string name(NameOf(runs[i].world));
    results[name].Add(result);
    if (saved.is_open()) saved << ToLine(name, result) << std::endl;
  });
  PrintTable(results);
  return 0;
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Simulated hosts through the engine: how often it is wrong");
  app.add_option("--world", options.worlds, "without it, all")->check(CLI::IsMember(WorldNames()));
  app.add_option("--hours", options.hours, "of each host")->check(CLI::PositiveNumber);
  app.add_option("--workloads", options.workloads)->check(CLI::Range(1, 8000));
  app.add_option("--seed", options.seed, "of the first host");
  app.add_option("--hosts", options.hosts, "of each world, with seeds in a row")->check(CLI::Range(1, 1000));
  app.add_option("--set", options.sets, "a setting of the configuration; the promise is 50 a week without one");
  app.add_option("--jobs", options.jobs)->check(CLI::Range(1, 256));
  app.add_flag("--list", options.list, "each incident on a line");
  app.add_option("--save", options.save, "append one line a host");
  app.add_option("--pool", options.pool, "print the table of saved lines instead")->check(CLI::ExistingFile);
  CLI11_PARSE(app, argc, argv);
  if (!options.pool.empty()) return Pool(options);
  options.sets.insert(options.sets.begin(), "budgets.false_alarms_per_week=50");
  const auto config = ConfigWith(options.sets);
  if (!config) return 2;
  return Simulate(*config, options);
}

}  // namespace
}  // namespace outlier::quality

int main(int argc, char** argv) { return outlier::quality::Main(argc, argv); }
