// What the answers to an export mean.
#include "tests/sinks/otlp_fixture.h"

namespace outlier {
namespace {

TEST_F(OtlpTest, AnswersMeanWhatTheProtocolSays) {
  const auto sink = Make(kLocal);
  const std::vector<Finding> findings = examples::Many(3);
  const auto judged = [&](const Response& response) { return sink->Judge(response, findings).kind; };
  for (const int status : {429, 502, 503, 504}) EXPECT_EQ(judged(Answer(status)), Kind::kRetry) << status;
  for (const int status : {400, 408, 422, 500}) EXPECT_EQ(judged(Answer(status)), Kind::kRefused) << status;
  for (const int status : {301, 401, 403, 404, 405, 415, 501}) EXPECT_EQ(judged(Answer(status)), Kind::kSuspend) << status;
  EXPECT_EQ(judged(Answer(413)), Kind::kSplit);
  EXPECT_EQ(sink->Judge(Answer(503, "", {{"retry-after", "12"}}), findings).retry_after, std::chrono::seconds(12));
  for (const int code : {1, 4, 10, 11, 14, 15}) EXPECT_EQ(judged(GrpcAnswer(code)), Kind::kRetry) << code;
  for (const int code : {2, 3, 6, 9, 13}) EXPECT_EQ(judged(GrpcAnswer(code)), Kind::kRefused) << code;
  for (const int code : {5, 7, 12, 16}) EXPECT_EQ(judged(GrpcAnswer(code)), Kind::kSuspend) << code;
  EXPECT_EQ(judged(GrpcAnswer(8)), Kind::kSplit) << "too large for the server";
  const Outcome throttled = sink->Judge(GrpcAnswer(8, "busy", {{"retry-after", "3"}}), findings);
  EXPECT_EQ(throttled.kind, Kind::kRetry);
  EXPECT_EQ(throttled.retry_after, std::chrono::seconds(3));
}

TEST_F(OtlpTest, AnErrorsMessageIsReadOutOfItsProtobuf) {
  const auto sink = Make(kLocal);
  const std::string status = std::string("\x08\x03\x12\x0d") + "bad \x1b request";
  const Outcome outcome = sink->Judge(Answer(400, status, {{"content-type", "application/x-protobuf"}}), examples::Many(1));
  EXPECT_EQ(outcome.kind, Kind::kRefused);
  EXPECT_EQ(outcome.reason, "HTTP 400: bad \\x1b request");
}

TEST_F(OtlpTest, AWebPageIsNoDelivery) {
  const auto sink = Make(kLocal);
  EXPECT_EQ(sink->Judge(Answer(200, "<html>sign in</html>", {{"content-type", "text/html; charset=utf-8"}}), examples::Many(2)).kind, Kind::kSuspend);
}

TEST_F(OtlpTest, WhatWasRejectedInAPartialSuccessIsCountedAndNotSentAgain) {
  const auto sink = Make(kLocal);
  proto::collector::logs::v1::ExportLogsServiceResponse answer;
  answer.mutable_partial_success()->set_rejected_log_records(2);
  answer.mutable_partial_success()->set_error_message("no such index");
  const Headers protobuf = {{"content-type", "application/x-protobuf"}};
  Outcome outcome = sink->Judge(Answer(200, answer.SerializeAsString(), protobuf), examples::Many(3));
  EXPECT_EQ(outcome.kind, Kind::kItems);
  EXPECT_EQ(outcome.items, std::vector(3, ItemOutcome::kDelivered)) << "which ones, nobody knows";
  EXPECT_EQ(outcome.refused_unnamed, 2u);
  EXPECT_EQ(outcome.warning, "2 of 3 log records refused: no such index");

  outcome = sink->Judge(Answer(200, answer.SerializeAsString(), protobuf), examples::Many(2));
  EXPECT_EQ(outcome.items, std::vector(2, ItemOutcome::kRefused)) << "all of them: now they are known";
  EXPECT_EQ(outcome.reasons, std::vector<std::string>(2, "no such index"));
  EXPECT_EQ(outcome.refused_unnamed, 0u);

  answer.mutable_partial_success()->set_rejected_log_records(0);
  outcome = sink->Judge(Answer(200, answer.SerializeAsString(), protobuf), examples::Many(2));
  EXPECT_EQ(outcome.items, std::vector(2, ItemOutcome::kDelivered));
  EXPECT_EQ(outcome.warning, "no such index") << "a warning";

  Response grpc = GrpcAnswer(0);
  answer.mutable_partial_success()->set_rejected_log_records(1);
  grpc.body = answer.SerializeAsString();
  EXPECT_EQ(sink->Judge(grpc, examples::Many(3)).refused_unnamed, 1u);
}

TEST_F(OtlpTest, RefusedDataPointsAreAWarning) {
  const auto sink = Make(kLocal);
  proto::collector::metrics::v1::ExportMetricsServiceResponse answer;
  answer.mutable_partial_success()->set_rejected_data_points(7);
  answer.mutable_partial_success()->set_error_message("unsupported temporality");
  const Outcome outcome = sink->JudgeSamples(Answer(200, answer.SerializeAsString(), {{"content-type", "application/x-protobuf"}}));
  EXPECT_EQ(outcome.kind, Kind::kItems);
  EXPECT_EQ(outcome.warning, "7 data points refused: unsupported temporality");
}

TEST_F(OtlpTest, DatadogSaysWhenInAHeaderOfItsOwn) {
  const auto sink = Preset("datadog");
  EXPECT_EQ(sink->Judge(Answer(429, "", {{"x-ratelimit-reset", "9"}}), examples::Many(1)).retry_after, std::chrono::seconds(9));
}

TEST_F(OtlpTest, ACheckSendsAnExportWithoutContent) {
  const auto sink = Preset("new_relic");
  const auto check = sink->Check();
  ASSERT_TRUE(check);
  EXPECT_EQ(check->request.body, "");
  EXPECT_EQ(HeaderOf(check->request, "api-key"), "s3cret");
  EXPECT_TRUE(sink->Checked(Answer(200)).ok());
  EXPECT_FALSE(sink->Checked(Answer(403)).ok());
}

}  // namespace
}  // namespace outlier
