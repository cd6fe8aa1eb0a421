// What people said outlives the workload, and is bounded.
#include "userspace/incidents/feedback.h"

#include <gtest/gtest.h>

#include <string>

#include "userspace/base/archive.h"

namespace outlier {
namespace {

constexpr EvidenceKind kBurns = {static_cast<int>(EvidenceGroup::kCpu), true}, kRests = {static_cast<int>(EvidenceGroup::kCpu), false};

v1::Workload Named(const std::string& name, v1::Workload::Kind kind = v1::Workload::SYSTEMD_UNIT) {
  v1::Workload workload;
  workload.set_name(name);
  workload.set_kind(kind);
  return workload;
}

TEST(Feedback, IsOfAWorkloadAKindAndADirection) {
  Feedback feedback;
  feedback.Say(Named("backup"), kBurns, 50);
  EXPECT_EQ(feedback.Of(Named("backup"), kBurns), 50);
  EXPECT_EQ(feedback.Of(Named("backup"), kRests), 1);
  EXPECT_EQ(feedback.Of(Named("other"), kBurns), 1);
  EXPECT_EQ(feedback.Of(Named("backup", v1::Workload::EXECUTABLE), kBurns), 1);
}

TEST(Feedback, TheLastWordCountsAndCanBeTakenBack) {
  Feedback feedback;
  feedback.Say(Named("backup"), kBurns, 50);
  feedback.Say(Named("backup"), kBurns, 2500);
  EXPECT_EQ(feedback.Of(Named("backup")).size(), 1u);
  EXPECT_EQ(feedback.Of(Named("backup"), kBurns), 2500);
  feedback.Say(Named("backup"), kBurns, 1);
  EXPECT_TRUE(feedback.Of(Named("backup")).empty());
}

TEST(Feedback, TheOldestOfTooManyIsForgotten) {
  Feedback feedback;
  for (size_t i = 0; i <= Feedback::kMost; ++i) feedback.Say(Named(std::to_string(i)), kBurns, 50);
  EXPECT_EQ(feedback.Of(Named("0"), kBurns), 1);
  EXPECT_EQ(feedback.Of(Named("1"), kBurns), 50);
  EXPECT_EQ(feedback.Of(Named(std::to_string(Feedback::kMost)), kBurns), 50);
}

TEST(Feedback, SurvivesSavingAndRefusesWhatCannotBe) {
  const auto saved = [](double factor) {
    Feedback feedback;
    feedback.Say(Named("backup"), kBurns, factor);
    std::string bytes;
    ArchiveWriter writer(&bytes);
    writer(feedback);
    return bytes;
  };
  Feedback loaded;
  std::string bytes = saved(50);
  ArchiveReader reader(bytes);
  reader(loaded);
  ASSERT_TRUE(reader.done());
  EXPECT_EQ(loaded.Of(Named("backup"), kBurns), 50);
  std::string bad = bytes;

  bad[bad.size() - 1] = static_cast<char>(0xbf);  // less than one
  ArchiveReader other(bad);
  Feedback none;
  other(none);
  EXPECT_FALSE(other.done());
}

}  // namespace
}  // namespace outlier
