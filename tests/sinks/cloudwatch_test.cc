#include <algorithm>

#include "tests/sinks/vendor_fixture.h"

namespace outlier::examples {
namespace {

using namespace std::chrono_literals;
using Kind = Outcome::Kind;

class CloudWatchTest : public VendorTest {
 protected:
  CloudWatchTest() : VendorTest("cloudwatch") { Make(); }

  static Response Error(int status, const std::string& code, const std::string& message = "why") {
    return Answer(status, R"({"__type":"com.amazonaws.logs#)" + code + R"(","message":")" + message + "\"}");
  }
  static std::string Target(const Request& request) { return HeaderOf(request, "X-Amz-Target"); }
  std::string Prepared(const Response& response) {
    const Outcome outcome = stream().Prepared(response, Now());
    return outcome.kind == Kind::kItems ? "go on" : outcome.kind == Kind::kSuspend ? "suspend" : outcome.kind == Kind::kRetry ? "retry" : "other";
  }
};

TEST_F(CloudWatchTest, ABatchIsOnePutLogEventsToBeSigned) {
  const Request request = Encoded(Life());
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.url, "https://logs.eu-central-1.amazonaws.com/");
  EXPECT_EQ(HeaderOf(request, "Content-Type"), "application/x-amz-json-1.1");
  EXPECT_EQ(Target(request), "Logs_20140328.PutLogEvents");
  EXPECT_FALSE(request.compress) << "PutLogEvents does not take it";
  ASSERT_TRUE(request.aws);
  EXPECT_EQ(request.aws->service, "logs");
  EXPECT_EQ(request.aws->region, "eu-central-1");
  EXPECT_EQ(request.aws->access_key_id, "s3cret-cloudwatch-access-key-id-file");
  EXPECT_EQ(request.aws->secret_access_key, "s3cret-cloudwatch-secret-access-key-file");
  EXPECT_EQ(request.aws->session_token, "s3cret-cloudwatch-session-token-file");
  EXPECT_EQ(request.secrets.size(), 3u);
  const Json body = ParseJson(request.body);
  EXPECT_EQ(body["logGroupName"], "/outlier/incidents");
  EXPECT_EQ(body["logStreamName"], "relay-1");
  ASSERT_EQ(body["logEvents"].size(), 5u);
  EXPECT_EQ(body["logEvents"][0]["timestamp"], 1'772'359'224'250);
  const Json message = ParseJson(body["logEvents"][1]["message"].get<std::string>());
  EXPECT_EQ(message["event"]["action"], "outlier.incident.updated");
  EXPECT_EQ(message["host"]["name"], "db-1");
  EXPECT_EQ(message["outlier"]["incident"]["score"], 91.25);
  EXPECT_EQ(message["outlier"]["incident"]["suspects"][0]["workload"], "backup");
  EXPECT_EQ(message["labels"]["team"], "storage");
}

TEST_F(CloudWatchTest, EventsAreInOrderOfTimeAndRejectionsFindTheirOwners) {
  const std::vector<Finding> findings = {Resolved(), Opened(), Updated(), GapRecord()};  // 600 s, 24 s, 60 s, 530 s after the onset
  const Json events = BodyOf(findings)["logEvents"];
  for (size_t i = 1; i < events.size(); ++i) EXPECT_LT(events[i - 1]["timestamp"], events[i]["timestamp"]);
  const Outcome outcome = Judged(
      Answer(200, R"({"nextSequenceToken":"1","rejectedLogEventsInfo":{"tooOldLogEventEndIndex":1,"tooNewLogEventStartIndex":3}})"), findings);
  const ItemOutcome expired = ItemOutcome::kExpired, delivered = ItemOutcome::kDelivered;
  EXPECT_EQ(outcome.items, (std::vector<ItemOutcome>{expired, expired, delivered, delivered}));
  EXPECT_NE(outcome.reasons[0].find("ahead"), std::string::npos);
  EXPECT_NE(outcome.reasons[1].find("older"), std::string::npos);
  const Outcome kept = Judged(Answer(200, R"({"rejectedLogEventsInfo":{"expiredLogEventEndIndex":4}})"), findings);
  EXPECT_EQ(std::count(kept.items.begin(), kept.items.end(), ItemOutcome::kExpired), 4);
  EXPECT_EQ(Judged(Answer(200, R"({"rejectedLogEventsInfo":{"tooOldLogEventEndIndex":99}})"), findings).items.size(), 4u);
}

TEST_F(CloudWatchTest, ABatchOfMoreThanADayIsCutInHalves) {
  std::vector<Finding> findings = {Opened(), Resolved()};
  *findings[1].change.mutable_time() = findings[0].change.time();
  findings[1].change.mutable_time()->set_seconds(findings[0].change.time().seconds() + 86'400);
  EXPECT_EQ(stream().Encode(findings, Now()).status().code(), absl::StatusCode::kInvalidArgument);
  findings[1].change.mutable_time()->set_seconds(findings[0].change.time().seconds() + 86'399);
  EXPECT_TRUE(stream().Encode(findings, Now()).ok());
  EXPECT_LT(stream().limits().oldest, 14 * 24h);
}

TEST_F(CloudWatchTest, AMissingLogIsMadeFromTheStreamUpwardsAndOnlyThen) {
  EXPECT_FALSE(stream().Prepare(Now())) << "it may be there, and no right to make it";
  EXPECT_EQ(Judged(Error(400, "ResourceNotFoundException")).kind, Kind::kRetry);
  auto step = stream().Prepare(Now());
  ASSERT_TRUE(step);
  EXPECT_EQ(Target(step->request), "Logs_20140328.CreateLogStream");
  EXPECT_EQ(ParseJson(step->request.body), Json::parse(R"({"logGroupName":"/outlier/incidents","logStreamName":"relay-1"})"));
  ASSERT_TRUE(step->request.aws);
  EXPECT_EQ(Prepared(Error(400, "ResourceNotFoundException")), "go on");
  step = stream().Prepare(Now());
  EXPECT_EQ(Target(step->request), "Logs_20140328.CreateLogGroup");
  EXPECT_EQ(ParseJson(step->request.body), Json::parse(R"({"logGroupName":"/outlier/incidents"})"));
  EXPECT_EQ(Prepared(Answer(503)), "retry");
  EXPECT_EQ(Target(stream().Prepare(Now())->request), "Logs_20140328.CreateLogGroup") << "it is tried again";
  EXPECT_EQ(Prepared(Error(400, "ResourceAlreadyExistsException")), "go on") << "another relay was faster";
  EXPECT_EQ(Target(stream().Prepare(Now())->request), "Logs_20140328.CreateLogStream");
  EXPECT_EQ(Prepared(Answer(200)), "go on");
  EXPECT_FALSE(stream().Prepare(Now()));
}

TEST_F(CloudWatchTest, WhereItMayNotBeMadeAPersonIsAskedAndWhatAPersonMadeIsFound) {
  Judged(Error(400, "ResourceNotFoundException"));
  stream().Prepare(Now());
  const Outcome outcome = stream().Prepared(Error(400, "AccessDeniedException", "not authorized"), Now());
  EXPECT_EQ(outcome.kind, Kind::kSuspend);
  EXPECT_NE(outcome.reason.find("logs:CreateLogStream"), std::string::npos);
  EXPECT_FALSE(stream().Prepare(Now())) << "the next batch shows whether it is there";
  EXPECT_EQ(Judged(Answer(200, "{}")).items, std::vector<ItemOutcome>{ItemOutcome::kDelivered});
}

TEST_F(CloudWatchTest, ErrorsAreToldByTheirCodesNotByTheStatus) {
  const std::vector<std::pair<Response, Kind>> table = {
      {Error(400, "ThrottlingException"), Kind::kRetry},           {Error(400, "ServiceUnavailableException"), Kind::kRetry},
      {Error(500, "InternalFailure"), Kind::kRetry},               {Error(400, "ExpiredTokenException"), Kind::kSuspend},
      {Error(403, "InvalidSignatureException"), Kind::kSuspend},   {Error(400, "AccessDeniedException"), Kind::kSuspend},
      {Error(400, "UnrecognizedClientException"), Kind::kSuspend}, {Error(400, "InvalidParameterException"), Kind::kRefused},
      {Error(400, "InvalidParameterException", "Upload too large: 1048580 bytes exceeds limit of 1048576"), Kind::kSplit},
      {Error(400, "InvalidSequenceTokenException"), Kind::kRetry}, {Error(413, "RequestEntityTooLargeException"), Kind::kSplit}};
  for (const auto& [response, kind] : table) EXPECT_EQ(Judged(response).kind, kind) << response.body;
  EXPECT_EQ(Judged(Error(400, "DataAlreadyAcceptedException")).items, std::vector<ItemOutcome>{ItemOutcome::kDelivered});
  const Response by_header = Answer(400, "", {{"x-amzn-errortype", "ThrottlingException:http://internal.amazon.com/coral/"}});
  EXPECT_EQ(stream().JudgeSamples(by_header).kind, Kind::kRetry);
  EXPECT_EQ(stream().JudgeSamples(Answer(400, "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>")).kind, Kind::kRetry);
  EXPECT_EQ(stream().JudgeSamples(Error(400, "InvalidParameterValueException")).kind, Kind::kRefused);
  EXPECT_EQ(Judged(Error(400, "ThrottlingException", "Rate exceeded")).reason, "HTTP 400: ThrottlingException: Rate exceeded");
  const Response xml = Answer(403, "<?xml version=\"1.0\"?>\n"
                                   "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not yours</Message></Error></ErrorResponse>");
  EXPECT_EQ(Judged(xml).kind, Kind::kSuspend);
  EXPECT_EQ(Judged(xml).reason, "HTTP 403: AccessDenied: not yours");
}

TEST_F(CloudWatchTest, ScoresAndOpenIncidentsAreMetrics) {
  const std::vector<Request> requests = stream().EncodeSamples(HostStatus(), Now());
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].url, "https://monitoring.eu-central-1.amazonaws.com/");
  EXPECT_EQ(Target(requests[0]), "GraniteServiceVersion20100801.PutMetricData");
  EXPECT_EQ(HeaderOf(requests[0], "Content-Type"), "application/x-amz-json-1.0");
  EXPECT_EQ(requests[0].aws->service, "monitoring");
  const Json body = ParseJson(requests[0].body);
  EXPECT_EQ(body["Namespace"], "Outlier");
  ASSERT_EQ(body["MetricData"].size(), 4u);
  EXPECT_EQ(body["MetricData"][0], Json::parse(R"({"MetricName":"OpenIncidents","Dimensions":[{"Name":"Host","Value":"db-1"}],
      "Timestamp":1772359810.0,"Value":4.0,"Unit":"Count"})"));
  EXPECT_EQ(body["MetricData"][1], Json::parse(R"({"MetricName":"Score",
      "Dimensions":[{"Name":"Host","Value":"db-1"},{"Name":"Workload","Value":"redis-server.service"}],
      "Timestamp":1772359810.0,"Value":91.25,"Unit":"None"})"));
}

TEST_F(CloudWatchTest, MetricsAreBoundedByTheMostAnomalousAndDimensionsAreAscii) {
  Samples samples = HostStatus();
  for (int i = 0; i < 500; ++i) {
    v1::WorkloadState& state = *samples.sample.add_workloads();
    state.mutable_workload()->set_name("w" + std::to_string(i));
    state.set_score(i * 0.1);
  }
  samples.sample.mutable_workloads(0)->mutable_workload()->set_name("h\xc3\xa9\n" + std::string(400, 'x'));
  const std::vector<Request> requests = stream().EncodeSamples(samples, Now());
  ASSERT_EQ(requests.size(), 1u);
  const Json data = ParseJson(requests[0].body)["MetricData"];
  EXPECT_EQ(data.size(), 201u);
  EXPECT_EQ(data[200]["Dimensions"][1]["Value"], "w302") << "of 503 workloads: redis, billing and w499 to w302";
  for (const Json& datum : data) {
    for (const Json& dimension : datum["Dimensions"]) {
      const std::string value = dimension["Value"];
      EXPECT_LE(value.size(), 255u);
      EXPECT_TRUE(std::all_of(value.begin(), value.end(), [](char c) { return c >= ' ' && c <= '~'; })) << value;
    }
  }
  EXPECT_TRUE(stream().EncodeSamples(samples, Now() + 15 * 24h).empty());
}

TEST_F(CloudWatchTest, TheCheckShowsWhetherTheSignatureIsTaken) {
  const auto check = stream().Check();
  ASSERT_TRUE(check);
  EXPECT_EQ(Target(check->request), "Logs_20140328.DescribeLogStreams");
  EXPECT_TRUE(stream().Checked(Answer(200, "{}")).ok());
  EXPECT_TRUE(stream().Checked(Error(400, "ResourceNotFoundException")).ok()) << "it is made with the first batch";
  EXPECT_TRUE(stream().Checked(Error(400, "AccessDeniedException")).ok()) << "a writer need not be allowed to look";
  EXPECT_FALSE(stream().Checked(Error(403, "InvalidSignatureException")).ok());
  EXPECT_FALSE(stream().Checked(Error(400, "UnrecognizedClientException")).ok());
}

TEST_F(CloudWatchTest, WrongSettingsAreNamed) {
  config::v1::CloudWatch& config = *context_.config.mutable_cloudwatch();
  const config::v1::CloudWatch good = config;
  const auto refusal = [&](auto change) {
    config = good;
    change();
    return Refusal();
  };
  EXPECT_NE(refusal([&] { config.set_region("evil.example/"); }).find("cloudwatch.region"), std::string::npos);
  EXPECT_NE(refusal([&] { config.clear_region(), config.mutable_credentials()->clear_region(); }).find("cloudwatch.region"), std::string::npos);
  EXPECT_NE(refusal([&] { config.mutable_credentials()->clear_secret_access_key_file(); }).find("credentials.secret_access_key_file"),
            std::string::npos);
  EXPECT_NE(refusal([&] { config.set_log_group("a b"); }).find("cloudwatch.log_group"), std::string::npos);
  EXPECT_NE(refusal([&] { config.set_log_stream("a:b"); }).find("cloudwatch.log_stream"), std::string::npos);
  EXPECT_NE(refusal([&] { config.set_namespace_("AWS/EC2"); }).find("cloudwatch.namespace"), std::string::npos);
  EXPECT_EQ(refusal([&] { config.set_region("cn-north-1"); }), "");
  Make();
  EXPECT_EQ(Encoded(Opened()).url, "https://logs.cn-north-1.amazonaws.com.cn/");
}

TEST_F(CloudWatchTest, RotatedKeysSignTheNextRequest) {
  Encoded(Opened());
  keys_.Write("credentials.secret_access_key_file", "another");
  EXPECT_EQ(Encoded(Opened()).aws->secret_access_key, "another");
  keys_.Remove("credentials.session_token_file");
  const std::vector<Finding> findings{Opened()};
  EXPECT_EQ(stream().Encode(findings, Now()).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(stream().EncodeSamples(HostStatus(), Now()).empty());
}

}  // namespace
}  // namespace outlier::examples
