#include "userspace/config/quantity.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace outlier {
namespace {

TEST(Quantity, DurationsOfEveryUnitAreRead) {
  EXPECT_EQ(*ParseDuration("7ns"), 7);
  EXPECT_EQ(*ParseDuration("7us"), 7'000);
  EXPECT_EQ(*ParseDuration("500ms"), 500'000'000);
  EXPECT_EQ(*ParseDuration("1s"), 1'000'000'000);
  EXPECT_EQ(*ParseDuration("1.5s"), 1'500'000'000);
  EXPECT_EQ(*ParseDuration("2m"), 120'000'000'000);
  EXPECT_EQ(*ParseDuration("1h30m"), 5'400'000'000'000);
  EXPECT_EQ(*ParseDuration("7d"), 604'800'000'000'000);
  EXPECT_EQ(*ParseDuration("1w"), *ParseDuration("7d"));
  EXPECT_EQ(*ParseDuration("0"), 0);
}

TEST(Quantity, SizesOfEveryUnitAreRead) {
  EXPECT_EQ(*ParseSize("5B"), 5);
  EXPECT_EQ(*ParseSize("3kB"), 3'000);
  EXPECT_EQ(*ParseSize("3KiB"), 3'072);
  EXPECT_EQ(*ParseSize("64MiB"), 64 << 20);
  EXPECT_EQ(*ParseSize("64 MiB"), 64 << 20);
  EXPECT_EQ(*ParseSize("10MB"), 10'000'000);
  EXPECT_EQ(*ParseSize("0.5GiB"), 1 << 29);
  EXPECT_EQ(*ParseSize("2GB"), 2'000'000'000);
}

TEST(Quantity, WhatIsNotAQuantityIsRefusedWithTheUnitsThereAre) {
  for (const char* text : {"", "1", "s", "1x", "-1s", "1..5s", "1.s", "1s ", " 1s", "1S", "1e9s", "0x1s", "nan", "99999999999999999999s", "300000000w"}) {
    const auto parsed = ParseDuration(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_NE(parsed.status().message().find("ns, us, ms, s, m, h, d, w"), absl::string_view::npos) << text;
  }
  for (const char* text : {"", "1", "MiB", "1mib", "-1MiB", "1MiB2KiB", "9999999TiB9", "99999999TiB"}) {
    EXPECT_EQ(ParseSize(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(Quantity, WhatIsWrittenReadsBackToTheSameNumber) {
  std::mt19937_64 random(42);
  std::vector<int64_t> values = {0, 1, 1000, 1024, 1 << 20, 1'000'000'000, std::numeric_limits<int64_t>::max()};
  for (int i = 0; i < 2000; ++i) values.push_back(static_cast<int64_t>(random() >> (1 + random() % 60)));
  for (const int64_t value : values) {
    EXPECT_EQ(ParseDuration(FormatDuration(value)).value(), value) << FormatDuration(value);
    EXPECT_EQ(ParseSize(FormatSize(value)).value(), value) << FormatSize(value);
  }
}

TEST(Quantity, TheShortestUnitIsWritten) {
  EXPECT_EQ(FormatDuration(604'800'000'000'000), "7d");
  EXPECT_EQ(FormatDuration(90'000'000'000), "90s");
  EXPECT_EQ(FormatSize(128 << 20), "128MiB");
  EXPECT_EQ(FormatSize(1'000'000), "1MB");
  EXPECT_EQ(FormatSize(1'000'001), "1000001B");
}

}  // namespace
}  // namespace outlier
