#include "userspace/sinks/proto_json.h"

#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "outlier/relay/v1/admin.pb.h"
#include "outlier/v1/feed.pb.h"
#include "tests/sinks/examples.h"

namespace outlier {
namespace {

using nlohmann::json;

json Ours(const google::protobuf::Message& message) {
  std::string text;
  AppendProtoJson(message, &text);
  const json parsed = json::parse(text, nullptr, false);
  EXPECT_FALSE(parsed.is_discarded()) << text;
  return parsed;
}

json Theirs(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  EXPECT_TRUE(google::protobuf::util::MessageToJsonString(message, &text, options).ok());
  return json::parse(text);
}

TEST(ProtoJson, SaysWhatTheLibrarySaysOfEveryExample) {
  std::vector<Finding> findings = examples::Life();
  for (Finding (*make)() : {examples::RestartLoop, examples::Silenced, examples::Minimal, examples::Hostile}) findings.push_back(make());
  for (const Finding& finding : findings) EXPECT_EQ(Ours(finding.change), Theirs(finding.change)) << finding.change.ShortDebugString();
}

TEST(ProtoJson, SaysWhatTheLibrarySaysOfEmptyMessages) {
  EXPECT_EQ(Ours(v1::IncidentChange()), Theirs(v1::IncidentChange()));
  v1::IncidentChange change;
  change.mutable_incident()->mutable_restart();
  change.mutable_incident()->add_contributions();
  EXPECT_EQ(Ours(change), Theirs(change));
  EXPECT_EQ(Ours(relay::v1::SinkStatus()), Theirs(relay::v1::SinkStatus()));
}

TEST(ProtoJson, SaysWhatTheLibrarySaysOfOptionalFieldsAndOneofs) {
  v1::SeriesValue value;
  value.set_expected(0);  // there, though zero
  EXPECT_EQ(Ours(value), Theirs(value));
  v1::WatchResponse response;
  EXPECT_EQ(Ours(response), Theirs(response));
  response.set_feed_id("");
  EXPECT_EQ(Ours(response), Theirs(response));
}

TEST(ProtoJson, SaysWhatTheLibrarySaysOfNumbersAtTheirEnds) {
  for (const double number : {0.0, -0.0, 1e-300, 1e300, 0.1, 1.0 / 3, 123456789.123, std::numeric_limits<double>::denorm_min(), std::numeric_limits<double>::infinity(),
                              -std::numeric_limits<double>::infinity(), std::nan("")}) {
    v1::Contribution contribution;
    contribution.set_observed(number);
    EXPECT_EQ(Ours(contribution), Theirs(contribution)) << number;
  }
  v1::IncidentChange change;
  change.set_sequence(UINT64_MAX);
  change.mutable_incident()->mutable_restart()->set_exit_code(INT32_MIN);
  EXPECT_EQ(Ours(change), Theirs(change));
}

TEST(ProtoJson, SaysWhatTheLibrarySaysOfTimesAndDurations) {
  for (const int nanos : {0, 1, 1000, 123'000'000, 999'999'999, 500'000}) {
    for (const int64_t seconds : {int64_t{0}, int64_t{1'772'359'200}, int64_t{253'402'300'799}, int64_t{-62'135'596'800}, int64_t{-1}}) {
      v1::IncidentChange change;
      change.mutable_time()->set_seconds(seconds);
      change.mutable_time()->set_nanos(nanos);
      EXPECT_EQ(Ours(change), Theirs(change)) << seconds << " " << nanos;
      v1::Incident incident;
      incident.mutable_time_to_exhaustion()->set_seconds(seconds);
      if (seconds >= 0) incident.mutable_time_to_exhaustion()->set_nanos(nanos);
      EXPECT_EQ(Ours(incident), Theirs(incident)) << seconds << " " << nanos;
    }
  }
}

TEST(ProtoJson, LeavesOutTimesThatTheMappingCannotWrite) {
  v1::IncidentChange change;
  change.mutable_time()->set_seconds(int64_t{1} << 60);
  change.mutable_incident()->mutable_time_to_exhaustion()->set_seconds(int64_t{1} << 60);
  change.set_sequence(7);
  const json written = Ours(change);
  EXPECT_FALSE(written.contains("time"));
  EXPECT_FALSE(written["incident"].contains("time_to_exhaustion"));
  EXPECT_EQ(written["sequence"], "7");
}

TEST(ProtoJson, HostileTextsStayWithinTheirQuotes) {
  v1::Workload workload;
  workload.set_name("a\"b\\c\n\x01\x7f</script>\xe2\x80\xa8");
  workload.set_unit("ü€𝄞");
  EXPECT_EQ(Ours(workload), Theirs(workload));
}

}  // namespace
}  // namespace outlier
