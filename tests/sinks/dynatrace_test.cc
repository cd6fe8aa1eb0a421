#include <algorithm>

#include "tests/sinks/vendor_fixture.h"

namespace outlier::examples {
namespace {

using namespace std::chrono_literals;
using Kind = Outcome::Kind;

Json WithoutTimes(Json event) {
  for (const char* name : {"startTime", "endTime", "timeout"}) event.erase(name);
  return event;
}

class DynatraceTest : public VendorTest {
 protected:
  DynatraceTest() : VendorTest("dynatrace") {
    context_.config.mutable_dynatrace()->set_url("https://abc12345.live.dynatrace.com/");
    context_.config.mutable_dynatrace()->clear_entity_selector();
    Make();
  }
};

TEST_F(DynatraceTest, AnOpenedIncidentOpensAProblemOnItsHost) {
  const Request request = Encoded(Opened());
  EXPECT_EQ(request.url, "https://abc12345.live.dynatrace.com/api/v2/events/ingest");
  EXPECT_EQ(HeaderOf(request, "Authorization"), "Api-Token s3cret-dynatrace-token-file");
  const Json event = ParseJson(request.body);
  EXPECT_EQ(event["eventType"], "CUSTOM_ALERT");
  EXPECT_EQ(event["title"], std::string("redis-server.service on db-1 is unusual (incident ") + kIncidentId + ")");
  EXPECT_EQ(event["startTime"], 1'772'359'224'250);
  EXPECT_EQ(event["timeout"], 60);
  EXPECT_EQ(event["entitySelector"], R"(type(HOST),entityName.equals("db-1"))");
  EXPECT_EQ(event["properties"]["outlier.incident.id"], kIncidentId);
  EXPECT_EQ(event["properties"]["labels.team"], "storage");
}

TEST_F(DynatraceTest, WhatFollowsHasTheSamePayloadSoThatItRefreshesAndTheEndClosesIt) {
  const Json opened = BodyOf(Opened());
  EXPECT_EQ(BodyOf(Updated()), opened);
  EXPECT_EQ(BodyOf(Acknowledged()), opened);
  EXPECT_EQ(BodyOf(Feedback()), opened);
  const Json resolved = BodyOf(Resolved());
  EXPECT_EQ(WithoutTimes(resolved), WithoutTimes(opened));
  EXPECT_EQ(resolved["startTime"], opened["startTime"]);
  EXPECT_EQ(resolved["endTime"], 1'772'359'800'125);
  EXPECT_FALSE(resolved.contains("timeout"));
}

TEST_F(DynatraceTest, WordsAboutAResolvedIncidentAndGapsOpenNothing) {
  Finding late = Resolved();
  late.change.set_kind(v1::IncidentChange::FEEDBACK);
  for (const Finding& finding : {late, GapRecord(), UnknownGap()}) {
    const Json event = BodyOf(finding);
    EXPECT_EQ(event["eventType"], "CUSTOM_INFO");
    EXPECT_EQ(event["startTime"], event["endTime"]);
  }
  EXPECT_EQ(BodyOf(GapRecord())["properties"]["outlier.gap.lost"], "40");
}

relay::v1::Silence Since(const google::protobuf::Timestamp& starts) {
  relay::v1::Silence silence;
  silence.set_id("s1");
  silence.set_author("ops");
  silence.set_reason("upgrade");
  *silence.mutable_starts() = starts;
  return silence;
}

// What wakes nobody is told all the same, and by whom it is silenced.
TEST_F(DynatraceTest, DuringASilenceNothingAlertsAndTheSilenceIsTold) {
  std::vector<Finding> life = {Opened(), Updated(), Resolved()};
  for (Finding& finding : life) {
    finding.silence = Since(Opened().incident().opened_time());
    const Json event = BodyOf(finding);
    EXPECT_EQ(event["eventType"], "CUSTOM_INFO");
    EXPECT_EQ(event["properties"]["outlier.silence.id"], "s1");
    EXPECT_EQ(event["properties"]["outlier.silence.author"], "ops");
    EXPECT_EQ(event["properties"]["outlier.silence.reason"], "upgrade");
    EXPECT_EQ(WithoutTimes(event), WithoutTimes(BodyOf(life[0]))) << "one event, which is refreshed and ends";
  }
  EXPECT_TRUE(BodyOf(life[2]).contains("endTime"));
}

TEST_F(DynatraceTest, AProblemOpenedBeforeASilenceIsNotRefreshedByItAndClosedByItsEnd) {
  google::protobuf::Timestamp later = Opened().incident().opened_time();
  later.set_seconds(later.seconds() + 1);
  Finding updated = Updated(), resolved = Resolved();
  updated.silence = resolved.silence = Since(later);
  EXPECT_EQ(BodyOf(updated)["eventType"], "CUSTOM_INFO");
  EXPECT_EQ(BodyOf(resolved), BodyOf(Resolved())) << "the same payload, or it closes nothing";
  const Json again = BodyOf(Updated());
  EXPECT_EQ(again["eventType"], "CUSTOM_ALERT") << "when the silence is over";
}

TEST_F(DynatraceTest, AStartIsNeverOlderThanSixHoursNorAheadOfNow) {
  const auto ms = [](WallTime time) { return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count(); };
  EXPECT_LT(stream().limits().oldest, 6h);
  const WallTime late = Now() + 7h;
  Finding updated = Updated();
  *updated.change.mutable_time() = ToTimestamp(late);
  const int64_t start = BodyOf(updated, late)["startTime"];
  EXPECT_GT(start, ms(late - 6h));
  EXPECT_LE(start, ms(late - 5h));
  EXPECT_EQ(BodyOf(Opened(), Now() - 2h)["startTime"], ms(Now() - 2h)) << "a source whose clock is ahead";
  for (const WallTime now : {Now(), late, Now() - 2h}) {
    const Json resolved = BodyOf(Resolved(), now);
    EXPECT_LE(resolved["startTime"].get<int64_t>(), resolved["endTime"].get<int64_t>());
    EXPECT_LE(resolved["endTime"].get<int64_t>(), ms(now));
  }
}

TEST_F(DynatraceTest, AHostsNameCannotLeaveItsPlaceInTheSelector) {
  Finding finding = Opened();
  finding.change.mutable_incident()->mutable_source()->set_host_name("a\"),type(SERVICE~");
  EXPECT_EQ(BodyOf(finding)["entitySelector"], "type(HOST),entityName.equals(\"a~\"),type(SERVICE~~\")");
  EXPECT_FALSE(BodyOf(Minimal()).contains("entitySelector"));
  EXPECT_EQ(BodyOf(Minimal())["title"], "a workload is unusual (incident 00000000000000a1)");
  context_.config.mutable_dynatrace()->set_entity_selector("type(HOST),tag(production)");
  Make();
  EXPECT_EQ(BodyOf(Opened())["entitySelector"], "type(HOST),tag(production)");
}

TEST_F(DynatraceTest, PropertiesAreTextsWithinTheLimits) {
  for (const Finding& finding : All()) {
    const Json event = BodyOf(finding);
    EXPECT_LE(event["properties"].size(), 100u);
    for (const auto& [name, value] : event["properties"].items()) {
      EXPECT_LE(name.size(), 100u);
      EXPECT_FALSE(name.starts_with("dt.")) << name;
      ASSERT_TRUE(value.is_string()) << name;
      EXPECT_LE(value.get<std::string>().size(), 4096u);
    }
  }
}

TEST_F(DynatraceTest, TheResultOfTheItemCountsNotOnlyTheStatus) {
  const auto answer = [](const std::string& status) {
    return Answer(201, R"({"reportCount":1,"eventIngestResults":[{"correlationId":"eba8","status":")" + status + "\"}]}");
  };
  EXPECT_EQ(Judged(answer("OK")).items, std::vector<ItemOutcome>{ItemOutcome::kDelivered});
  EXPECT_EQ(Judged(answer("INVALID_TIMESTAMPS")).items, std::vector<ItemOutcome>{ItemOutcome::kExpired});
  EXPECT_EQ(Judged(answer("INVALID_METADATA")).items, std::vector<ItemOutcome>{ItemOutcome::kRefused});
  EXPECT_EQ(Judged(answer("INVALID_ENTITY_TYPE")).items, std::vector<ItemOutcome>{ItemOutcome::kRefused});
  EXPECT_EQ(Judged(Answer(201, R"({"reportCount":0,"eventIngestResults":[]})")).items, std::vector<ItemOutcome>{ItemOutcome::kRefused});
  EXPECT_EQ(Judged(Answer(429)).kind, Kind::kRetry);
  EXPECT_EQ(Judged(Answer(401)).kind, Kind::kSuspend);
}

TEST_F(DynatraceTest, SamplesAreLinesOfGauges) {
  const std::vector<Request> requests = stream().EncodeSamples(HostStatus(), Now());
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].url, "https://abc12345.live.dynatrace.com/api/v2/metrics/ingest");
  EXPECT_EQ(requests[0].headers[0], (std::pair<std::string, std::string>("Content-Type", "text/plain; charset=utf-8")));
  const std::string& body = requests[0].body;
  const auto has = [&](const std::string& line) { return ("\n" + body).find("\n" + line + "\n") != std::string::npos; };
  const std::string common = R"(,host="db-1",environment="production",team="storage")";
  EXPECT_TRUE(has("outlier.score" + common + R"(,workload="redis-server.service",kind="SYSTEMD_UNIT" gauge,91.25 1772359810000)")) << body;
  EXPECT_TRUE(has("outlier.signal.process.syscall.rate" + common +
                  R"(,workload="backup",kind="EXECUTABLE",syscall.class="file" gauge,5120 1772359810000)"));
  EXPECT_TRUE(has("outlier.host.open_incidents" + common + " gauge,4 1772359810000"));
  EXPECT_TRUE(stream().EncodeSamples(HostStatus(), Now() + 61min).empty());
}

TEST_F(DynatraceTest, NoNameBreaksItsLine) {
  Samples samples = Scores();
  samples.source.set_host_name("a \"b\\ c\nd=e,f");
  auto labels = std::make_shared<Labels>(Labels{{"Team Name", "x"}, {"host", "twice"}, {"9th", "y"}, {"..", "z"}});
  samples.labels = labels;
  samples.sample.mutable_workloads()->DeleteSubrange(1, 2);
  const std::string body = stream().EncodeSamples(samples, Now()).at(0).body;
  EXPECT_EQ(body.substr(0, body.find('\n')),
            R"(outlier.score,host="a \"b\\ c\\x0ad=e,f",team_name="x",_th="y")"
            R"(,workload="redis-server.service",kind="SYSTEMD_UNIT" gauge,91.25 1772359810000)");
  EXPECT_EQ(std::count(body.begin(), body.end(), '\n'), 6);
}

TEST_F(DynatraceTest, LinesThatWereTakenBesideInvalidOnesAreNotSentAgain) {
  const Outcome part = stream().JudgeSamples(
      Answer(400, R"({"linesOk":9,"linesInvalid":1,"error":{"code":400,"message":"1 invalid lines"},"warnings":null})"));
  EXPECT_EQ(part.kind, Kind::kItems);
  EXPECT_NE(part.warning.find("1 invalid lines"), std::string::npos);
  EXPECT_EQ(stream().JudgeSamples(Answer(400, "no lines")).kind, Kind::kRefused);
  EXPECT_EQ(stream().JudgeSamples(Answer(202, R"({"linesOk":9,"linesInvalid":0})")).warning, "");
}

TEST_F(DynatraceTest, WrongSettingsAreNamedAndARotatedTokenUsed) {
  Encoded(Opened());
  keys_.Write("token_file", "dt0c01.another");
  EXPECT_EQ(HeaderOf(Encoded(Opened()), "Authorization"), "Api-Token dt0c01.another");
  context_.config.mutable_dynatrace()->clear_token_file();
  EXPECT_NE(Refusal().find("dynatrace.token_file"), std::string::npos);
  context_.config.mutable_dynatrace()->clear_url();
  EXPECT_NE(Refusal().find("dynatrace.url"), std::string::npos);
}

}  // namespace
}  // namespace outlier::examples
