// Incidents as log events: what is sent is decoded again and compared.
#include <gmock/gmock.h>

#include <cmath>

#include "tests/sinks/otlp_fixture.h"
#include "userspace/sinks/otlp_records.h"

namespace outlier {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

TEST_F(OtlpTest, AnOpenedIncidentIsALogEventWithFlatAttributes) {
  const auto sink = Make(kLocal);
  const Request request = Encoded(*sink, {examples::Opened()});
  EXPECT_EQ(request.url, "http://127.0.0.1:4318/v1/logs");
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(HeaderOf(request, "Content-Type"), "application/x-protobuf");
  EXPECT_TRUE(request.compress);
  const Logs logs = Decoded(request);
  ASSERT_EQ(logs.resource_logs_size(), 1);
  EXPECT_THAT(Of(logs.resource_logs(0).resource().attributes()),
              UnorderedElementsAre(Pair("service.name", "outlierd"), Pair("service.instance.id", examples::kFeedId), Pair("os.type", "linux"),
                                   Pair("host.id", "c0ffee5a1d3e4b6f8a7c9e2d1f0b3a54"), Pair("host.name", "db-1"), Pair("environment", "production"),
                                   Pair("team", "storage")));
  ASSERT_EQ(logs.resource_logs(0).scope_logs_size(), 1);
  EXPECT_EQ(logs.resource_logs(0).scope_logs(0).scope().name(), "outlier-relay");
  EXPECT_EQ(logs.resource_logs(0).scope_logs(0).scope().version(), "0.1.0");
  ASSERT_EQ(logs.resource_logs(0).scope_logs(0).log_records_size(), 1);
  const auto& record = logs.resource_logs(0).scope_logs(0).log_records(0);
  EXPECT_EQ(record.event_name(), "outlier.incident.opened");
  EXPECT_EQ(record.time_unix_nano(), 1'772'359'224'250'000'000u);
  EXPECT_EQ(record.observed_time_unix_nano(), 1'772'360'400'000'000'000u);
  EXPECT_EQ(record.severity_number(), proto::logs::v1::SEVERITY_NUMBER_ERROR);
  EXPECT_EQ(record.severity_text(), "MAJOR");
  EXPECT_EQ(record.body().string_value(), examples::Opened().incident().summary());
  EXPECT_EQ(record.dropped_attributes_count(), 0u);
  const Attributes attributes = Of(record.attributes());
  for (const auto& [key, value] : Attributes{{"event.name", "outlier.incident.opened"},
                                             {"outlier.change.id", std::string(examples::kFeedId) + ":101"},
                                             {"outlier.change.sequence", "101"},
                                             {"outlier.change.kind", "OPENED"},
                                             {"outlier.incident.id", examples::kIncidentId},
                                             {"outlier.incident.state", "OPEN"},
                                             {"outlier.incident.severity", "MAJOR"},
                                             {"outlier.incident.score", "61.5"},
                                             {"outlier.incident.pattern", "DRIFT"},
                                             {"outlier.incident.acknowledged", "false"},
                                             {"outlier.incident.onset_time", "2026-03-01T10:00:00.000Z"},
                                             {"outlier.incident.time_to_exhaustion_seconds", "540.0"},
                                             {"outlier.workload.name", "redis-server.service"},
                                             {"outlier.workload.kind", "SYSTEMD_UNIT"},
                                             {"outlier.workload.unit", "redis-server.service"},
                                             {"process.owner", "redis"},
                                             {"outlier.lead.signal", "process.memory.usage"},
                                             {"outlier.lead.unit", "By"},
                                             {"outlier.lead.direction", "UP"},
                                             {"outlier.lead.observed", "247463936.0"},
                                             {"outlier.incident.coverage.sampled_share", "1.0"}}) {
    EXPECT_THAT(attributes, Contains(Pair(key, value)));
  }
  EXPECT_FALSE(attributes.contains("outlier.incident.resolved_time"));
  EXPECT_FALSE(attributes.contains("outlier.incident.restart.cause"));
  EXPECT_THAT(attributes.at("outlier.incident.contributions"), HasSubstr(" | "));
}

TEST_F(OtlpTest, EveryKindOfChangeHasItsStaticNameAndTheSeverityOfItsBand) {
  const auto sink = Make(kLocal);
  std::vector<std::string> names;
  std::vector<int> severities;
  for (const Finding& finding : examples::All()) {
    const Logs logs = Decoded(Encoded(*sink, {finding}));
    const auto& record = logs.resource_logs(0).scope_logs(0).log_records(0);
    names.push_back(record.event_name());
    severities.push_back(record.severity_number());
    EXPECT_THAT(Of(record.attributes()), Contains(Pair("event.name", record.event_name())));
  }
  EXPECT_THAT(
      names, testing::ElementsAre("outlier.incident.opened", "outlier.incident.updated", "outlier.incident.acknowledged", "outlier.incident.feedback",
                                  "outlier.incident.resolved", "outlier.incident.opened", "outlier.incident.opened", "outlier.incident.opened",
                                  "outlier.incident.updated", "outlier.incident.updated", "outlier.feed.gap", "outlier.feed.gap"));
  EXPECT_THAT(severities, testing::ElementsAre(17, 21, 21, 21, 21, 21, 15, 13, 21, 21, 13, 13));
}

TEST_F(OtlpTest, ARestartTellsCauseAndContainer) {
  const auto sink = Make(kLocal);
  const Attributes attributes = Of(Decoded(Encoded(*sink, {examples::RestartLoop()})).resource_logs(0).scope_logs(0).log_records(0).attributes());
  EXPECT_THAT(attributes,
              AllOf(Contains(Pair("outlier.incident.restart.cause", "CRASH_LOOP")), Contains(Pair("outlier.incident.restart.exit_code", "1")),
                    Contains(Pair("outlier.incident.restart.count", "4")), Contains(Pair("k8s.pod.name", "billing-7d9f")),
                    Contains(Pair("k8s.namespace.name", "shop")), Contains(Pair("process.owner", "node"))));
  EXPECT_THAT(attributes.at("container.id"), HasSubstr("4be1c92f"));
}

TEST_F(OtlpTest, SuspectsAndSilencesAreTold) {
  const auto sink = Make(kLocal);
  const Attributes updated = Of(Decoded(Encoded(*sink, {examples::Updated()})).resource_logs(0).scope_logs(0).log_records(0).attributes());
  EXPECT_EQ(updated.at("outlier.influencers"), "backup | redis-server.service");
  EXPECT_THAT(updated.at("outlier.incident.suspects"), HasSubstr("backup: 75 %, pid 4242; started 3 s before the onset"));
  EXPECT_EQ(updated.at("outlier.incident.coverage.probes_missing"), "syscall_latency");
  const Attributes silenced = Of(Decoded(Encoded(*sink, {examples::Silenced()})).resource_logs(0).scope_logs(0).log_records(0).attributes());
  EXPECT_EQ(silenced.at("outlier.silence.id"), "window-7");
  EXPECT_EQ(silenced.at("outlier.silence.author"), "mira");
  EXPECT_EQ(silenced.at("process.executable.path"), "/usr/local/bin/backup");
}

TEST_F(OtlpTest, AGapSaysWhatIsLost) {
  const auto sink = Make(kLocal);
  const Logs logs = Decoded(Encoded(*sink, {examples::GapRecord(), examples::UnknownGap()}));
  ASSERT_EQ(logs.resource_logs_size(), 2) << "they have labels of their own";
  const auto& known = logs.resource_logs(0).scope_logs(0).log_records(0);
  EXPECT_EQ(known.body().string_value(), "40 changes of incidents (60 to 99) could not be had from the source: compacted");
  EXPECT_THAT(Of(known.attributes()), AllOf(Contains(Pair("outlier.gap.lost", "40")), Contains(Pair("outlier.gap.first_sequence", "60"))));
  const auto& unknown = logs.resource_logs(1).scope_logs(0).log_records(0);
  EXPECT_EQ(unknown.body().string_value(), "an unknown number of changes of incidents could not be had from the source: feed_replaced");
}

TEST_F(OtlpTest, ChangesOfOneSourceShareAResourceAndKeepTheirOrder) {
  const auto sink = Make(kLocal);
  std::vector<Finding> findings = examples::Many(5);
  for (size_t i = 3; i < 5; ++i) findings[i].change.mutable_incident()->mutable_source()->set_host_name("db-2");
  const Logs logs = Decoded(Encoded(*sink, findings));
  ASSERT_EQ(logs.resource_logs_size(), 2);
  EXPECT_EQ(logs.resource_logs(0).scope_logs(0).log_records_size(), 3);
  EXPECT_EQ(logs.resource_logs(1).scope_logs(0).log_records_size(), 2);
  EXPECT_THAT(Of(logs.resource_logs(1).resource().attributes()), Contains(Pair("host.name", "db-2")));
  EXPECT_THAT(Of(logs.resource_logs(0).scope_logs(0).log_records(2).attributes()), Contains(Pair("outlier.change.sequence", "1002")));
}

TEST_F(OtlpTest, HostileAndHugeFindingsStayWithinBounds) {
  const auto sink = Preset("dynatrace", [](config::v1::Otlp* otlp) { otlp->set_endpoint("https://abc.live.dynatrace.com"); });
  for (const Finding& finding : {examples::Hostile(), examples::Huge(), examples::Minimal()}) {
    const Request request = Encoded(*sink, {finding});
    EXPECT_LE(request.body.size(), 200'000u);
    const auto logs = Decoded(request);
    const auto& record = logs.resource_logs(0).scope_logs(0).log_records(0);
    EXPECT_LE(record.attributes_size(), 50);
    Of(record.attributes());
    for (const auto& attribute : record.attributes()) {
      EXPECT_LE(attribute.key().size(), 255u);
      EXPECT_LE(attribute.value().array_value().values_size(), 64);
      EXPECT_LE(attribute.value().string_value().size(), 4095u);
      EXPECT_TRUE(std::isfinite(attribute.value().double_value())) << attribute.key();
    }
  }
}

TEST_F(OtlpTest, WhatDoesNotFitAmongTheAttributesIsCounted) {
  proto::logs::v1::LogRecord whole, cut;
  std::string whole_bytes, cut_bytes;
  AppendOtlpRecord(examples::Hostile(), Now(), 128, &whole_bytes);
  AppendOtlpRecord(examples::Hostile(), Now(), 20, &cut_bytes);
  ASSERT_TRUE(whole.ParseFromString(whole_bytes) && cut.ParseFromString(cut_bytes));
  EXPECT_EQ(whole.dropped_attributes_count(), 0u);
  ASSERT_GT(whole.attributes_size(), 40);
  EXPECT_EQ(cut.attributes_size(), 20);
  EXPECT_EQ(cut.dropped_attributes_count(), static_cast<uint32_t>(whole.attributes_size() - 20));
}

TEST_F(OtlpTest, TheMessagesHaveTheNumbersOfTheWireContract) {
  const auto number = [](const google::protobuf::Descriptor* message, const char* field) {
    const auto* found = message->FindFieldByName(field);
    return found == nullptr ? 0 : found->number();
  };
  using namespace proto;  // NOLINT: the contract's own names
  EXPECT_EQ(number(common::v1::AnyValue::descriptor(), "array_value"), 5);
  EXPECT_EQ(number(logs::v1::LogRecord::descriptor(), "observed_time_unix_nano"), 11);
  EXPECT_EQ(number(logs::v1::LogRecord::descriptor(), "event_name"), 12);
  EXPECT_EQ(number(logs::v1::LogRecord::descriptor(), "attributes"), 6);
  EXPECT_EQ(number(logs::v1::ScopeLogs::descriptor(), "log_records"), 2);
  EXPECT_EQ(number(metrics::v1::Metric::descriptor(), "gauge"), 5);
  EXPECT_EQ(number(metrics::v1::Metric::descriptor(), "sum"), 7);
  EXPECT_EQ(number(metrics::v1::Sum::descriptor(), "aggregation_temporality"), 2);
  EXPECT_EQ(number(metrics::v1::NumberDataPoint::descriptor(), "start_time_unix_nano"), 2);
  EXPECT_EQ(number(metrics::v1::NumberDataPoint::descriptor(), "time_unix_nano"), 3);
  EXPECT_EQ(number(metrics::v1::NumberDataPoint::descriptor(), "as_double"), 4);
  EXPECT_EQ(number(metrics::v1::NumberDataPoint::descriptor(), "attributes"), 7);
  EXPECT_EQ(metrics::v1::NumberDataPoint::descriptor()->FindFieldByName("time_unix_nano")->type(), google::protobuf::FieldDescriptor::TYPE_FIXED64);
}

}  // namespace
}  // namespace outlier
