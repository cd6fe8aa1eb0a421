#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/outlierctl/ctl_run.h"
#include "tests/outlierctl/fake_feed.h"
#include "userspace/config/config.h"
#include "userspace/outlierctl/text_output.h"
#include "userspace/pipeline/engine.h"
#include "userspace/recorder/recorder.h"

namespace outlier::ctl {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kSecond = 1'000'000'000;
constexpr ProcessKey kShop{.pid = 500, .start_time_ns = 5 * kSecond};

// Second by second: one process with a CPU use that ripples around 5 %, and a whole core from tick 120 to 149, which others want too.
class Shop {
 public:
  explicit Shop(uint64_t last_tick = 0) : first_(last_tick + 1), tick_(last_tick) {}
  TickInput Next(const std::vector<AccountAssignment>& assignments) {
    for (const AccountAssignment& a : assignments) account_ = a.key == kShop ? a.account : account_;
    TickInput input;
    input.tick = ++tick_;
    input.boot_time_ns = (1000 + tick_) * kSecond;
    input.interval_ns = tick_ == first_ ? 0 : kSecond;
    input.wall_time_ns = static_cast<int64_t>((1'790'000'000 + tick_) * kSecond);
    input.epoch = 1;
    input.boot_id = "boot";
    const uint64_t use = tick_ >= 120 && tick_ < 150 ? kSecond : kSecond / 20 + tick_ * 7919 % 13 * 1'000'000;
    cpu_ns_ += use;
    switches_ += use == kSecond ? 200 : 2;
    ProcessSample& process = input.processes.emplace_back();
    process.key = kShop;
    process.parent_pid = 1;
    process.threads = 1;
    process.cpu_ns = cpu_ns_;
    process.rss_anonymous_bytes = 64 << 20;
    process.comm = "shop";
    if (tick_ == first_) {
      IdentityObservation& identity = input.identities.emplace_back();
      identity.key = kShop;
      identity.parent_pid = 1;
      identity.executable = "/usr/bin/shop";
      identity.user = "shop";
      identity.comm = "shop";
    }
    if (account_ != 0) {
      AccountSample& account = input.accounts.emplace_back();
      account.account = account_;
      account.cpu_ns = cpu_ns_;
      account.involuntary_switches = switches_;
    }
    input.host.cpu_ns = cpu_ns_;
    input.host.cpus = 2;
    input.host.memory_total_bytes = uint64_t{4} << 30;
    input.host.memory_available_bytes = uint64_t{2} << 30;
    return input;
  }

 private:
  uint64_t first_, tick_;
  uint64_t cpu_ns_ = 0, switches_ = 0;
  Account account_ = 0;
};

class Replay : public ::testing::Test {
 protected:
  Replay() {
    config_ = *ParseConfig("detection: { warm_up: 30s }\n", "test");
    options_.config = config_;
    options_.source.set_feed_id("feed-9");
    directory_ = feed_.folder() + "/recordings";
    std::filesystem::create_directory(directory_);
    path_ = feed_.folder() + "/r.rec";
    Live();
  }

  // Runs the engine as the daemon does, recording what it is given; keeps what it said. The recording begins with `snapshot`.
  void Live(const std::string& snapshot = "", uint64_t snapshot_tick = 0) {
    live_.clear();
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directory(directory_);
    auto recorder = Recorder::Open({directory_, 64 << 20, int64_t{86400} * 1'000'000'000, "feed-9", config_.SerializeAsString()});
    ASSERT_TRUE(recorder.ok()) << recorder.status();
    const auto engine = Engine::Make(options_);
    ASSERT_TRUE((*recorder)->BeginSegment(snapshot_tick, snapshot, config_.SerializeAsString()).ok());
    Shop shop(snapshot_tick);
    std::vector<AccountAssignment> assignments;
    for (uint64_t tick = snapshot_tick + 1; tick <= 220; ++tick) {
      const TickInput input = shop.Next(assignments);
      ASSERT_TRUE((*recorder)->Append(input).ok());
      const std::vector<TickOutput> outputs = engine->Step({&input, 1});
      assignments = outputs[0].assignments;
      for (const v1::IncidentChange& change : outputs[0].changes) live_ += JsonLine(change) + "\n";
    }
    std::ofstream file(path_, std::ios::binary);
    const absl::Status exported = (*recorder)->Export(0, [&](std::string_view chunk) { return !!file.write(chunk.data(), chunk.size()); });
    ASSERT_TRUE(exported.ok()) << exported;
  }

  Outcome Run(std::vector<std::string> options) {
    options.insert(options.begin(), {"replay", path_});
    return RunCtl("unix:///nonexistent/sock", std::move(options));
  }

  FakeFeed feed_;  // for its folder: replaying asks no daemon
  config::v1::Config config_;
  Engine::Options options_;
  std::string directory_, path_, live_;
};

TEST_F(Replay, GivesTheBytesOfTheLiveRunTickByTickAndInBatches) {
  ASSERT_THAT(live_, HasSubstr("\"kind\":\"OPENED\"")) << "nothing to compare";
  for (const std::vector<std::string>& options : {std::vector<std::string>{}, {"--batch", "7"}, {"--batch", "1000"}}) {
    const Outcome outcome = Run(options);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.out, live_);
    EXPECT_EQ(outcome.err, "");
  }
}

TEST_F(Replay, SinceKeepsOnlyTheEnd) {
  const Outcome outcome = Run({"--since", "1s"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_LT(outcome.out.size(), live_.size());
  EXPECT_EQ(Run({"--since", "1h"}).out, live_);
}

// A snapshot in the layout of another build: the number after the magic.
std::string OfAnotherBuild(std::string snapshot) {
  snapshot[8] = static_cast<char>(snapshot[8] + 100);
  return snapshot;
}

TEST_F(Replay, ARecordingOfAnotherBuildFromItsFirstTickOnNeedsNoSnapshot) {
  Live(OfAnotherBuild(Engine::Make(options_)->Save()));
  const Outcome outcome = Run({});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, live_);
  EXPECT_EQ(outcome.err, "");
}

TEST_F(Replay, BaselinesOfAnotherBuildAreSaidToBeMissing) {
  Live(OfAnotherBuild(Engine::Make(options_)->Save()), 7);
  const Outcome outcome = Run({});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("no baselines"));
  EXPECT_FALSE(outcome.out.empty());
}

TEST_F(Replay, SetsGoOverTheRecordedConfiguration) {
  const Outcome quiet = Run({"--set", "detection.warm_up=1h", "--set", "tick=1s"});
  EXPECT_EQ(quiet.status, 0) << quiet.err;
  EXPECT_EQ(quiet.out, "") << "nothing is told while a workload is learned";
  const Outcome wrong = Run({"--set", "detection.warm_down=1h"});
  EXPECT_EQ(wrong.status, 2);
  EXPECT_THAT(wrong.err, HasSubstr("detection.warm_down"));
}

TEST_F(Replay, ATornTailIsSaidAndEverythingBeforeItIsReplayed) {
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) - 5);
  const Outcome outcome = Run({});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("cut short"));
  EXPECT_THAT(outcome.out, HasSubstr("\"kind\":\"OPENED\""));
}

TEST_F(Replay, DamageIsStatusOneAfterWhatCouldBeReplayed) {
  std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(path_) * 9 / 10));
  file << "this is not a frame";
  file.close();
  const Outcome outcome = Run({});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("replayed "));
  EXPECT_EQ(live_.compare(0, outcome.out.size(), outcome.out), 0) << "a beginning of what the live run said";
  EXPECT_FALSE(outcome.out.empty());
}

TEST_F(Replay, WhatIsNoRecordingIsRefused) {
  std::ofstream(path_) << "hello";
  const Outcome outcome = Run({});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr(path_));
}

}  // namespace
}  // namespace outlier::ctl
