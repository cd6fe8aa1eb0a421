#include <fstream>
#include <map>
#include <sstream>

#include "tests/sinks/vendor_fixture.h"

namespace outlier::examples {
namespace {

using namespace std::chrono_literals;
using Kind = Outcome::Kind;

class AzureLogsTest : public VendorTest {
 protected:
  AzureLogsTest() : VendorTest("azure_logs") {
    context_.config.mutable_azure_logs()->set_url("https://outlier-abcd.westeurope-1.ingest.monitor.azure.com");
    context_.config.mutable_azure_logs()->mutable_credentials()->clear_token_url();
    Make();
  }

  // Gets a token as the courier would.
  void Token(const std::string& token = "eyJ.token.sig", int seconds = 3600, WallTime now = Now()) {
    ASSERT_TRUE(stream().Prepare(now));
    EXPECT_EQ(stream().Prepared(Answer(200, fmt(token, seconds)), now).kind, Kind::kItems);
  }
  static std::string fmt(const std::string& token, int seconds) {
    return R"({"token_type":"Bearer","expires_in":)" + std::to_string(seconds) + R"(,"access_token":")" + token + "\"}";
  }
};

TEST_F(AzureLogsTest, ATokenIsAskedForByClientCredentials) {
  const auto preparation = stream().Prepare(Now());
  ASSERT_TRUE(preparation);
  const Request& request = preparation->request;
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.url, "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/oauth2/v2.0/token");
  EXPECT_EQ(HeaderOf(request, "Content-Type"), "application/x-www-form-urlencoded");
  EXPECT_EQ(request.body,
            "grant_type=client_credentials&client_id=66666666-7777-8888-9999-000000000000&client_secret=s3cret-azure-logs-client-secret-file"
            "&scope=https%3A%2F%2Fmonitor.azure.com%2F.default");
  EXPECT_EQ(request.secrets[0], "s3cret-azure-logs-client-secret-file");
}

TEST_F(AzureLogsTest, ASecretOfAnyCharactersStaysOneFieldAndIsHiddenInBothForms) {
  keys_.Write("credentials.client_secret_file", "a&b=c d~");
  const auto preparation = stream().Prepare(Now());
  ASSERT_TRUE(preparation);
  EXPECT_NE(preparation->request.body.find("&client_secret=a%26b%3Dc%20d~&"), std::string::npos);
  EXPECT_EQ(preparation->request.secrets, (std::vector<std::string>{"a&b=c d~", "a%26b%3Dc%20d~"}));
}

TEST_F(AzureLogsTest, ATokenIsKeptUntilFiveMinutesBeforeItEnds) {
  const std::vector<Finding> findings{Opened()};
  EXPECT_EQ(stream().Encode(findings, Now()).status().code(), absl::StatusCode::kFailedPrecondition) << "without one";
  Token();
  EXPECT_FALSE(stream().Prepare(Now()));
  EXPECT_FALSE(stream().Prepare(Now() + 54min + 59s));
  EXPECT_TRUE(stream().Prepare(Now() + 55min));
  EXPECT_EQ(HeaderOf(Encoded(Opened(), Now() + 56min), "Authorization"), "Bearer eyJ.token.sig") << "it is still good";
  EXPECT_EQ(stream().Prepared(Answer(200, fmt("second", 3600)), Now() + 55min).kind, Kind::kItems);
  EXPECT_EQ(HeaderOf(Encoded(Opened(), Now() + 56min), "Authorization"), "Bearer second");
}

TEST_F(AzureLogsTest, AShortTokenIsUsedForHalfItsLife) {
  Token("short", 120);
  EXPECT_FALSE(stream().Prepare(Now() + 59s));
  EXPECT_TRUE(stream().Prepare(Now() + 60s));
}

TEST_F(AzureLogsTest, ARotatedSecretAsksForANewTokenAndARefusedTokenToo) {
  Token();
  keys_.Write("credentials.client_secret_file", "another");
  const auto again = stream().Prepare(Now());
  ASSERT_TRUE(again);
  EXPECT_NE(again->request.body.find("client_secret=another"), std::string::npos);
  EXPECT_EQ(stream().Prepared(Answer(200, fmt("second", 3600)), Now()).kind, Kind::kItems);
  EXPECT_FALSE(stream().Prepare(Now()));
  EXPECT_EQ(Judged(Answer(401, R"({"error":{"code":"AuthenticationTokenInvalid","message":"expired"}})")).kind, Kind::kSuspend);
  EXPECT_TRUE(stream().Prepare(Now()));
}

TEST_F(AzureLogsTest, ASecretThatIsGoneSuspendsWithItsNameAndAsksNobody) {
  Token();
  keys_.Remove("credentials.client_secret_file");
  EXPECT_FALSE(stream().Prepare(Now()));
  const std::vector<Finding> findings{Opened()};
  const absl::Status status = stream().Encode(findings, Now()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(MessageOf(status).find("client_secret_file"), std::string::npos);
}

TEST_F(AzureLogsTest, ARefusedTokenCostsNoFindingAndSaysWhy) {
  stream().Prepare(Now());
  const Outcome outcome = stream().Prepared(
      Answer(400, R"({"error":"invalid_client","error_description":"AADSTS7000222: the secret has expired.\r\nTrace ID: 1"})"), Now());
  EXPECT_EQ(outcome.kind, Kind::kSuspend);
  EXPECT_EQ(outcome.reason, "no token: HTTP 400: invalid_client: AADSTS7000222: the secret has expired.");
  EXPECT_EQ(stream().Prepared(Answer(503), Now()).kind, Kind::kRetry);
  EXPECT_EQ(stream().Prepared(Answer(200, "<html>sign in</html>"), Now()).kind, Kind::kSuspend);
  EXPECT_EQ(stream().Prepared(Answer(200, fmt("a\\r\\nX: 1", 3600)), Now()).kind, Kind::kSuspend) << "not a header of it";
  EXPECT_TRUE(stream().Prepare(Now()));
}

TEST_F(AzureLogsTest, ABatchIsAnArrayOfRowsOfTheRulesStream) {
  Token();
  const Request request = Encoded(All());
  EXPECT_EQ(request.url,
            "https://outlier-abcd.westeurope-1.ingest.monitor.azure.com/dataCollectionRules/dcr-00000000000000000000000000000000/streams/"
            "Custom-OutlierIncidents?api-version=2023-01-01");
  EXPECT_EQ(request.secrets, std::vector<std::string>{"eyJ.token.sig"});
  EXPECT_TRUE(request.compress);
  const Json rows = ParseJson(request.body);
  ASSERT_EQ(rows.size(), All().size());
  const Json& updated = rows[1];
  EXPECT_EQ(updated["TimeGenerated"], "2026-03-01T10:01:00.500Z");
  EXPECT_EQ(updated["Action"], "updated");
  EXPECT_EQ(updated["Sequence"], 102);
  EXPECT_EQ(updated["Severity"], "CRITICAL");
  EXPECT_EQ(updated["LeadSeries"], "process.memory.usage");
  EXPECT_EQ(updated["ResolvedTime"], nullptr);
  EXPECT_EQ(updated["Suspects"][0]["workload"], "backup");
  EXPECT_EQ(updated["Labels"]["team"], "storage");
  EXPECT_EQ(rows[4]["ResolvedTime"], "2026-03-01T10:10:00.125Z");
  EXPECT_EQ(rows[10]["ChangesLost"], 40);
}

// The table and the rule that deploy/azure declares, and every row that is sent, have the same columns of the same types.
TEST_F(AzureLogsTest, RowsFitTheDeclarationThatIsInstalled) {
  std::ifstream file(OUTLIER_SOURCE_DIR "/deploy/azure/outlier-incidents.json");
  std::stringstream text;
  text << file.rdbuf();
  const Json deployed = ParseJson(text.str());
  ASSERT_TRUE(deployed.is_object()) << "deploy/azure/outlier-incidents.json is missing or no JSON";
  std::map<std::string, std::string> declared, table;
  for (const Json& resource : deployed["resources"]) {
    if (resource["type"] == "Microsoft.Insights/dataCollectionRules") {
      const Json& stream = resource["properties"]["streamDeclarations"]["Custom-OutlierIncidents"];
      for (const Json& column : stream["columns"]) declared[column["name"]] = column["type"];
    } else if (resource["type"] == "Microsoft.OperationalInsights/workspaces/tables") {
      for (const Json& column : resource["properties"]["schema"]["columns"]) table[column["name"]] = column["type"];
    }
  }
  const auto fits = [](const std::string& type, const Json& value) {
    if (value.is_null()) return true;
    if (type == "datetime") return value.is_string() && value.get<std::string>().size() == 24;
    if (type == "string") return value.is_string();
    if (type == "long") return value.is_number_integer();
    if (type == "real") return value.is_number();
    if (type == "boolean") return value.is_boolean();
    return type == "dynamic" && value.is_structured();
  };
  Token();
  const Json rows = BodyOf(All());
  for (const Json& row : rows) {
    EXPECT_EQ(row.size(), declared.size());
    for (const auto& [name, value] : row.items()) {
      ASSERT_TRUE(declared.contains(name)) << name;
      EXPECT_TRUE(fits(declared[name], value)) << name << " is " << declared[name] << ": " << value;
      EXPECT_LE(name.size(), 45u);
      EXPECT_LE(Dump(value).size(), 64u << 10) << name;
    }
  }
  ASSERT_EQ(table.size(), declared.size());
  for (const auto& [name, type] : declared) EXPECT_EQ(table[name], type == "datetime" ? "dateTime" : type) << name;
}

TEST_F(AzureLogsTest, NestedFieldsAreCutAtTheirLimit) {
  Finding finding = Opened();
  for (int i = 0; i < 20; ++i) {
    v1::Suspect& suspect = *finding.change.mutable_incident()->add_suspects();
    for (int k = 0; k < 5; ++k) suspect.add_evidence(std::string(2000, 'e'));
    suspect.mutable_workload()->set_name(std::string(2000, '\x01'));
  }
  Token();
  const Json row = BodyOf(finding)[0];
  EXPECT_LE(Dump(row["Suspects"]).size(), 64u << 10);
  EXPECT_GT(row["Suspects"].size(), 1u);
}

TEST_F(AzureLogsTest, AnswersMeanWhatTheDocumentationSays) {
  EXPECT_EQ(Judged(Answer(204)).items, std::vector<ItemOutcome>{ItemOutcome::kDelivered});
  EXPECT_EQ(Judged(Answer(429, "", {{"retry-after", "3"}})).retry_after, 3s);
  for (const int status : {401, 403, 404}) EXPECT_EQ(Judged(Answer(status)).kind, Kind::kSuspend);
  EXPECT_EQ(Judged(Answer(413)).kind, Kind::kSplit);
  EXPECT_EQ(Judged(Answer(400)).kind, Kind::kRefused);
}

TEST_F(AzureLogsTest, OtherCloudsHaveTheirOwnAudience) {
  context_.config.mutable_azure_logs()->set_url("https://x.chinanorth3-1.ingest.monitor.azure.cn/");
  Make();
  EXPECT_NE(stream().Prepare(Now())->request.body.find("scope=https%3A%2F%2Fmonitor.azure.cn%2F.default"), std::string::npos);
  context_.config.mutable_azure_logs()->set_url("https://x.usgovvirginia-1.ingest.monitor.azure.us:443");
  Make();
  EXPECT_NE(stream().Prepare(Now())->request.body.find("scope=https%3A%2F%2Fmonitor.azure.us%2F.default"), std::string::npos);
}

TEST_F(AzureLogsTest, WrongSettingsAreNamed) {
  config::v1::AzureLogs& config = *context_.config.mutable_azure_logs();
  const config::v1::AzureLogs good = config;
  const auto refusal = [&](auto change) {
    config = good;
    change();
    return Refusal();
  };
  EXPECT_NE(refusal([&] { config.clear_url(); }).find("azure_logs.url"), std::string::npos);
  EXPECT_NE(refusal([&] { config.clear_rule_id(); }).find("azure_logs.rule_id"), std::string::npos);
  EXPECT_NE(refusal([&] { config.set_stream("OutlierIncidents"); }).find("azure_logs.stream"), std::string::npos);
  EXPECT_NE(refusal([&] { config.mutable_credentials()->clear_tenant_id(); }).find("azure_logs.credentials.tenant_id"), std::string::npos);
  EXPECT_NE(refusal([&] { config.mutable_credentials()->clear_client_id(); }).find("azure_logs.credentials.client_id"), std::string::npos);
  EXPECT_NE(refusal([&] { config.mutable_credentials()->set_token_url("x"); }).find("azure_logs.credentials.token_url"), std::string::npos);
  config = good;
  config.mutable_credentials()->set_token_url("http://127.0.0.1:81/token");
  Make();
  EXPECT_EQ(stream().Prepare(Now())->request.url, "http://127.0.0.1:81/token");
}

}  // namespace
}  // namespace outlier::examples
