#include "tests/sinks/page_examples.h"

namespace outlier {
namespace {

using namespace page_examples;

constexpr char kHook[] = "https://hooks.slack.com/services/T0123/B0123/abcdefghijkl";

class SlackTest : public ::testing::Test {
 protected:
  SlackTest() {
    SinkContext context = Context();
    context.config.mutable_slack()->set_webhook_url_file(keys_.Write("hook", kHook));
    sink_ = std::move(MakeSink(context)->stream);
  }
  Request Encode(const Finding& finding) {
    absl::StatusOr<Request> request = sink_->Encode({&finding, 1}, At(1200));
    EXPECT_TRUE(request.ok()) << request.status();
    return *std::move(request);
  }
  Json Body(const Finding& finding) { return ParseJson(Encode(finding).body); }
  std::string Judged(const Response& response) {
    const Finding finding = Opened();
    return Word(sink_->Judge(response, {&finding, 1}));
  }

  Keys keys_;
  std::unique_ptr<StreamSink> sink_;
};

Finding Lost(uint64_t lost) {
  Finding finding = Of(0, v1::IncidentChange::KIND_UNSPECIFIED, 530, {});
  *finding.change.mutable_incident()->mutable_source() = Opened().incident().source();
  finding.gap = Gap{lost == 0 ? 0u : 60u, lost == 0 ? 0u : 60 + lost - 1, lost, "compacted"};
  return finding;
}

TEST_F(SlackTest, AnOpenedIncidentIsOneMessageWithItsNumbers) {
  const Request request = Encode(Opened());
  EXPECT_EQ(request.url, kHook);
  EXPECT_EQ(request.secrets, (std::vector<std::string>{kHook, "/services/T0123/B0123/abcdefghijkl"}));
  const Json expected = Json::parse(R"json({
    "text": "[opened, major] db-1: redis-server.service: resident memory 236 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s",
    "mrkdwn": false, "unfurl_links": false, "unfurl_media": false,
    "attachments": [{"color": "#e5530b",
      "fallback": "[opened, major] db-1: redis-server.service: resident memory 236 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s",
      "text": "host: db-1\nworkload: redis-server.service\nsince: 2026-03-01T10:00:00.000Z\nscore: 62 (major)\nresident memory: 236 MiB, expected 96.0-118 MiB\nincident: 9a3f6c1e55d07b28\nenvironment: production\nteam: storage",
      "mrkdwn_in": [], "ts": 1772359224}]})json");
  EXPECT_EQ(ParseJson(request.body), expected) << request.body;
}

TEST_F(SlackTest, OnlyWhatOpensWorsensOrEndsIsWorthAMessage) {
  EXPECT_TRUE(sink_->Wants(Opened()));
  EXPECT_TRUE(sink_->Wants(Escalated()));
  EXPECT_FALSE(sink_->Wants(GoingOn()));
  EXPECT_FALSE(sink_->Wants(Acknowledged()));
  EXPECT_TRUE(sink_->Wants(Resolved()));
  EXPECT_TRUE(sink_->Wants(Lost(4)));
  Finding feedback = Resolved();
  feedback.change.set_kind(v1::IncidentChange::FEEDBACK);
  EXPECT_FALSE(sink_->Wants(feedback));
}

TEST_F(SlackTest, AnOlderDaemonSaysInWordsThatSeverityRose) {
  Finding finding = GoingOn();
  finding.change.mutable_incident()->mutable_changes()->rbegin()->set_detail("severity rose to CRITICAL");
  EXPECT_TRUE(sink_->Wants(finding));
  finding.change.mutable_incident()->clear_changes();
  EXPECT_FALSE(sink_->Wants(finding));
}

TEST_F(SlackTest, ASilenceKeepsItQuietUntilItEndsAndWhatWasToldIsEnded) {
  EXPECT_TRUE(sink_->limits().opens_after_silence);
  relay::v1::Silence silence;
  Set(silence.mutable_starts(), 100);
  Set(silence.mutable_ends(), 3600);
  for (Finding finding : {Opened(), Escalated(), GoingOn()}) {
    finding.silence = silence;
    EXPECT_FALSE(sink_->Wants(finding));
  }
  Finding resolved = Resolved();
  resolved.silence = silence;
  EXPECT_TRUE(sink_->Wants(resolved));
}

TEST_F(SlackTest, EscalationAndEndSayWhatHappened) {
  EXPECT_TRUE(Body(Escalated())["text"].get<std::string>().starts_with("[now critical (score 91)] db-1: ")) << Body(Escalated())["text"];
  EXPECT_TRUE(Body(Resolved())["text"].get<std::string>().starts_with("[resolved after 10 min: back to normal] db-1: ")) << Body(Resolved())["text"];
  EXPECT_NE(Body(Resolved())["attachments"][0]["color"], Body(Escalated())["attachments"][0]["color"]);
}

TEST_F(SlackTest, AGapIsToldWithWhatIsKnownOfIt) {
  EXPECT_EQ(Body(Lost(4))["text"], "db-1: 4 changes of incidents could not be read (compacted)");
  EXPECT_EQ(Body(Lost(0))["text"], "db-1: an unknown number of changes of incidents could not be read (compacted)");
}

TEST_F(SlackTest, NothingInANameIsMarkupMentionOrLink) {
  for (const Finding& finding : {Hostile(), Bare(), CrashLoop()}) {
    const Request request = Encode(finding);
    ExpectSafe(request, kHook);
    const Json body = ParseJson(request.body);
    std::vector<std::string> texts = {body["text"], body["attachments"][0]["text"], body["attachments"][0]["fallback"]};
    for (const std::string& text : texts) {
      EXPECT_EQ(text.find_first_of("<>"), std::string::npos) << text;
      for (size_t at = text.find('&'); at != std::string::npos; at = text.find('&', at + 1)) {
        EXPECT_TRUE(text.compare(at, 5, "&amp;") == 0 || text.compare(at, 4, "&lt;") == 0 || text.compare(at, 4, "&gt;") == 0) << text.substr(at, 10);
      }
      EXPECT_FALSE(text.empty());
      EXPECT_LT(text.size(), 40'000u);
    }
    EXPECT_EQ(body["mrkdwn"], false);
    EXPECT_EQ(body["attachments"][0]["mrkdwn_in"], Json::array());
    EXPECT_LE(request.body.size(), sink_->limits().max_bytes);
  }
  EXPECT_NE(Encode(Hostile()).body.find("&lt;!channel&gt;"), std::string::npos);
  EXPECT_EQ(sink_->limits().max_items, 1u);
}

TEST_F(SlackTest, OnlyTheWordOkIsSuccess) {
  EXPECT_EQ(Judged(Answer(200, "ok")), "delivered");
  EXPECT_EQ(Judged(Answer(200, "ok\n")), "delivered");
  EXPECT_EQ(Judged(Answer(200, "")), "suspend");
  EXPECT_EQ(Judged(Answer(200, "<html>ok</html>")), "suspend");
  EXPECT_EQ(Judged(Answer(400, "invalid_payload")), "refused");
  EXPECT_EQ(Judged(Answer(400, "no_text")), "refused");
  for (const char* word : {"user_not_found", "posting_to_general_channel_denied"}) EXPECT_EQ(Judged(Answer(400, word)), "suspend") << word;
  for (const char* word : {"no_service", "no_active_hooks", "no_team", "team_disabled"}) EXPECT_EQ(Judged(Answer(404, word)), "ended") << word;
  EXPECT_EQ(Judged(Answer(410, "channel_is_archived")), "ended");
  for (const int status : {302, 401, 403, 404, 410}) EXPECT_EQ(Judged(Answer(status)), "suspend") << status;
  EXPECT_EQ(Judged(Answer(500, "rollup_error")), "retry");
  EXPECT_EQ(Judged(Answer(413)), "split");
  EXPECT_EQ(Judged(Broken(Response::Failure::kTimeout)), "retry");
  EXPECT_EQ(Judged(Broken(Response::Failure::kTls)), "suspend");
  const Finding finding = Opened();
  EXPECT_EQ(sink_->Judge(Answer(429), {&finding, 1}).retry_after, std::chrono::seconds(1));
  EXPECT_EQ(sink_->Judge(Answer(429, "", {{"retry-after", "9"}}), {&finding, 1}).retry_after, std::chrono::seconds(9));
}

TEST_F(SlackTest, ARotatedAddressIsUsedAtOnceAndOneThatIsNoneSuspendsWithoutShowingIt) {
  keys_.Write("hook", "https://hooks.slack.com/services/T0123/B0123/fresh");
  EXPECT_EQ(Encode(Opened()).url, "https://hooks.slack.com/services/T0123/B0123/fresh");
  const Finding finding = Opened();
  for (const char* wrong : {"hooks.slack.com/services/T/B/s3cret", "https://hooks.slack.com/s3cret\nhttps://two", "https://a:s3cret@host/x"}) {
    keys_.Write("hook", wrong);
    const absl::Status status = sink_->Encode({&finding, 1}, At(0)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << wrong;
    EXPECT_EQ(std::string(status.message()).find("s3cret"), std::string::npos) << status;
  }
  keys_.Remove("hook");
  EXPECT_EQ(sink_->Encode({&finding, 1}, At(0)).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(SlackTest, TheCheckPostsNothingAndKnowsAWebhookThatIsThereByItsRefusal) {
  const std::optional<Preparation> check = sink_->Check();
  ASSERT_TRUE(check.has_value());
  EXPECT_EQ(check->request.body, "{\"text\":\"\"}");
  EXPECT_TRUE(sink_->Checked(Answer(400, "no_text")).ok());
  EXPECT_FALSE(sink_->Checked(Answer(404, "no_service")).ok());
  EXPECT_FALSE(sink_->Checked(Broken(Response::Failure::kConnect)).ok());
}

TEST(Slack, AConfigurationThatCannotBeNamesItsKey) {
  SinkContext context = Context();
  context.config.mutable_slack();
  EXPECT_EQ(MakeSink(context).status().message(), "slack.webhook_url_file: needed, but not given");
}

}  // namespace
}  // namespace outlier
