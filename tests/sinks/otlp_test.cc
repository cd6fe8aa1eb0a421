// OTLP: what is sent is decoded again and compared, preset by preset.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "opentelemetry/proto/collector/logs/v1/logs_service.pb.h"
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb.h"
#include "tests/sinks/example_config.h"
#include "tests/sinks/examples.h"
#include "userspace/sinks/otlp_metrics.h"
#include "userspace/sinks/otlp_records.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

using examples::Keys;
using examples::Now;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;
using Kind = Outcome::Kind;

namespace proto = opentelemetry::proto;
using Logs = proto::collector::logs::v1::ExportLogsServiceRequest;
using Metrics = proto::collector::metrics::v1::ExportMetricsServiceRequest;
using Attributes = std::map<std::string, std::string>;

std::string Plain(const proto::common::v1::AnyValue& value) {
  switch (value.value_case()) {
    case proto::common::v1::AnyValue::kStringValue: return value.string_value();
    case proto::common::v1::AnyValue::kBoolValue: return value.bool_value() ? "true" : "false";
    case proto::common::v1::AnyValue::kIntValue: return std::to_string(value.int_value());
    case proto::common::v1::AnyValue::kDoubleValue: return Dump(Json(value.double_value()));
    case proto::common::v1::AnyValue::kArrayValue: {
      std::string text;
      for (const auto& element : value.array_value().values()) text += (text.empty() ? "" : " | ") + Plain(element);
      return text;
    }
    default: return "nothing";
  }
}

Attributes Of(const google::protobuf::RepeatedPtrField<proto::common::v1::KeyValue>& list) {
  Attributes attributes;
  for (const auto& attribute : list)
    EXPECT_TRUE(attributes.emplace(attribute.key(), Plain(attribute.value())).second) << attribute.key() << " is there twice";
  return attributes;
}

std::string HeaderOf(const Request& request, std::string_view name) {
  for (const auto& [key, value] : request.headers) {
    if (key == name) return value;
  }
  return "";
}

Response Answer(int status, std::string body = "", Headers headers = {}) {
  Response response;
  response.status = status;
  response.body = std::move(body);
  response.headers = std::move(headers);
  return response;
}

Response GrpcAnswer(int status, std::string text = "", Headers headers = {}) {
  Response response = Answer(status, "", std::move(headers));
  response.grpc = true;
  response.failure_text = std::move(text);
  return response;
}

class OtlpTest : public testing::Test {
 protected:
  using Change = std::function<void(config::v1::Otlp*)>;

  absl::StatusOr<AnySink> Try(const Change& change) {
    SinkContext context;
    context.version = "0.1.0";
    context.relay_host = "relay-1";
    change(context.config.mutable_otlp());
    return MakeSink(context);
  }
  std::unique_ptr<StreamSink> Make(const Change& change) {
    absl::StatusOr<AnySink> sink = Try(change);
    EXPECT_TRUE(sink.ok()) << sink.status();
    return sink.ok() ? std::move(sink->stream) : nullptr;
  }
  std::string Refusal(const Change& change) {
    const absl::StatusOr<AnySink> sink = Try(change);
    EXPECT_EQ(sink.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(sink.status().message());
  }
  // As preset with its key, at its own address.
  std::unique_ptr<StreamSink> Preset(const std::string& name, const Change& more = [](config::v1::Otlp*) {}) {
    return Make([&](config::v1::Otlp* otlp) {
      otlp->set_preset(name);
      otlp->set_key_file(keys_.Write("key", name == "grafana_cloud" ? "12345:s3cret" : "s3cret"));
      more(otlp);
    });
  }

  static Request Encoded(StreamSink& sink, const std::vector<Finding>& findings) {
    absl::StatusOr<Request> request = sink.Encode(findings, Now());
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? *request : Request{};
  }
  static Logs Decoded(const Request& request) {
    Logs logs;
    EXPECT_TRUE(logs.ParseFromString(request.body));
    return logs;
  }
  static std::vector<Metrics> DecodedMetrics(const std::vector<Request>& requests) {
    std::vector<Metrics> all;
    for (const Request& request : requests) EXPECT_TRUE(all.emplace_back().ParseFromString(request.body));
    return all;
  }

  Keys keys_;
};

const auto kLocal = [](config::v1::Otlp* otlp) { otlp->set_endpoint("http://127.0.0.1:4318"); };

// Every metric by its name, over all requests.
std::map<std::string, std::vector<proto::metrics::v1::Metric>> ByName(const std::vector<Metrics>& all) {
  std::map<std::string, std::vector<proto::metrics::v1::Metric>> metrics;
  for (const Metrics& request : all) {
    for (const auto& resource : request.resource_metrics()) {
      for (const auto& scope : resource.scope_metrics()) {
        for (const auto& metric : scope.metrics()) metrics[metric.name()].push_back(metric);
      }
    }
  }
  return metrics;
}

Samples At(Samples samples, int seconds_later, double more_cpu = 0) {
  samples.sample.mutable_time()->set_seconds(samples.sample.time().seconds() + seconds_later);
  for (v1::WorkloadState& state : *samples.sample.mutable_workloads()) state.set_cpu_seconds(state.cpu_seconds() + more_cpu);
  return samples;
}

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

TEST_F(OtlpTest, PresetsHaveTheirAddressHeaderAndTemporality) {
  struct Row {
    std::string preset, endpoint, logs, metrics, header, value;
    bool delta;
  };
  const std::vector<Row> rows = {
      {"new_relic", "", "https://otlp.nr-data.net/v1/logs", "https://otlp.nr-data.net/v1/metrics", "api-key", "s3cret", true},
      {"new_relic_eu", "", "https://otlp.eu01.nr-data.net/v1/logs", "https://otlp.eu01.nr-data.net/v1/metrics", "api-key", "s3cret", true},
      {"datadog", "", "https://http-intake.logs.datadoghq.com/api/v2/logs", "https://api.datadoghq.com/api/intake/otlp/v1/metrics", "dd-api-key",
       "s3cret", true},
      {"datadog", "https://api.datadoghq.eu", "https://http-intake.logs.datadoghq.eu/api/v2/logs",
       "https://api.datadoghq.eu/api/intake/otlp/v1/metrics", "dd-api-key", "s3cret", true},
      {"dynatrace", "https://abc.live.dynatrace.com/", "https://abc.live.dynatrace.com/api/v2/otlp/v1/logs",
       "https://abc.live.dynatrace.com/api/v2/otlp/v1/metrics", "Authorization", "Api-Token s3cret", true},
      {"instana", "", "http://127.0.0.1:4318/v1/logs", "http://127.0.0.1:4318/v1/metrics", "x-instana-key", "s3cret", false},
      {"elastic", "https://apm:8200", "https://apm:8200/v1/logs", "https://apm:8200/v1/metrics", "Authorization", "ApiKey s3cret", false},
      {"grafana_cloud", "https://otlp-gateway-prod-eu-west-2.grafana.net/otlp", "https://otlp-gateway-prod-eu-west-2.grafana.net/otlp/v1/logs",
       "https://otlp-gateway-prod-eu-west-2.grafana.net/otlp/v1/metrics", "Authorization", "Basic MTIzNDU6czNjcmV0", false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.preset);
    const auto sink = Preset(row.preset, [&](config::v1::Otlp* otlp) { otlp->set_endpoint(row.endpoint); });
    const Request logs = Encoded(*sink, {examples::Opened()});
    EXPECT_EQ(logs.url, row.logs);
    EXPECT_EQ(HeaderOf(logs, row.header), row.value);
    EXPECT_THAT(logs.secrets, Contains("s3cret")) << "or in the form it is sent in";
    sink->EncodeSamples(examples::Scores(), Now());
    const std::vector<Request> metrics = sink->EncodeSamples(At(examples::Scores(), 10, 1), Now());
    ASSERT_EQ(metrics.size(), 1u);
    EXPECT_EQ(metrics[0].url, row.metrics);
    EXPECT_EQ(HeaderOf(metrics[0], row.header), row.value);
    const auto cpu = ByName(DecodedMetrics(metrics)).at("process.cpu.time").front();
    EXPECT_EQ(cpu.sum().aggregation_temporality(),
              row.delta ? proto::metrics::v1::AGGREGATION_TEMPORALITY_DELTA : proto::metrics::v1::AGGREGATION_TEMPORALITY_CUMULATIVE);
  }
}

TEST_F(OtlpTest, DatadogIsToldWhatProtocolItsLogsAreAndThatResourcesAreTags) {
  const auto sink = Preset("datadog");
  EXPECT_EQ(HeaderOf(Encoded(*sink, {examples::Opened()}), "dd-protocol"), "otlp");
  const auto metrics = sink->EncodeSamples(examples::Scores(), Now());
  ASSERT_FALSE(metrics.empty());
  EXPECT_EQ(HeaderOf(metrics[0], "dd-protocol"), "");
  EXPECT_EQ(HeaderOf(metrics[0], "dd-otel-metric-config"), R"({"resource_attributes_as_tags": true})");
  for (const auto& [name, found] : ByName(DecodedMetrics(metrics))) {
    for (const auto& metric : found)
      EXPECT_TRUE(metric.has_gauge() || metric.sum().aggregation_temporality() == proto::metrics::v1::AGGREGATION_TEMPORALITY_DELTA) << name;
  }
}

TEST_F(OtlpTest, CloudWatchIsSignedForTheServiceOfTheSignal) {
  const auto sink = Make([&](config::v1::Otlp* otlp) {
    otlp->set_preset("cloudwatch");
    otlp->set_log_group("/outlier/incidents");
    otlp->mutable_aws()->set_region("eu-central-1");
    otlp->mutable_aws()->set_access_key_id_file(keys_.Write("id", "AKIDEXAMPLE"));
    otlp->mutable_aws()->set_secret_access_key_file(keys_.Write("secret", "s3cret"));
  });
  const Request logs = Encoded(*sink, {examples::Opened()});
  EXPECT_EQ(logs.url, "https://logs.eu-central-1.amazonaws.com/v1/logs");
  EXPECT_EQ(HeaderOf(logs, "x-aws-log-group"), "/outlier/incidents");
  EXPECT_EQ(HeaderOf(logs, "x-aws-log-stream"), "relay-1");
  ASSERT_TRUE(logs.aws);
  EXPECT_EQ(logs.aws->service, "logs");
  EXPECT_EQ(logs.aws->region, "eu-central-1");
  EXPECT_EQ(logs.aws->secret_access_key, "s3cret");
  EXPECT_THAT(logs.secrets, Contains("s3cret"));
  const auto metrics = sink->EncodeSamples(examples::Scores(), Now());
  ASSERT_FALSE(metrics.empty());
  EXPECT_EQ(metrics[0].url, "https://monitoring.eu-central-1.amazonaws.com/v1/metrics");
  EXPECT_EQ(metrics[0].aws->service, "monitoring");
  EXPECT_EQ(sink->limits().oldest, std::chrono::hours(14 * 24));
}

class AzureTest : public OtlpTest {
 protected:
  std::unique_ptr<StreamSink> Azure() {
    return Make([&](config::v1::Otlp* otlp) {
      otlp->set_preset("azure_monitor");
      otlp->set_logs_endpoint("https://dce.ingest.monitor.azure.com/datacollectionRules/dcr-1/streams/Microsoft-OTLP-Logs/otlp/v1/logs");
      otlp->set_metrics_endpoint(
          "https://dce.metrics.ingest.monitor.azure.com/datacollectionRules/dcr-1/streams/microsoft-otelmetrics/otlp/v1/metrics");
      otlp->mutable_entra()->set_tenant_id("tenant");
      otlp->mutable_entra()->set_client_id("client");
      otlp->mutable_entra()->set_client_secret_file(keys_.Write("secret", "s3cret"));
    });
  }
  static void GiveToken(StreamSink& sink, const std::string& token) {
    ASSERT_TRUE(sink.Prepare(Now()));
    const Outcome outcome = sink.Prepared(Answer(200, R"({"access_token":")" + token + R"(","expires_in":3600})"), Now());
    ASSERT_EQ(outcome.kind, Kind::kItems) << outcome.reason;
  }
};

TEST_F(AzureTest, AsksForATokenFirstAndCarriesIt) {
  const auto sink = Azure();
  EXPECT_FALSE(sink->Encode(std::vector{examples::Opened()}, Now()).ok()) << "without a token nothing is sent";
  const auto preparation = sink->Prepare(Now());
  ASSERT_TRUE(preparation);
  EXPECT_EQ(preparation->request.url, "https://login.microsoftonline.com/tenant/oauth2/v2.0/token");
  EXPECT_THAT(preparation->request.body, HasSubstr("scope=https%3A%2F%2Fmonitor.azure.com%2F.default"));
  GiveToken(*sink, "t0ken");
  EXPECT_FALSE(sink->Prepare(Now())) << "one is enough";
  const Request logs = Encoded(*sink, {examples::Opened()});
  EXPECT_THAT(logs.url, HasSubstr("/streams/Microsoft-OTLP-Logs/otlp/v1/logs"));
  EXPECT_EQ(HeaderOf(logs, "Authorization"), "Bearer t0ken");
  EXPECT_THAT(logs.secrets, Contains("t0ken"));
}

TEST_F(AzureTest, ATokenThatIsWithdrawnIsAskedForAnewAtOnceButOnlyOnce) {
  const auto sink = Azure();
  GiveToken(*sink, "one");
  const std::vector findings = {examples::Opened()};
  EXPECT_EQ(sink->Judge(Answer(200), findings).kind, Kind::kItems);
  EXPECT_EQ(sink->Judge(Answer(401), findings).kind, Kind::kRetry);
  GiveToken(*sink, "two");
  EXPECT_EQ(HeaderOf(Encoded(*sink, findings), "Authorization"), "Bearer two");
  EXPECT_EQ(sink->Judge(Answer(401), findings).kind, Kind::kSuspend) << "a fresh one is refused: a person has to look";
}

TEST_F(OtlpTest, OverGrpcTheServiceIsCalledByNameWithLowerCaseMetadata) {
  const auto sink = Make([&](config::v1::Otlp* otlp) {
    otlp->set_protocol("grpc");
    otlp->set_endpoint("collector:4317");
    otlp->set_header_file(keys_.Write("headers", "X-Tenant: s3cret\n\nOther : two words"));
  });
  const Request logs = Encoded(*sink, {examples::Opened()});
  EXPECT_EQ(logs.protocol, Request::Protocol::kGrpc);
  EXPECT_EQ(logs.url, "https://collector:4317") << "without a scheme it is TLS";
  EXPECT_EQ(logs.grpc_method, "/opentelemetry.proto.collector.logs.v1.LogsService/Export");
  EXPECT_THAT(logs.headers, UnorderedElementsAre(Pair("x-tenant", "s3cret"), Pair("other", "two words")));
  EXPECT_THAT(logs.secrets, UnorderedElementsAre("s3cret", "two words"));
  const auto metrics = sink->EncodeSamples(examples::Scores(), Now());
  ASSERT_FALSE(metrics.empty());
  EXPECT_EQ(metrics[0].grpc_method, "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export");
  EXPECT_LE(sink->limits().max_bytes, 4u << 20);
}

TEST_F(OtlpTest, AKeyWithItsSchemeIsTakenAsItIs) {
  const auto sink = Make([&](config::v1::Otlp* otlp) {
    otlp->set_preset("elastic");
    otlp->set_endpoint("https://apm:8200");
    otlp->set_key_file(keys_.Write("key", "Bearer s3cret"));
  });
  const Request request = Encoded(*sink, {examples::Opened()});
  EXPECT_EQ(HeaderOf(request, "Authorization"), "Bearer s3cret");
  EXPECT_THAT(request.secrets, Contains("s3cret"));
}

TEST_F(OtlpTest, AKeyIsReadAgainWhenItsFileChanges) {
  const auto sink = Preset("new_relic");
  EXPECT_EQ(HeaderOf(Encoded(*sink, {examples::Opened()}), "api-key"), "s3cret");
  keys_.Write("key", "r0tated");
  EXPECT_EQ(HeaderOf(Encoded(*sink, {examples::Opened()}), "api-key"), "r0tated");
  keys_.Write("key", "two\nlines");
  EXPECT_EQ(sink->Encode(std::vector{examples::Opened()}, Now()).status().code(), absl::StatusCode::kFailedPrecondition);
  keys_.Remove("key");
  EXPECT_EQ(sink->Encode(std::vector{examples::Opened()}, Now()).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(OtlpTest, ConfigurationsThatCannotWorkAreRefused) {
  const std::string key = keys_.Write("key", "s3cret");
  const auto with = [&](auto... changes) { return [=]([[maybe_unused]] config::v1::Otlp* otlp) { (changes(otlp), ...); }; };
  const auto preset = [](const char* name) { return [=](config::v1::Otlp* otlp) { otlp->set_preset(name); }; };
  const auto keyed = [&](config::v1::Otlp* otlp) { otlp->set_key_file(key); };
  const auto grpc = [](config::v1::Otlp* otlp) { otlp->set_protocol("grpc"); };
  const auto endpoint = [](const char* address) { return [=](config::v1::Otlp* otlp) { otlp->set_endpoint(address); }; };
  EXPECT_THAT(Refusal(with()), HasSubstr("otlp.endpoint: needed"));
  EXPECT_THAT(Refusal(with(preset("dynatrace"), keyed)), HasSubstr("otlp.endpoint: needed with preset dynatrace"));
  EXPECT_THAT(Refusal(with(preset("new_relic"))), HasSubstr("otlp.key_file: needed"));
  EXPECT_THAT(Refusal(with(keyed, endpoint("http://a"))), HasSubstr("header_file"));
  EXPECT_THAT(Refusal(with(endpoint("collector:4318"))), HasSubstr("otlp.endpoint: expected an address"));
  EXPECT_THAT(Refusal(with(endpoint("https://user:s3cret@collector"))), AllOf(HasSubstr("no name or password"), testing::Not(HasSubstr("s3cret"))));
  EXPECT_THAT(Refusal(with(grpc, endpoint("https://collector:4317/v1/logs"))), HasSubstr("without a path"));
  EXPECT_THAT(Refusal(with(grpc, endpoint("collector"))), HasSubstr("needs a port"));
  for (const char* http_only : {"datadog", "dynatrace", "grafana_cloud", "cloudwatch", "azure_monitor"}) {
    EXPECT_THAT(Refusal(with(preset(http_only), grpc)), HasSubstr("over HTTP only"));
  }
  EXPECT_THAT(Refusal(with(preset("datadog"), keyed, [](config::v1::Otlp* otlp) { otlp->set_temporality("cumulative"); })), HasSubstr("delta only"));
  EXPECT_THAT(Refusal(with(preset("cloudwatch"))), HasSubstr("otlp.aws.region"));
  EXPECT_THAT(Refusal(with(preset("azure_monitor"))), HasSubstr("otlp.entra.client_id"));
  EXPECT_THAT(Refusal(with(preset("none"), endpoint("http://a"), [](config::v1::Otlp* otlp) {
    otlp->set_logs_endpoint("-");
    otlp->set_metrics_endpoint("-");
  })), HasSubstr("neither logs nor metrics"));
}

TEST_F(OtlpTest, OneSignalMayBeLeftOutOrSentElsewhere) {
  const auto sink = Make([](config::v1::Otlp* otlp) {
    otlp->set_logs_endpoint("-");
    otlp->set_metrics_endpoint("https://prometheus:9090/api/v1/otlp/v1/metrics");
  });
  EXPECT_FALSE(sink->limits().changes);
  EXPECT_TRUE(sink->limits().samples);
  const auto metrics = sink->EncodeSamples(examples::Scores(), Now());
  ASSERT_FALSE(metrics.empty());
  EXPECT_EQ(metrics[0].url, "https://prometheus:9090/api/v1/otlp/v1/metrics");
  EXPECT_FALSE(Make([](config::v1::Otlp* otlp) {
                 otlp->set_endpoint("http://a");
                 otlp->set_metrics_endpoint("-");
               })->limits().samples);
}

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

TEST_F(OtlpTest, AnswersMeanWhatTheProtocolSays) {
  const auto sink = Make(kLocal);
  const std::vector<Finding> findings = examples::Many(3);
  const auto judged = [&](const Response& response) { return sink->Judge(response, findings).kind; };
  for (const int status : {429, 502, 503, 504}) EXPECT_EQ(judged(Answer(status)), Kind::kRetry) << status;
  for (const int status : {400, 408, 422, 500}) EXPECT_EQ(judged(Answer(status)), Kind::kRefused) << status;
  for (const int status : {301, 401, 403, 404, 405, 415, 501}) EXPECT_EQ(judged(Answer(status)), Kind::kSuspend) << status;
  EXPECT_EQ(judged(Answer(413)), Kind::kSplit);
  EXPECT_EQ(sink->Judge(Answer(503, "", {{"retry-after", "12"}}), findings).retry_after, std::chrono::seconds(12));
  for (const int code : {1, 4, 10, 11, 14, 15}) EXPECT_EQ(judged(GrpcAnswer(code)), Kind::kRetry) << code;
  for (const int code : {2, 3, 6, 9, 13}) EXPECT_EQ(judged(GrpcAnswer(code)), Kind::kRefused) << code;
  for (const int code : {5, 7, 12, 16}) EXPECT_EQ(judged(GrpcAnswer(code)), Kind::kSuspend) << code;
  EXPECT_EQ(judged(GrpcAnswer(8)), Kind::kSplit) << "too large for the server";
  const Outcome throttled = sink->Judge(GrpcAnswer(8, "busy", {{"retry-after", "3"}}), findings);
  EXPECT_EQ(throttled.kind, Kind::kRetry);
  EXPECT_EQ(throttled.retry_after, std::chrono::seconds(3));
}

TEST_F(OtlpTest, AnErrorsMessageIsReadOutOfItsProtobuf) {
  const auto sink = Make(kLocal);
  const std::string status = std::string("\x08\x03\x12\x0d") + "bad \x1b request";
  const Outcome outcome = sink->Judge(Answer(400, status, {{"content-type", "application/x-protobuf"}}), examples::Many(1));
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_EQ(outcome.reason, "HTTP 400: bad \\x1b request");
}

TEST_F(OtlpTest, AWebPageIsNoDelivery) {
  const auto sink = Make(kLocal);
  EXPECT_EQ(sink->Judge(Answer(200, "<html>sign in</html>", {{"content-type", "text/html; charset=utf-8"}}), examples::Many(2)).kind, Kind::kSuspend);
}

TEST_F(OtlpTest, WhatWasRejectedInAPartialSuccessIsCountedAndNotSentAgain) {
  const auto sink = Make(kLocal);
  proto::collector::logs::v1::ExportLogsServiceResponse answer;
  answer.mutable_partial_success()->set_rejected_log_records(2);
  answer.mutable_partial_success()->set_error_message("no such index");
  const Headers protobuf = {{"content-type", "application/x-protobuf"}};
  Outcome outcome = sink->Judge(Answer(200, answer.SerializeAsString(), protobuf), examples::Many(3));
  EXPECT_EQ(outcome.kind, Kind::kItems);
  EXPECT_EQ(outcome.items, std::vector(3, ItemOutcome::kDelivered)) << "which ones, nobody knows";
  EXPECT_EQ(outcome.refused_unnamed, 2u);
  EXPECT_EQ(outcome.warning, "2 of 3 log records refused: no such index");

  outcome = sink->Judge(Answer(200, answer.SerializeAsString(), protobuf), examples::Many(2));
  EXPECT_EQ(outcome.items, std::vector(2, ItemOutcome::kRefused)) << "all of them: now they are known";
  EXPECT_EQ(outcome.reasons, std::vector<std::string>(2, "no such index"));
  EXPECT_EQ(outcome.refused_unnamed, 0u);

  answer.mutable_partial_success()->set_rejected_log_records(0);
  outcome = sink->Judge(Answer(200, answer.SerializeAsString(), protobuf), examples::Many(2));
  EXPECT_EQ(outcome.items, std::vector(2, ItemOutcome::kDelivered));
  EXPECT_EQ(outcome.warning, "no such index") << "a warning";

  Response grpc = GrpcAnswer(0);
  answer.mutable_partial_success()->set_rejected_log_records(1);
  grpc.body = answer.SerializeAsString();
  EXPECT_EQ(sink->Judge(grpc, examples::Many(3)).refused_unnamed, 1u);
}

TEST_F(OtlpTest, RefusedDataPointsAreAWarning) {
  const auto sink = Make(kLocal);
  proto::collector::metrics::v1::ExportMetricsServiceResponse answer;
  answer.mutable_partial_success()->set_rejected_data_points(7);
  answer.mutable_partial_success()->set_error_message("unsupported temporality");
  const Outcome outcome = sink->JudgeSamples(Answer(200, answer.SerializeAsString(), {{"content-type", "application/x-protobuf"}}));
  EXPECT_EQ(outcome.kind, Kind::kItems);
  EXPECT_EQ(outcome.warning, "7 data points refused: unsupported temporality");
}

TEST_F(OtlpTest, DatadogSaysWhenInAHeaderOfItsOwn) {
  const auto sink = Preset("datadog");
  EXPECT_EQ(sink->Judge(Answer(429, "", {{"x-ratelimit-reset", "9"}}), examples::Many(1)).retry_after, std::chrono::seconds(9));
}

TEST_F(OtlpTest, ACheckSendsAnExportWithoutContent) {
  const auto sink = Preset("new_relic");
  const auto check = sink->Check();
  ASSERT_TRUE(check);
  EXPECT_EQ(check->request.body, "");
  EXPECT_EQ(HeaderOf(check->request, "api-key"), "s3cret");
  EXPECT_TRUE(sink->Checked(Answer(200)).ok());
  EXPECT_FALSE(sink->Checked(Answer(403)).ok());
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
