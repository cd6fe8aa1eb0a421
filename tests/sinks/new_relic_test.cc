#include "tests/sinks/vendor_fixture.h"

namespace outlier::examples {
namespace {

using namespace std::chrono_literals;

class NewRelicTest : public VendorTest {
 protected:
  NewRelicTest() : VendorTest("new_relic") {
    context_.config.mutable_new_relic()->clear_url();
    Make();
  }
};

TEST_F(NewRelicTest, ABatchIsAnArrayOfFlatEventsOfTheAccount) {
  const Request request = Encoded(Life());
  EXPECT_EQ(request.url, "https://insights-collector.newrelic.com/v1/accounts/1234567/events");
  EXPECT_EQ(HeaderOf(request, "Api-Key"), "s3cret-new-relic-license-key-file");
  EXPECT_EQ(HeaderOf(request, "Content-Type"), "application/json");
  EXPECT_TRUE(request.compress);
  const Json events = ParseJson(request.body);
  ASSERT_EQ(events.size(), 5u);
  const Json& opened = events[0];
  EXPECT_EQ(opened["eventType"], "OutlierIncidentChange");
  EXPECT_EQ(opened["timestamp"], 1'772'359'224'250);
  EXPECT_EQ(opened["event.action"], "outlier.incident.opened");
  EXPECT_EQ(opened["event.sequence"], 101);
  EXPECT_EQ(opened["host.name"], "db-1");
  EXPECT_EQ(opened["outlier.workload.name"], "redis-server.service");
  EXPECT_EQ(opened["outlier.incident.severity"], "MAJOR");
  EXPECT_EQ(opened["outlier.incident.score"], 61.5);
  EXPECT_EQ(opened["outlier.incident.acknowledged"], "false");
  EXPECT_EQ(opened["outlier.lead.signal"], "process.memory.usage");
  EXPECT_EQ(opened["outlier.contributions.2.series"], "process.syscall.rate{syscall.class=file}");
  EXPECT_EQ(opened["labels.team"], "storage");
  EXPECT_EQ(events[1]["outlier.suspect.name"], "backup");
  EXPECT_EQ(events[1]["outlier.suspect.pid"], 4242);
  EXPECT_EQ(events[2]["outlier.incident.acknowledged"], "true");
  EXPECT_EQ(events[4]["outlier.incident.state"], "RESOLVED");
  EXPECT_EQ(events[4]["outlier.incident.resolved_time"], "2026-03-01T10:10:00.125Z");
}

TEST_F(NewRelicTest, ARestartLoopTellsItsCauseAndAGapIsOfItsOwnType) {
  const Json events = BodyOf({RestartLoop(), GapRecord()});
  EXPECT_EQ(events[0]["outlier.incident.restart.cause"], "CRASH_LOOP");
  EXPECT_EQ(events[0]["outlier.incident.restart.count"], 4);
  EXPECT_EQ(events[1]["eventType"], "OutlierGap");
  EXPECT_EQ(events[1]["outlier.gap.lost"], 40);
}

TEST_F(NewRelicTest, WhateverAFindingHoldsEveryEventIsRightByTheRules) {
  std::vector<Finding> findings = All();
  Finding labels = Opened();
  auto many = std::make_shared<Labels>();
  for (int i = 0; i < 400; ++i) many->emplace_back("key" + std::to_string(i) + std::string(300, 'k'), "v");
  labels.labels = many;
  findings.push_back(labels);
  const Json events = BodyOf(findings);
  ASSERT_EQ(events.size(), findings.size());
  for (const Json& event : events) {
    EXPECT_LE(event.size(), 255u);
    EXPECT_TRUE(event["timestamp"].is_number_integer());
    for (const auto& [name, value] : event.items()) {
      EXPECT_LE(name.size(), 255u);
      EXPECT_FALSE(name == "accountId" || name == "appId" || name.starts_with("entity.")) << name;
      EXPECT_TRUE(value.is_string() || value.is_number()) << name << ": " << value;
      EXPECT_TRUE(!value.is_string() || value.get<std::string>().size() <= 4096u) << name;
    }
  }
}

TEST_F(NewRelicTest, WhatIsOlderThanADayExpiresBecauseTheServiceDropsItInSilence) {
  EXPECT_LE(stream().limits().oldest, 24h);
  EXPECT_GT(stream().limits().oldest, 23h);
  EXPECT_LE(stream().limits().max_bytes, 1'000'000u);
}

TEST_F(NewRelicTest, AnswersMeanWhatTheDocumentationSays) {
  using Kind = Outcome::Kind;
  EXPECT_EQ(Judged(Answer(200, R"({"success":true,"uuid":"0c8f"})")).items, std::vector<ItemOutcome>{ItemOutcome::kDelivered});
  for (const int status : {408, 429, 503}) EXPECT_EQ(Judged(Answer(status)).kind, Kind::kRetry) << status;
  EXPECT_EQ(Judged(Answer(403, R"({"success":false})")).kind, Kind::kSuspend);
  EXPECT_EQ(Judged(Answer(413)).kind, Kind::kSplit);
  for (const int status : {400, 415}) EXPECT_EQ(Judged(Answer(status)).kind, Kind::kRefused) << status;
}

TEST_F(NewRelicTest, TheRegionAndItsOwnAddressAreTakenAndWrongSettingsNamed) {
  context_.config.mutable_new_relic()->set_region("eu");
  Make();
  EXPECT_EQ(Encoded(Opened()).url, "https://insights-collector.eu01.nr-data.net/v1/accounts/1234567/events");
  context_.config.mutable_new_relic()->set_account_id("12/../34");
  EXPECT_NE(Refusal().find("new_relic.account_id"), std::string::npos);
  context_.config.mutable_new_relic()->set_account_id("12");
  context_.config.mutable_new_relic()->clear_license_key_file();
  EXPECT_NE(Refusal().find("new_relic.license_key_file"), std::string::npos);
}

TEST_F(NewRelicTest, ARotatedKeyIsUsedAtOnce) {
  Encoded(Opened());
  keys_.Write("license_key_file", "another");
  const Request request = Encoded(Opened());
  EXPECT_EQ(HeaderOf(request, "Api-Key"), "another");
  EXPECT_EQ(request.secrets, std::vector<std::string>{"another"});
}

}  // namespace
}  // namespace outlier::examples
