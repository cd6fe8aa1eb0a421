#include "tests/sinks/page_examples.h"

namespace outlier {
namespace {

using namespace page_examples;
using A = Page::Action;

constexpr char kSecret[] = "558e7ebc-c2f3/4c6b";

class SplunkOnCallTest : public ::testing::Test {
 protected:
  SplunkOnCallTest() {
    SinkContext context = Context();
    auto* config = context.config.mutable_splunk_on_call();
    FillDefaults(config);
    config->set_api_key_file(keys_.Write("key", kSecret));
    config->set_routing_key("data base");
    sink_ = std::move(MakeSink(context)->state);
  }
  Request Encode(const Page& page) {
    absl::StatusOr<StateSink::Letters> letters = sink_->Encode({&page, 1}, At(1200));
    EXPECT_TRUE(letters.ok()) << letters.status();
    EXPECT_EQ(letters->requests.size(), 1u);
    return letters->requests.at(0);
  }
  Json Body(const Page& page) { return ParseJson(Encode(page).body); }
  std::string Judged(const Response& response) {
    const Page page = PageOf(A::kOpen, Opened());
    return Word(sink_->Judge(response, {&page, 1}));
  }

  Keys keys_;
  std::unique_ptr<StateSink> sink_;
};

TEST_F(SplunkOnCallTest, AnOpenIncidentIsPostedToTheSecretAddress) {
  const Request request = Encode(PageOf(A::kOpen, Opened()));
  EXPECT_EQ(request.url, "https://alert.victorops.com/integrations/generic/20131114/alert/558e7ebc-c2f3%2F4c6b/data%20base");
  EXPECT_EQ(request.secrets, (std::vector<std::string>{kSecret, request.url, "558e7ebc-c2f3%2F4c6b"}));
  const Json expected = Json::parse(R"json({
    "message_type": "CRITICAL", "entity_id": "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40:9a3f6c1e55d07b28",
    "entity_display_name": "db-1: redis-server.service: resident memory 236 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s", "monitoring_tool": "outlierd",
    "state_message": "redis-server.service: resident memory 236 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s\nhost: db-1\nworkload: redis-server.service\nsince: 2026-03-01T10:00:00.000Z\nscore: 62 (major)\nresident memory: 236 MiB, expected 96.0-118 MiB\nincident: 9a3f6c1e55d07b28",
    "state_start_time": 1772359200, "host_name": "db-1", "outlier_workload": "redis-server.service", "outlier_severity": "major", "outlier_score": "62",
    "label_environment": "production", "label_team": "storage"})json");
  EXPECT_EQ(ParseJson(request.body), expected) << request.body;
}

TEST_F(SplunkOnCallTest, TheKindOfMessageFollowsWhatHappened) {
  Finding minor = Opened();
  minor.change.mutable_incident()->set_severity(v1::Incident::MINOR);
  EXPECT_EQ(Body(PageOf(A::kOpen, minor))["message_type"], "WARNING");
  EXPECT_EQ(Body(PageOf(A::kUpdate, Escalated()))["message_type"], "CRITICAL");
  EXPECT_EQ(Body(PageOf(A::kAcknowledge, Acknowledged()))["message_type"], "ACKNOWLEDGEMENT");
  EXPECT_EQ(Body(PageOf(A::kAcknowledge, Acknowledged()))["state_message"], "acknowledged by night shift");
  EXPECT_EQ(Body(PageOf(A::kResolve, Resolved()))["message_type"], "RECOVERY");
  EXPECT_EQ(Body(PageOf(A::kResolve, Resolved()))["state_message"], "resolved after 10 min: back to normal");
  EXPECT_EQ(Body(DigestPage(true))["message_type"], "INFO");
  EXPECT_EQ(Body(DigestPage(false))["message_type"], "WARNING");
  EXPECT_EQ(Body(DigestPage(false, v1::Incident::MAJOR))["message_type"], "CRITICAL") << "as the worst of what was withheld";
  for (const A action : {A::kOpen, A::kUpdate, A::kAcknowledge, A::kResolve}) EXPECT_EQ(Body(PageOf(action, Opened()))["entity_id"], kKey);
}

TEST_F(SplunkOnCallTest, WhateverANameHoldsLimitsAreKept) {
  for (const Page& page : AllPages()) {
    const Request request = Encode(page);
    ExpectSafe(request, kSecret);
    EXPECT_EQ(request.url, "https://alert.victorops.com/integrations/generic/20131114/alert/558e7ebc-c2f3%2F4c6b/data%20base");
    const Json body = ParseJson(request.body);
    EXPECT_LE(Characters(body["state_message"]), 20'480u);
    EXPECT_EQ(request.body.find("558e7ebc"), std::string::npos);
    if (body.contains("state_start_time")) {
      EXPECT_TRUE(body["state_start_time"] >= 0 && body["state_start_time"] <= kOnset + 1200) << body["state_start_time"];
    }
  }
}

TEST_F(SplunkOnCallTest, OnlyAnAnswerThatSaysSuccessIsOne) {
  EXPECT_EQ(Judged(Answer(200, R"({"result":"success","entity_id":"k"})")), "delivered");
  EXPECT_EQ(Judged(Answer(200, R"({"result":"failure","message":"m"})")), "retry");
  EXPECT_EQ(Judged(Answer(200, R"({"result":7})")), "suspend");
  EXPECT_EQ(Judged(Answer(200, "<html>sign in</html>")), "suspend");
  for (const int status : {302, 401, 403, 404, 405, 410}) EXPECT_EQ(Judged(Answer(status)), "suspend") << status;
  for (const int status : {429, 500, 503}) EXPECT_EQ(Judged(Answer(status)), "retry") << status;
  EXPECT_EQ(Judged(Answer(400)), "refused");
  EXPECT_EQ(Judged(Answer(413)), "split");
  EXPECT_EQ(Judged(Broken(Response::Failure::kConnect)), "retry");
  EXPECT_EQ(Judged(Broken(Response::Failure::kTls)), "suspend");
}

TEST_F(SplunkOnCallTest, ARotatedKeyIsUsedAtOnceAndAMissingOneSuspends) {
  keys_.Write("key", "fresh");
  EXPECT_EQ(Encode(PageOf(A::kOpen, Opened())).url, "https://alert.victorops.com/integrations/generic/20131114/alert/fresh/data%20base");
  keys_.Remove("key");
  const Page page = PageOf(A::kOpen, Opened());
  EXPECT_EQ(sink_->Encode({&page, 1}, At(0)).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(SplunkOnCall, AConfigurationThatCannotBeNamesItsKey) {
  SinkContext context = Context();
  auto* config = context.config.mutable_splunk_on_call();
  FillDefaults(config);
  EXPECT_EQ(MakeSink(context).status().message(), "splunk_on_call.api_key_file: needed, but not given");
  config->set_api_key_file("/key");
  EXPECT_EQ(MakeSink(context).status().message(), "splunk_on_call.routing_key: needed, but not given");
}

}  // namespace
}  // namespace outlier
