#include <google/protobuf/util/json_util.h>

#include "tests/sinks/page_examples.h"
#include "userspace/sinks/webhook_signature.h"

namespace outlier {
namespace {

using namespace page_examples;

constexpr char kSecret[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", kNewSecret[] = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

class WebhookTest : public ::testing::Test {
 protected:
  WebhookTest() {
    EXPECT_TRUE(Make([&](auto* config) { config->set_secret_file(keys_.Write("secret", kSecret)); }).ok());
  }
  template <class Change>
  absl::Status Make(Change change) {
    SinkContext context = Context();
    auto* config = context.config.mutable_webhook();
    FillDefaults(config);
    config->set_url("https://hooks.example/outlier");
    change(config);
    absl::StatusOr<AnySink> sink = MakeSink(context);
    if (!sink.ok()) return sink.status();
    sink_ = std::move(sink->stream);
    return absl::OkStatus();
  }
  Request Encode(const std::vector<Finding>& findings, double seconds = 1200) {
    absl::StatusOr<Request> request = sink_->Encode(findings, At(seconds));
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? *std::move(request) : Request{};
  }
  Json Event(const Finding& finding) { return ParseJson(Encode({finding}).body); }
  std::string Judged(const Response& response) {
    const Finding finding = Opened();
    return Word(sink_->Judge(response, {&finding, 1}));
  }
  // What a receiver does with one of the keys.
  static bool Verifies(const Request& request, const std::string& secret) {
    const auto keys = SigningKeys("test", secret);
    const std::string right = Signatures(*keys, HeaderOf(request, "webhook-id"), HeaderOf(request, "webhook-timestamp"), request.body);
    const std::string given = " " + HeaderOf(request, "webhook-signature") + " ";
    return given.find(" " + right + " ") != std::string::npos;
  }

  Keys keys_;
  std::unique_ptr<StreamSink> sink_;
};

TEST(WebhookSignature, IsThatOfThePublishedExample) {
  const auto keys = SigningKeys("test", kSecret);
  ASSERT_TRUE(keys.ok());
  EXPECT_EQ(Signatures(*keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", "{\"test\": 2432232314}"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

TEST(WebhookSignature, WhatIsNoKeyIsNamedByItsLineAndNotShown) {
  EXPECT_TRUE(SigningKeys("test", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\r\n\n  whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=  ").ok());
  const absl::Status wrong = SigningKeys("/key", std::string(kSecret) + "\nwhsec_not base64!").status();
  EXPECT_EQ(wrong.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(std::string(wrong.message()).find("/key: line 2"), std::string::npos) << wrong;
  EXPECT_EQ(std::string(wrong.message()).find("not base64!"), std::string::npos) << wrong;
  EXPECT_FALSE(SigningKeys("/key", "whsec_c2hvcnQ=").ok());  // five bytes
}

TEST_F(WebhookTest, AChangeIsACloudEventWithTheChangeAsItsData) {
  const Request request = Encode({Opened()});
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.url, "https://hooks.example/outlier");
  EXPECT_EQ(HeaderOf(request, "Content-Type"), "application/cloudevents+json; charset=utf-8");
  EXPECT_FALSE(request.compress);
  Json event = ParseJson(request.body);
  v1::IncidentChange read;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(event["data"].dump(), &read).ok());
  EXPECT_EQ(read.SerializeAsString(), Opened().change.SerializeAsString());
  EXPECT_EQ(event["data"]["incident"]["opened_time"], "2026-03-01T10:00:24.250Z");  // the names of feed.proto
  EXPECT_EQ(event["data"]["incident"]["acknowledged"], false);                      // defaults too
  EXPECT_EQ(event["data"]["sequence"], "101");
  event.erase("data");
  const Json expected = Json::parse(R"json({
    "specversion": "1.0", "id": "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40:101", "source": "//db-1/outlierd", "type": "io.outlier.incident.opened.v1",
    "subject": "incident/9a3f6c1e55d07b28", "time": "2026-03-01T10:00:24.250Z", "partitionkey": "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40:9a3f6c1e55d07b28",
    "severitytext": "MAJOR", "severitynumber": 17, "labels": "environment=production,team=storage", "datacontenttype": "application/json"})json");
  EXPECT_EQ(event, expected) << event;
}

TEST_F(WebhookTest, ARetryHasTheSameIdAndBodyAndATimestampOfItsOwn) {
  const Request first = Encode({Opened()}, 1200), again = Encode({Opened()}, 1260), other = Encode({Escalated()}, 1200);
  EXPECT_EQ(first.body, again.body);
  EXPECT_EQ(HeaderOf(first, "webhook-id"), HeaderOf(again, "webhook-id"));
  EXPECT_NE(HeaderOf(first, "webhook-id"), HeaderOf(other, "webhook-id"));
  EXPECT_EQ(HeaderOf(first, "webhook-timestamp"), "1772360400");
  EXPECT_EQ(HeaderOf(again, "webhook-timestamp"), "1772360460");
  EXPECT_TRUE(Verifies(first, kSecret));
  EXPECT_TRUE(Verifies(again, kSecret));
  Request forged = first;
  forged.body.back() = ' ';
  EXPECT_FALSE(Verifies(forged, kSecret));
}

TEST_F(WebhookTest, WhileAKeyIsRotatedReceiversOfEitherAreServed) {
  keys_.Write("secret", std::string(kNewSecret) + "\n" + kSecret);
  Request request = Encode({Opened()});
  EXPECT_TRUE(Verifies(request, kSecret));
  EXPECT_TRUE(Verifies(request, kNewSecret));
  for (const char* secret : {kSecret, kNewSecret}) EXPECT_EQ(std::count(request.secrets.begin(), request.secrets.end(), secret), 1);
  keys_.Write("secret", kNewSecret);
  request = Encode({Opened()});
  EXPECT_FALSE(Verifies(request, kSecret));
  EXPECT_TRUE(Verifies(request, kNewSecret));
  const Finding finding = Opened();
  keys_.Write("secret", "no key");
  EXPECT_EQ(sink_->Encode({&finding, 1}, At(0)).status().code(), absl::StatusCode::kFailedPrecondition);
  keys_.Remove("secret");
  EXPECT_EQ(sink_->Encode({&finding, 1}, At(0)).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(WebhookTest, TheTypeSaysWhatHappened) {
  const std::vector<std::pair<Finding, std::string>> all = {
      {Opened(), "opened"}, {Escalated(), "updated"}, {Acknowledged(), "acknowledged"}, {Resolved(), "resolved"}};
  for (const auto& [finding, word] : all) EXPECT_EQ(Event(finding)["type"], "io.outlier.incident." + word + ".v1");
  EXPECT_EQ(Event(Escalated())["severitynumber"], 21);
  Finding newer = Opened();
  newer.change.set_kind(static_cast<v1::IncidentChange::Kind>(77));
  EXPECT_EQ(Event(newer)["type"], "io.outlier.incident.changed.v1");
}

TEST_F(WebhookTest, ASilenceGoesBesideTheChange) {
  Finding finding = Opened();
  finding.silence.emplace();
  finding.silence->set_id("window-7");
  finding.silence->set_reason("the yearly full backup");
  const Json event = Event(finding);
  EXPECT_EQ(event["silenceid"], "window-7");
  EXPECT_EQ(event["silencereason"], "the yearly full backup");
  EXPECT_FALSE(event.contains("silenceauthor"));
}

TEST_F(WebhookTest, AGapIsAnEventOfItsOwn) {
  Finding finding = Of(0, v1::IncidentChange::KIND_UNSPECIFIED, 530, {});
  *finding.change.mutable_incident()->mutable_source() = Opened().incident().source();
  finding.gap = Gap{60, 99, 40, "compacted"};
  const Json event = Event(finding);
  EXPECT_EQ(event["type"], "io.outlier.feed.gap.v1");
  EXPECT_EQ(event["id"], "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40:gap:60-99-1772359730000");
  EXPECT_EQ(event["subject"], "feed/5f0c9a62d1b84c7e9b1f3a7d2e6c8b40");
  EXPECT_EQ(event["data"]["lost"], "40");
  EXPECT_EQ(event["data"]["source"]["host_name"], "db-1");
}

TEST_F(WebhookTest, WhateverANameHoldsTheEventIsValid) {
  Finding no_text = Opened();
  no_text.change.mutable_incident()->set_summary(Attacks()[6]);  // no gRPC peer can send it
  for (const Finding& finding : {Hostile(), Bare(), CrashLoop(), no_text}) {
    absl::StatusOr<Request> request = sink_->Encode({&finding, 1}, At(1200));
    ASSERT_TRUE(request.ok()) << request.status();
    const Json event = ParseJson(request->body);
    ASSERT_FALSE(event.is_discarded()) << request->body;
    for (const auto& [name, value] : event.items()) {
      EXPECT_TRUE(!name.empty() && name.size() <= 20 && name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789") == std::string::npos) << name;
      if (name != "data") {
        EXPECT_TRUE(value.is_string() ? !value.get<std::string>().empty() : value.is_number_integer()) << name;
      }
    }
    for (const char* name : {"source", "subject"}) {
      const std::string text = event[name];
      EXPECT_EQ(text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/:%"), std::string::npos) << text;
    }
    for (const auto& [name, value] : request->headers) {
      for (const char c : name + value) EXPECT_TRUE(c >= ' ' && c < 0x7f) << name;
    }
    EXPECT_TRUE(Verifies(*request, kSecret));
  }
  EXPECT_EQ(Event(Bare())["source"], "urn:outlier:feed:");
  EXPECT_EQ(Event(Hostile())["data"]["incident"]["onset_time"], Json());  // a time that no calendar has is left out
  EXPECT_EQ(Event(Hostile())["data"]["incident"]["opened_time"], "2026-03-01T10:00:24.250Z");
  EXPECT_EQ(Event(Hostile())["data"]["incident"]["source"]["host_name"], Attacks()[2]);  // data is whole, not made printable
}

TEST_F(WebhookTest, InBatchModeEventsAreAnArrayInOrder) {
  EXPECT_EQ(sink_->limits().max_items, 1u);
  ASSERT_TRUE(Make([&](auto* config) {
                config->set_secret_file(keys_.Write("secret", kSecret));
                config->set_mode("batch");
              }).ok());
  EXPECT_GT(sink_->limits().max_items, 1u);
  const Request request = Encode({Opened(), Escalated(), Resolved()});
  EXPECT_EQ(HeaderOf(request, "Content-Type"), "application/cloudevents-batch+json; charset=utf-8");
  const Json events = ParseJson(request.body);
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[2]["type"], "io.outlier.incident.resolved.v1");
  EXPECT_TRUE(Verifies(request, kSecret));
  EXPECT_EQ(ParseJson(Encode({Opened()}).body).size(), 1u);
  EXPECT_NE(HeaderOf(Encode({Opened(), Escalated()}), "webhook-id"), HeaderOf(request, "webhook-id"));
}

TEST_F(WebhookTest, AnAddressAndATokenMayBeSecrets) {
  ASSERT_TRUE(Make([&](auto* config) {
                config->clear_url();
                config->set_url_file(keys_.Write("url", "https://hooks.example/h/s3cretpath"));
                config->set_bearer_token_file(keys_.Write("token", "tok3n"));
              }).ok());
  const Request request = Encode({Opened()});
  EXPECT_EQ(request.url, "https://hooks.example/h/s3cretpath");
  EXPECT_EQ(HeaderOf(request, "Authorization"), "Bearer tok3n");
  EXPECT_EQ(HeaderOf(request, "webhook-signature"), "");
  EXPECT_EQ(request.secrets, (std::vector<std::string>{"https://hooks.example/h/s3cretpath", "/h/s3cretpath", "tok3n"}));
  keys_.Write("url", "s3cretpath");
  const Finding finding = Opened();
  const absl::Status status = sink_->Encode({&finding, 1}, At(0)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(std::string(status.message()).find("s3cretpath"), std::string::npos) << status;
}

TEST_F(WebhookTest, AnswersAreTakenAsCloudEventsMeansThem) {
  for (const int status : {200, 201, 202, 204}) EXPECT_EQ(Judged(Answer(status)), "delivered") << status;
  for (const int status : {302, 401, 403, 404, 405, 415}) EXPECT_EQ(Judged(Answer(status)), "suspend") << status;
  EXPECT_EQ(Judged(Answer(410)), "ended") << "CloudEvents and Standard Webhooks: never again";
  for (const int status : {400, 409, 422}) EXPECT_EQ(Judged(Answer(status)), "refused") << status;
  EXPECT_EQ(Judged(Answer(413)), "split");
  for (const int status : {408, 429, 500, 503}) EXPECT_EQ(Judged(Answer(status)), "retry") << status;
  EXPECT_EQ(Judged(Broken(Response::Failure::kReset)), "retry");
  EXPECT_EQ(Judged(Broken(Response::Failure::kTls)), "suspend");
  const Finding finding = Opened();
  EXPECT_EQ(sink_->Judge(Answer(429, "", {{"retry-after", "11"}}), {&finding, 1}).retry_after, std::chrono::seconds(11));
}

TEST_F(WebhookTest, TheCheckIsTheHandshakeAndAReceiverWithoutOneIsThereAllTheSame) {
  const std::optional<Preparation> check = sink_->Check();
  ASSERT_TRUE(check.has_value());
  EXPECT_EQ(check->request.method, "OPTIONS");
  EXPECT_EQ(HeaderOf(check->request, "WebHook-Request-Origin"), "relay-1");
  for (const int status : {200, 204, 405, 501}) EXPECT_TRUE(sink_->Checked(Answer(status)).ok()) << status;
  for (const int status : {302, 401, 404, 500}) EXPECT_FALSE(sink_->Checked(Answer(status)).ok()) << status;
}

TEST_F(WebhookTest, AConfigurationThatCannotBeNamesItsKey) {
  EXPECT_TRUE(std::string(Make([](auto* config) { config->clear_url(); }).message()).starts_with("webhook.url and webhook.url_file: "));
  EXPECT_TRUE(std::string(Make([](auto* config) { config->set_url_file("/url"); }).message()).starts_with("webhook.url and webhook.url_file: "));
  EXPECT_TRUE(std::string(Make([](auto* config) { config->set_url("ftp://x"); }).message()).starts_with("webhook.url: "));
}

}  // namespace
}  // namespace outlier
