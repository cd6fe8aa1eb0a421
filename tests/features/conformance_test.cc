// What every line of features.def promises: names and units that people rely on, numbers that are there or said to be absent.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <regex>
#include <set>

#include "userspace/detectors/detectors.h"
#include "userspace/features/features.h"

namespace outlier {
namespace {

// Signals that users, scripts and rules name: a promise. More may be added beside them.
constexpr std::string_view kPromised[] = {
    "process.cpu.utilization", "process.cpu.run_delay",    "process.memory.usage",     "process.memory.anonymous",
    "process.memory.swap",     "process.paging.faults",    "process.disk.io",          "process.context_switches",
    "process.thread.count",    "workload.process.count",   "workload.process.started", "workload.process.ended",
    "workload.restarts",       "workload.exits",           "process.uptime",           "process.syscall.rate",
    "process.syscall.errors",  "process.syscall.duration", "host.pressure",            "host.memory.available",
    "host.cpu.utilization",    "host.process.forks"};
const std::map<std::string_view, std::set<std::string_view>> kPromisedValues = {
    {"process.paging.faults", {"major"}},
    {"process.disk.io", {"read", "write"}},
    {"process.context_switches", {"voluntary", "involuntary"}},
    {"workload.exits", {"code", "signal", "oom"}},
    {"process.syscall.rate", {kSyscallClassNames.begin(), kSyscallClassNames.end()}},
    {"process.syscall.errors", {kSyscallClassNames.begin(), kSyscallClassNames.end()}},
    {"host.pressure", {"cpu", "memory", "io"}},
};
constexpr int kSlots = 9;

// Totals as large as counters get in a tick of a big host, of workloads that are observed or not, with rates or not.
WorkloadTick RandomTick(uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto number = [&] { return random() >> (24 + random() % 40); };
  WorkloadTick tick;
  tick.interval_seconds = 0.5 + 1e-3 * static_cast<double>(random() % 5000);
  for (HostSample* host : {&tick.host_before, &tick.host}) {
    host->cpu_ns = number();
    host->memory_available_bytes = number();
    host->forks = number();
    for (uint64_t& pressure : host->pressure_some_us) pressure = number();
  }
  for (int slot = 0; slot < kSlots; ++slot) {
    WorkloadTotals& w = tick.totals.emplace_back();
    w.observed = random() % 5 != 0;
    w.has_rates = random() % 5 != 0;
    w.born = random() % 7 == 0;
    AccountSample& d = w.delta;
    for (uint64_t* counter : {&d.cpu_ns, &d.run_delay_ns, &d.voluntary_switches, &d.involuntary_switches, &d.major_faults, &d.read_bytes,
                              &d.write_bytes, &d.processes_started, &d.processes_ended, &d.exits_by_code, &d.exits_by_signal}) {
      *counter = number();
    }
    for (int c = 0; c < kSyscallClasses; ++c) {
      w.syscalls.errors[c] = static_cast<uint32_t>(number());
      if (random() % 3 == 0) continue;  // a class without calls
      for (uint32_t& bucket : w.syscalls.buckets[c]) bucket = random() % 3 == 0 ? static_cast<uint32_t>(number()) : 0;
    }
    w.processes = static_cast<uint32_t>(random() % 10000);
    w.threads = static_cast<uint32_t>(random() % 100000);
    for (uint64_t* gauge : {&w.memory_bytes, &w.anonymous_bytes, &w.swap_bytes, &w.in_flight_ns}) *gauge = number();
    w.uptime_seconds = static_cast<double>(number());
    w.restarts = static_cast<uint32_t>(random() % 100);
    w.oom_kills = static_cast<uint32_t>(random() % 100);
  }
  return tick;
}

double CallsOf(const WorkloadTotals& w, int c) {
  double calls = 0;
  for (const uint32_t bucket : w.syscalls.buckets[c]) calls += bucket;
  return calls;
}

bool IsGauge(FeatureKind kind) {
  return kind == FeatureKind::kBytes || kind == FeatureKind::kPopulation || kind == FeatureKind::kFact;
}

std::string CaseName(const testing::TestParamInfo<int>& info) {
  const FeatureSpec& spec = FeatureSpecs()[info.param];
  std::string name = std::string(spec.signal) + (spec.attribute_value.empty() ? "" : "_") + std::string(spec.attribute_value);
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

class EveryFeature : public testing::TestWithParam<int> {
 protected:
  const FeatureSpec& spec() const { return FeatureSpecs()[GetParam()]; }
};

TEST_P(EveryFeature, IsNamedAsPeopleExpect) {
  EXPECT_TRUE(std::regex_match(std::string(spec().signal), std::regex("(process|workload|host)(\\.[a-z]+(_[a-z]+)*)+"))) << spec().signal;
  EXPECT_EQ(spec().attribute_key.empty(), spec().attribute_value.empty());
  if (!spec().attribute_key.empty()) {
    EXPECT_TRUE(std::regex_match(std::string(spec().attribute_key), std::regex("[a-z]+([._][a-z]+)*"))) << spec().attribute_key;
  }
}

TEST_P(EveryFeature, HasAUnitOfUcumThatFitsItsKind) {
  const std::string unit(spec().unit);
  EXPECT_TRUE(std::regex_match(unit, std::regex("(1|s|By|\\{[a-z]+\\})(/s)?"))) << unit;
  switch (spec().kind) {
    case FeatureKind::kUtilization: EXPECT_TRUE(unit == "1" || unit == "s/s") << unit; break;
    case FeatureKind::kBytes: EXPECT_EQ(unit, "By"); break;
    case FeatureKind::kByteRate: EXPECT_EQ(unit, "By/s"); break;
    case FeatureKind::kRate:
    case FeatureKind::kCount: EXPECT_TRUE(std::regex_match(unit, std::regex("\\{[a-z]+\\}/s"))) << unit; break;
    case FeatureKind::kPopulation:
    case FeatureKind::kFact: EXPECT_TRUE(std::regex_match(unit, std::regex("\\{[a-z]+\\}"))) << unit; break;
    case FeatureKind::kDuration: EXPECT_EQ(unit, "s"); break;
    case FeatureKind::kShown: break;
  }
}

TEST_P(EveryFeature, IsFoundByItsNameAndNoOtherHasIt) {
  EXPECT_EQ(FeatureColumn(spec().signal, spec().attribute_value), GetParam());
}

TEST_P(EveryFeature, AgreesWithItsNeighboursOfTheSameSignal) {
  for (const FeatureSpec& other : FeatureSpecs()) {
    if (other.signal != spec().signal) continue;
    EXPECT_EQ(other.attribute_key, spec().attribute_key);
    // A fact is a number of one tick, told as such; everything else of a signal has one unit.
    if ((other.kind == FeatureKind::kFact) == (spec().kind == FeatureKind::kFact)) { EXPECT_EQ(other.unit, spec().unit); }
  }
}

TEST_P(EveryFeature, OfASyscallClassSaysWhich) {
  const bool by_class = spec().attribute_key == "syscall.class";
  EXPECT_EQ(spec().syscall_class >= 0, by_class);
  if (by_class) {
    ASSERT_LT(spec().syscall_class, kSyscallClasses);
    EXPECT_EQ(spec().attribute_value, kSyscallClassNames[spec().syscall_class]);
  }
  if (spec().kind == FeatureKind::kDuration) { EXPECT_TRUE(by_class); }
}

TEST_P(EveryFeature, IsWatchedByADetectorUnlessItIsOnlyShown) {
  bool watched = false;
  for (const DetectorLine& line : DetectorLines()) {
    watched |= line.kind == spec().kind && (line.only.empty() || line.only == spec().attribute_value);
  }
  EXPECT_EQ(watched, spec().kind != FeatureKind::kShown);
}

TEST_P(EveryFeature, IsFiniteNeverNegativeAndTheSameEveryTime) {
  int seen = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const FeatureTick a = ComputeFeatures(RandomTick(seed)), b = ComputeFeatures(RandomTick(seed));
    for (int slot = 0; slot < kSlots; ++slot) {
      ASSERT_EQ(a.present(slot, GetParam()), b.present(slot, GetParam())) << "seed " << seed;
      ASSERT_EQ(a.values(slot, GetParam()), b.values(slot, GetParam())) << "seed " << seed;
      ASSERT_TRUE(std::isfinite(a.values(slot, GetParam()))) << "seed " << seed;
      ASSERT_GE(a.values(slot, GetParam()), 0.0) << "seed " << seed;
      seen += a.present(slot, GetParam());
    }
  }
  EXPECT_GT(seen, 0) << "no workload ever had it";
}

TEST_P(EveryFeature, BelongsEitherToTheHostOrToWorkloads) {
  std::set<bool> of_host;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const FeatureTick tick = ComputeFeatures(RandomTick(seed));
    for (int slot = 0; slot < kSlots; ++slot) {
      if (tick.present(slot, GetParam())) of_host.insert(slot == static_cast<int>(kHostSlot));
    }
  }
  ASSERT_EQ(of_host.size(), 1u);
  EXPECT_EQ(*of_host.begin(), spec().signal.starts_with("host."));
}

TEST_P(EveryFeature, IsAbsentWhereNothingWasObserved) {
  WorkloadTick tick = RandomTick(1);
  for (WorkloadTotals& w : tick.totals) w.observed = false;
  EXPECT_FALSE(ComputeFeatures(tick).present.col(GetParam()).any());
}

TEST_P(EveryFeature, NeedsATickBeforeUnlessItIsAGauge) {
  for (const bool has_interval : {false, true}) {
    WorkloadTick tick = RandomTick(2);
    if (!has_interval) tick.interval_seconds = 0;
    for (WorkloadTotals& w : tick.totals) {
      w.observed = true;
      w.has_rates = !has_interval;  // of two reasons, one at a time
    }
    const FeatureTick features = ComputeFeatures(tick);
    for (int slot = 0; slot < kSlots; ++slot) {
      const bool owned = (slot == static_cast<int>(kHostSlot)) == spec().signal.starts_with("host.");
      EXPECT_EQ(features.present(slot, GetParam()), IsGauge(spec().kind) && owned) << "slot " << slot;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Features, EveryFeature, testing::Range(0, static_cast<int>(FeatureSpecs().size())), CaseName);

TEST(Features, HoldEverySignalThatIsPromised) {
  for (const std::string_view signal : kPromised) EXPECT_GE(FeatureColumn(signal), 0) << signal;
  for (const auto& [signal, values] : kPromisedValues) {
    for (const std::string_view value : values) EXPECT_GE(FeatureColumn(signal, value), 0) << signal << " " << value;
  }
  EXPECT_EQ(FeatureColumn("process.nothing"), -1);
  EXPECT_EQ(FeatureColumn("process.disk.io", "sideways"), -1);
}

TEST(Features, OfDurationsAreAbsentExactlyWhereNoCallEnded) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    WorkloadTick tick = RandomTick(seed);
    for (WorkloadTotals& w : tick.totals) w.observed = w.has_rates = true;
    const FeatureTick features = ComputeFeatures(tick);
    for (int f = 0; f < static_cast<int>(FeatureSpecs().size()); ++f) {
      const FeatureSpec& spec = FeatureSpecs()[f];
      if (spec.kind != FeatureKind::kDuration) continue;
      for (int slot = 0; slot < kSlots; ++slot) {
        if (slot == static_cast<int>(kHostSlot)) continue;
        const double calls = CallsOf(tick.totals[slot], spec.syscall_class);
        ASSERT_EQ(features.present(slot, f), calls > 0) << spec.attribute_value << " seed " << seed << " slot " << slot;
        // Each bucket is rounded to single precision, as the model would.
        ASSERT_NEAR(features.durations[spec.syscall_class].col(slot).cast<double>().sum(), calls, calls * 0x1p-24);
      }
    }
  }
}

TEST(Features, AreDividedByTheLengthOfTheTick) {
  WorkloadTick tick;
  tick.interval_seconds = 2;
  tick.totals.resize(4);
  tick.totals[3].observed = tick.totals[3].has_rates = true;
  tick.totals[3].delta.cpu_ns = 3'000'000'000;
  tick.totals[3].delta.read_bytes = 4096;
  tick.totals[3].memory_bytes = 1 << 20;
  const FeatureTick features = ComputeFeatures(tick);
  EXPECT_DOUBLE_EQ(features.values(3, FeatureColumn("process.cpu.utilization")), 1.5);
  EXPECT_DOUBLE_EQ(features.values(3, FeatureColumn("process.disk.io", "read")), 2048);
  EXPECT_DOUBLE_EQ(features.values(3, FeatureColumn("process.memory.usage")), 1 << 20);
}

TEST(Features, OfHostCountersThatWentBackAreZero) {
  WorkloadTick tick;
  tick.interval_seconds = 1;
  tick.totals.resize(3);
  tick.totals[kHostSlot].observed = tick.totals[kHostSlot].has_rates = true;
  tick.host_before.forks = 100;
  tick.host.forks = 10;
  const FeatureTick features = ComputeFeatures(tick);
  EXPECT_TRUE(features.present(kHostSlot, FeatureColumn("host.process.forks")));
  EXPECT_EQ(features.values(kHostSlot, FeatureColumn("host.process.forks")), 0);
}

}  // namespace
}  // namespace outlier
