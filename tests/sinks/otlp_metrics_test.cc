// Scores and signals as metrics.
#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "tests/sinks/otlp_fixture.h"
#include "userspace/sinks/otlp_metrics.h"

namespace outlier {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Pair;
using testing::UnorderedElementsAre;

TEST_F(OtlpTest, ScoresAndSignalsAreMetricsOfTheConventions) {
  const auto sink = Make(kLocal);
  ASSERT_EQ(sink->EncodeSamples(examples::HostStatus(), Now()).size(), 1u);
  const auto all = DecodedMetrics(sink->EncodeSamples(At(examples::HostStatus(), 10, 2.5), Now()));
  ASSERT_EQ(all.size(), 1u);
  ASSERT_EQ(all[0].resource_metrics_size(), 1);
  EXPECT_THAT(Of(all[0].resource_metrics(0).resource().attributes()),
              AllOf(Contains(Pair("host.name", "db-1")), Contains(Pair("service.name", "outlierd"))));
  auto metrics = ByName(all);

  const auto& score = metrics.at("outlier.workload.score").at(0);
  ASSERT_EQ(score.gauge().data_points_size(), 3) << "the points of a metric are together";
  EXPECT_EQ(score.gauge().data_points(0).as_double(), 91.25);
  EXPECT_EQ(score.gauge().data_points(0).time_unix_nano(), 1'772'359'820'000'000'000u);
  EXPECT_THAT(Of(score.gauge().data_points(0).attributes()),
              UnorderedElementsAre(Pair("outlier.workload.name", "redis-server.service"), Pair("outlier.workload.kind", "SYSTEMD_UNIT")));
  EXPECT_THAT(Of(score.gauge().data_points(1).attributes()), Contains(Pair("k8s.namespace.name", "shop")));

  const auto& cpu = metrics.at("process.cpu.time").at(0);
  EXPECT_EQ(cpu.unit(), "s");
  EXPECT_TRUE(cpu.sum().is_monotonic());
  EXPECT_EQ(cpu.sum().data_points(0).as_double(), 2.5);
  EXPECT_EQ(cpu.sum().data_points(0).start_time_unix_nano(), 1'772'359'810'000'000'000u) << "since it was first seen";

  const auto& memory = metrics.at("process.memory.usage").at(0);
  EXPECT_FALSE(memory.sum().is_monotonic());
  EXPECT_EQ(memory.sum().aggregation_temporality(), proto::metrics::v1::AGGREGATION_TEMPORALITY_CUMULATIVE);
  EXPECT_GT(memory.sum().data_points(0).start_time_unix_nano(), 0u);
  EXPECT_EQ(metrics.at("process.cpu.utilization").at(0).gauge().data_points_size(), 3);

  const auto& rate = metrics.at("outlier.process.syscall.rate").at(0);
  EXPECT_EQ(rate.unit(), "{call}/s");
  EXPECT_THAT(Of(rate.gauge().data_points(0).attributes()), Contains(Pair("outlier.syscall.class", "file")));
  EXPECT_FALSE(metrics.contains("outlier.workload.restarts")) << "a counter tells them";
  EXPECT_EQ(metrics.at("outlier.workload.restart.count").at(0).sum().data_points_size(), 3);

  const auto& budget = metrics.at("outlier.budget.false_alarms").at(0);
  EXPECT_EQ(budget.gauge().data_points_size(), 5);
  EXPECT_THAT(Of(budget.gauge().data_points(1).attributes()), UnorderedElementsAre(Pair("outlier.budget.of", "achieved")));
  EXPECT_EQ(budget.gauge().data_points(1).as_double(), 0.8);
  EXPECT_EQ(metrics.at("outlier.losses").at(0).sum().data_points_size(), 3);
  EXPECT_EQ(metrics.at("outlier.host.open_incidents").at(0).gauge().data_points(0).as_double(), 4);
}

TEST_F(OtlpTest, NoPointIsThereTwiceAndNoneIsWithoutANumber) {
  const auto sink = Make(kLocal);
  Samples samples = examples::HostileSamples();
  *samples.sample.add_workloads() = samples.sample.workloads(1);  // two of one identity
  sink->EncodeSamples(samples, Now());
  for (const auto& [name, found] : ByName(DecodedMetrics(sink->EncodeSamples(At(samples, 5, 1), Now())))) {
    std::set<Attributes> seen;
    ASSERT_EQ(found.size(), 1u) << name;
    const auto& points = found[0].has_gauge() ? found[0].gauge().data_points() : found[0].sum().data_points();
    EXPECT_FALSE(points.empty()) << name;
    for (const auto& point : points) {
      EXPECT_TRUE(seen.insert(Of(point.attributes())).second) << name;
      EXPECT_TRUE(std::isfinite(point.as_double())) << name;
    }
  }
}

TEST_F(OtlpTest, SamplesOfManyWorkloadsComeInPiecesThatFit) {
  Samples samples = examples::Signals();
  const v1::WorkloadState one = samples.sample.workloads(0);
  samples.sample.clear_workloads();
  for (int i = 0; i < 2000; ++i) {
    v1::WorkloadState* state = samples.sample.add_workloads();
    *state = one;
    state->mutable_workload()->set_name("worker-" + std::to_string(i) + ".service");
  }
  const auto sink = Preset("new_relic");
  const std::vector<Request> requests = sink->EncodeSamples(samples, Now());
  ASSERT_GT(requests.size(), 1u);
  size_t scores = 0;
  for (const Request& request : requests) {
    EXPECT_LE(request.body.size(), 1'000'000u);
    EXPECT_GE(request.body.size(), 100'000u) << "pieces are as large as they may be, but for the last";
    const auto found = ByName(DecodedMetrics({request}));
    for (const auto& metric :
         found.contains("outlier.workload.score") ? found.at("outlier.workload.score") : std::vector<proto::metrics::v1::Metric>{}) {
      scores += static_cast<size_t>(metric.gauge().data_points_size());
    }
  }
  EXPECT_EQ(scores, 2000u);
}

TEST_F(OtlpTest, CountersAreToldSinceTheLastReportOrSinceTheyWereSeen) {
  OtlpCounters counters;
  EXPECT_FALSE(counters.Next("a", 100, 10, false)) << "what was before has no known start";
  auto point = counters.Next("a", 105, 20, false);
  ASSERT_TRUE(point);
  EXPECT_EQ(point->start_ns, 10);
  EXPECT_EQ(point->value, 5);
  EXPECT_FALSE(counters.Next("a", 106, 20, false)) << "time does not move on";
  point = counters.Next("a", 107, 30, true);
  EXPECT_EQ(point->start_ns, 20);
  EXPECT_EQ(point->value, 2);
  point = counters.Next("a", 3, 40, true);
  EXPECT_EQ(point->start_ns, 30);
  EXPECT_EQ(point->value, 3) << "began anew";
  point = counters.Next("a", 4, 50, false);
  EXPECT_EQ(point->start_ns, 30);
  EXPECT_EQ(point->value, 4);
}

TEST_F(OtlpTest, CountersOfWhatIsGoneAreForgotten) {
  OtlpCounters counters;
  constexpr int64_t kMinute = int64_t{60} * 1'000'000'000;
  for (int64_t minute = 1; minute <= 600; ++minute) {
    counters.Next("lives", static_cast<double>(minute), minute * kMinute, false);
    counters.Next("once " + std::to_string(minute), 1, minute * kMinute, false);
    counters.Sweep(minute * kMinute);
    ASSERT_LE(counters.size(), 80u);
  }
  const auto point = counters.Next("lives", 700, 700 * kMinute, false);
  ASSERT_TRUE(point);
  EXPECT_EQ(point->start_ns, kMinute);
}

}  // namespace
}  // namespace outlier
