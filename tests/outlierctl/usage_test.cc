#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "tests/outlierctl/ctl_run.h"
#include "tests/outlierctl/fake_feed.h"

namespace outlier::ctl {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kNowhere = "unix:///nonexistent/outlierd.sock";

const std::vector<std::vector<std::string>> kSubcommands = {
#define OUTLIER_COMMAND(name) {#name},
#include "userspace/outlierctl/commands.def"
#undef OUTLIER_COMMAND
};

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

void ExpectOneLine(const std::string& err) { EXPECT_EQ(std::count(err.begin(), err.end(), '\n'), 1) << err; }

TEST(Usage, EverySubcommandHasHelpVersionAndTheGlobalOptions) {
  for (const auto& command : kSubcommands) {
    const std::string name = Lower(command[0]);
    const Outcome help = RunCtl(kNowhere, {name, "--help"});
    EXPECT_EQ(help.status, 0) << name;
    EXPECT_THAT(help.out, AllOf(HasSubstr("outlierctl " + name), HasSubstr("--format"))) << name;
    const Outcome version = RunCtl(kNowhere, {name, "--version"});
    EXPECT_EQ(version.status, 0) << name;
    EXPECT_THAT(version.out, ::testing::StartsWith("outlierctl ")) << name;
  }
  EXPECT_EQ(RunCtl(kNowhere, {"config", "defaults", "--log-level", "debug", "--format", "json"}).status, 0);
}

TEST(Usage, WrongUsageIsStatusTwoWithOneLine) {
  for (const std::vector<std::string>& wrong :
       {std::vector<std::string>{}, {"frobnicate"}, {"status", "--format", "xml"}, {"incidents", "--state", "shut"}, {"incidents", "--since", "5parsecs"},
        {"feedback", "inc"}, {"feedback", "inc", "--useful", "--false-alarm"}, {"show"}, {"record"}, {"watch", "--start-after", "-3"},
        {"status", "--log-level", "loud"}, {"config"}, {"probe"}}) {
    const Outcome outcome = RunCtl(kNowhere, wrong);
    EXPECT_EQ(outcome.status, 2) << ::testing::PrintToString(wrong) << outcome.err;
    ExpectOneLine(outcome.err);
  }
}

TEST(Usage, ACommandThatThereIsNotIsNamed) {
  EXPECT_THAT(RunCtl(kNowhere, {"frobnicate", "--all"}).err, HasSubstr("no command 'frobnicate'"));
  EXPECT_THAT(RunCtl(kNowhere, {"probe", "frobnicate"}).err, HasSubstr("no command 'frobnicate'"));
  EXPECT_THAT(RunCtl(kNowhere, {"record", "out.rec"}).err, HasSubstr("--output"));
  EXPECT_THAT(RunCtl(kNowhere, {"show", "--typo"}).err, ::testing::Not(HasSubstr("no command")));
}

TEST(Usage, OnlyUnixAddressesAreSpoken) {
  const Outcome outcome = RunCtl("localhost:50051", {"status"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("unix:///path"));
}

TEST(Usage, WithoutADaemonEveryQuestionFailsWithOneLineThatSaysWhatToDo) {
  for (const std::vector<std::string>& question :
       {std::vector<std::string>{"status"}, {"workloads"}, {"top", "--once"}, {"incidents"}, {"show", "a"}, {"explain", "a"}, {"watch"},
        {"follow", "--wait", "100ms"}, {"ack", "a"}, {"feedback", "a", "--useful"}}) {
    const Outcome outcome = RunCtl(kNowhere, question);
    EXPECT_EQ(outcome.status, 1) << question[0];
    EXPECT_THAT(outcome.err, AllOf(HasSubstr(kNowhere), HasSubstr("start outlierd"))) << question[0];
    ExpectOneLine(outcome.err);
  }
}

TEST(Usage, AnIncidentThatIsNotThereIsNamed) {
  FakeFeed feed;
  const Outcome outcome = RunCtl(feed.address(), {"show", "inc-x"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("get incident 'inc-x'"), HasSubstr("no incident has this id")));
}

TEST(Usage, ConfigCheckNamesLineAndColumnAndConfigDefaultsAreGood) {
  FakeFeed feed;  // for its folder
  const std::string path = feed.folder() + "/c.yaml";
  std::ofstream(path) << RunCtl(kNowhere, {"config", "defaults"}).out;
  EXPECT_EQ(RunCtl(kNowhere, {"config", "check", path}).status, 0);
  std::ofstream(path) << "tick: 1s\nbudgetz: {}\n";
  const Outcome bad = RunCtl(kNowhere, {"config", "check", path});
  EXPECT_EQ(bad.status, 2);
  EXPECT_THAT(bad.err, HasSubstr(path + ":2:1"));
  ExpectOneLine(bad.err);
}

TEST(Usage, AHostileErrorTextStaysOneLine) {
  const Outcome outcome = RunCtl(kNowhere, {"config", "check", "/nonexistent/\x1b[2J\nx"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("\\x1b[2J\\x0ax"));
  ExpectOneLine(outcome.err);
}

}  // namespace
}  // namespace outlier::ctl
