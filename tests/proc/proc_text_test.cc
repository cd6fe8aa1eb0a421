#include "userspace/probes/proc_text.h"

#include <gtest/gtest.h>

#include <random>

namespace outlier {
namespace {

constexpr char kStat[] =
    "17 (a) b (c\nd) S 3 17 17 0 -1 2129984 97 0 12 0 200 30 0 0 20 0 4 0 156268 3133440 372 18446744073709551615 1 1 1 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 1 2 3 4 5 6 7 256\n";

TEST(ProcText, AProcessMayNameItselfAnythingWithoutBreakingItsNumbers) {
  const auto stat = ParseProcStat(kStat);
  ASSERT_TRUE(stat.has_value());
  EXPECT_EQ(stat->pid, 17);
  EXPECT_EQ(stat->comm, "a) b (c\nd");
  EXPECT_EQ(stat->state, 'S');
  EXPECT_EQ(stat->parent_pid, 3);
  EXPECT_TRUE(stat->kernel_thread);
  EXPECT_EQ(stat->major_faults, 12u);
  EXPECT_EQ(stat->cpu_ticks, 230u);
  EXPECT_EQ(stat->threads, 4u);
  EXPECT_EQ(stat->start_ticks, 156268u);
  EXPECT_EQ(stat->rss_pages, 372u);
  EXPECT_EQ(stat->wait_status, 256);
}

TEST(ProcText, DamagedTextsAreRefusedOrReadButNeverCrash) {
  std::mt19937 random(11);
  int refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text = kStat;
    for (int n = 1 + static_cast<int>(random() % 5); n > 0; --n) text[random() % text.size()] = static_cast<char>(random());
    text.resize(random() % (text.size() + 1));
    refused += ParseProcStat(text) ? 0 : 1;
    ParseProcStatus(text);
    ParseProcIo(text);
    ParseProcSchedule(text);
    ChooseCgroup(text);
  }
  EXPECT_GT(refused, 1000);
  EXPECT_FALSE(ParseProcStat("").has_value());
  EXPECT_FALSE(ParseProcStat("1 (x)").has_value());
}

TEST(ProcText, TheCgroupThatTellsMostIsChosen) {
  const auto choose = [](const char* text) {
    const CgroupChoice choice = ChooseCgroup(text);
    return choice.hierarchy + ":" + choice.path;
  };
  EXPECT_EQ(choose("0::/system.slice/nginx.service\n"), ":/system.slice/nginx.service");
  EXPECT_EQ(choose("9:name=systemd:/a\n8:pids:/p\n4:memory:/m\n0::/u\n"), ":/u");
  EXPECT_EQ(choose("4:memory:/m\n9:name=systemd:/a\n0::/\n"), "name=systemd:/a");
  EXPECT_EQ(choose("9:name=systemd:/\n4:cpu,memory:/m\n8:pids:/p\n0::/\n"), "memory:/m");
  EXPECT_EQ(choose("8:pids:/p:with:colons\n3:cpuset:/c\n"), "pids:/p:with:colons");
  EXPECT_EQ(choose("3:cpuset:/c\n0::/\n"), ":");
  EXPECT_EQ(choose("garbage\n\n::\n"), ":");
}

}  // namespace
}  // namespace outlier
