#include "userspace/sinks/search_setup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

using std::chrono::hours;
using testing::HasSubstr;
using testing::Not;

std::vector<SearchInstallation> Of(std::string_view dialect, std::string_view by, std::chrono::nanoseconds retention = hours(24 * 45)) {
  const auto installations = SearchInstallations(dialect, by, retention);
  EXPECT_TRUE(installations.ok()) << installations.status();
  return installations.ok() ? *installations : std::vector<SearchInstallation>{};
}

std::vector<std::string> Paths(const std::vector<SearchInstallation>& installations) {
  std::vector<std::string> paths;
  for (const SearchInstallation& i : installations) paths.push_back(i.path);
  return paths;
}

Json Body(const std::vector<SearchInstallation>& installations, std::string_view path) {
  for (const SearchInstallation& i : installations) {
    if (i.path == path) return ParseJson(i.body);
  }
  ADD_FAILURE() << path << " is not installed";
  return {};
}

TEST(SearchSetup, HasWhatEveryWayOfRetentionNeedsInOrder) {
  for (const auto& [dialect, by, count] : std::vector<std::tuple<std::string, std::string, size_t>>{
           {"elasticsearch", "lifecycle", 12}, {"elasticsearch", "ilm", 16}, {"elasticsearch", "none", 8}, {"opensearch", "ism", 12}, {"opensearch", "none", 8}}) {
    const std::vector<SearchInstallation> installations = Of(dialect, by);
    EXPECT_EQ(installations.size(), count) << dialect << " " << by;
    std::set<std::string> before;
    for (const SearchInstallation& i : installations) {
      EXPECT_EQ(i.method, "PUT");
      EXPECT_NE(i.what, "");
      const Json body = ParseJson(i.body);
      ASSERT_FALSE(body.is_discarded()) << i.path;
      EXPECT_TRUE(before.insert(i.path).second) << i.path << " twice";
      if (!i.path.starts_with("/_index_template/")) continue;
      // What a template is made of comes before it, unless it says that it may be missing.
      const Json missing = body.value("ignore_missing_component_templates", Json::array());
      for (const Json& component : body["composed_of"]) {
        const bool may_be_missing = std::find(missing.begin(), missing.end(), component) != missing.end();
        EXPECT_TRUE(may_be_missing || before.count("/_component_template/" + component.get<std::string>())) << i.path << " needs " << component;
      }
    }
  }
}

TEST(SearchSetup, WhatIsThereAlreadyLearnsTheFieldsOfTheTemplatesLast) {
  const auto installations = Of("elasticsearch", "lifecycle");
  EXPECT_EQ(installations.back().path,
            "/outlier-incidents,logs-outlier.change-*,metrics-outlier.score-*,metrics-outlier.signal-*,metrics-outlier.host-*/_mapping"
            "?ignore_unavailable=true&allow_no_indices=true");
  EXPECT_EQ(ParseJson(installations.back().body), Body(installations, "/_component_template/outlier@mappings")["template"]["mappings"]);
}

TEST(SearchSetup, TheConfiguredRetentionIsInstalled) {
  const auto lifecycle = Of("elasticsearch", "lifecycle");
  EXPECT_EQ(Body(lifecycle, "/_component_template/outlier.change@lifecycle")["template"]["lifecycle"]["data_retention"], "45d");
  const auto ilm = Of("elasticsearch", "ilm");
  const Json phases = Body(ilm, "/_ilm/policy/outlier.change")["policy"]["phases"];
  EXPECT_EQ(phases["delete"]["min_age"], "45d");
  EXPECT_EQ(phases["hot"]["actions"]["rollover"]["max_age"], "30d") << "sooner than what is kept: left alone";
  EXPECT_THAT(Paths(ilm), Not(testing::Contains(HasSubstr("@lifecycle"))));
  const Json states = Body(Of("opensearch", "ism"), "/_plugins/_ism/policies/outlier.signal")["policy"]["states"];
  EXPECT_EQ(states[0]["transitions"][0]["conditions"]["min_rollover_age"], "45d");
  EXPECT_EQ(states[0]["actions"][0]["rollover"]["min_index_age"], "1d");
}

TEST(SearchSetup, WithoutOneEachStreamIsKeptAsLongAsItsFileSays) {
  const auto lifecycle = Of("elasticsearch", "lifecycle", hours(0));
  for (const auto& [stream, kept] : std::vector<std::pair<std::string, std::string>>{{"change", "90d"}, {"score", "30d"}, {"signal", "14d"}}) {
    EXPECT_EQ(Body(lifecycle, "/_component_template/outlier." + stream + "@lifecycle")["template"]["lifecycle"]["data_retention"], kept);
  }
  for (const SearchInstallation& i : Of("opensearch", "none", hours(0))) {
    EXPECT_THAT(i.what + i.body, Not(testing::ContainsRegex("[0-9] days"))) << i.path << " promises a retention that nobody keeps";
  }
}

TEST(SearchSetup, NothingRollsOverLaterThanItIsKept) {
  const Json phases = Body(Of("elasticsearch", "ilm", hours(36)), "/_ilm/policy/outlier.change")["policy"]["phases"];
  EXPECT_EQ(phases["delete"]["min_age"], "36h");
  EXPECT_EQ(phases["hot"]["actions"]["rollover"]["max_age"], "36h");
  EXPECT_EQ(Body(Of("elasticsearch", "ilm", std::chrono::minutes(90)), "/_ilm/policy/outlier.score")["policy"]["phases"]["delete"]["min_age"], "90m");
}

TEST(SearchSetup, TheWordsSayTheConfiguredTime) {
  for (const SearchInstallation& i : Of("elasticsearch", "ilm", hours(36))) {
    EXPECT_THAT(i.what + i.body, Not(testing::ContainsRegex("[0-9] days"))) << i.path;
    EXPECT_EQ(i.path.starts_with("/_ilm"), i.what.find("36 hours of ") != std::string::npos) << i.what;
  }
  for (const SearchInstallation& i : Of("opensearch", "none")) {
    EXPECT_THAT(i.what + i.body, Not(testing::ContainsRegex("[0-9] days"))) << i.path << " promises a retention that nobody keeps";
  }
}

TEST(SearchSetup, OnlyRetentionMayBeRefused) {
  for (const auto& [dialect, by] : std::vector<std::pair<std::string, std::string>>{{"elasticsearch", "lifecycle"}, {"opensearch", "ism"}}) {
    for (const SearchInstallation& i : Of(dialect, by)) {
      const bool retention = i.path.ends_with("@lifecycle") || i.path.find("/_ism/") != std::string::npos;
      EXPECT_EQ(i.optional, retention) << i.path;
    }
  }
}

}  // namespace
}  // namespace outlier
