// Remote write: the block is decompressed and decoded again, series by series.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <snappy.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <map>

#include "prometheus/remote_write.pb.h"
#include "tests/sinks/example_config.h"
#include "tests/sinks/examples.h"

namespace outlier {
namespace {

using examples::Keys;
using examples::Now;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Key;
using testing::Not;
using testing::Pair;
using Kind = Outcome::Kind;

constexpr int64_t kOnsetMs = 1'772'359'200'000;
constexpr uint64_t kStaleBits = 0x7ff0000000000002;

// "outlier_x{a="b"}" -> "value@milliseconds after the onset", the marker as "stale".
using Written = std::map<std::string, std::vector<std::string>>;

Written Decoded(const Request& request) {
  std::string plain;
  EXPECT_TRUE(snappy::Uncompress(request.body.data(), request.body.size(), &plain));
  prometheus::WriteRequest message;
  EXPECT_TRUE(message.ParseFromString(plain));
  Written written;
  for (const prometheus::TimeSeries& series : message.timeseries()) {
    std::string name, last;
    for (const prometheus::Label& label : series.labels()) {
      EXPECT_LT(last, label.name()) << "labels are sorted, each once";
      EXPECT_NE(label.value(), "");
      last = label.name();
      name += label.name() == "__name__" ? label.value() + "{" : label.name() + "=" + label.value() + ",";
    }
    if (name.back() == ',') name.pop_back();
    name += '}';
    std::vector<std::string>& samples = written[name];
    EXPECT_TRUE(samples.empty()) << "a series is there once: " << name;
    int64_t before = 0;
    for (const prometheus::Sample& sample : series.samples()) {
      EXPECT_LT(before, sample.timestamp()) << name;
      before = sample.timestamp();
      std::string value = std::to_string(sample.value());
      value.erase(value.find_last_not_of('0') + 1);
      if (value.back() == '.') value.pop_back();
      if (std::bit_cast<uint64_t>(sample.value()) == kStaleBits) value = "stale";
      samples.push_back(value + "@" + std::to_string(sample.timestamp() - kOnsetMs));
    }
  }
  return written;
}

Response Answer(int status, std::string body = "") {
  Response response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

std::string HeaderOf(const Request& request, std::string_view name) {
  for (const auto& [key, value] : request.headers) {
    if (key == name) return value;
  }
  return "";
}

std::string Incident(const std::string& severity) {
  return "outlier_incident_score{environment=production,host=db-1,pattern=drift,severity=" + severity + ",team=storage,workload=redis-server.service}";
}
std::string Score(const std::string& kind, const std::string& workload) {
  return "outlier_workload_score{environment=production,host=db-1,kind=" + kind + ",team=storage,workload=" + workload + "}";
}

class RemoteWriteTest : public testing::Test {
 protected:
  absl::StatusOr<AnySink> Try(const std::function<void(config::v1::PrometheusRemoteWrite*)>& change) {
    SinkContext context;
    context.version = "0.1.0";
    change(context.config.mutable_prometheus_remote_write());
    return MakeSink(context);
  }
  std::unique_ptr<StreamSink> Make(const std::function<void(config::v1::PrometheusRemoteWrite*)>& change = [](config::v1::PrometheusRemoteWrite*) {
  }) {
    absl::StatusOr<AnySink> sink = Try([&](config::v1::PrometheusRemoteWrite* config) {
      config->set_url("http://127.0.0.1:9090/api/v1/write");
      change(config);
    });
    EXPECT_TRUE(sink.ok()) << sink.status();
    return sink.ok() ? std::move(sink->stream) : nullptr;
  }
  static Request Encoded(StreamSink& sink, const std::vector<Finding>& findings) {
    absl::StatusOr<Request> request = sink.Encode(findings, Now());
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? *request : Request{};
  }
  // Sent and taken.
  static Written Deliver(StreamSink& sink, const std::vector<Finding>& findings) {
    const Written written = Decoded(Encoded(sink, findings));
    EXPECT_EQ(sink.Judge(Answer(204), findings).kind, Kind::kItems);
    return written;
  }
  static Written Sample(StreamSink& sink, const Samples& samples) {
    Written all;
    for (const Request& request : sink.EncodeSamples(samples, Now())) all.merge(Decoded(request));
    return all;
  }
  static Samples At(Samples samples, int seconds_later) {
    samples.sample.mutable_time()->set_seconds(samples.sample.time().seconds() + seconds_later);
    return samples;
  }
  Keys keys_;
};

TEST_F(RemoteWriteTest, ARequestIsASnappyBlockWithTheHeadersOfTheContract) {
  const auto sink = Make();
  const Request request = Encoded(*sink, {examples::Opened()});
  EXPECT_EQ(request.url, "http://127.0.0.1:9090/api/v1/write");
  EXPECT_EQ(HeaderOf(request, "Content-Type"), "application/x-protobuf");
  EXPECT_EQ(HeaderOf(request, "Content-Encoding"), "snappy");
  EXPECT_EQ(HeaderOf(request, "X-Prometheus-Remote-Write-Version"), "0.1.0");
  EXPECT_EQ(HeaderOf(request, "User-Agent"), "outlier-relay/0.1.0");
  EXPECT_FALSE(request.compress);
  EXPECT_THAT(Decoded(request), ElementsAre(Pair(Incident("major"), ElementsAre("61.5@24250"))));
}

TEST_F(RemoteWriteTest, ASeriesEndsWhereItsLabelsChangeAndWhereTheIncidentResolves) {
  const auto sink = Make();
  const Written life = Deliver(*sink, examples::Life());
  EXPECT_THAT(life, ElementsAre(Pair(Incident("critical"), ElementsAre("91.25@60500", "91.25@120000", "91.25@180000", "stale@600125")),
                                Pair(Incident("major"), ElementsAre("61.5@24250", "stale@60500"))));
  EXPECT_THAT(Deliver(*sink, examples::Life()), IsEmpty()) << "seen again after a crash";
}

TEST_F(RemoteWriteTest, OpenIncidentsThatAreAlikeShareASeriesWithTheHighestScoreUntilTheLastEnds) {
  const auto sink = Make();
  const auto other = [](Finding finding, double score, uint64_t sequence) {
    finding.change.mutable_incident()->set_id("another");
    finding.change.mutable_incident()->set_score(score);
    finding.change.set_sequence(sequence);
    return finding;
  };
  Finding worse = other(examples::Opened(), 75, examples::Opened().change.sequence() + 1);
  EXPECT_THAT(Deliver(*sink, {examples::Opened(), worse}), ElementsAre(Pair(Incident("major"), ElementsAre("61.5@24250", "75@24251"))));
  Finding over = other(examples::Opened(), 75, worse.change.sequence() + 1);
  over.change.set_kind(v1::IncidentChange::RESOLVED);
  over.change.mutable_incident()->set_state(v1::Incident::RESOLVED);
  EXPECT_THAT(Deliver(*sink, {over}), ElementsAre(Pair(Incident("major"), ElementsAre("61.5@24252"))));
  EXPECT_THAT(Sample(*sink, examples::Scores()), Contains(Pair(Incident("major"), ElementsAre("61.5@610000"))));
}

TEST_F(RemoteWriteTest, ABatchThatIsSentAgainIsTheSame) {
  const auto sink = Make();
  Deliver(*sink, {examples::Opened()});
  const std::vector<Finding> next = {examples::Updated(), examples::Acknowledged()};
  const Request first = Encoded(*sink, next);
  EXPECT_EQ(sink->Judge(Answer(503), next).kind, Kind::kRetry);
  EXPECT_EQ(Encoded(*sink, next).body, first.body);
  EXPECT_THAT(Decoded(first), Contains(Pair(Incident("major"), ElementsAre("stale@60500"))));
}

TEST_F(RemoteWriteTest, SamplesTellAllSeriesOfTheSourceAndGoOnTellingWhatIsOpen) {
  const auto sink = Make();
  sink->SetOpen(examples::Source(), {});
  Deliver(*sink, {examples::Opened(), examples::Updated()});
  const Written written = Sample(*sink, examples::HostStatus());
  EXPECT_THAT(written, Contains(Pair(Score("systemd_unit", "redis-server.service"), ElementsAre("91.25@610000"))));
  EXPECT_THAT(written, Contains(Pair(Score("container", "billing-7d9f/billing.js"), ElementsAre("80@610000"))));
  EXPECT_THAT(written, Contains(Pair(Incident("critical"), ElementsAre("91.25@610000"))));
  const std::string end = ",team=storage}";
  EXPECT_THAT(written, Contains(Pair("outlier_incidents_open{environment=production,host=db-1,severity=critical" + end, ElementsAre("1@610000"))));
  EXPECT_THAT(written, Contains(Pair("outlier_incidents_open{environment=production,host=db-1,severity=major" + end, ElementsAre("0@610000"))));
  EXPECT_THAT(written, Contains(Pair("outlier_incident_changes_total{environment=production,host=db-1,kind=updated" + end, ElementsAre("1@610000"))));
  EXPECT_THAT(written, Contains(Pair("outlier_false_alarms_per_week{environment=production,host=db-1,of=achieved" + end, ElementsAre("0.8@610000"))));
  EXPECT_THAT(written, Contains(Pair("outlier_losses_total{counter=exec_over_rate,environment=production,host=db-1" + end, ElementsAre("3@610000"))));
  EXPECT_THAT(Sample(*sink, examples::HostStatus()), IsEmpty()) << "time does not move on";
}

TEST_F(RemoteWriteTest, AWorkloadThatGoesAwayEndsOnce) {
  const auto sink = Make();
  Sample(*sink, examples::Scores());
  Samples fewer = At(examples::Scores(), 10);
  fewer.sample.mutable_workloads()->RemoveLast();
  EXPECT_THAT(Sample(*sink, fewer), Contains(Pair(Score("executable", "backup"), ElementsAre("stale@620000"))));
  EXPECT_THAT(Sample(*sink, At(fewer, 10)), Not(Contains(Key(Score("executable", "backup")))));
  EXPECT_THAT(Sample(*sink, At(examples::Scores(), 30)), Contains(Pair(Score("executable", "backup"), ElementsAre("0@640000"))));
}

TEST_F(RemoteWriteTest, AnEndThatComesAfterASampleIsToldAMomentLater) {
  const auto sink = Make();
  Deliver(*sink, {examples::Opened()});
  Sample(*sink, examples::Scores());  // at 610 s, before the changes of 60 s and 120 s arrive
  EXPECT_THAT(
      Deliver(*sink, {examples::Updated(), examples::Acknowledged()}),
      ElementsAre(Pair(Incident("critical"), ElementsAre("91.25@60500", "91.25@120000")), Pair(Incident("major"), ElementsAre("stale@610001"))));
}

TEST_F(RemoteWriteTest, AnIncidentThatResolvedInAGapEndsWhenWhatIsOpenIsKnownAgain) {
  const auto sink = Make();
  Deliver(*sink, {examples::Opened(), examples::GapRecord()});
  EXPECT_THAT(Sample(*sink, examples::Scores()), AllOf(Contains(Key(Incident("major"))), Not(Contains(Key(HasSubstr("outlier_incidents_open"))))))
      << "how many are open, nobody knows";
  sink->SetOpen(examples::Source(), {});
  EXPECT_THAT(Sample(*sink, At(examples::Scores(), 10)),
              AllOf(Contains(Pair(Incident("major"), ElementsAre("stale@620000"))), Contains(Key(HasSubstr("outlier_incidents_open")))));
}

TEST_F(RemoteWriteTest, CardinalityIsBounded) {
  const auto sink = Make();
  std::vector<Finding> many = examples::Many(500);
  for (size_t i = 0; i < many.size(); ++i) many[i].change.mutable_incident()->mutable_workload()->set_name("job-" + std::to_string(i));
  EXPECT_EQ(Deliver(*sink, many).size(), 200u);
  Samples samples = examples::Scores();
  const v1::WorkloadState one = samples.sample.workloads(0);
  for (int i = 0; i < 1000; ++i) {
    v1::WorkloadState* state = samples.sample.add_workloads();
    *state = one;
    state->mutable_workload()->set_name("worker-" + std::to_string(i));
    state->set_score(i * 0.05);
  }
  const Written written = Sample(*sink, samples);
  const auto scores =
      std::count_if(written.begin(), written.end(), [](const auto& entry) { return entry.first.starts_with("outlier_workload_score"); });
  EXPECT_EQ(scores, 200);
  EXPECT_THAT(written, Contains(Pair(Score("systemd_unit", "redis-server.service"), testing::_))) << "the highest are shown";
  EXPECT_THAT(written, Contains(Pair("outlier_workloads_not_shown{environment=production,host=db-1,team=storage}", ElementsAre("803@610000"))));
}

TEST_F(RemoteWriteTest, AnswersAboutTimeExpireTheOneItemTheyAreOf) {
  const auto sink = Make();
  const std::vector<Finding> two = examples::Many(2), one = examples::Many(1);
  for (const char* text : {"out of order sample\n", "out of bounds\n", "duplicate sample for timestamp\n", "err-mimir-sample-timestamp-too-old"}) {
    EXPECT_EQ(sink->Judge(Answer(400, text), two).kind, Kind::kRefused) << "halved until the one is found";
    const Outcome outcome = sink->Judge(Answer(400, text), one);
    EXPECT_EQ(outcome.kind, Kind::kItems);
    EXPECT_THAT(outcome.items, ElementsAre(ItemOutcome::kExpired));
    EXPECT_THAT(outcome.reasons, ElementsAre(HasSubstr("HTTP 400")));
  }
  EXPECT_EQ(sink->Judge(Answer(400, "invalid labels"), one).kind, Kind::kRefused);
  EXPECT_EQ(sink->Judge(Answer(500, "out of order"), one).kind, Kind::kRetry);
  EXPECT_THAT(sink->JudgeSamples(Answer(400, "out of order sample")).items, ElementsAre(ItemOutcome::kExpired));
}

TEST_F(RemoteWriteTest, KeysAreSentAndReadAgain) {
  const auto bearer = Make([&](config::v1::PrometheusRemoteWrite* config) { config->set_bearer_token_file(keys_.Write("token", "s3cret")); });
  EXPECT_EQ(HeaderOf(Encoded(*bearer, {examples::Opened()}), "Authorization"), "Bearer s3cret");
  keys_.Write("token", "r0tated");
  EXPECT_EQ(HeaderOf(Encoded(*bearer, {examples::Opened()}), "Authorization"), "Bearer r0tated");
  const auto basic = Make([&](config::v1::PrometheusRemoteWrite* config) {
    config->set_username("relay");
    config->set_password_file(keys_.Write("password", "s3cret"));
  });
  const Request request = Encoded(*basic, {examples::Opened()});
  EXPECT_EQ(HeaderOf(request, "Authorization"), "Basic cmVsYXk6czNjcmV0");
  EXPECT_THAT(request.secrets, AllOf(Contains("s3cret"), Contains("cmVsYXk6czNjcmV0")));
}

TEST_F(RemoteWriteTest, ConfigurationsThatCannotWorkAreRefused) {
  using Config = config::v1::PrometheusRemoteWrite;
  const auto refusal = [&](const std::function<void(Config*)>& change) { return std::string(Try(change).status().message()); };
  EXPECT_THAT(refusal([](Config*) {}), HasSubstr("prometheus_remote_write.url: needed"));
  EXPECT_THAT(refusal([](Config* config) { config->set_url("prometheus:9090"); }), HasSubstr("https://"));
  EXPECT_THAT(refusal([](Config* config) {
                config->set_url("http://a");
                config->set_username("relay");
              }),
              HasSubstr("go together"));
  EXPECT_THAT(refusal([](Config* config) {
                config->set_url("http://a");
                config->set_username("relay");
                config->set_password_file("/p");
                config->set_bearer_token_file("/t");
              }),
              HasSubstr("both given"));
}

TEST_F(RemoteWriteTest, LabelsOfTheConfigurationAreNamedAsPrometheusAllows) {
  const auto sink = Make();
  Finding finding = examples::Opened();
  finding.labels = std::make_shared<Labels>(
      Labels{{"cloud.region", "eu"}, {"1st", "x"}, {"__name__", "stolen"}, {"host", "stolen"}, {"empty", ""}, {"host", "again"}});
  const Written written = Decoded(Encoded(*sink, {finding}));
  ASSERT_EQ(written.size(), 1u);
  EXPECT_THAT(written.begin()->first, AllOf(HasSubstr("cloud_region=eu"), HasSubstr("_st=x"), HasSubstr("label__name__=stolen"),
                                            HasSubstr("host=db-1"), Not(HasSubstr("empty"))));
}

}  // namespace
}  // namespace outlier
