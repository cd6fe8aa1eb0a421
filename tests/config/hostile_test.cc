// Seeded random damage to a valid file: every outcome is a configuration within its ranges or an error with a place.
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <random>

#include "userspace/base/text.h"
#include "userspace/config/config.h"

namespace outlier {
namespace {

TEST(HostileConfig, DamagedFilesNeverCrashAndNeverYieldAnInvalidConfiguration) {
  static constexpr std::string_view kPieces[] = {"[", "]", "{", "}", ":", ": ", "- ", "\n", "\n  ", "\"", "'", "&a ", "*a", "!x ", "|", ">", "%",
                                                 "---", "...", "? ", "#", "\t", ",", "\\", "\xff", "\xef\xbb\xbf", "~", "1e999", "<<: ", "\r"};
  const std::string valid = DefaultsYaml() + "\n";
  int accepted = 0, refused = 0;
  for (uint32_t seed = 1; seed <= 6000; ++seed) {
    std::mt19937 random(seed);
    std::string yaml = seed % 3 == 0 ? "workloads:\n- {match: {unit: 'a*'}, ignore: [host.pressure]}\ntick: 2s\n" : valid;
    for (int edits = 1 + static_cast<int>(random() % 8); edits > 0; --edits) {
      const size_t at = random() % (yaml.size() + 1);
      switch (random() % 4) {
        case 0: yaml.insert(at, kPieces[random() % std::size(kPieces)]); break;
        case 1: yaml.erase(at, random() % 20); break;
        case 2:
          if (at < yaml.size()) yaml[at] = static_cast<char>(random());
          break;
        case 3: yaml.insert(at, yaml.substr(random() % yaml.size(), random() % 60)); break;
      }
      if (yaml.empty()) yaml = " ";
    }
    const auto config = ParseConfig(yaml, "damaged");
    if (config.ok()) {
      ++accepted;
      const auto again = ParseConfig(ConfigToYaml(*config), "again");
      ASSERT_TRUE(again.ok()) << "seed " << seed << ": " << again.status();
    } else {
      ++refused;
      const std::string text(config.status().message());
      ASSERT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << "seed " << seed;
      ASSERT_EQ(text.rfind("damaged:", 0), 0u) << "seed " << seed << ": " << text;
      ASSERT_EQ(Printable(text, 1 << 20), text) << "seed " << seed;
    }
  }
  EXPECT_GT(accepted, 100);
  EXPECT_GT(refused, 1000);
}

TEST(HostileConfig, RandomAssignmentsNeverCrash) {
  std::mt19937 random(7);
  int refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string set = i % 2 ? "budgets.memory=" : "workloads=";
    for (int n = static_cast<int>(random() % 24); n > 0; --n) set.insert(random() % 2 ? set.size() : random() % set.size(), 1, static_cast<char>(random()));
    refused += ParseConfig("", "empty", std::vector<std::string>{set}).ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 10'000);
}

}  // namespace
}  // namespace outlier
