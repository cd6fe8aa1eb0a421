#include "tests/sinks/page_examples.h"

namespace outlier {
namespace {

using namespace page_examples;
using A = Page::Action;

constexpr char kSecret[] = "e0123456789abcdef0123456789abcde";

class PagerDutyTest : public ::testing::Test {
 protected:
  PagerDutyTest() { Make(); }
  void Make() {
    SinkContext context = Context();
    context.config.mutable_pagerduty()->set_routing_key_file(keys_.Write("pd", kSecret));
    FillDefaults(context.config.mutable_pagerduty());
    absl::StatusOr<AnySink> sink = MakeSink(context);
    ASSERT_TRUE(sink.ok()) << sink.status();
    sink_ = std::move(sink->state);
  }
  std::vector<Request> Encode(const Page& page) {
    absl::StatusOr<StateSink::Letters> letters = sink_->Encode({&page, 1}, At(1200));
    EXPECT_TRUE(letters.ok()) << letters.status();
    return letters.ok() ? letters->requests : std::vector<Request>{};
  }
  Json Body(const Page& page) { return ParseJson(Encode(page).at(0).body); }
  std::string Judged(const Response& response) {
    const Page page = PageOf(A::kOpen, Opened());
    return Word(sink_->Judge(response, {&page, 1}));
  }

  Keys keys_;
  std::unique_ptr<StateSink> sink_;
};

TEST_F(PagerDutyTest, AnOpenIncidentTriggersAnAlertWithTheNumbersInItsDetails) {
  Page page = PageOf(A::kOpen, Opened());
  page.related = {"backup: disk reads 180 MiB/s"};
  const std::vector<Request> requests = Encode(page);
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].method, "POST");
  EXPECT_EQ(requests[0].url, "https://events.pagerduty.com/v2/enqueue");
  EXPECT_EQ(HeaderOf(requests[0], "Content-Type"), "application/json");
  EXPECT_EQ(HeaderOf(requests[0], "Authorization"), "");
  EXPECT_FALSE(requests[0].compress);
  const Json expected = Json::parse(R"json({
    "routing_key": "e0123456789abcdef0123456789abcde", "event_action": "trigger", "dedup_key": "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40:9a3f6c1e55d07b28",
    "client": "outlierd",
    "payload": {
      "summary": "db-1: redis-server.service: resident memory 236 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s (+1 related)", "source": "db-1",
      "severity": "error", "timestamp": "2026-03-01T10:00:24.250Z", "component": "redis-server.service", "group": "shop", "class": "process.memory.usage",
      "custom_details": {
        "host": "db-1", "workload": "redis-server.service", "since": "2026-03-01T10:00:00.000Z", "score": "62 (major)",
        "resident memory": "236 MiB, expected 96.0-118 MiB", "incident": "9a3f6c1e55d07b28", "related": ["backup: disk reads 180 MiB/s"],
        "labels": {"environment": "production", "team": "storage"}}}})json");
  EXPECT_EQ(ParseJson(requests[0].body), expected) << requests[0].body;
}

TEST_F(PagerDutyTest, AnEscalationIsATriggerOfTheSameKeyWithTheNewSeverity) {
  const Json body = Body(PageOf(A::kUpdate, Escalated()));
  EXPECT_EQ(body["event_action"], "trigger");
  EXPECT_EQ(body["dedup_key"], kKey);
  EXPECT_EQ(body["payload"]["severity"], "critical");
  EXPECT_EQ(body["payload"]["custom_details"]["first suspect"], "backup (pid 4242): started 3 s before the onset");
}

TEST_F(PagerDutyTest, AnAcknowledgementAndAResolutionNameTheKeyAndNothingElse) {
  for (const auto& [action, word] : std::vector<std::pair<A, std::string>>{{A::kAcknowledge, "acknowledge"}, {A::kResolve, "resolve"}}) {
    const Json expected = {{"routing_key", kSecret}, {"event_action", word}, {"dedup_key", kKey}};
    EXPECT_EQ(Body(PageOf(action, Resolved())), expected);
  }
  EXPECT_TRUE(sink_->capabilities().acknowledge);
}

TEST_F(PagerDutyTest, AQuietDigestIsAChangeEventThatNotifiesNobody) {
  const std::vector<Request> requests = Encode(DigestPage(true));
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].url, "https://events.pagerduty.com/v2/change/enqueue");
  const Json body = ParseJson(requests[0].body);
  EXPECT_FALSE(body.contains("event_action"));
  EXPECT_EQ(body["payload"]["summary"],
            "outlier-relay: While this sink could not be reached, 3 incidents opened and 2 of them resolved. 2 pages were withheld.");
}

TEST_F(PagerDutyTest, ARulesetTakesNoChangeEventsSoAQuietDigestIsAnInfoThatIsResolvedAtOnce) {
  keys_.Write("pd", "R0123456789abcdef0123456789abcde");
  const std::vector<Request> requests = Encode(DigestPage(true));
  ASSERT_EQ(requests.size(), 2u);
  const Json first = ParseJson(requests[0].body), second = ParseJson(requests[1].body);
  EXPECT_EQ(first["payload"]["severity"], "info");
  EXPECT_EQ(second["event_action"], "resolve");
  EXPECT_EQ(second["dedup_key"], first["dedup_key"]);
}

TEST_F(PagerDutyTest, WithheldPagesAreAnAlertThatStaysAsSevereAsTheWorstOfThem) {
  const std::vector<Request> requests = Encode(DigestPage(false));
  ASSERT_EQ(requests.size(), 1u);
  const Json body = ParseJson(requests[0].body);
  EXPECT_EQ(body["event_action"], "trigger");
  EXPECT_EQ(body["payload"]["severity"], "warning");
  EXPECT_EQ(body["dedup_key"], "digest-1772359800");
  EXPECT_EQ(ParseJson(Encode(DigestPage(false, v1::Incident::MAJOR))[0].body)["payload"]["severity"], "error");
  EXPECT_EQ(ParseJson(Encode(DigestPage(false, v1::Incident::CRITICAL))[0].body)["payload"]["severity"], "critical");
}

TEST_F(PagerDutyTest, WhateverANameHoldsLimitsAreKept) {
  for (const Page& page : AllPages()) {
    for (const Request& request : Encode(page)) {
      ExpectSafe(request, kSecret);
      EXPECT_LT(request.body.size(), 512'000u);
      const Json body = ParseJson(request.body);
      EXPECT_EQ(body["routing_key"], kSecret);
      if (body.contains("dedup_key")) {
        EXPECT_LE(body["dedup_key"].get<std::string>().size(), 255u);
      }
      if (!body.contains("payload")) continue;
      const std::string summary = body["payload"]["summary"], source = body["payload"]["source"];
      EXPECT_TRUE(Characters(summary) >= 1 && Characters(summary) <= 1024) << summary;
      EXPECT_FALSE(source.empty());
    }
    EXPECT_EQ(Encode(page).at(0).body, Encode(page).at(0).body);
  }
  EXPECT_EQ(Body(PageOf(A::kOpen, Bare()))["payload"]["source"], "unknown host");
}

TEST_F(PagerDutyTest, AnswersAreTakenAsTheVendorMeansThem) {
  EXPECT_EQ(Judged(Answer(202, R"({"status":"success","message":"Event processed","dedup_key":"k"})")), "delivered");
  EXPECT_EQ(Judged(Answer(400, R"({"status":"invalid event","errors":["Length of 'summary' is too long"]})")), "refused");
  EXPECT_EQ(Judged(Answer(400, R"({"status":"invalid event","errors":["'routing_key' is invalid"]})")), "suspend");
  for (const int status : {301, 401, 402, 403, 404, 405, 410}) EXPECT_EQ(Judged(Answer(status)), "suspend") << status;
  EXPECT_EQ(Judged(Answer(413)), "split");
  for (const int status : {408, 429, 500, 502, 503}) EXPECT_EQ(Judged(Answer(status)), "retry") << status;
  for (const auto failure : {Response::Failure::kConnect, Response::Failure::kTimeout, Response::Failure::kReset}) {
    EXPECT_EQ(Judged(Broken(failure)), "retry");
  }
  EXPECT_EQ(Judged(Broken(Response::Failure::kTls)), "suspend");
}

TEST_F(PagerDutyTest, AThrottledEventWaitsHalfAMinuteOrWhatTheServerSays) {
  const Page page = PageOf(A::kOpen, Opened());
  EXPECT_EQ(sink_->Judge(Answer(429), {&page, 1}).retry_after, std::chrono::seconds(30));
  EXPECT_EQ(sink_->Judge(Answer(429, "", {{"retry-after", "7"}}), {&page, 1}).retry_after, std::chrono::seconds(7));
}

TEST_F(PagerDutyTest, ARotatedKeyIsUsedAtOnceAndAMissingOneSuspends) {
  keys_.Write("pd", "f0123456789abcdef0123456789abcde");
  EXPECT_EQ(Body(PageOf(A::kResolve, Resolved()))["routing_key"], "f0123456789abcdef0123456789abcde");
  keys_.Remove("pd");
  const Page page = PageOf(A::kOpen, Opened());
  const auto letters = sink_->Encode({&page, 1}, At(0));
  EXPECT_EQ(letters.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(sink_->Check().has_value());
}

TEST_F(PagerDutyTest, TheCheckResolvesWhatWasNeverOpened) {
  const std::optional<Preparation> check = sink_->Check();
  ASSERT_TRUE(check.has_value());
  EXPECT_EQ(ParseJson(check->request.body)["event_action"], "resolve");
  EXPECT_TRUE(sink_->Checked(Answer(202)).ok());
  EXPECT_FALSE(sink_->Checked(Answer(403)).ok());
}

TEST(PagerDuty, AConfigurationThatCannotBeNamesItsKey) {
  SinkContext context = Context();
  FillDefaults(context.config.mutable_pagerduty());
  EXPECT_EQ(MakeSink(context).status().message(), "pagerduty.routing_key_file: needed, but not given");
  context.config.mutable_pagerduty()->set_routing_key_file("/key");
  context.config.mutable_pagerduty()->set_url("events.pagerduty.com");
  EXPECT_EQ(MakeSink(context).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace outlier
