// Opsgenie and Jira Service Management: one API, two dialects.
#include "tests/sinks/page_examples.h"

namespace outlier {
namespace {

using namespace page_examples;
using A = Page::Action;

constexpr char kSecret[] = "5e0b7a2c-1f3d-4c6b-9a8e-7d2f1c0b3a49";
constexpr char kEscapedKey[] = "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40%3A9a3f6c1e55d07b28";

class AlertsTest : public ::testing::TestWithParam<std::string> {
 protected:
  AlertsTest() { sink_ = Make({"team:database", "user:night@example.org", "escalation:4513b7ea-3b91-438f-b7e4-e3e54af9147c"}).value(); }
  absl::StatusOr<std::unique_ptr<StateSink>> Make(const std::vector<std::string>& responders) {
    SinkContext context = Context();
    if (opsgenie()) {
      auto* config = context.config.mutable_opsgenie();
      FillDefaults(config);
      config->set_api_key_file(keys_.Write("key", kSecret));
      for (const auto& responder : responders) config->add_responders(responder);
    } else {
      auto* config = context.config.mutable_jira_service_management();
      FillDefaults(config);
      config->set_api_key_file(keys_.Write("key", kSecret));
      for (const auto& responder : responders) config->add_responders(responder);
    }
    absl::StatusOr<AnySink> sink = MakeSink(context);
    if (!sink.ok()) return sink.status();
    return std::move(sink->state);
  }
  bool opsgenie() const { return GetParam() == "opsgenie"; }
  std::string Base() const { return opsgenie() ? "https://api.opsgenie.com/v2/alerts" : "https://api.atlassian.com/jsm/ops/integration/v2/alerts"; }
  std::vector<Request> Encode(const Page& page) {
    absl::StatusOr<StateSink::Letters> letters = sink_->Encode({&page, 1}, At(1200));
    EXPECT_TRUE(letters.ok()) << letters.status();
    return letters.ok() ? letters->requests : std::vector<Request>{};
  }
  std::string Judged(const Response& response) {
    const Page page = PageOf(A::kOpen, Opened());
    return Word(sink_->Judge(response, {&page, 1}));
  }

  Keys keys_;
  std::unique_ptr<StateSink> sink_;
};

INSTANTIATE_TEST_SUITE_P(Dialects, AlertsTest, ::testing::Values("opsgenie", "jira_service_management"), [](const auto& info) { return info.param; });

TEST_P(AlertsTest, AnOpenIncidentCreatesAnAlertForItsResponders) {
  const std::vector<Request> requests = Encode(PageOf(A::kOpen, Opened()));
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].method, "POST");
  EXPECT_EQ(requests[0].url, Base());
  EXPECT_EQ(HeaderOf(requests[0], "Authorization"), std::string("GenieKey ") + kSecret);
  EXPECT_EQ(HeaderOf(requests[0], "Content-Type"), "application/json");
  const Json expected = Json::parse(R"json({
    "message": "db-1: redis-server.service: resident memory 236 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s",
    "alias": "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40:9a3f6c1e55d07b28",
    "description": "redis-server.service: resident memory 236 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s\nhost: db-1\nworkload: redis-server.service\nsince: 2026-03-01T10:00:00.000Z\nscore: 62 (major)\nresident memory: 236 MiB, expected 96.0-118 MiB\nincident: 9a3f6c1e55d07b28",
    "responders": [{"type": "team", "name": "database"}, {"type": "user", "username": "night@example.org"},
                   {"type": "escalation", "id": "4513b7ea-3b91-438f-b7e4-e3e54af9147c"}],
    "tags": ["outlier", "environment:production", "team:storage"],
    "details": {"host": "db-1", "workload": "redis-server.service", "since": "2026-03-01T10:00:00.000Z", "score": "62 (major)",
                "resident memory": "236 MiB, expected 96.0-118 MiB", "incident": "9a3f6c1e55d07b28"},
    "entity": "redis-server.service", "source": "db-1", "priority": "P2"})json");
  EXPECT_EQ(ParseJson(requests[0].body), expected) << requests[0].body;
}

TEST_P(AlertsTest, AnEscalationIsToldInPlaceWhereTheApiCanAndAsANoteWhereItCannot) {
  const std::vector<Request> requests = Encode(PageOf(A::kUpdate, Escalated()));
  if (opsgenie()) {
    ASSERT_EQ(requests.size(), 3u);
    const std::vector<std::string> fields = {"priority", "message", "description"};
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(requests[i].method, "PUT");
      EXPECT_EQ(requests[i].url, Base() + "/" + kEscapedKey + "/" + fields[i] + "?identifierType=alias");
      EXPECT_EQ(ParseJson(requests[i].body).size(), 1u);
    }
    EXPECT_EQ(ParseJson(requests[0].body)["priority"], "P1");
    EXPECT_EQ(ParseJson(requests[1].body)["message"], "db-1: redis-server.service: resident memory 412 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s");
  } else {
    ASSERT_EQ(requests.size(), 1u);
    EXPECT_EQ(requests[0].method, "POST");
    EXPECT_EQ(requests[0].url, Base() + "/" + kEscapedKey + "/notes?identifierType=alias");
    const std::string note = ParseJson(requests[0].body)["note"];
    EXPECT_TRUE(note.starts_with("now critical (score 91)\nredis-server.service: resident memory 412 MiB")) << note;
  }
}

TEST_P(AlertsTest, AcknowledgementAndResolutionGoToTheAliasAndSayWhy) {
  const Request acknowledge = Encode(PageOf(A::kAcknowledge, Acknowledged())).at(0), close = Encode(PageOf(A::kResolve, Resolved())).at(0);
  EXPECT_EQ(acknowledge.url, Base() + "/" + kEscapedKey + "/acknowledge?identifierType=alias");
  EXPECT_EQ(ParseJson(acknowledge.body), (Json{{"source", "db-1"}, {"user", "outlier-relay"}, {"note", "acknowledged by night shift"}}));
  EXPECT_EQ(close.url, Base() + "/" + kEscapedKey + "/close?identifierType=alias");
  EXPECT_EQ(ParseJson(close.body), (Json{{"source", "db-1"}, {"user", "outlier-relay"}, {"note", "resolved after 10 min: back to normal"}}));
}

TEST_P(AlertsTest, ARepeatCreatesAgainWhichOpensWhatSomebodyClosed) {
  EXPECT_EQ(Encode(PageOf(A::kRepeat, GoingOn())).at(0).url, Base());
}

TEST_P(AlertsTest, AQuietDigestClosesItselfAndOneOfWithheldPagesStays) {
  const std::vector<Request> quiet = Encode(DigestPage(true)), loud = Encode(DigestPage(false));
  ASSERT_EQ(quiet.size(), 2u);
  EXPECT_EQ(ParseJson(quiet[0].body)["priority"], "P5");
  EXPECT_EQ(quiet[1].url, Base() + "/digest-1772359800/close?identifierType=alias");
  ASSERT_EQ(loud.size(), 1u);
  EXPECT_EQ(ParseJson(loud[0].body)["priority"], "P3");
  EXPECT_EQ(ParseJson(Encode(DigestPage(false, v1::Incident::CRITICAL))[0].body)["priority"], "P1") << "as the worst of them";
  EXPECT_EQ(ParseJson(loud[0].body)["description"], DigestPage(false).text);
}

TEST_P(AlertsTest, WhateverANameHoldsLimitsAreKept) {
  for (Page page : AllPages()) {
    page.key = page.key + "/../?x=y&#\xe2\x82\xac";
    for (const Request& request : Encode(page)) {
      ExpectSafe(request, kSecret);
      EXPECT_TRUE(request.url.starts_with(Base())) << request.url;
      const std::string rest = request.url.substr(Base().size());
      if (!rest.empty()) {
        EXPECT_EQ(std::count(rest.begin(), rest.end(), '/'), 2) << rest;
        EXPECT_TRUE(rest.ends_with("?identifierType=alias"));
        EXPECT_EQ(rest.find('#'), std::string::npos);
      }
      const Json body = ParseJson(request.body);
      const auto at_most = [&](const char* name, size_t most) {
        if (body.contains(name)) {
          const std::string text = body[name];
          EXPECT_TRUE(!text.empty() && Characters(text) <= most) << name << " " << text.size();
        }
      };
      for (const auto& [name, most] : std::vector<std::pair<const char*, size_t>>{
               {"message", 130}, {"alias", 512}, {"description", 15'000}, {"entity", 512}, {"source", 100}, {"note", 25'000}, {"user", 100}}) {
        at_most(name, most);
      }
      if (body.contains("tags")) {
        EXPECT_LE(body["tags"].size(), 20u);
        for (const std::string tag : body["tags"]) EXPECT_TRUE(!tag.empty() && Characters(tag) <= 50) << tag;
      }
      size_t details = 0;
      if (body.contains("details")) {
        for (const auto& [name, value] : body["details"].items()) details += Characters(name) + Characters(value.get<std::string>());
      }
      EXPECT_LE(details, 8000u);
    }
  }
}

TEST_P(AlertsTest, AnswersAreTakenAsTheVendorMeansThem) {
  EXPECT_EQ(Judged(Answer(202, R"({"result":"Request will be processed","took":0.1,"requestId":"r"})")), "delivered");
  for (const int status : {302, 401, 402, 403, 404, 405, 410}) EXPECT_EQ(Judged(Answer(status)), "suspend") << status;
  EXPECT_EQ(Judged(Answer(422, R"({"message":"Request body is not processable"})")), "refused");
  EXPECT_EQ(Judged(Answer(422, R"({"message":"Key format is not valid!"})")), "suspend");
  for (const int status : {429, 500, 503}) EXPECT_EQ(Judged(Answer(status)), "retry") << status;
  EXPECT_EQ(Judged(Broken(Response::Failure::kTls)), "suspend");
  EXPECT_EQ(Judged(Broken(Response::Failure::kReset)), "retry");
  const Page page = PageOf(A::kOpen, Opened());
  EXPECT_EQ(sink_->Judge(Answer(429, "", {{"x-ratelimit-period-in-sec", "60"}}), {&page, 1}).retry_after, std::chrono::seconds(60));
  EXPECT_EQ(sink_->Judge(Answer(429, "", {{"x-ratelimit-period-in-sec", "soon"}}), {&page, 1}).retry_after, std::nullopt);
  EXPECT_EQ(sink_->Judge(Answer(429, "", {{"x-ratelimit-period-in-sec", "60"}, {"retry-after", "5"}}), {&page, 1}).retry_after, std::chrono::seconds(5));
}

TEST_P(AlertsTest, ARotatedKeyIsUsedAtOnceAndAMissingOneSuspends) {
  keys_.Write("key", "another-key");
  EXPECT_EQ(HeaderOf(Encode(PageOf(A::kOpen, Opened())).at(0), "Authorization"), "GenieKey another-key");
  keys_.Remove("key");
  const Page page = PageOf(A::kOpen, Opened());
  EXPECT_EQ(sink_->Encode({&page, 1}, At(0)).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_P(AlertsTest, AResponderThatIsNoneIsRefusedWithWhatIsWanted) {
  for (const char* wrong : {"database", "teams:database", "team:", ":x", ""}) {
    const absl::Status status = Make({wrong}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << wrong;
    EXPECT_NE(std::string(status.message()).find(GetParam() + ".responders: `" + wrong + "`"), std::string::npos) << status;
  }
}

TEST_P(AlertsTest, TheCheckClosesWhatWasNeverOpened) {
  const std::optional<Preparation> check = sink_->Check();
  ASSERT_TRUE(check.has_value());
  EXPECT_EQ(check->request.url, Base() + "/outlier-relay-check/close?identifierType=alias");
}

}  // namespace
}  // namespace outlier
