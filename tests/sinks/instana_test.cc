#include "tests/sinks/vendor_fixture.h"

namespace outlier::examples {
namespace {

class InstanaTest : public VendorTest {
 protected:
  InstanaTest() : VendorTest("instana") {
    context_.config.mutable_instana()->clear_url();
    Make();
  }
};

TEST_F(InstanaTest, AnOpenedIncidentIsAnIssueOnTheHostsAgent) {
  const Request request = Encoded(Opened());
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.url, "http://127.0.0.1:42699/com.instana.plugin.generic.event");
  EXPECT_EQ(request.headers, (Headers{{"Content-Type", "application/json"}}));
  const Json event = ParseJson(request.body);
  EXPECT_EQ(event["title"], "opened: redis-server.service: resident memory 236 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s, full in about 9 min");
  EXPECT_EQ(event["severity"], 10);
  EXPECT_EQ(event["timestamp"], 1'772'359'224'250);
  EXPECT_FALSE(event.contains("duration"));
  EXPECT_NE(event["text"].get<std::string>().find(kIncidentId), std::string::npos);
}

TEST_F(InstanaTest, OnlyAnOpeningAndAWorseningAlertAndTheResolutionSpansTheIncident) {
  std::vector<int> severities;
  for (const Finding& finding : Life()) severities.push_back(BodyOf(finding)["severity"]);
  EXPECT_EQ(severities, (std::vector<int>{10, 10, -1, -1, -1}));
  Finding calm = Updated();
  calm.change.mutable_incident()->mutable_changes()->rbegin()->set_kind("updated");
  EXPECT_EQ(BodyOf(calm)["severity"], -1);
  EXPECT_EQ(BodyOf(Silenced())["severity"], -1);
  const Json resolved = BodyOf(Resolved());
  EXPECT_EQ(resolved["timestamp"], 1'772'359'200'000) << "its onset";
  EXPECT_EQ(resolved["duration"], 600'125);
}

TEST_F(InstanaTest, AChangeNamedAfterPresenceIsNotTakenForAHostThatComesOrGoes) {
  Finding finding = Acknowledged();
  finding.change.mutable_incident()->set_summary("OffLine-backup.service: busy");
  const Json event = BodyOf(finding);
  EXPECT_EQ(event["title"], "acknowledged: outlier incident");
  EXPECT_NE(event["text"].get<std::string>().find("OffLine-backup.service: busy"), std::string::npos);
  finding.change.set_kind(v1::IncidentChange::OPENED);
  EXPECT_EQ(BodyOf(finding)["title"], "opened: OffLine-backup.service: busy") << "an issue is none";
}

TEST_F(InstanaTest, AGapWarns) {
  const Json event = BodyOf(GapRecord());
  EXPECT_EQ(event["severity"], 5);
  EXPECT_EQ(event["title"], "40 changes of incidents on db-1 were lost: compacted");
}

TEST_F(InstanaTest, AnAgentThatIsNotThereIsAskedAgain) {
  Response response;
  response.failure = Response::Failure::kConnect;
  response.failure_text = "connection refused";
  EXPECT_EQ(Judged(response).kind, Outcome::Kind::kRetry);
  EXPECT_EQ(Judged(Answer(200)).items, std::vector<ItemOutcome>{ItemOutcome::kDelivered});
}

TEST_F(InstanaTest, AnotherAddressIsTakenAndAWrongOneNamed) {
  context_.config.mutable_instana()->set_url("http://agent.example:42699/");
  Make();
  EXPECT_EQ(Encoded(Opened()).url, "http://agent.example:42699/com.instana.plugin.generic.event");
  context_.config.mutable_instana()->set_url("agent");
  EXPECT_NE(Refusal().find("instana.url"), std::string::npos);
}

}  // namespace
}  // namespace outlier::examples
