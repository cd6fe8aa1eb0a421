// The sink for Elasticsearch and OpenSearch as a whole; documents, bulk bodies and what is installed have tests of their own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "tests/sinks/example_config.h"
#include "tests/sinks/examples.h"
#include "userspace/sinks/bulk.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

using examples::Keys;
using examples::Now;
using testing::AllOf;
using testing::HasSubstr;
using Kind = Outcome::Kind;

constexpr char kElasticsearch8[] =
    R"({"name":"n","cluster_name":"c","version":{"number":"8.19.21","build_flavor":"default"},"tagline":"You Know, for Search"})";
constexpr char kElasticsearch87[] = R"({"version":{"number":"8.7.1","build_flavor":"default"}})";
constexpr char kServerless[] = R"({"version":{"number":"8.11.0","build_flavor":"serverless"}})";
constexpr char kOpenSearch3[] = R"({"version":{"distribution":"opensearch","number":"3.6.0"},"tagline":"The OpenSearch Project: https://opensearch.org/"})";

// What it answers when all of ours are installed, and one that is somebody else's.
constexpr char kSetUp[] =
    R"({"index_templates":[{"name":"logs-outlier.change","index_template":{"_meta":{"managed_by":"outlier-relay"}}},)"
    R"({"name":"metrics-outlier.score","index_template":{"_meta":{"managed_by":"outlier-relay"}}},)"
    R"({"name":"metrics-outlier.signal","index_template":{"_meta":{"managed_by":"outlier-relay"}}},)"
    R"({"name":"metrics-outlier.host","index_template":{"_meta":{"managed_by":"outlier-relay"}}},)"
    R"({"name":"outlier-incidents","index_template":{"_meta":{"managed_by":"outlier-relay"}}},)"
    R"({"name":"my-outlier-notes","index_template":{}}]})";

std::string Without(std::string_view part) {
  std::string text = kSetUp;
  const size_t at = text.find(part);
  return at == std::string::npos ? text : text.replace(at, part.size(), "");
}

Response Answer(int status, std::string body = "") {
  Response response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

Response Unreachable() {
  Response response;
  response.failure = Response::Failure::kConnect;
  response.failure_text = "connection refused";
  return response;
}

std::string HeaderOf(const Request& request, std::string_view name) {
  for (const auto& [key, value] : request.headers) {
    if (key == name) return value;
  }
  return "(none)";
}

std::string HostOf(const Request& request) { return request.url.substr(8, request.url.find('.') - 8); }  // of https://HOST.example

class SearchTest : public testing::Test {
 protected:
  SearchTest() : context_(examples::ContextOf("elasticsearch", &keys_)) {
    elasticsearch().clear_urls();
    for (const char* host : {"a", "b", "c"}) elasticsearch().add_urls(fmt::format("https://{}.example:9200", host));
  }
  config::v1::Elasticsearch& elasticsearch() { return *context_.config.mutable_elasticsearch(); }

  void Make() {
    auto sink = MakeSink(context_);
    ASSERT_TRUE(sink.ok()) << sink.status();
    sink_ = std::move(*sink);
  }
  void MakeOpenSearch() {
    context_ = examples::ContextOf("opensearch", &keys_);
    context_.config.mutable_opensearch()->set_urls(0, "https://o.example:9200");
    Make();
  }
  std::string Complaint() { return MakeSink(context_).status().ToString(); }
  StreamSink& sink() { return *sink_.stream; }

  Outcome Prepare(const Response& response, std::string* asked = nullptr) {
    const auto preparation = sink().Prepare(Now());
    EXPECT_TRUE(preparation.has_value());
    if (preparation && asked != nullptr) *asked = preparation->request.method + " " + preparation->request.url;
    return sink().Prepared(response, Now());
  }
  void Ready(const std::string& version = kElasticsearch8) {
    EXPECT_EQ(Prepare(Answer(200, version)).kind, Kind::kItems);
    EXPECT_EQ(Prepare(Answer(200, kSetUp)).kind, Kind::kItems);
  }
  Request Encode() {
    const Finding finding = examples::Opened();
    const auto request = sink().Encode({&finding, 1}, Now());
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? *request : Request{};
  }
  Outcome Judge(const Response& response) {
    const Finding finding = examples::Opened();
    return sink().Judge(response, {&finding, 1});
  }

  Keys keys_;
  SinkContext context_;
  AnySink sink_;
};

TEST_F(SearchTest, TheRequestIsTheBulkApis) {
  Make();
  std::string asked;
  EXPECT_EQ(Prepare(Answer(200, kElasticsearch8), &asked).kind, Kind::kItems);
  EXPECT_EQ(asked, "GET https://a.example:9200/");
  EXPECT_EQ(Prepare(Answer(200, kSetUp)).warning, "");
  EXPECT_FALSE(sink().Prepare(Now()).has_value()) << "once";
  const Request request = Encode();
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.url,
            "https://a.example:9200/_bulk?filter_path=errors,items.*.status,items.*.failure_store,items.*.error.type,items.*.error.reason,"
            "error.type,error.reason,status");
  EXPECT_EQ(HeaderOf(request, "Content-Type"), "application/x-ndjson");
  EXPECT_EQ(HeaderOf(request, "Accept"), "application/json");
  EXPECT_EQ(HeaderOf(request, "Authorization"), "ApiKey s3cret-elasticsearch-api-key-file");
  EXPECT_TRUE(request.compress);
  EXPECT_THAT(request.secrets, testing::Contains("s3cret-elasticsearch-api-key-file"));
  EXPECT_THAT(request.body, AllOf(testing::StartsWith("{\"create\":{\"_index\":\"logs-outlier.change-default\","), HasSubstr("\"require_data_stream\":true")));
}

TEST_F(SearchTest, ABaseUrlMayHaveAPathAndASlash) {
  elasticsearch().set_urls(0, "https://a.example/search/");
  Make();
  EXPECT_THAT(Encode().url, testing::StartsWith("https://a.example/search/_bulk?"));
}

TEST_F(SearchTest, AKeyMayBeGivenAsIdAndKey) {
  keys_.Write("api_key_file", "VuaCfGcBCdbkQm-e5aOx:ui2lp2axTNmsyakw9tvNnw");
  Make();
  const Request request = Encode();
  EXPECT_EQ(HeaderOf(request, "Authorization"), "ApiKey VnVhQ2ZHY0JDZGJrUW0tZTVhT3g6dWkybHAyYXhUTm1zeWFrdzl0dk5udw==");
  EXPECT_THAT(request.secrets, AllOf(testing::Contains("VuaCfGcBCdbkQm-e5aOx:ui2lp2axTNmsyakw9tvNnw"),
                                     testing::Contains("VnVhQ2ZHY0JDZGJrUW0tZTVhT3g6dWkybHAyYXhUTm1zeWFrdzl0dk5udw==")));
}

TEST_F(SearchTest, AKeyOfTwoLinesIsNotSentAsAHeader) {
  keys_.Write("api_key_file", "one\ntwo");
  Make();
  const Finding finding = examples::Opened();
  const auto request = sink().Encode({&finding, 1}, Now());
  EXPECT_EQ(request.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(request.status().message()), AllOf(HasSubstr("api_key_file"), testing::Not(HasSubstr("two"))));
}

TEST_F(SearchTest, ANameAndAPasswordAreBasicAuthentication) {
  MakeOpenSearch();
  const Request request = Encode();
  EXPECT_EQ(HeaderOf(request, "Authorization"), BasicAuthorization("relay", "s3cret-opensearch-password-file"));
  EXPECT_THAT(request.secrets, testing::Contains("s3cret-opensearch-password-file"));
}

TEST_F(SearchTest, CompressionCanBeTurnedOff) {
  context_.config.mutable_delivery()->set_compression("none");
  Make();
  EXPECT_FALSE(Encode().compress);
}

TEST_F(SearchTest, ADataStreamIsRequiredWhereTheServerKnowsHow) {
  for (const auto& [answer, required] : std::vector<std::pair<std::string, bool>>{{kElasticsearch8, true},
                                                                                 {kServerless, true},
                                                                                 {R"({"version":{"number":"9.1.0"}})", true},
                                                                                 {R"({"version":{"number":"8.13.0"}})", true},
                                                                                 {R"({"version":{"number":"8.12.2"}})", false},
                                                                                 {kElasticsearch87, false},
                                                                                 {kOpenSearch3, false}}) {
    Make();
    Prepare(Answer(200, answer));
    EXPECT_EQ(Encode().body.find("require_data_stream") != std::string::npos, required) << answer;
  }
}

// An index that is made without them has guessed mappings, and a stream of a template that came with the server has wrong ones: no setup mends that later.
TEST_F(SearchTest, BeforeItIsSetUpNothingIsSentWhateverTheVersion) {
  for (const std::string version : {kElasticsearch8, kServerless, kElasticsearch87, kOpenSearch3}) {
    SCOPED_TRACE(version);
    version == kOpenSearch3 ? MakeOpenSearch() : Make();
    Prepare(Answer(200, version));
    std::string asked;
    const Outcome missing = Prepare(Answer(200, R"({})"), &asked);  // what matches a pattern is never missing
    EXPECT_THAT(asked, testing::EndsWith(".example:9200/_index_template/*outlier*?filter_path=index_templates.name,index_templates.index_template._meta"));
    EXPECT_EQ(missing.kind, Kind::kSuspend);
    EXPECT_THAT(missing.reason, AllOf(HasSubstr("has no index template outlier-incidents, logs-outlier.change"), HasSubstr("`outlier-relay setup` installs")));
    EXPECT_EQ(Prepare(Answer(404, "{}")).kind, Kind::kSuspend) << "until it is there";
    EXPECT_EQ(Prepare(Answer(200, kSetUp)).kind, Kind::kItems);
    EXPECT_FALSE(sink().Prepare(Now()).has_value());
  }
}

TEST_F(SearchTest, EveryTemplateHasToBeThereAndOurs) {
  Make();
  Prepare(Answer(200, kElasticsearch8));
  const Outcome one = Prepare(Answer(200, Without(R"({"name":"outlier-incidents","index_template":{"_meta":{"managed_by":"outlier-relay"}}},)")));
  EXPECT_EQ(one.kind, Kind::kSuspend);
  EXPECT_THAT(one.reason, AllOf(HasSubstr("outlier-incidents"), testing::Not(HasSubstr("logs-outlier.change"))));
  const Outcome others = Prepare(Answer(200, Without(R"("_meta":{"managed_by":"outlier-relay"})")));
  EXPECT_EQ(others.kind, Kind::kSuspend);
  EXPECT_THAT(others.reason, AllOf(HasSubstr("logs-outlier.change"), HasSubstr("outlier-relay setup")));
  EXPECT_EQ(Prepare(Answer(503)).kind, Kind::kRetry);
}

TEST_F(SearchTest, WhoMayNotAskForTemplatesMayWriteAndIsWarned) {
  for (const std::string version : {kElasticsearch8, kOpenSearch3}) {
    version == kOpenSearch3 ? MakeOpenSearch() : Make();
    Prepare(Answer(200, version));
    const Outcome outcome = Prepare(Answer(403));
    EXPECT_EQ(outcome.kind, Kind::kItems);
    EXPECT_THAT(outcome.warning, AllOf(HasSubstr("does not tell this key whether it is set up"), HasSubstr("outlier-relay setup")));
    EXPECT_FALSE(sink().Prepare(Now()).has_value());
  }
}

// Two questions, and one status: the first word is not lost.
TEST_F(SearchTest, AWarningOfTheVersionStaysBesideThatOfTheTemplates) {
  Make();
  const std::string version = Prepare(Answer(200, kOpenSearch3)).warning;
  ASSERT_NE(version, "");
  EXPECT_THAT(Prepare(Answer(403)).warning, AllOf(HasSubstr(version), HasSubstr("whether it is set up")));
}

TEST_F(SearchTest, WarnsOfAnotherSystemOrAnOldOne) {
  Make();
  const Outcome other = Prepare(Answer(200, kOpenSearch3));
  EXPECT_EQ(other.kind, Kind::kItems);
  EXPECT_THAT(other.warning, HasSubstr("https://a.example:9200 is OpenSearch 3.6.0, but configured as `elasticsearch`"));
  Make();
  EXPECT_THAT(Prepare(Answer(200, R"({"version":{"number":"7.17.0"}})")).warning, HasSubstr("Elasticsearch 7.17.0, older than"));
  Make();
  EXPECT_EQ(Prepare(Answer(200, kElasticsearch8)).warning, "");
  MakeOpenSearch();
  EXPECT_EQ(Prepare(Answer(200, kOpenSearch3)).warning, "");
}

TEST_F(SearchTest, AKeyThatMayNotAskForTheVersionMayWrite) {
  Make();
  const Outcome outcome = Prepare(Answer(403, R"({"error":{"type":"security_exception"}})"));
  EXPECT_EQ(outcome.kind, Kind::kItems);
  EXPECT_THAT(outcome.warning, HasSubstr("does not tell its version"));
  EXPECT_EQ(Encode().body.find("require_data_stream"), std::string::npos) << "an older server would refuse the whole request for it";
}

TEST_F(SearchTest, AnAddressOfSomethingElseSuspends) {
  Make();
  for (const char* body : {"<html>Welcome</html>", "{}", R"({"version":"1"})", R"({"version":{"number":"new"}})"}) {
    const Outcome outcome = Prepare(Answer(200, body));
    EXPECT_EQ(outcome.kind, Kind::kSuspend) << body;
    EXPECT_THAT(outcome.reason, HasSubstr("is the address right?"));
  }
  EXPECT_EQ(Prepare(Answer(401)).kind, Kind::kSuspend);
}

TEST_F(SearchTest, TakesTheNextServerWhenOneFailsAndAsksItWhoItIs) {
  Make();
  Ready();
  EXPECT_EQ(HostOf(Encode()), "a");
  EXPECT_EQ(Judge(Unreachable()).kind, Kind::kRetry);
  std::string asked;
  EXPECT_EQ(Prepare(Unreachable(), &asked).kind, Kind::kRetry);
  EXPECT_EQ(asked, "GET https://b.example:9200/");
  EXPECT_EQ(Prepare(Answer(200, kElasticsearch8), &asked).kind, Kind::kItems);
  EXPECT_EQ(asked, "GET https://c.example:9200/");
  EXPECT_EQ(Prepare(Answer(200, kSetUp)).kind, Kind::kItems);
  EXPECT_EQ(HostOf(Encode()), "c");
  EXPECT_EQ(Judge(Answer(503)).kind, Kind::kRetry);
  Prepare(Answer(200, kElasticsearch8), &asked);
  EXPECT_EQ(asked, "GET https://a.example:9200/") << "round and round";
}

TEST_F(SearchTest, StaysWithAServerThatIsBusyOrRefuses) {
  Make();
  Ready();
  for (const int status : {400, 401, 403, 404, 413, 429}) Judge(Answer(status));
  EXPECT_FALSE(sink().Prepare(Now()).has_value());
  EXPECT_EQ(HostOf(Encode()), "a");
}

TEST_F(SearchTest, AFailureOfSamplesMovesOnToo) {
  Make();
  Ready();
  EXPECT_EQ(sink().JudgeSamples(Unreachable()).kind, Kind::kRetry);
  Ready();
  EXPECT_EQ(HostOf(Encode()), "b");
}

TEST_F(SearchTest, SamplesAreBulkRequestsToTheMetricsStreams) {
  context_.config.mutable_delivery()->set_max_batch(4096);
  Make();
  Ready();
  EXPECT_TRUE(sink().limits().samples);
  const std::vector<Request> requests = sink().EncodeSamples(examples::HostStatus(), Now());
  EXPECT_GT(requests.size(), 1u);
  for (const Request& request : requests) {
    EXPECT_THAT(request.url, HasSubstr("/_bulk?"));
    EXPECT_EQ(HeaderOf(request, "Authorization"), "ApiKey s3cret-elasticsearch-api-key-file");
    EXPECT_THAT(request.body, testing::StartsWith("{\"create\":{\"_index\":\"metrics-outlier."));
  }
  EXPECT_THAT(requests.back().body, HasSubstr("metrics-outlier.host-default"));
  keys_.Remove("api_key_file");
  EXPECT_TRUE(sink().EncodeSamples(examples::HostStatus(), Now()).empty());
}

TEST_F(SearchTest, SetupUsesItsOwnKeyAndTheWritersWhereThereIsNone) {
  Make();
  auto steps = sink().Setup();
  ASSERT_TRUE(steps.ok()) << steps.status();
  ASSERT_EQ(steps->size(), 12u);
  EXPECT_EQ(steps->front().request.method, "PUT");
  EXPECT_EQ(steps->front().request.url, "https://a.example:9200/_component_template/outlier@mappings");
  EXPECT_EQ(HeaderOf(steps->front().request, "Content-Type"), "application/json");
  EXPECT_EQ(HeaderOf(steps->front().request, "Authorization"), "ApiKey s3cret-elasticsearch-setup-api-key-file");
  elasticsearch().clear_setup_api_key_file();
  Make();
  steps = sink().Setup();
  ASSERT_TRUE(steps.ok());
  EXPECT_EQ(HeaderOf(steps->front().request, "Authorization"), "ApiKey s3cret-elasticsearch-api-key-file");
}

TEST_F(SearchTest, TheCheckTellsAKeyFromAWrongAddressAndAWrongSystem) {
  Make();
  ASSERT_TRUE(sink().Check().has_value());
  EXPECT_EQ(sink().Check()->request.method, "GET");
  EXPECT_TRUE(sink().Checked(Answer(200, kElasticsearch8)).ok());
  EXPECT_EQ(sink().Checked(Answer(401)).code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(sink().Checked(Answer(200, "hello")).ToString(), HasSubstr("is the address right?"));
  EXPECT_THAT(sink().Checked(Answer(200, kOpenSearch3)).ToString(), HasSubstr("configure it as `opensearch`"));
}

TEST_F(SearchTest, RefusesAConfigurationThatCannotWork) {
  elasticsearch().clear_urls();
  EXPECT_THAT(Complaint(), HasSubstr("elasticsearch.urls: needed"));
  elasticsearch().add_urls("es:9200");
  EXPECT_THAT(Complaint(), HasSubstr("elasticsearch.urls: expected an address that begins with https://"));
  elasticsearch().set_urls(0, "https://es:9200/?pretty");
  EXPECT_THAT(Complaint(), HasSubstr("without ? and #"));
  elasticsearch().set_urls(0, "https://es:9200");
  elasticsearch().set_username("relay");
  EXPECT_THAT(Complaint(), HasSubstr("elasticsearch.api_key_file: either"));
  elasticsearch().clear_api_key_file();
  EXPECT_THAT(Complaint(), HasSubstr("elasticsearch.password_file: needed"));
  elasticsearch().set_password_file("/etc/outlierd/es.password");
  EXPECT_THAT(Complaint(), HasSubstr("OK"));
  for (const char* name : {"a-b", "A", "a b", "a/b", "a*", "a,b", "a:b", "\xc3\xa9"}) {
    elasticsearch().set_namespace_(name);
    EXPECT_THAT(Complaint(), HasSubstr("elasticsearch.namespace: `")) << name;
  }
  elasticsearch().set_namespace_(std::string(101, 'a'));
  EXPECT_THAT(Complaint(), HasSubstr("elasticsearch.namespace"));
  elasticsearch().set_namespace_("production_1.eu");
  EXPECT_THAT(Complaint(), HasSubstr("OK"));
}

TEST_F(SearchTest, IncidentsResolvedLongAgoAreRemovedOnceAnHourAndNothingWaitsForThat) {
  elasticsearch().set_resolved_retention(std::chrono::nanoseconds(std::chrono::hours(30 * 24)).count());
  Make();
  Ready();
  EXPECT_FALSE(sink().Prepare(Now()).has_value()) << "not while a relay is being started";
  WallTime now = Now() + std::chrono::hours(1);
  const auto first = sink().Prepare(now);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->request.method, "POST");
  EXPECT_THAT(first->request.url, HasSubstr("outlier-incidents/_delete_by_query?conflicts=proceed"));
  EXPECT_EQ(ParseJson(first->request.body),
            ParseJson(fmt::format(R"({{"query":{{"bool":{{"filter":[{{"term":{{"outlier.incident.state":"RESOLVED"}}}},{{"range":{{"outlier.incident.resolved_time":{{"lt":"{}"}}}}}}]}}}}}})",
                                  Rfc3339(now - std::chrono::hours(30 * 24)))));
  const Outcome refused = sink().Prepared(Answer(403, R"({"error":{"type":"security_exception","reason":"no"}})"), now);
  EXPECT_EQ(refused.kind, Kind::kItems) << "the next batch goes all the same";
  EXPECT_THAT(refused.warning, AllOf(HasSubstr("outlier-incidents"), HasSubstr("resolved_retention")));
  EXPECT_FALSE(sink().Prepare(now + std::chrono::minutes(59)).has_value());
  EXPECT_TRUE(sink().Prepare(now + std::chrono::minutes(61)).has_value());
  EXPECT_EQ(sink().Prepared(Answer(200, R"({"deleted":3})"), now).warning, "");

  elasticsearch().set_resolved_retention(0);
  Make();
  Ready();
  EXPECT_FALSE(sink().Prepare(now + std::chrono::hours(10)).has_value()) << "kept for ever";
}

TEST_F(SearchTest, APolicyThatIsThereIsReplacedByItsOwnNumbers) {
  MakeOpenSearch();
  const auto steps = sink().Setup();
  ASSERT_TRUE(steps.ok()) << steps.status();
  int policies = 0;
  for (const Sink::SetupStep& step : *steps) {
    if (step.request.url.find("/_ism/") == std::string::npos) {
      EXPECT_FALSE(step.look) << step.what;
      continue;
    }
    ++policies;
    ASSERT_TRUE(step.look && step.instead) << step.what;
    EXPECT_EQ(step.look->method + step.look->url, "GET" + step.request.url);
    const auto instead = step.instead(Answer(200, R"({"_id":"x","_version":7,"_seq_no":12,"_primary_term":3,"policy":{}})"));
    ASSERT_TRUE(instead.has_value());
    EXPECT_EQ(instead->method, "PUT");
    EXPECT_EQ(instead->url, step.request.url + "?if_seq_no=12&if_primary_term=3");
    EXPECT_EQ(instead->body, step.request.body);
    EXPECT_FALSE(step.instead(Answer(200, "{}")).has_value()) << "nothing is put blindly";
  }
  EXPECT_EQ(policies, 4);
}

}  // namespace
}  // namespace outlier
