// A recorder in a folder of its own, and what is read back from it.
#pragma once
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/recorder/random_ticks.h"
#include "tests/recorder/tick_equality.h"
#include "userspace/recorder/recorder.h"

namespace outlier {

class RecorderTest : public testing::Test {
 protected:
  RecorderTest() {
    std::string name = (std::filesystem::temp_directory_path() / "outlier-recorder-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    options_.directory = folder_ + "/recordings";
    options_.feed_id = "0123456789abcdef";
  }
  ~RecorderTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  std::unique_ptr<Recorder> Open(Disk& disk = RealDisk()) {
    auto recorder = Recorder::Open(options_, disk);
    EXPECT_TRUE(recorder.ok()) << recorder.status();
    return recorder.ok() ? *std::move(recorder) : nullptr;
  }

  // Ticks 1..n in segments of `segment` ticks each; kept in ticks_.
  void Record(Recorder* recorder, int n, int segment) {
    for (int i = 0; i < n; ++i) {
      if (i % segment == 0) {
        ASSERT_TRUE(recorder->BeginSegment(ticks_.size(), Snapshot(ticks_.size()), "config").ok());
      }
      ticks_.push_back(random_.Next());
      ticks_.back().wall_time_ns = std::abs(ticks_.back().wall_time_ns);
      ASSERT_TRUE(recorder->Append(ticks_.back()).ok());
    }
  }
  static std::string Snapshot(uint64_t tick) { return "state after " + std::to_string(tick); }

  struct Reading {
    std::vector<TickInput> ticks;
    absl::Status status;
    bool torn = false;
  };
  static Reading ReadAll(RecordingReader* reader) {
    Reading reading;
    for (;;) {
      auto tick = reader->Next();
      reading.status = tick.status();
      if (!tick.ok() || !tick->has_value()) break;
      reading.ticks.push_back(**std::move(tick));
    }
    reading.torn = reader->torn_tail();
    return reading;
  }
  Reading ReadDirectory(uint64_t from_tick) {
    auto reader = RecordingReader::OpenDirectory(options_.directory, from_tick);
    if (!reader.ok()) return {{}, reader.status(), false};
    EXPECT_EQ((*reader)->snapshot(), Snapshot((*reader)->snapshot_tick()));
    return ReadAll(reader->get());
  }
  // Are `ticks` those of ticks_ from `first` (a tick number) on?
  void ExpectTicks(const std::vector<TickInput>& ticks, uint64_t first, size_t count) {
    ASSERT_EQ(ticks.size(), count);
    for (size_t i = 0; i < count; ++i) {
      ASSERT_STREQ(FirstDifference(ticks[i], ticks_[first - 1 + i]), "") << "tick " << ticks[i].tick;
    }
  }

  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(options_.directory)) files.push_back(entry.path().string());
    std::sort(files.begin(), files.end());
    return files;
  }
  static std::string Bytes(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string Write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << bytes;
    return folder_ + "/" + name;
  }

  std::string folder_;
  RecorderOptions options_;
  RandomTicks random_{11};
  std::vector<TickInput> ticks_;
};

}  // namespace outlier
