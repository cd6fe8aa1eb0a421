#include "userspace/config/config.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

namespace outlier {
namespace {

using google::protobuf::util::MessageDifferencer;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string ErrorOf(const std::string& yaml, const std::vector<std::string>& sets = {}) {
  const auto config = ParseConfig(yaml, "o.yaml", sets);
  if (config.ok()) return "no error";
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(config.status().message());
}

TEST(Config, AnEmptyFileMeansTheDefaults) {
  for (const char* yaml : {"", "\n", "# nothing\n", "---\n", "{}", "budgets:\nfeed:\n", "~"}) {
    const auto config = ParseConfig(yaml, "o.yaml");
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_TRUE(MessageDifferencer::Equals(*config, DefaultConfig())) << yaml;
  }
}

TEST(Config, TheDefaultsAreThoseOfTheDocumentedInterface) {
  const config::v1::Config config = DefaultConfig();
  EXPECT_EQ(config.tick(), 1'000'000'000);
  EXPECT_EQ(config.budgets().false_alarms_per_week(), 1);
  EXPECT_EQ(config.budgets().cpu_percent(), 1.0);
  EXPECT_EQ(config.budgets().memory(), 128 << 20);
  EXPECT_EQ(config.detection().warm_up(), 60'000'000'000);
  EXPECT_EQ(config.detection().half_life(), 86'400'000'000'000);
  EXPECT_EQ(config.probes().syscall_latency(), "auto");
  EXPECT_EQ(config.recorder().max_size(), 256 << 20);
  EXPECT_EQ(config.feed().retain(), int64_t{30} * 86'400'000'000'000);
  EXPECT_EQ(config.privacy().arguments(), "redacted");
}

TEST(Config, TheDocumentedExampleIsRead) {
  const auto config = ParseConfig(R"(tick: 1s
budgets:
  false_alarms_per_week: 1        # incidents per host that mean nothing
  cpu_percent: 2.5
  memory: 64MiB
recorder: { max_size: 256MiB, max_age: 7d }
privacy: { arguments: none }  # redacted | full | none
workloads:                        # first match wins
  - match: { executable: "/usr/bin/backup*" }
    ignore: [process.cpu.utilization, process.disk.io]
)", "o.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->budgets().cpu_percent(), 2.5);
  EXPECT_EQ(config->budgets().memory(), 64 << 20);
  EXPECT_EQ(config->privacy().arguments(), "none");
  ASSERT_EQ(config->workloads_size(), 1);
  EXPECT_EQ(config->workloads(0).match().executable(), "/usr/bin/backup*");
  EXPECT_EQ(config->workloads(0).ignore(1), "process.disk.io");
}

TEST(Config, AnUnknownKeyIsAnErrorWithItsPlaceAndASuggestion) {
  EXPECT_EQ(ErrorOf("budgets:\n  memroy: 1GiB\n"),
            "o.yaml:2:3: budgets.memroy: unknown key (did you mean \"memory\"?); allowed here: false_alarms_per_week, cpu_percent, memory");
  EXPECT_THAT(ErrorOf("zzzzzzzz: 1\n"), AllOf(StartsWith("o.yaml:1:1: zzzzzzzz: unknown key; allowed here: tick,")));
  EXPECT_THAT(ErrorOf("workloads:\n  - match: {exe: x}\n"), StartsWith("o.yaml:2:13: workloads[0].match.exe: unknown key"));
}

TEST(Config, AWrongTypeIsAnErrorThatSaysWhatIsAllowed) {
  EXPECT_THAT(ErrorOf("tick: [1s]"), HasSubstr("o.yaml:1:7: tick: expected a single value, found a list"));
  EXPECT_THAT(ErrorOf("budgets: 5"), HasSubstr("o.yaml:1:10: budgets: expected a group of keys, found a single value"));
  EXPECT_THAT(ErrorOf("workloads: {a: b}"), HasSubstr("workloads: expected a list, found a group of keys"));
  EXPECT_THAT(ErrorOf("budgets: {cpu_percent: much}"), HasSubstr("budgets.cpu_percent: expected a number, found \"much\""));
  EXPECT_THAT(ErrorOf("budgets: {cpu_percent: '1'}"), HasSubstr("expected a number"));
  EXPECT_THAT(ErrorOf("budgets: {cpu_percent: nan}"), HasSubstr("expected a number"));
  EXPECT_THAT(ErrorOf("tick:"), HasSubstr("tick: expected a single value, found nothing"));
  EXPECT_THAT(ErrorOf("tick: 1"), HasSubstr("has no unit; expected a duration such as 500ms"));
  EXPECT_THAT(ErrorOf("budgets: {memory: 1s}"), HasSubstr("budgets.memory: \"1s\" has the unknown unit \"s\"; expected a size"));
  EXPECT_THAT(ErrorOf("probes: {tasks: atuo}"), HasSubstr("probes.tasks: \"atuo\" is not a choice (did you mean \"auto\"?); allowed: auto, on, off"));
  EXPECT_THAT(ErrorOf("[1]: 2"), HasSubstr("a key must be a plain name"));
}

TEST(Config, AnEmptyValueIsWhereItsKeyIs) {
  EXPECT_THAT(ErrorOf("tick:\n# later\nfeed: {retain: 30d}\n"), HasSubstr("o.yaml:1:1: tick"));
  EXPECT_THAT(ErrorOf("tick: ~\n"), HasSubstr("o.yaml:1:7: tick"));
  EXPECT_THAT(ErrorOf("tick: 1s\nbudgets:\n  cpu_percent:\n  memory: 128MiB\n"), HasSubstr("o.yaml:3:3: "));
}

TEST(Config, AnImpossibleValueIsAnErrorWithTheRange) {
  EXPECT_EQ(ErrorOf("\ntick: 1ms"), "o.yaml:2:7: tick: 1ms is out of range; allowed: 100ms to 1m");
  EXPECT_THAT(ErrorOf("budgets: {memory: 1MiB}"), HasSubstr("out of range; allowed: 16MiB to 1000TB"));
  EXPECT_THAT(ErrorOf("budgets: {false_alarms_per_week: -1}"), HasSubstr("out of range; allowed: 0 to 1e+06"));
}

TEST(Config, AKeyGivenTwiceIsAnError) {
  EXPECT_EQ(ErrorOf("tick: 1s\nfeed:\ntick: 2s\n"), "o.yaml:3:1: tick: given twice, first on line 1");
}

TEST(Config, AnIgnoredSignalThatDoesNotExistIsAnErrorThatNamesIt) {
  EXPECT_THAT(ErrorOf("workloads:\n- ignore: [process.cpu.utilisation]\n"),
              AllOf(StartsWith("o.yaml:2:12: workloads[0].ignore[0]: \"process.cpu.utilisation\" is not a signal (did you mean \"process.cpu.utilization\"?)"),
                    HasSubstr("host.pressure")));
}

TEST(Config, AssignmentsWinOverTheFileAndTheLaterOverTheEarlier) {
  const auto config = ParseConfig("tick: 2s\n", "o.yaml",
                                  std::vector<std::string>{"tick=3s", "tick=5s", "budgets.memory=32MiB", "probes.tasks=off",
                                                           "workloads=[{match: {unit: '*.service'}, ignore: [host.pressure]}]"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->tick(), 5'000'000'000);
  EXPECT_EQ(config->budgets().memory(), 32 << 20);
  EXPECT_EQ(config->probes().tasks(), "off");
  EXPECT_EQ(config->workloads(0).match().unit(), "*.service");
}

TEST(Config, AWrongAssignmentIsAnErrorThatNamesIt) {
  EXPECT_THAT(ErrorOf("", {"tick"}), HasSubstr("--set tick: expected key.path=value"));
  EXPECT_THAT(ErrorOf("", {"=1"}), HasSubstr("expected key.path=value"));
  EXPECT_THAT(ErrorOf("", {"tick=soon"}), StartsWith("--set tick=soon: tick: \"soon\" does not begin with a number"));
  EXPECT_THAT(ErrorOf("", {"budgets.memry=1GiB"}), HasSubstr("--set budgets.memry=1GiB: budgets.memry: unknown key (did you mean \"memory\"?)"));
  EXPECT_THAT(ErrorOf("", {"tick.x=1"}), HasSubstr("tick is a single value, it has no keys below it"));
  EXPECT_THAT(ErrorOf("", {"workloads.0.ignore=[]"}), HasSubstr("workloads is a list: set all of it"));
  EXPECT_THAT(ErrorOf("", {"budgets=5"}), HasSubstr("expected a group of keys"));
  EXPECT_THAT(ErrorOf("", {std::string("privacy.arguments=\xff")}), HasSubstr("is not UTF-8"));
}

TEST(Config, WhatMakesAFewBytesMeanMuchIsRefused) {
  EXPECT_THAT(ErrorOf("a: &a [1]\nb: [*a, *a]\n"), HasSubstr("o.yaml:2:5: aliases (*name) are not accepted"));
  EXPECT_THAT(ErrorOf("workloads: " + std::string(40, '[') + std::string(40, ']')), HasSubstr("nested deeper than 32 levels"));
  EXPECT_THAT(ErrorOf(std::string(100'000, '[')), HasSubstr("o.yaml:1:"));
  EXPECT_THAT(ErrorOf(std::string(100'000, '{')), HasSubstr("o.yaml:1:"));
  std::string many = "workloads: [";
  for (int i = 0; i < 120'000; ++i) many += "1,";
  EXPECT_THAT(ErrorOf(many + "]"), HasSubstr("more than 100000 values"));
  EXPECT_THAT(ErrorOf(std::string(2 << 20, ' ')), HasSubstr("larger than 1048576 bytes"));
  EXPECT_THAT(ErrorOf("tick: !!binary abc"), HasSubstr("tags (!name) are not accepted"));
  EXPECT_THAT(ErrorOf("tick: 1s\n---\ntick: 2s\n"), HasSubstr("second document"));
}

TEST(Config, BytesThatAreNotTextAreRefusedWithTheirPlace) {
  EXPECT_EQ(ErrorOf("tick: 1s\n# \xff\n"), "o.yaml:2:3: byte \\xff is not UTF-8");
  EXPECT_THAT(ErrorOf("tick: \xed\xa0\x80"), HasSubstr("o.yaml:1:7: byte \\xed is not UTF-8"));
  EXPECT_THAT(ErrorOf("tick: \xf4\x90\x80\x80"), HasSubstr("is not UTF-8"));
  EXPECT_THAT(ErrorOf("tick: \xe2\x82"), HasSubstr("is not UTF-8"));
  EXPECT_THAT(ErrorOf(std::string("t\0ick: 1s", 9)), HasSubstr("o.yaml:1:2: control character \\x00"));
  EXPECT_THAT(ErrorOf("tick: \x1b[31m"), HasSubstr("control character \\x1b"));
  EXPECT_THAT(ErrorOf("tick: 'abc"), HasSubstr("o.yaml:1:"));
}

TEST(Config, AnErrorNeverCarriesControlCharacters) {
  EXPECT_THAT(ErrorOf("\"a\\x1b[31m\": 1"), HasSubstr("a\\x1b[31m: unknown key"));
}

TEST(Config, TheWrittenDefaultsAreCompleteCommentedAndReadBack) {
  const std::string yaml = DefaultsYaml();
  const auto config = ParseConfig(yaml, "defaults");
  ASSERT_TRUE(config.ok()) << config.status() << yaml;
  EXPECT_TRUE(MessageDifferencer::Equals(*config, DefaultConfig()));
  std::vector<std::string> lines(1);
  for (const char c : yaml) c == '\n' ? lines.emplace_back() : lines.back() += std::string(1, c);
  int keys = 0;
  for (size_t i = 1; i + 1 < lines.size(); ++i) {
    const std::string trimmed = lines[i].substr(std::min(lines[i].find_first_not_of(' '), lines[i].size()));
    if (trimmed.empty() || trimmed[0] == '#') continue;
    ++keys;
    EXPECT_NE(lines[i - 1].find("# "), std::string::npos) << "no comment above: " << lines[i];
  }
  EXPECT_EQ(keys, 22);
  EXPECT_THAT(yaml, HasSubstr("  warm_up: 60s\n"));
}

TEST(Config, AnyConfigurationIsWrittenAndReadBack) {
  config::v1::Config config = DefaultConfig();
  config.set_tick(250'000'000);
  config.mutable_budgets()->set_cpu_percent(0.1 + 0.2);
  auto* rule = config.add_workloads();
  rule->mutable_match()->set_executable("a\"b\\c\n\x01 \xc3\xa9 # : {*");
  rule->add_ignore("host.pressure");
  rule->add_ignore("process.disk.io");
  config.add_workloads()->mutable_match()->set_user("null");
  const auto read = ParseConfig(ConfigToYaml(config), "written");
  ASSERT_TRUE(read.ok()) << read.status() << ConfigToYaml(config);
  config.mutable_workloads(1)->mutable_match();
  EXPECT_TRUE(MessageDifferencer::Equals(*read, config)) << ConfigToYaml(config);
}

TEST(Config, AnAbsentFileIsAnErrorOnlyWhereItWasNamed) {
  char folder[] = "/tmp/config_test.XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string path = std::string(folder) + "/o.yaml";
  EXPECT_TRUE(MessageDifferencer::Equals(LoadConfig(path, false).value(), DefaultConfig()));
  const absl::Status missing = LoadConfig(path, true).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr(path));
  std::ofstream(path) << "tick: 2s\n";
  EXPECT_EQ(LoadConfig(path, true)->tick(), 2'000'000'000);
  EXPECT_EQ(LoadConfig(path, false, std::vector<std::string>{"tick=4s"})->tick(), 4'000'000'000);
  EXPECT_FALSE(LoadConfig(folder, false).ok());  // a folder in its place is not "absent"
  unlink(path.c_str());
  rmdir(folder);
}

}  // namespace
}  // namespace outlier
