#include "userspace/base/text.h"

#include <gtest/gtest.h>

#include <random>

namespace outlier {
namespace {

TEST(Printable, KeepsTextAndShowsEverythingElseAsHexadecimal) {
  EXPECT_EQ(Printable("plain \\ text é ✓ 𝄞"), "plain \\ text é ✓ 𝄞");
  EXPECT_EQ(Printable("a\x1b[31m\n\tb\x7f"), "a\\x1b[31m\\x0a\\x09b\\x7f");
  EXPECT_EQ(Printable(std::string_view("\0", 1)), "\\x00");
  EXPECT_EQ(Printable("\xff\xc0\x80\xed\xa0\x80"), "\\xff\\xc0\\x80\\xed\\xa0\\x80");
  EXPECT_EQ(Printable("\xe2\x80\xae"), "\\xe2\\x80\\xae");  // right-to-left override
  EXPECT_EQ(Printable("\xe2\x82"), "\\xe2\\x82");            // cut short
  EXPECT_EQ(Printable("\xc2\x85"), "\\xc2\\x85");            // a C1 control
}

TEST(Printable, CutsBetweenCharactersAndSaysSo) {
  EXPECT_EQ(Printable("abcdef", 3), "abc…");
  EXPECT_EQ(Printable("éé", 3), "é…");
  EXPECT_EQ(Printable("abc", 3), "abc");
}

TEST(Printable, IsIdempotentOnAnyBytes) {
  std::mt19937 random(5);
  for (int i = 0; i < 5000; ++i) {
    std::string bytes(random() % 40, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    const std::string once = Printable(bytes);
    EXPECT_EQ(Printable(once), once);
  }
}

TEST(GlobMatch, MatchesTheWholeTextAndAStarAlsoSlashes) {
  EXPECT_TRUE(GlobMatch("", "anything"));
  EXPECT_TRUE(GlobMatch("/usr/bin/backup*", "/usr/bin/backup-db/x"));
  EXPECT_FALSE(GlobMatch("backup", "/usr/bin/backup"));
  EXPECT_TRUE(GlobMatch("[a-c]?", "bz"));
  EXPECT_FALSE(GlobMatch("[a-c]?", "dz"));
}

TEST(HumanValue, WritesValuesAsPeopleDo) {
  EXPECT_EQ(HumanValue(412.0 * 1024 * 1024, "By"), "412 MiB");
  EXPECT_EQ(HumanValue(5.1 * 1024 * 1024, "By/s"), "5.1 MiB/s");
  EXPECT_EQ(HumanValue(0.25, "s"), "250 ms");
  EXPECT_EQ(HumanValue(0.93, "1"), "0.93");
}

TEST(HumanDuration, UsesTheUnitThatFits) {
  EXPECT_EQ(HumanDuration(2), "2 s");
  EXPECT_EQ(HumanDuration(540), "9 min");
  EXPECT_EQ(HumanDuration(12000), "3 h 20 min");
  EXPECT_EQ(HumanDuration(-1), "over 100 years");
  EXPECT_EQ(HumanDuration(1e300), "over 100 years");
}

}  // namespace
}  // namespace outlier
