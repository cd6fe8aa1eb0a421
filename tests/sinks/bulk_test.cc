#include "userspace/sinks/bulk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "absl/strings/str_split.h"
#include "tests/sinks/examples.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

using examples::Now;
using testing::ElementsAre;
using testing::HasSubstr;
using Kind = Outcome::Kind;

std::vector<std::string> Lines(const std::string& body) {
  std::vector<std::string> lines = absl::StrSplit(body, '\n');
  EXPECT_EQ(lines.back(), "") << "the last line must end";
  lines.pop_back();
  return lines;
}

Response Answer(std::string body) {
  Response response;
  response.status = 200;
  response.body = std::move(body);
  return response;
}

// {"errors":true,"items":[{"create":{"status":201}},{"index":{...}}...]}, alternately.
std::string Items(const std::vector<std::string>& results) {
  std::string text;
  for (size_t i = 0; i < results.size(); ++i) text += fmt::format("{}{{\"{}\":{}}}", i == 0 ? "" : ",", i % 2 == 0 ? "create" : "index", results[i]);
  return fmt::format("{{\"errors\":true,\"items\":[{}]}}", text);
}

std::string Failed(int status, std::string_view type, std::string_view reason = "why") {
  return fmt::format(R"({{"status":{},"error":{{"type":"{}","reason":"{}"}}}})", status, type, reason);
}

constexpr char kCreated[] = R"({"status":201})";

TEST(BulkWriter, AChangeIsCreatedInTheStreamAndIndexedByItsSequence) {
  std::string body;
  ASSERT_TRUE(BulkWriter("prod").Add(examples::Opened(), Now(), &body).ok());
  const std::vector<std::string> lines = Lines(body);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0], R"({"create":{"_index":"logs-outlier.change-prod","_id":"5f0c9a62d1b84c7e9b1f3a7d2e6c8b40:101"}})");
  EXPECT_EQ(lines[2],
            R"({"index":{"_index":"outlier-incidents","_id":"5f0c9a62d1b84c7e9b1f3a7d2e6c8b40:9a3f6c1e55d07b28","version":101,"version_type":"external"}})");
  Json in_stream = ParseJson(lines[1]);
  EXPECT_EQ(Dump(in_stream["data_stream"]), R"({"type":"logs","dataset":"outlier.change","namespace":"prod"})");
  in_stream.erase("data_stream");
  EXPECT_EQ(Dump(in_stream), Dump(ParseJson(lines[3])));
}

TEST(BulkWriter, AsksForADataStreamOnlyWhereTheServerKnowsHow) {
  BulkWriter writer("default");
  writer.set_require_data_stream(true);
  std::string body;
  ASSERT_TRUE(writer.Add(examples::Opened(), Now(), &body).ok());
  EXPECT_EQ(Lines(body)[0],
            R"({"create":{"_index":"logs-outlier.change-default","_id":"5f0c9a62d1b84c7e9b1f3a7d2e6c8b40:101","require_data_stream":true}})");
  EXPECT_THAT(Lines(body)[2], testing::Not(HasSubstr("require_data_stream"))) << "the index of incidents is no stream";
  EXPECT_EQ(Lines(writer.Bodies(examples::Scores(), Now(), 1 << 20).at(0))[0],
            R"({"create":{"_index":"metrics-outlier.score-default","require_data_stream":true}})");
}

TEST(BulkWriter, AGapIsOnlyARecordInTheStream) {
  std::string body;
  ASSERT_TRUE(BulkWriter("default").Add(examples::GapRecord(), Now(), &body).ok());
  ASSERT_EQ(Lines(body).size(), 2u);
  EXPECT_EQ(Lines(body)[0], R"({"create":{"_index":"logs-outlier.change-default","_id":"5f0c9a62d1b84c7e9b1f3a7d2e6c8b40:gap:60-99-1772359730000"}})");
}

// The stream has a document of that sequence, and the index the state of a version that this one does not have yet.
TEST(BulkWriter, AfterARewindAChangeIsAnotherDocumentAndWinsOverWhatWasLost) {
  Finding finding = examples::Opened();
  finding.rewind = Rewind{250, WallTime(std::chrono::milliseconds(1'772'359'730'000))};
  std::string body;
  ASSERT_TRUE(BulkWriter("default").Add(finding, Now(), &body).ok());
  EXPECT_THAT(Lines(body)[0], HasSubstr(R"("_id":"5f0c9a62d1b84c7e9b1f3a7d2e6c8b40:101:1772359730000")"));
  EXPECT_THAT(Lines(body)[2], HasSubstr(R"("version":250,"version_type":"external_gte")"));
  finding.rewind->last = 100;  // an end that the relay tells, beyond what was lost
  body.clear();
  ASSERT_TRUE(BulkWriter("default").Add(finding, Now(), &body).ok());
  EXPECT_THAT(Lines(body)[2], HasSubstr(R"("version":101,"version_type":"external")"));
}

TEST(BulkWriter, WhatCanNeverBeAnIdentityIsRefused) {
  BulkWriter writer("default");
  std::string body;
  Finding finding = examples::Opened();
  finding.change.mutable_incident()->set_id(std::string(600, 'x'));
  EXPECT_EQ(writer.Add(finding, Now(), &body).code(), absl::StatusCode::kInvalidArgument);
  finding = examples::Opened();
  finding.change.set_sequence(uint64_t{1} << 63);
  EXPECT_EQ(writer.Add(finding, Now(), &body).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(body, "") << "nothing half written";
}

TEST(BulkWriter, SamplesGoOutInBodiesOfTheSizeAskedFor) {
  const BulkWriter writer("default");
  const std::vector<std::string> whole = writer.Bodies(examples::HostStatus(), Now(), 1 << 20);
  ASSERT_EQ(whole.size(), 1u);
  EXPECT_EQ(Lines(whole[0]).size(), 2 * (3 + 3 * 6 + 1u));
  const std::vector<std::string> parts = writer.Bodies(examples::HostStatus(), Now(), 4096);
  EXPECT_GT(parts.size(), 2u);
  std::string together;
  for (const std::string& part : parts) {
    EXPECT_LT(part.size(), 4096 + 2048u);
    EXPECT_EQ(Lines(part).size() % 2, 0u);
    together += part;
  }
  EXPECT_EQ(together, whole[0]);
  EXPECT_TRUE(writer.Bodies(Samples{}, Now(), 4096).empty());
}

TEST(JudgeBulk, WhatIsThereAlreadyIsDelivered) {
  const std::vector<Finding> findings = {examples::Opened(), examples::Updated()};
  const std::string conflict = Failed(409, "version_conflict_engine_exception");
  const Outcome outcome = JudgeBulk(Answer(Items({kCreated, conflict, conflict, R"({"status":200})"})), findings);
  EXPECT_EQ(outcome.kind, Kind::kItems);
  EXPECT_THAT(outcome.items, ElementsAre(ItemOutcome::kDelivered, ItemOutcome::kDelivered));
  EXPECT_TRUE(outcome.reasons.empty());
}

TEST(JudgeBulk, EachFindingHasTheWorseOfItsTwoFates) {
  const std::vector<Finding> findings(6, examples::Opened());
  const std::string busy = Failed(429, "es_rejected_execution_exception"), wrong = Failed(400, "document_parsing_exception", "failed to parse [x]"),
                    broken = Failed(503, "unavailable_shards_exception");
  const Outcome outcome = JudgeBulk(Answer(Items({kCreated, kCreated, kCreated, busy, wrong, kCreated, busy, wrong, broken, kCreated, wrong, busy})), findings);
  EXPECT_EQ(outcome.kind, Kind::kItems);
  EXPECT_THAT(outcome.items, ElementsAre(ItemOutcome::kDelivered, ItemOutcome::kRetry, ItemOutcome::kRefused, ItemOutcome::kRetry, ItemOutcome::kRetry,
                                         ItemOutcome::kRetry));
  ASSERT_EQ(outcome.reasons.size(), 6u);
  EXPECT_EQ(outcome.reasons[0], "");
  EXPECT_EQ(outcome.reasons[1], "outlier-incidents: HTTP 429 es_rejected_execution_exception: why");
  EXPECT_EQ(outcome.reasons[2], "the stream of changes: HTTP 400 document_parsing_exception: failed to parse [x]");
}

TEST(JudgeBulk, TheNamesOfBothSystemsAndOfOlderVersionsMeanTheSame) {
  const std::vector<Finding> one = {examples::Opened()};
  const std::vector<std::pair<std::string, ItemOutcome>> table = {{Failed(400, "mapper_parsing_exception"), ItemOutcome::kRefused},
                                                                  {Failed(400, "strict_dynamic_mapping_exception"), ItemOutcome::kRefused},
                                                                  {Failed(400, "illegal_argument_exception"), ItemOutcome::kRefused},
                                                                  {Failed(413, "x"), ItemOutcome::kRefused},
                                                                  {Failed(429, "rejected_execution_exception"), ItemOutcome::kRetry},
                                                                  {Failed(429, "circuit_breaking_exception"), ItemOutcome::kRetry},
                                                                  {Failed(408, "x"), ItemOutcome::kRetry},
                                                                  {Failed(500, "x"), ItemOutcome::kRetry},
                                                                  {R"({"status":500})", ItemOutcome::kRetry},
                                                                  {R"({"status":400,"error":"text"})", ItemOutcome::kRefused}};
  for (const auto& [result, expected] : table) {
    const Outcome outcome = JudgeBulk(Answer(Items({result, kCreated})), one);
    ASSERT_EQ(outcome.kind, Kind::kItems) << result;
    EXPECT_THAT(outcome.items, ElementsAre(expected)) << result;
  }
}

TEST(JudgeBulk, BlocksMissingRightsAndMissingIndicesSuspend) {
  const std::vector<Finding> findings = {examples::Opened(), examples::Updated()};
  for (const std::string& result : {Failed(429, "cluster_block_exception"), Failed(403, "cluster_block_exception"), Failed(403, "security_exception"),
                                    Failed(401, "security_exception"), Failed(404, "index_not_found_exception")}) {
    const Outcome outcome = JudgeBulk(Answer(Items({kCreated, kCreated, kCreated, result})), findings);
    EXPECT_EQ(outcome.kind, Kind::kSuspend) << result;
    EXPECT_THAT(outcome.reason, HasSubstr("outlier-incidents: HTTP 4"));
  }
  EXPECT_THAT(JudgeBulk(Answer(Items({Failed(404, "index_not_found_exception"), kCreated})), {findings.data(), 1}).reason, HasSubstr("outlier-relay setup"));
}

TEST(JudgeBulk, ABlockOfTheWholeRequestSuspendsWhateverItsStatus) {
  const std::vector<Finding> one = {examples::Opened()};
  for (const int status : {403, 429, 503}) {
    Response response = Answer(R"({"error":{"type":"cluster_block_exception","reason":"blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded]"}})");
    response.status = status;
    EXPECT_EQ(JudgeBulk(response, one).kind, Kind::kSuspend) << status;
    EXPECT_EQ(JudgeBulkOfSamples(response).kind, Kind::kSuspend) << status;
  }
  Response busy = Answer(R"({"error":{"type":"es_rejected_execution_exception","reason":"rejected"}})");
  busy.status = 429;
  EXPECT_EQ(JudgeBulk(busy, one).kind, Kind::kRetry);
}

TEST(JudgeBulk, AnAnswerThatIsNotWholeMeansAllAgain) {
  const std::vector<Finding> findings = {examples::Opened(), examples::Updated()};
  const std::string whole = Items({kCreated, kCreated, kCreated, kCreated});
  ASSERT_EQ(JudgeBulk(Answer(whole), findings).kind, Kind::kItems);
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_EQ(JudgeBulk(Answer(whole.substr(0, length)), findings).kind, Kind::kRetry) << "cut off after " << length << " bytes";
  }
  for (const std::string& body : {Items({kCreated, kCreated, kCreated}), Items({kCreated, kCreated, kCreated, kCreated, kCreated}), std::string("{}"),
                                  Items({kCreated, kCreated, kCreated, "{}"}), Items({kCreated, kCreated, kCreated, R"({"status":"201"})"}),
                                  Items({kCreated, kCreated, kCreated, "null"}), std::string(R"({"errors":false,"items":null})")}) {
    EXPECT_EQ(JudgeBulk(Answer(body), findings).kind, Kind::kRetry) << body;
  }
}

TEST(JudgeBulk, AGapHasOneOperation) {
  const std::vector<Finding> findings = {examples::GapRecord(), examples::Opened()};
  const std::string body = fmt::format(R"({{"items":[{{"create":{}}},{{"create":{{"status":201}}}},{{"index":{{"status":201}}}}]}})",
                                       Failed(400, "document_parsing_exception"));
  EXPECT_THAT(JudgeBulk(Answer(body), findings).items, ElementsAre(ItemOutcome::kRefused, ItemOutcome::kDelivered));
}

TEST(JudgeBulk, AFailureStoreIsTold) {
  const std::vector<Finding> one = {examples::Opened()};
  const Outcome outcome = JudgeBulk(Answer(Items({R"({"status":201,"failure_store":"used"})", kCreated})), one);
  EXPECT_THAT(outcome.items, ElementsAre(ItemOutcome::kDelivered));
  EXPECT_THAT(outcome.warning, HasSubstr("1 documents went to the failure store"));
}

TEST(JudgeBulk, AReasonIsOneLineForPeopleHoweverItWasWritten) {
  const std::vector<Finding> one = {examples::Opened()};
  const std::string result = fmt::format(R"({{"status":400,"error":{{"type":"a\u001b[31m","reason":"line\nline {}"}}}})", std::string(5000, 'x'));
  const Outcome outcome = JudgeBulk(Answer(Items({result, kCreated})), one);
  ASSERT_EQ(outcome.reasons.size(), 1u);
  EXPECT_LT(outcome.reasons[0].size(), 800u);
  for (const char c : outcome.reasons[0]) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
}

TEST(JudgeBulkOfSamples, SingleRefusalsAreAWarning) {
  const Outcome outcome = JudgeBulkOfSamples(Answer(Items({kCreated, Failed(400, "document_parsing_exception"), Failed(429, "x")})));
  EXPECT_THAT(outcome.items, ElementsAre(ItemOutcome::kDelivered));
  EXPECT_THAT(outcome.warning, HasSubstr("2 of 3 samples were not taken: a metrics stream: HTTP 400 document_parsing_exception"));
  EXPECT_EQ(JudgeBulkOfSamples(Answer(Items({Failed(403, "cluster_block_exception")}))).kind, Kind::kSuspend);
  EXPECT_EQ(JudgeBulkOfSamples(Answer("cut")).kind, Kind::kRetry);
}

}  // namespace
}  // namespace outlier
