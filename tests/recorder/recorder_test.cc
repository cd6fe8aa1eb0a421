#include <atomic>
#include <thread>

#include "tests/recorder/recorder_fixture.h"

namespace outlier {
namespace {

TEST_F(RecorderTest, WhatWasAppendedIsReadBackAcrossSegments) {
  Record(Open().get(), 25, 10);
  EXPECT_EQ(Files().size(), 3u);
  EXPECT_EQ(std::filesystem::path(Files()[1]).filename(), "00000000000000000011.outlier-recording");
  const Reading reading = ReadDirectory(0);
  EXPECT_TRUE(reading.status.ok()) << reading.status;
  EXPECT_FALSE(reading.torn);
  ExpectTicks(reading.ticks, 1, 25);
}

TEST_F(RecorderTest, TheDirectoryIsReadFromTheNewestSnapshotThatIsOldEnough) {
  Record(Open().get(), 30, 10);
  for (const uint64_t from : {0u, 9u, 10u, 15u, 20u, 1000u}) {
    auto reader = RecordingReader::OpenDirectory(options_.directory, from);
    ASSERT_TRUE(reader.ok()) << reader.status();
    const uint64_t snapshot = std::min<uint64_t>(from, 20) / 10 * 10;
    EXPECT_EQ((*reader)->snapshot_tick(), snapshot);
    EXPECT_EQ((*reader)->snapshot(), Snapshot(snapshot));
    EXPECT_EQ((*reader)->config(), "config");
    EXPECT_EQ((*reader)->feed_id(), options_.feed_id);
    ExpectTicks(ReadAll(reader->get()).ticks, snapshot + 1, 30 - snapshot);
  }
  std::filesystem::remove(Files().front());
  const absl::Status status = ReadDirectory(5).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(status.message().find("after tick 10"), absl::string_view::npos) << status;
}

TEST_F(RecorderTest, RecordingGoesOnInTheSameFolderAfterARestart) {
  Record(Open().get(), 7, 10);
  Record(Open().get(), 7, 10);
  const Reading reading = ReadDirectory(0);
  EXPECT_FALSE(reading.torn);
  ExpectTicks(reading.ticks, 1, 14);
}

TEST_F(RecorderTest, BytesStayWithinTheirBoundAndTheOldestGoFirst) {
  options_.max_bytes = 40'000;
  auto recorder = Open();
  Record(recorder.get(), 200, 2);
  uint64_t on_disk = 0;
  for (const std::string& file : Files()) on_disk += std::filesystem::file_size(file);
  EXPECT_EQ(on_disk, recorder->bytes_on_disk());
  EXPECT_LE(on_disk, 40'000u);
  EXPECT_GT(Files().size(), 2u);
  const uint64_t first = ReadDirectory(199).ticks.front().tick;
  EXPECT_EQ(first, 199u);
  // The bound holds for what an earlier run left, too, as soon as writing begins.
  recorder.reset();
  options_.max_bytes = 20'000;
  recorder = Open();
  Record(recorder.get(), 1, 5);
  EXPECT_LE(recorder->bytes_on_disk(), 20'000u);
}

TEST_F(RecorderTest, TheSegmentBeingWrittenIsNeverDroppedAndSaysWhenItIsFull) {
  options_.max_bytes = 1000;
  auto recorder = Open();
  ASSERT_TRUE(recorder->BeginSegment(0, Snapshot(0), "").ok());
  EXPECT_FALSE(recorder->segment_is_full() && recorder->bytes_on_disk() < 125);
  for (int i = 0; i < 20; ++i) {
    ticks_.push_back(random_.Next());
    ASSERT_TRUE(recorder->Append(ticks_.back()).ok());
  }
  EXPECT_TRUE(recorder->segment_is_full());
  ExpectTicks(ReadDirectory(0).ticks, 1, 20);
}

TEST_F(RecorderTest, SegmentsOlderThanTheirAgeGoEvenAfterARestart) {
  options_.max_age_ns = 20'000'000'000;  // 20 ticks
  Record(Open().get(), 50, 10);
  // Segments 1-10 and 11-20 lie wholly more than 20 s back.
  EXPECT_EQ(Files().size(), 3u);
  Record(Open().get(), 10, 10);
  EXPECT_EQ(Files().size(), 3u);
  EXPECT_EQ(std::filesystem::path(Files().front()).filename(), "00000000000000000031.outlier-recording");
}

TEST_F(RecorderTest, TicksOutOfOrderOrWithoutASegmentAreRefused) {
  auto recorder = Open();
  TickInput tick;
  tick.tick = 5;
  EXPECT_EQ(recorder->Append(tick).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(recorder->BeginSegment(4, "", "").ok());
  EXPECT_TRUE(recorder->Append(tick).ok());
  EXPECT_EQ(recorder->Append(tick).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(RecorderTest, AGapInTheTicksIsSaid) {
  auto recorder = Open();
  ASSERT_TRUE(recorder->BeginSegment(0, Snapshot(0), "").ok());
  TickInput tick;
  for (const uint64_t n : {1u, 2u, 4u}) {
    tick.tick = n;
    ASSERT_TRUE(recorder->Append(tick).ok());
  }
  const Reading reading = ReadDirectory(0);
  EXPECT_EQ(reading.ticks.size(), 3u);
  EXPECT_TRUE(reading.torn);
}

TEST_F(RecorderTest, AnExportIsAFileOfWholeSegmentsFromTheAskedTimeOn) {
  auto recorder = Open();
  Record(recorder.get(), 35, 10);
  for (const auto& [since, first] : std::vector<std::pair<int64_t, uint64_t>>{{0, 1}, {ticks_[14].wall_time_ns, 11}, {ticks_[34].wall_time_ns, 31}}) {
    std::string bytes;
    ASSERT_TRUE(recorder->Export(since, [&](std::string_view chunk) {
      bytes.append(chunk);
      return true;
    }).ok());
    auto reader = RecordingReader::OpenFile(Write("export", bytes));
    ASSERT_TRUE(reader.ok()) << reader.status();
    EXPECT_EQ((*reader)->snapshot_tick(), first - 1);
    const Reading reading = ReadAll(reader->get());
    EXPECT_TRUE(reading.status.ok()) << reading.status;
    EXPECT_FALSE(reading.torn);
    ExpectTicks(reading.ticks, first, 36 - first);
  }
  EXPECT_EQ(recorder->Export(0, [](std::string_view) { return false; }).code(), absl::StatusCode::kCancelled);
}

TEST_F(RecorderTest, ExportsBesideAppendAreAlwaysWholeAndInOrder) {
  auto recorder = Open();
  Record(recorder.get(), 10, 10);
  std::atomic<bool> done = false;
  int exports = 0;
  std::thread exporting([&] {
    do {
      std::string bytes;
      ASSERT_TRUE(recorder->Export(0, [&](std::string_view chunk) {
        bytes.append(chunk);
        return true;
      }).ok());
      auto reader = RecordingReader::OpenFile(Write("export", bytes));
      ASSERT_TRUE(reader.ok()) << reader.status();
      const Reading reading = ReadAll(reader->get());
      ASSERT_TRUE(reading.status.ok()) << reading.status;
      ASSERT_FALSE(reading.torn);
      ASSERT_GE(reading.ticks.size(), 10u);
      ASSERT_EQ(reading.ticks.back().tick, reading.ticks.size());
      ++exports;
    } while (!done);
  });
  Record(recorder.get(), 600, 20);
  done = true;
  exporting.join();
  EXPECT_GT(exports, 0);
}

}  // namespace
}  // namespace outlier
