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

// Long runs of plain text are taken at once; what comes of it must be the same as character by character, wherever it is cut.
TEST(Printable, SaysTheSameOfAWholeTextAsOfItsPiecesWhereverItIsCut) {
  std::mt19937 random(6);
  for (int i = 0; i < 5000; ++i) {
    std::string pieces, bytes;
    size_t fits = 0;  // bytes of output that come whole
    const size_t most = random() % 60;
    bool cut = false;
    for (int k = 0, n = static_cast<int>(random() % 50); k < n; ++k) {
      static const std::string kPieces[] = {"a", "~", " ", "\\", "é", "✓", std::string(1, '\0'), "\x1f", "\x7f", "\x1b", "\xff"};
      const std::string& piece = kPieces[random() % 5 == 0 ? random() % std::size(kPieces) : random() % 4];
      bytes += piece;
      const std::string shown = Printable(piece);
      cut = cut || fits + shown.size() > most;
      if (!cut) fits += shown.size();
      pieces += shown;
    }
    EXPECT_EQ(Printable(bytes), pieces);
    EXPECT_EQ(Printable(bytes, most), pieces.substr(0, fits) + (cut ? "…" : ""));
  }
}

TEST(GlobMatch, MatchesTheWholeTextAndAStarAlsoSlashes) {
  EXPECT_TRUE(GlobMatch("", "anything"));
  EXPECT_TRUE(GlobMatch("/usr/bin/backup*", "/usr/bin/backup-db/x"));
  EXPECT_FALSE(GlobMatch("backup", "/usr/bin/backup"));
  EXPECT_TRUE(GlobMatch("[a-c]?", "bz"));
  EXPECT_FALSE(GlobMatch("[a-c]?", "dz"));
  EXPECT_TRUE(GlobMatch("*", "any/thing") && GlobMatch("*", ""));
  EXPECT_TRUE(GlobMatch("plain", "plain"));
  EXPECT_FALSE(GlobMatch("plain", "plainer") || GlobMatch("plainer", "plain") || GlobMatch("plain", ""));
  EXPECT_TRUE(GlobMatch("a\\*", "a*"));
  EXPECT_FALSE(GlobMatch("a\\*", "ab"));
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
