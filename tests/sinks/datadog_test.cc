#include <algorithm>
#include <map>

#include "tests/sinks/vendor_fixture.h"

namespace outlier::examples {
namespace {

using namespace std::chrono_literals;
using Kind = Outcome::Kind;

class DatadogTest : public VendorTest {
 protected:
  DatadogTest() : VendorTest("datadog") { Make(); }
  Json AttributesOf(const Finding& finding) { return BodyOf(finding)["data"]["attributes"]; }
};

TEST_F(DatadogTest, AnOpenedIncidentIsOneEventOfTheSite) {
  const Request request = Encoded(Opened());
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.url, "https://event-management-intake.datadoghq.com/api/v2/events");
  EXPECT_EQ(HeaderOf(request, "Content-Type"), "application/json");
  EXPECT_EQ(HeaderOf(request, "DD-API-KEY"), "s3cret-datadog-api-key-file");
  EXPECT_EQ(request.secrets, std::vector<std::string>{"s3cret-datadog-api-key-file"});
  EXPECT_FALSE(request.compress) << "events are not documented to be taken compressed";
  const Json body = ParseJson(request.body);
  EXPECT_EQ(body["data"]["type"], "event");
  const Json event = body["data"]["attributes"];
  EXPECT_EQ(event["category"], "alert");
  EXPECT_EQ(event["integration_id"], "custom-events");
  EXPECT_EQ(event["title"], "redis-server.service: resident memory 236 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s, full in about 9 min");
  EXPECT_EQ(event["host"], "db-1");
  EXPECT_EQ(event["timestamp"], "2026-03-01T10:00:24.250Z");
  EXPECT_EQ(event["aggregation_key"], std::string(kFeedId) + ":" + kIncidentId);
  EXPECT_EQ(event["tags"], Json::parse(R"(["source:outlier","action:opened","workload:redis-server.service","severity:major","pattern:DRIFT",
                                           "signal:process.memory.usage","environment:production","team:storage"])"));
  EXPECT_EQ(event["attributes"]["status"], "error");
  EXPECT_EQ(event["attributes"]["priority"], "2");
  EXPECT_EQ(event["attributes"]["custom"]["outlier"]["incident"]["contributions"].size(), 2u);
  EXPECT_EQ(event["attributes"]["custom"]["outlier"]["incident"]["contributions"][1]["series"], "process.syscall.rate{syscall.class=file}");
}

TEST_F(DatadogTest, EveryEventOfAnIncidentHasItsKeyAndOnlyResolvingEndsIt) {
  std::vector<std::string> words;
  for (const Finding& finding : Life()) {
    const Json event = AttributesOf(finding);
    EXPECT_EQ(event["aggregation_key"], std::string(kFeedId) + ":" + kIncidentId);
    words.push_back(event["attributes"]["status"]);
  }
  EXPECT_EQ(words, (std::vector<std::string>{"error", "error", "error", "error", "ok"}));
  Finding late = Resolved();  // feedback after the end must not open it again
  late.change.set_kind(v1::IncidentChange::FEEDBACK);
  EXPECT_EQ(AttributesOf(late)["attributes"]["status"], "ok");
}

TEST_F(DatadogTest, LesserIncidentsWarnAndSilencedOnesHaveTheLeastPriority) {
  const Json event = AttributesOf(Silenced());
  EXPECT_EQ(event["attributes"]["status"], "warn");
  EXPECT_EQ(event["attributes"]["priority"], "5");
  EXPECT_NE(std::find(event["tags"].begin(), event["tags"].end(), "silenced:true"), event["tags"].end());
  EXPECT_EQ(event["attributes"]["custom"]["outlier"]["silence"]["reason"], "the yearly full backup");
}

TEST_F(DatadogTest, AGapIsAnEventOfItsOwn) {
  const Json event = AttributesOf(GapRecord());
  EXPECT_EQ(event["title"], "40 changes of incidents on db-1 were lost: compacted");
  EXPECT_EQ(event["attributes"]["status"], "warn");
  EXPECT_NE(event["aggregation_key"], AttributesOf(UnknownGap())["aggregation_key"]);
}

TEST_F(DatadogTest, TextsAndCountsKeepToTheLimits) {
  for (const Finding& finding : {Hostile(), Huge(), Minimal()}) {
    const Json event = AttributesOf(finding);
    const auto characters = [](const std::string& text) {
      return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
    };
    EXPECT_LE(characters(event["title"]), 500);
    EXPECT_GE(characters(event["title"]), 1);
    EXPECT_LE(characters(event["message"]), 4000);
    EXPECT_GE(characters(event["message"]), 1);
    EXPECT_LE(characters(event.value("host", "")), 255);
    EXPECT_LE(event["tags"].size(), 100u);
    for (const Json& tag : event["tags"]) EXPECT_LE(tag.get<std::string>().size(), 200u);
    EXPECT_LE(event["aggregation_key"].get<std::string>().size(), 100u);
  }
  EXPECT_FALSE(AttributesOf(Minimal()).contains("host"));
}

TEST_F(DatadogTest, KeysBeyondTheLimitStayDifferent) {
  Finding a = Opened(), b = Opened();
  a.change.mutable_incident()->set_id(std::string(200, 'x') + "a");
  b.change.mutable_incident()->set_id(std::string(200, 'x') + "b");
  const std::string key = AttributesOf(a)["aggregation_key"];
  EXPECT_EQ(key.size(), 100u);
  EXPECT_NE(key, AttributesOf(b)["aggregation_key"]);
}

TEST_F(DatadogTest, NamesThatHoldAnAtSignNotifyNobody) {
  Finding finding = Opened();
  finding.change.mutable_incident()->set_summary("postgresql@14-main.service: @all look");
  EXPECT_EQ(AttributesOf(finding)["title"], "postgresql@\u200b14-main.service: @\u200ball look");
}

TEST_F(DatadogTest, ThrottlingWaitsAsLongAsItsOwnHeaderSays) {
  const Outcome outcome = Judged(
      Answer(429, R"({"errors":["Rate limit of 100 requests in 60 seconds reached."]})", {{"x-ratelimit-reset", "42"}, {"retry-after", "7"}}));
  EXPECT_EQ(outcome.kind, Kind::kRetry);
  EXPECT_EQ(outcome.retry_after, 42s);
  EXPECT_EQ(Judged(Answer(429, "", {{"x-ratelimit-reset", "soon"}})).retry_after, std::nullopt);
  EXPECT_EQ(Judged(Answer(408)).kind, Kind::kRetry);
}

TEST_F(DatadogTest, AnEventThatIsTooOldIsExpiredAndNotRefused) {
  EXPECT_LE(stream().limits().oldest, 18h);
  EXPECT_GT(stream().limits().oldest, 17h);
  const Outcome outcome = Judged(Answer(400, R"({"errors":["the event is 19.0 h old, at most 18 h are taken"]})"));
  EXPECT_EQ(outcome.kind, Kind::kItems);
  EXPECT_EQ(outcome.items, std::vector<ItemOutcome>{ItemOutcome::kExpired});
  EXPECT_EQ(Judged(Answer(400, R"({"errors":["title is missing"]})")).kind, Kind::kRefused);
}

// It would refuse it, and the alert would stay open there.
TEST_F(DatadogTest, AnEndThatIsTooOldIsToldWithThePresentTime) {
  EXPECT_FALSE(stream().limits().history);
  const WallTime late = Now() + 24h;
  const Json event = ParseJson(Encoded(Resolved(), late).body)["data"]["attributes"];
  EXPECT_EQ(event["timestamp"], Rfc3339(late));
  EXPECT_EQ(event["attributes"]["status"], "ok");
  EXPECT_EQ(event["attributes"]["custom"]["outlier"]["incident"]["resolved_time"], Rfc3339(Resolved().incident().resolved_time()));
  EXPECT_EQ(ParseJson(Encoded(Resolved()).body)["data"]["attributes"]["timestamp"], Rfc3339(Resolved().change.time()));
  EXPECT_EQ(ParseJson(Encoded(Opened(), late).body)["data"]["attributes"]["timestamp"], Rfc3339(Opened().change.time())) << "it did not open now";
}

TEST_F(DatadogTest, ScoresAndSignalsAreGaugesOfTheHost) {
  const std::vector<Request> requests = stream().EncodeSamples(HostStatus(), Now());
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].url, "https://api.datadoghq.com/api/v2/series");
  EXPECT_TRUE(requests[0].compress);
  std::map<std::string, Json> by_name;
  const Json body = ParseJson(requests[0].body);
  for (const Json& series : body["series"]) by_name.emplace(series["metric"], series);  // the first of each
  EXPECT_EQ(by_name["outlier.score"], Json::parse(R"({"metric":"outlier.score","type":3,"points":[{"timestamp":1772359810,"value":91.25}],
      "tags":["workload:redis-server.service","kind:SYSTEMD_UNIT","environment:production","team:storage"],
      "resources":[{"type":"host","name":"db-1"}],"source_type_name":"outlier"})"));
  EXPECT_EQ(by_name["outlier.signal.process.memory.usage"]["unit"], "byte");
  EXPECT_EQ(by_name["outlier.signal.process.syscall.rate"]["tags"][2], "syscall.class:file");
  EXPECT_EQ(by_name["outlier.host.open_incidents"]["points"][0]["value"], 4.0);
  EXPECT_EQ(by_name["outlier.budget.false_alarms_per_week"]["tags"][0], "of:promised");
}

TEST_F(DatadogTest, SamplesAreCutIntoRequestsThatFitAndOldOnesAreNotSent) {
  Samples samples = HostStatus();
  for (int i = 0; i < 2000; ++i) {
    *samples.sample.add_workloads() = samples.sample.workloads(i % 3);
    samples.sample.mutable_workloads(i + 3)->mutable_workload()->set_name("w" + std::to_string(i));
  }
  size_t series = 0;
  const std::vector<Request> requests = stream().EncodeSamples(samples, Now());
  EXPECT_GT(requests.size(), 1u);
  for (const Request& request : requests) {
    EXPECT_LE(request.body.size(), 512'000u);
    series += ParseJson(request.body)["series"].size();
  }
  EXPECT_EQ(series, 2003u * 12 + 14) << "6 of its state and 6 signals each; the host's own";
  EXPECT_TRUE(stream().EncodeSamples(samples, Now() + 61min).empty());
  EXPECT_TRUE(stream().EncodeSamples(samples, Now() - 25min).empty()) << "more than 10 minutes ahead";
}

TEST_F(DatadogTest, HostileSamplesKeepNamesAndNumbersThatTheApiTakes) {
  const std::vector<Request> requests = stream().EncodeSamples(HostileSamples(), Now());
  ASSERT_EQ(requests.size(), 1u);
  const Json body = ParseJson(requests[0].body);
  for (const Json& series : body["series"]) {
    const std::string name = series["metric"];
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_."), std::string::npos) << name;
    EXPECT_LE(name.size(), 200u);
    EXPECT_TRUE(series["points"][0]["value"].is_number()) << series;
  }
}

TEST_F(DatadogTest, ARotatedKeyIsUsedAtOnceAndOneThatIsGoneSuspends) {
  keys_.Write("api_key_file", "another");
  EXPECT_EQ(HeaderOf(Encoded(Opened()), "DD-API-KEY"), "another");
  keys_.Remove("api_key_file");
  const std::vector<Finding> findings{Opened()};
  EXPECT_EQ(stream().Encode(findings, Now()).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(DatadogTest, AsksWhetherTheKeyIsValid) {
  const auto check = stream().Check();
  ASSERT_TRUE(check);
  EXPECT_EQ(check->request.method, "GET");
  EXPECT_EQ(check->request.url, "https://api.datadoghq.com/api/v1/validate");
  EXPECT_TRUE(stream().Checked(Answer(200, R"({"valid":true})")).ok());
  EXPECT_FALSE(stream().Checked(Answer(403, R"({"errors":["Forbidden"]})")).ok());
}

TEST_F(DatadogTest, OtherSitesAndAddressesAreTakenAndWrongOnesNamed) {
  context_.config.mutable_datadog()->set_site("us5.datadoghq.com");
  context_.config.mutable_datadog()->set_metrics_url("http://127.0.0.1:8080/");
  Make();
  EXPECT_EQ(Encoded(Opened()).url, "https://event-management-intake.us5.datadoghq.com/api/v2/events");
  EXPECT_EQ(stream().EncodeSamples(Scores(), Now()).at(0).url, "http://127.0.0.1:8080/api/v2/series");
  context_.config.mutable_datadog()->set_site("evil.example/x?");
  EXPECT_NE(Refusal().find("datadog.site"), std::string::npos);
  context_.config.mutable_datadog()->set_site("datadoghq.eu");
  context_.config.mutable_datadog()->set_events_url("ftp://x");
  EXPECT_NE(Refusal().find("datadog.events_url"), std::string::npos);
}

}  // namespace
}  // namespace outlier::examples
