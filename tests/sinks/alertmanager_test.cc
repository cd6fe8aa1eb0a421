#include "tests/sinks/page_examples.h"

namespace outlier {
namespace {

using namespace page_examples;
using A = Page::Action;

class AlertmanagerTest : public ::testing::Test {
 protected:
  AlertmanagerTest() { EXPECT_TRUE(Make([](config::v1::Alertmanager*) {}).ok()); }
  template <class Change>
  absl::Status Make(Change change) {
    SinkContext context = Context();
    auto* config = context.config.mutable_alertmanager();
    FillDefaults(config);
    config->add_urls("http://am-1:9093");
    config->add_urls("https://am-2.example/alerts/");
    change(config);
    absl::StatusOr<AnySink> sink = MakeSink(context);
    if (!sink.ok()) return sink.status();
    sink_ = std::move(sink->state);
    return absl::OkStatus();
  }
  StateSink::Letters Encode(const std::vector<Page>& pages, double seconds = 1200) {
    absl::StatusOr<StateSink::Letters> letters = sink_->Encode(pages, At(seconds));
    EXPECT_TRUE(letters.ok()) << letters.status();
    return letters.ok() ? *std::move(letters) : StateSink::Letters{};
  }
  Json Alert(const Page& page, double seconds = 1200) { return ParseJson(Encode({page}, seconds).requests.at(0).body).at(0); }
  std::string Judged(const Response& response) {
    const Page page = PageOf(A::kOpen, Opened());
    return Word(sink_->Judge(response, {&page, 1}));
  }

  Keys keys_;
  std::unique_ptr<StateSink> sink_;
};

TEST_F(AlertmanagerTest, AnOpenIncidentGoesToEveryPeerWithAnEndFourMinutesAhead) {
  Page page = PageOf(A::kOpen, Opened());
  page.related = {"backup: disk reads 180 MiB/s"};
  const StateSink::Letters letters = Encode({page});
  ASSERT_EQ(letters.requests.size(), 2u);
  EXPECT_FALSE(letters.all_needed);
  EXPECT_EQ(letters.requests[0].url, "http://am-1:9093/api/v2/alerts");
  EXPECT_EQ(letters.requests[1].url, "https://am-2.example/alerts/api/v2/alerts");
  EXPECT_EQ(letters.requests[0].body, letters.requests[1].body);
  const Json expected = Json::parse(R"json([{
    "labels": {"alertname": "OutlierIncident", "source": "outlierd", "sink": "oncall", "incident": "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40:9a3f6c1e55d07b28",
               "host": "db-1", "workload": "redis-server.service", "namespace": "shop", "environment": "production", "team": "storage"},
    "annotations": {
      "summary": "db-1: redis-server.service: resident memory 236 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s (+1 related)",
      "description": "redis-server.service: resident memory 236 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s\nhost: db-1\nworkload: redis-server.service\nsince: 2026-03-01T10:00:00.000Z\nscore: 62 (major)\nresident memory: 236 MiB, expected 96.0-118 MiB\nincident: 9a3f6c1e55d07b28\nalso: backup: disk reads 180 MiB/s",
      "severity": "major", "score": "61.5", "pattern": "DRIFT", "signal": "process.memory.usage", "unit": "By", "observed": "2.47464e+08",
      "expected": "1.12198e+08", "lower": "1.00663e+08", "upper": "1.23732e+08"},
    "startsAt": "2026-03-01T10:00:00.000Z", "endsAt": "2026-03-01T10:24:00.000Z"}])json");
  EXPECT_EQ(ParseJson(letters.requests[0].body), expected) << letters.requests[0].body;
}

TEST_F(AlertmanagerTest, LabelsStayTheSameOverTheWholeLifeOfAnIncident) {
  const Json labels = Alert(PageOf(A::kOpen, Opened()))["labels"];
  for (const Page& page : {PageOf(A::kUpdate, Escalated()), PageOf(A::kRepeat, GoingOn()), PageOf(A::kAcknowledge, Acknowledged()),
                           PageOf(A::kResolve, Resolved())}) {
    EXPECT_EQ(Alert(page)["labels"], labels);
  }
  EXPECT_FALSE(labels.contains("severity"));
  EXPECT_EQ(Alert(PageOf(A::kUpdate, Escalated()))["annotations"]["severity"], "critical");
}

TEST_F(AlertmanagerTest, WhatIsOpenIsRepeatedEachMinuteAndOutlivesThreeLostRepeats) {
  EXPECT_EQ(sink_->capabilities().repeat_open, std::chrono::seconds(60));
  EXPECT_GT(sink_->capabilities().pages_per_request, 1u);
  EXPECT_EQ(Alert(PageOf(A::kRepeat, GoingOn()), 1260)["endsAt"], "2026-03-01T10:25:00.000Z");
  EXPECT_EQ(Alert(PageOf(A::kRepeat, GoingOn()), 1260)["startsAt"], "2026-03-01T10:00:00.000Z");
}

TEST_F(AlertmanagerTest, AResolutionEndsWhenTheIncidentDidAndNeverLaterThanNow) {
  EXPECT_EQ(Alert(PageOf(A::kResolve, Resolved()))["endsAt"], "2026-03-01T10:10:00.125Z");
  EXPECT_EQ(Alert(PageOf(A::kResolve, Resolved()), 30)["endsAt"], "2026-03-01T10:00:30.000Z");  // of a source whose clock is ahead
}

TEST_F(AlertmanagerTest, AResolutionIsPostedAgainForAQuarterOfAnHourWithTheSameEnd) {
  EXPECT_EQ(sink_->capabilities().repeat_resolved, std::chrono::minutes(15));
  EXPECT_EQ(Alert(PageOf(A::kRepeat, Resolved()), 1260)["endsAt"], "2026-03-01T10:10:00.125Z");
}

TEST_F(AlertmanagerTest, AStartIsNeverAfterNowNorAfterTheEnd) {
  for (const Page& page : AllPages()) {
    for (const double now : {-3600.0, 0.0, 30.0, 1200.0}) {
      const Json alert = Alert(page, now);
      const std::string starts = alert["startsAt"], ends = alert["endsAt"];
      EXPECT_LE(starts, Rfc3339(At(now)));
      EXPECT_LE(starts, ends);
      const bool over = page.action == A::kResolve || page.finding.incident().state() == v1::Incident::RESOLVED;
      EXPECT_EQ(ends > Rfc3339(At(now)), !over);
    }
  }
}

TEST_F(AlertmanagerTest, SeveralPagesAreOneRequestInTheirOrder) {
  const std::vector<Page> pages = {PageOf(A::kOpen, CrashLoop()), PageOf(A::kResolve, Resolved()), DigestPage(false)};
  const Json alerts = ParseJson(Encode(pages).requests.at(0).body);
  ASSERT_EQ(alerts.size(), 3u);
  EXPECT_EQ(alerts[0]["labels"]["workload"], "billing.js");
  EXPECT_EQ(alerts[2]["labels"]["alertname"], "OutlierDigest");
}

TEST_F(AlertmanagerTest, ADigestIsAnAlertOfItsOwnThatEndsByItself) {
  const Json quiet = Alert(DigestPage(true)), loud = Alert(DigestPage(false));
  EXPECT_EQ(quiet["labels"]["severity"], "info");
  EXPECT_EQ(loud["labels"]["severity"], "warning");
  EXPECT_EQ(Alert(DigestPage(false, v1::Incident::CRITICAL))["labels"]["severity"], "critical") << "as the worst of what was withheld";
  EXPECT_EQ(loud["labels"]["digest"], "digest-1772359800");
  EXPECT_EQ(loud["annotations"]["description"], DigestPage(false).text);
  EXPECT_EQ(loud["endsAt"], "2026-03-01T10:35:00.000Z");
}

TEST_F(AlertmanagerTest, LabelsOfTheConfigurationTakeNoneOfOursAndBecomeNamesThatPrometheusTakes) {
  const Json labels = Alert(PageOf(A::kOpen, Hostile()))["labels"];
  EXPECT_TRUE(labels.contains("exported_severity"));
  EXPECT_TRUE(labels.contains("exported_host"));
  EXPECT_TRUE(labels.contains("_9_lives_"));
  EXPECT_FALSE(labels.contains("severity"));
  EXPECT_NE(labels["host"], labels["exported_host"]);
}

TEST_F(AlertmanagerTest, WhateverANameHoldsLabelsAreLegal) {
  ASSERT_TRUE(Make([&](auto* config) { config->set_bearer_token_file(keys_.Write("token", "tok3n")); }).ok());
  const std::vector<Page> pages = AllPages();
  const Request request = Encode(pages).requests.at(0);
  ExpectSafe(request, "tok3n");
  const Json alerts = ParseJson(request.body);
  ASSERT_EQ(alerts.size(), pages.size());
  for (const Json& alert : alerts) {
    for (const auto& [name, value] : alert["labels"].items()) {
      EXPECT_TRUE(!name.empty() && name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == std::string::npos) << name;
      EXPECT_FALSE(std::isdigit(static_cast<unsigned char>(name[0]))) << name;
      EXPECT_TRUE(!value.get<std::string>().empty() && Characters(value) <= 500) << name;
    }
    for (const auto& [name, value] : alert["annotations"].items()) EXPECT_LE(Characters(value), 8000u) << name;
  }
}

TEST_F(AlertmanagerTest, AnswersAreTakenAsTheServerMeansThem) {
  EXPECT_EQ(Judged(Answer(200)), "delivered");
  // Some of a batch were wrong; the right ones are stored, and storing them again changes nothing.
  EXPECT_EQ(Judged(Answer(400, "\"start time must be before end time\"")), "refused");
  for (const int status : {301, 401, 403, 404, 405}) EXPECT_EQ(Judged(Answer(status)), "suspend") << status;
  for (const int status : {429, 500, 503}) EXPECT_EQ(Judged(Answer(status)), "retry") << status;
  EXPECT_EQ(Judged(Answer(413)), "split");
  EXPECT_EQ(Judged(Broken(Response::Failure::kConnect)), "retry");
  EXPECT_EQ(Judged(Broken(Response::Failure::kTls)), "suspend");
}

TEST_F(AlertmanagerTest, ItAuthorisesItselfByTokenOrPasswordReadAtEachRequest) {
  ASSERT_TRUE(Make([&](auto* config) { config->set_bearer_token_file(keys_.Write("token", "tok3n")); }).ok());
  EXPECT_EQ(HeaderOf(Encode({PageOf(A::kOpen, Opened())}).requests.at(1), "Authorization"), "Bearer tok3n");
  keys_.Write("token", "fresh");
  EXPECT_EQ(HeaderOf(Encode({PageOf(A::kOpen, Opened())}).requests.at(0), "Authorization"), "Bearer fresh");
  keys_.Remove("token");
  const Page page = PageOf(A::kOpen, Opened());
  EXPECT_EQ(sink_->Encode({&page, 1}, At(0)).status().code(), absl::StatusCode::kFailedPrecondition);

  ASSERT_TRUE(Make([&](auto* config) {
                config->set_username("relay");
                config->set_password_file(keys_.Write("password", "s3cret"));
              }).ok());
  const Request request = Encode({page}).requests.at(0);
  EXPECT_EQ(HeaderOf(request, "Authorization"), "Basic cmVsYXk6czNjcmV0");
  EXPECT_EQ(request.secrets, (std::vector<std::string>{"s3cret", "cmVsYXk6czNjcmV0"}));
}

TEST_F(AlertmanagerTest, AConfigurationThatCannotBeNamesItsKey) {
  const auto message = [&](auto change) { return std::string(Make(change).message()); };
  EXPECT_TRUE(message([](auto* config) { config->clear_urls(); }).starts_with("alertmanager.urls: needed"));
  EXPECT_TRUE(message([](auto* config) { config->set_urls(1, "am-2:9093"); }).starts_with("alertmanager.urls[1]: "));
  EXPECT_TRUE(message([](auto* config) { config->set_username("relay"); }).starts_with("alertmanager.username and alertmanager.password_file: "));
  EXPECT_TRUE(message([](auto* config) {
                config->set_username("relay");
                config->set_bearer_token_file("/token");
              }).starts_with("alertmanager.bearer_token_file: "));
}

TEST_F(AlertmanagerTest, TheCheckPostsNoAlertsToEveryPeer) {
  const std::vector<Preparation> checks = sink_->CheckEach();
  ASSERT_EQ(checks.size(), 2u);
  EXPECT_EQ(checks[0].request.url, "http://am-1:9093/api/v2/alerts");
  EXPECT_EQ(checks[1].request.url, "https://am-2.example/alerts/api/v2/alerts");
  for (const Preparation& check : checks) EXPECT_EQ(check.request.body, "[]");
  EXPECT_EQ(checks[1].what, "post no alerts to https://am-2.example/alerts/");
  EXPECT_TRUE(sink_->Checked(Answer(200)).ok());
}

}  // namespace
}  // namespace outlier
