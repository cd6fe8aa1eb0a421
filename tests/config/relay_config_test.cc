// relay.yaml: what is wrong with it is told with its place, also where that shows only later.
#include "userspace/config/relay_config.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "userspace/config/yaml_place.h"

namespace outlier {
namespace {

std::string Error(std::string_view yaml, std::vector<std::string> sets = {}) {
  const auto config = ParseRelayConfig(yaml, "relay.yaml", sets);
  return std::string(config.status().message());
}

TEST(RelayConfig, WithoutAWordReadsTheLocalDaemon) {
  const auto config = ParseRelayConfig("", "relay.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->sources(0), "unix:///run/outlierd/outlierd.sock");
  EXPECT_EQ(config->http().listen(), "127.0.0.1:9464");
}

TEST(RelayConfigDeathTest, AnOrdinaryUserWithADaemonOfHisOwnReadsThat) {
  if (getuid() != 0) GTEST_SKIP() << "has to become an ordinary user";
  if (access("/run/outlierd/outlierd.sock", F_OK) == 0) GTEST_SKIP() << "an outlierd of the system runs here";
  const std::string runtime = testing::TempDir() + "/runtime." + std::to_string(getpid());
  std::filesystem::create_directories(runtime + "/outlierd");
  std::ofstream(runtime + "/outlierd/outlierd.sock") << "";
  for (const std::string& path : {runtime, runtime + "/outlierd", runtime + "/outlierd/outlierd.sock"}) chmod(path.c_str(), 0777);
  const auto source = [&] {
    if (setuid(65534) != 0 || setenv("XDG_RUNTIME_DIR", runtime.c_str(), 1) != 0) return std::string("cannot become nobody");
    const auto config = ParseRelayConfig("", "relay.yaml");
    return config.ok() ? config->sources(0) : std::string(config.status().message());
  };
  EXPECT_EXIT({ _exit(source() == "unix://" + runtime + "/outlierd/outlierd.sock" ? 0 : 1); }, testing::ExitedWithCode(0), "");
  std::filesystem::remove_all(runtime + "/outlierd");
  EXPECT_EXIT({ _exit(source() == "unix:///run/outlierd/outlierd.sock" ? 0 : 1); }, testing::ExitedWithCode(0), "");
  std::filesystem::remove_all(runtime);
}

TEST(RelayConfig, ErrorsNameFileLineAndColumn) {
  EXPECT_EQ(Error("sources: [a, a]\n"), "relay.yaml:1:14: sources[1]: given twice");
  EXPECT_TRUE(Error("sinks:\n  - name: 'a b'\n    webhook: {}\n").starts_with("relay.yaml:2:11: sinks[0].name: \"a b\" will not do")) << Error("sinks:\n  - name: 'a b'\n    webhook: {}\n");
  EXPECT_TRUE(Error("\nsinks:\n- name: one\n").starts_with("relay.yaml:3:3: sinks[0] (one): says not what it is"));
  EXPECT_TRUE(Error("sinks:\n- {name: x, slack: {}}\n- {name: x, slack: {}}\n").starts_with("relay.yaml:3:10: sinks[1].name: x is the name of another sink"));
  EXPECT_TRUE(Error("slos: [{}]\n").starts_with("relay.yaml:1:7: slos"));
}

TEST(RelayConfig, WhatAnOptionGaveHasNoPlaceInTheFile) {
  EXPECT_EQ(Error("sources: [a]\n", {"sources=[b, b]"}), "sources[1]: given twice");
}

TEST(RelayConfig, ANodeIsFoundByItsPathOrTheDeepestOnTheWay) {
  const auto root = ParseYaml("sinks:\n  - name: am\n    alertmanager:\n      urls: [a, b]\n", "f");
  ASSERT_TRUE(root.ok());
  const auto line = [&](std::string_view path) {
    const YamlNode* node = DeepestNode(*root, path);
    return node == nullptr ? 0 : node->line;
  };
  EXPECT_EQ(DeepestNode(*root, "sinks[0].alertmanager.urls[1]")->text, "b");
  EXPECT_EQ(line("sinks[0].alertmanager.urls[7]"), 4);
  EXPECT_EQ(line("sinks[0].alertmanager.bearer_token_file"), 4) << "the group, which begins there";
  EXPECT_EQ(line("sinks[3].name"), 2) << "the list";
  EXPECT_EQ(line("sources"), 0);
  for (const char* hostile : {"", "[", "[]", "sinks[", "sinks[]", "sinks[-1]", "sinks[99999999999999999999]", ".", "sinks..name", "sinks[0]]"}) DeepestNode(*root, hostile);
}

TEST(RelayConfig, WhatShowsOnlyLaterIsPlacedByTheKeyThatTheMessageBeginsWith) {
  const std::string path = testing::TempDir() + "/relay_config_test.yaml";
  std::ofstream(path) << "http:\n  listen: '9464'\nsinks:\n  - {name: am, alertmanager: {urls: []}}\n";
  const auto placed = [&](absl::Status status, std::vector<std::string> sets = {}) { return std::string(PlaceInRelayConfig(status, path, sets).message()); };
  EXPECT_EQ(placed(absl::InvalidArgumentError("http.listen: \"9464\" is no address")), path + ":2:11: http.listen: \"9464\" is no address");
  EXPECT_EQ(placed(absl::InvalidArgumentError("sinks[0] (am): alertmanager.urls: give at least one")), path + ":4:37: sinks[0] (am): alertmanager.urls: give at least one");
  EXPECT_EQ(placed(absl::InvalidArgumentError("http.listen: bad"), {"http.listen=x"}), "http.listen: bad");
  EXPECT_EQ(placed(absl::UnavailableError("http.listen: in use")), "http.listen: in use") << "the file is not to blame";
  EXPECT_EQ(placed(absl::OkStatus()), "");
}

TEST(RelayConfig, IsToldFromTheDaemonsByItsKeys) {
  EXPECT_TRUE(IsRelayConfig("sinks: []"));
  EXPECT_FALSE(IsRelayConfig("tick: 1s"));
  EXPECT_FALSE(IsRelayConfig(""));
  EXPECT_FALSE(IsRelayConfig("{{{"));
}

}  // namespace
}  // namespace outlier
