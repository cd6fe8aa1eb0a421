// Where each backend takes OTLP, with which header, key and temporality.
#include <gmock/gmock.h>

#include "tests/sinks/otlp_fixture.h"

namespace outlier {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

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

}  // namespace
}  // namespace outlier
