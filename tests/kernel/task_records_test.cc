// What the scan wrote becomes ordered and complete. Needs no kernel.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>

#include "userspace/probes/tasks.h"

namespace outlier {
namespace {

outlier_process Record(int32_t pid, uint64_t cpu_ns, uint32_t flags = 0) {
  outlier_process record{};
  record.pid = pid;
  record.start_time_ns = 1000;
  record.cpu_ns = cpu_ns;
  record.flags = flags;
  return record;
}

TEST(OrderRecords, ByKeyAndOfTwoOfOneProcessTheLaterStays) {
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    std::vector<outlier_process> records;
    std::map<int32_t, uint64_t> last;
    const int count = static_cast<int>(random() % 40);
    const bool nearly_ordered = random() % 2 == 0;
    for (int i = 0; i < count; ++i) {
      const auto pid = static_cast<int32_t>(nearly_ordered && random() % 8 != 0 ? i : random() % 40);
      records.push_back(Record(pid, static_cast<uint64_t>(i)));
      last[pid] = static_cast<uint64_t>(i);
    }
    OrderRecords(&records);
    ASSERT_EQ(records.size(), last.size()) << "round " << round;
    auto expected = last.begin();
    for (const outlier_process& record : records) {
      ASSERT_EQ(record.pid, expected->first) << "round " << round;
      ASSERT_EQ(record.cpu_ns, expected->second) << "round " << round;
      ++expected;
    }
  }
}

TEST(RecordCompleter, GivesBriefRecordsWhatWasToldOfTheSameProcessLast) {
  RecordCompleter completer;
  std::vector<outlier_process> first = {Record(1, 10), Record(2, 20)};
  first[1].user_id = 33;
  first[1].rss_anonymous_pages = 700;
  std::strcpy(first[1].comm, "shop");
  completer.Complete(&first);
  for (uint64_t tick = 1; tick <= 3; ++tick) {  // briefly each time: it stays what it was
    std::vector<outlier_process> next = {Record(2, 20 + tick, OUTLIER_PROCESS_BRIEF), Record(3, 5)};
    completer.Complete(&next);
    EXPECT_EQ(next[0].cpu_ns, 20 + tick);
    EXPECT_EQ(next[0].user_id, 33u);
    EXPECT_EQ(next[0].rss_anonymous_pages, 700);
    EXPECT_STREQ(next[0].comm, "shop");
    EXPECT_EQ(next[1].rss_anonymous_pages, 0);
  }
}

TEST(RecordCompleter, TakesNothingFromAnEarlierProcessOfTheSamePid) {
  RecordCompleter completer;
  std::vector<outlier_process> first = {Record(2, 20)};
  first[0].user_id = 33;
  completer.Complete(&first);
  std::vector<outlier_process> next = {Record(2, 1, OUTLIER_PROCESS_BRIEF)};
  next[0].start_time_ns = 2000;
  completer.Complete(&next);
  EXPECT_EQ(next[0].user_id, 0u);
}

}  // namespace
}  // namespace outlier
