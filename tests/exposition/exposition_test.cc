#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <set>
#include <sstream>
#include <thread>

#include "tests/sinks/examples.h"
#include "userspace/exposition/exposition.h"

namespace outlier {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kOpenMetrics[] =
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

// Every metric: two sources, one of them away, hostile names, two sinks.
constexpr char kAddress[] = "unix:///run/outlierd/outlierd.sock";

std::vector<relay::v1::SinkStatus> Sinks() {
  std::vector<relay::v1::SinkStatus> sinks(2);
  sinks[0].set_name("search");
  sinks[0].set_state(relay::v1::SinkStatus::DELIVERING);
  sinks[0].set_delivered(1234);
  sinks[0].set_retried(5);
  sinks[0].mutable_last_success_time()->set_seconds(1'772'359'800);
  sinks[0].mutable_last_success_time()->set_nanos(500'000'000);
  relay::v1::SourcePosition* position = sinks[0].add_sources();
  position->set_source(kAddress);
  position->set_host_name("db-1");
  position->set_feed_id(examples::kFeedId);
  position->set_sequence(100);
  position->set_last_sequence(110);
  position->mutable_lag()->set_seconds(3);
  position->mutable_lag()->set_nanos(250'000'000);
  position->set_connected(true);
  sinks[1].set_name("on\"call\\\n");
  sinks[1].set_state(relay::v1::SinkStatus::SUSPENDED);
  sinks[1].set_refused(2);
  sinks[1].set_expired(1);
  sinks[1].set_dead_letters(2);
  *sinks[1].add_sources() = *position;
  relay::v1::SourcePosition* away = sinks[1].add_sources();
  away->set_source("web-1:7443");
  away->set_host_name("web-1");
  away->set_feed_id("feed-of-web-1");
  return sinks;
}

void Fill(Exposition* exposition) {
  exposition->SetOpen(examples::Source(), {});
  for (const Finding& finding : {examples::Opened(), examples::Updated(), examples::RestartLoop(), examples::Silenced(), examples::Minimal(),
                                 examples::Hostile(), examples::GapRecord()})
    exposition->Observe(finding);
  exposition->SetOpen(examples::Source(),
                      std::vector{examples::Updated().incident(), examples::RestartLoop().incident(), examples::Hostile().incident()});
  exposition->Observe(examples::HostStatus());
  Samples hostile = examples::HostileSamples();
  hostile.source.set_feed_id("feed-of-web-2");
  *hostile.status->mutable_source() = hostile.source;
  hostile.sample.set_lost(7);
  exposition->Observe(hostile);
  exposition->SetStatus(kAddress, *examples::HostStatus().status);
  exposition->SetSinks(Sinks());
  exposition->SetSilences(1);
}

std::string Filled(std::string_view accept = "") {
  Exposition exposition;
  Fill(&exposition);
  return exposition.Render(accept).body;
}

std::vector<std::string> LinesOf(const std::string& text, std::string_view beginning) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with(beginning)) lines.push_back(line);
  }
  return lines;
}

TEST(Exposition, HasEveryMetricOnceWithTypeAndHelp) {
  const std::string page = Filled(kOpenMetrics);
  for (size_t i = 0; i < kMetrics; ++i) {
    const MetricSpec& spec = SpecOf(static_cast<Metric>(i));
    const std::string name(spec.name), kind = spec.counter ? "counter" : "gauge";
    EXPECT_EQ(LinesOf(page, "# TYPE " + name + " ").size(), 1u) << name;
    EXPECT_THAT(page, HasSubstr("# TYPE " + name + " " + kind + "\n"));
    EXPECT_EQ(LinesOf(page, "# HELP " + name + " ").size(), 1u) << name;
    EXPECT_FALSE(LinesOf(page, name + (spec.counter ? "_total" : "") + (spec.name == "outlier_silences_active" ? " " : "{")).empty()) << name;
    EXPECT_EQ(LinesOf(page, "# UNIT " + name + " ").size(), spec.unit.empty() ? 0u : 1u) << name;
    EXPECT_TRUE(spec.name.ends_with(spec.unit)) << "OpenMetrics: a name ends with its unit";
  }
  EXPECT_TRUE(page.ends_with("\n# EOF\n"));
  EXPECT_THAT(page, Not(HasSubstr("\n\n")));
}

TEST(Exposition, TellsNumbersOfSourcesSinksAndIncidents) {
  const std::string page = Filled(kOpenMetrics);
  for (const char* line : {
           "outlier_workload_score{host=\"db-1\",kind=\"systemd_unit\",workload=\"redis-server.service\"} 91.25\n",
           "outlier_incident_score{host=\"db-1\",pattern=\"drift\",severity=\"critical\",workload=\"redis-server."
           "service\"} 91.25\n",
           "outlier_incidents_open{host=\"db-1\",severity=\"critical\"} 3\n",
           "outlier_incidents_open{host=\"db-1\",severity=\"warning\"} 0\n",
           "outlier_incident_changes_total{host=\"db-1\",kind=\"opened\"} 4\n",
           "outlier_false_alarms_per_week{host=\"db-1\",of=\"upper\"} 2.9\n",
           "outlier_overhead_cpu_percent{host=\"db-1\",of=\"achieved\"} 0.31\n",
           "outlier_overhead_memory_bytes{host=\"db-1\",of=\"promised\"} 134217728\n",
           "outlier_losses_total{counter=\"exec_over_rate\",host=\"db-1\"} 3\n",
           "outlier_workloads_not_shown{host=\"db-1\"} 0\n",
           "outlier_source_up{host=\"db-1\",source=\"unix:///run/outlierd/outlierd.sock\"} 1\n",
           "outlier_source_up{host=\"web-1\",source=\"web-1:7443\"} 0\n",
           "outlier_source_gaps_total{source=\"unix:///run/outlierd/outlierd.sock\"} 1\n",
           "outlier_sink_delivered_total{sink=\"search\"} 1234\n",
           "outlier_sink_lag_changes{sink=\"search\",source=\"unix:///run/outlierd/outlierd.sock\"} 10\n",
           "outlier_sink_lag_seconds{sink=\"search\",source=\"unix:///run/outlierd/outlierd.sock\"} 3.25\n",
           "outlier_sink_suspended{sink=\"search\"} 0\n",
           "outlier_sink_stalled{sink=\"search\"} 0\n",
           "outlier_sink_last_success_timestamp_seconds{sink=\"search\"} 1772359800.5\n",
           "outlier_silences_active 1\n",
       }) {
    EXPECT_THAT(page, HasSubstr(line));
  }
}

TEST(Exposition, ASinkThatTheRelayCannotWriteDownIsStalledAndNotSuspended) {
  std::vector<relay::v1::SinkStatus> sinks(1);
  sinks[0].set_name("pager");
  sinks[0].set_state(relay::v1::SinkStatus::STALLED);
  Exposition exposition;
  exposition.SetSinks(sinks);
  const std::string page = exposition.Render(kOpenMetrics).body;
  EXPECT_THAT(page, HasSubstr("outlier_sink_stalled{sink=\"pager\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("outlier_sink_suspended{sink=\"pager\"} 0\n"));
}

TEST(Exposition, LabelsAreEscapedAndNoSeriesIsThereTwice) {
  const std::string page = Filled(kOpenMetrics);
  EXPECT_THAT(page, HasSubstr("outlier_sink_suspended{sink=\"on\\\"call\\\\\\\\x0a\"} 1\n"));
  std::set<std::string> series;
  std::istringstream stream(page);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with('#')) continue;
    EXPECT_TRUE(series.insert(line.substr(0, line.rfind(' '))).second) << line;
    for (const char c : line) EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) << line;
  }
  EXPECT_GT(series.size(), 60u);
}

TEST(Exposition, ThePlainFormatDescribesCountersByTheirWholeName) {
  const std::string page = Filled();
  EXPECT_THAT(page, AllOf(HasSubstr("# TYPE outlier_losses_total counter\n"), Not(HasSubstr("# EOF")), Not(HasSubstr("# UNIT"))));
}

TEST(Exposition, PromtoolAcceptsThePlainFormat) {
  if (std::system("command -v promtool > /dev/null") != 0) GTEST_SKIP() << "promtool is not there; it comes with Debian's package prometheus";
  std::FILE* promtool = popen("promtool check metrics", "w");
  ASSERT_NE(promtool, nullptr);
  const std::string page = Filled();
  EXPECT_EQ(std::fwrite(page.data(), 1, page.size(), promtool), page.size());
  EXPECT_EQ(pclose(promtool), 0) << page;
}

TEST(Exposition, TheFormatIsTheClientsWish) {
  EXPECT_TRUE(WantsOpenMetrics(kOpenMetrics));
  EXPECT_TRUE(WantsOpenMetrics("application/openmetrics-text"));
  EXPECT_TRUE(WantsOpenMetrics("text/plain;q=0.3, application/openmetrics-text; version=1.0.0; q=0.9"));
  EXPECT_FALSE(WantsOpenMetrics(""));
  EXPECT_FALSE(WantsOpenMetrics("*/*"));
  EXPECT_FALSE(WantsOpenMetrics("text/plain"));
  EXPECT_FALSE(WantsOpenMetrics("text/plain;version=0.0.4, application/openmetrics-text;q=0.5"));
  EXPECT_FALSE(WantsOpenMetrics("application/openmetrics-text;q=0"));
  EXPECT_FALSE(WantsOpenMetrics("application/openmetrics-text;version=0.0.1"));
  EXPECT_FALSE(WantsOpenMetrics(";;;,,q=,application/openmetrics-text;q=x"));
  Exposition exposition;
  EXPECT_EQ(exposition.Render(kOpenMetrics).content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
  EXPECT_EQ(exposition.Render("text/html").content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(exposition.Render(kOpenMetrics).body,
            "# TYPE outlier_silences_active gauge\n# HELP outlier_silences_active Silences in force.\noutlier_silences_active 0\n# EOF\n");
}

TEST(Exposition, CardinalityIsBoundedAndWhatIsLeftOutIsCounted) {
  Exposition exposition({.workloads = 20, .incidents = 10});
  for (const Finding& finding : examples::Many(500)) exposition.Observe(finding);
  Samples samples = examples::Scores();
  const v1::WorkloadState one = samples.sample.workloads(2);
  for (int i = 0; i < 1000; ++i) {
    v1::WorkloadState* state = samples.sample.add_workloads();
    *state = one;
    state->mutable_workload()->set_name("worker-" + std::to_string(i));
    state->set_score(i * 0.05);
  }
  exposition.Observe(samples);
  const std::string page = exposition.Render("").body;
  EXPECT_EQ(LinesOf(page, "outlier_workload_score{").size(), 20u);
  EXPECT_EQ(LinesOf(page, "outlier_incident_score{").size(), 10u);
  EXPECT_THAT(page, HasSubstr("outlier_workloads_not_shown{host=\"db-1\"} 983\n"));
  EXPECT_THAT(page, AllOf(HasSubstr("workload=\"redis-server.service\"} 91.25"), HasSubstr("workload=\"worker-999\"} 49.95"),
                          Not(HasSubstr("workload=\"worker-1\"}"))));
}

TEST(Exposition, AChangeThatComesTwiceCountsOnce) {
  Exposition exposition;
  for (int i = 0; i < 3; ++i) {
    for (const Finding& finding : examples::Life()) exposition.Observe(finding);
  }
  const std::string page = exposition.Render("").body;
  EXPECT_THAT(page,
              AllOf(HasSubstr("outlier_incident_changes_total{host=\"db-1\",kind=\"resolved\"} 1\n"), Not(HasSubstr("outlier_incident_score{"))));
}

TEST(Exposition, HowManyAreOpenIsToldOnlyWhileItIsKnown) {
  Exposition exposition;
  exposition.Observe(examples::Opened());
  EXPECT_THAT(exposition.Render("").body, Not(HasSubstr("outlier_incidents_open{"))) << "there may be others from before";
  exposition.SetOpen(examples::Source(), std::vector{examples::Opened().incident()});
  EXPECT_THAT(exposition.Render("").body, HasSubstr("outlier_incidents_open{host=\"db-1\",severity=\"major\"} 1\n"));
  exposition.Observe(examples::UnknownGap());
  EXPECT_THAT(exposition.Render("").body, Not(HasSubstr("outlier_incidents_open{")));
  v1::Status status = *examples::HostStatus().status;
  status.set_open_incidents(1);
  exposition.SetStatus(kAddress, status);
  EXPECT_THAT(exposition.Render("").body, HasSubstr("outlier_incidents_open{host=\"db-1\",severity=\"major\"} 1\n")) << "the source counts as many";
}

TEST(Exposition, AFeedThatReplacesAnotherTakesItsPlace) {
  Exposition exposition;
  Fill(&exposition);
  v1::Status fresh = *examples::HostStatus().status;
  fresh.mutable_source()->set_feed_id("another");
  exposition.SetStatus(kAddress, fresh);
  const std::string page = exposition.Render("").body;
  EXPECT_THAT(page, Not(HasSubstr("incident=\"9a3f6c1e55d07b28\"")));
  EXPECT_THAT(page, HasSubstr("outlier_incident_changes_total{host=\"db-1\",kind=\"opened\"} 0\n"));
}

TEST(Exposition, WorkloadsOfASourceThatIsAwayAreNotToldAsIfTheyWereNow) {
  Exposition exposition;
  Fill(&exposition);
  exposition.SetConnected(kAddress, false);
  const std::string page = exposition.Render("").body;
  EXPECT_THAT(page, Not(HasSubstr("outlier_workload_score{host=\"db-1\"")));
  EXPECT_THAT(page, AllOf(HasSubstr("outlier_source_up{host=\"db-1\",source=\"unix:///run/outlierd/outlierd.sock\"} 0\n"),
                          HasSubstr("outlier_incident_score{host=\"db-1\"")));
}

TEST(Exposition, LostSamplesAddUpOverStreams) {
  Exposition exposition;
  for (const uint64_t lost : {0u, 5u, 7u, 2u, 3u}) {  // a new stream begins at the fourth
    Samples samples = examples::Scores();
    samples.sample.set_lost(lost);
    exposition.Observe(samples);
  }
  EXPECT_THAT(exposition.Render("").body, HasSubstr("outlier_samples_lost_total{source=\"db-1\"} 10\n"));
}

TEST(Exposition, IsFedAndAskedFromSeveralThreads) {
  Exposition exposition;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (const Finding& finding : examples::Many(200, 1 + 200 * static_cast<uint64_t>(t))) exposition.Observe(finding);
      exposition.Observe(examples::HostStatus());
      exposition.SetStatus(kAddress, *examples::HostStatus().status);
      exposition.SetSinks(Sinks());
    });
  }
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(exposition.Render(kOpenMetrics).body.ends_with("# EOF\n"));
}

}  // namespace
}  // namespace outlier
