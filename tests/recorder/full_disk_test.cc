// A disk that fails at the n-th call, for every n until everything succeeds.
#include <cerrno>

#include "tests/recorder/recorder_fixture.h"
#include "userspace/recorder/disk.h"

namespace outlier {
namespace {

// The real disk with one switch a fault.
class FaultyDisk : public Disk {
 public:
  int fail_write = 0;        // the n-th write from now fails, 0 = none
  int write_errno = ENOSPC;
  bool short_write = false;  // it takes half of the bytes first
  int fail_truncate = 0;
  int fail_sync = 0;
  int fail_create = 0;
  int fail_rename = 0;
  int calls = 0;
  bool fired = false;

  absl::StatusOr<std::unique_ptr<DiskFile>> Create(const std::string& path) override {
    if (Due(&fail_create)) return absl::ResourceExhaustedError("cannot create: No space left on device");
    auto file = RealDisk().Create(path);
    if (!file.ok()) return file;
    return std::make_unique<File>(this, *std::move(file));
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (Due(&fail_rename)) return absl::ResourceExhaustedError("cannot rename: No space left on device");
    return RealDisk().Rename(from, to);
  }
  void Remove(const std::string& path) override { RealDisk().Remove(path); }

 private:
  class File : public DiskFile {
   public:
    File(FaultyDisk* disk, std::unique_ptr<DiskFile> file) : disk_(*disk), file_(std::move(file)) {}
    int64_t Write(const char* bytes, size_t n) override {
      if (failing_) return Fail();
      if (disk_.Due(&disk_.fail_write)) {
        if (!disk_.short_write) return Fail();
        failing_ = true;  // the rest does not fit
        return file_->Write(bytes, n / 2);
      }
      return file_->Write(bytes, n);
    }
    int Truncate(uint64_t size) override {
      failing_ = false;
      if (disk_.Due(&disk_.fail_truncate)) {
        errno = EIO;
        return -1;
      }
      return file_->Truncate(size);
    }
    int Sync() override {
      if (disk_.Due(&disk_.fail_sync)) {
        errno = EIO;
        return -1;
      }
      return file_->Sync();
    }

   private:
    int64_t Fail() {
      errno = disk_.write_errno;
      return -1;
    }
    FaultyDisk& disk_;
    std::unique_ptr<DiskFile> file_;
    bool failing_ = false;
  };
  bool Due(int* countdown) {
    if (*countdown == 0 || --*countdown > 0) return false;
    return fired = true;
  }
};

class FullDisk : public RecorderTest {
 protected:
  // Records 20 ticks in segments of 5 as the pipeline does: after an error it begins a new segment at the next tick.
  // Returns the ticks that were recorded.
  std::vector<uint64_t> RecordThrough(FaultyDisk* disk) {
    std::vector<uint64_t> recorded;
    auto recorder = Open(*disk);
    bool begun = false;
    RandomTicks random(3);
    for (uint64_t t = 1; t <= 20; ++t) {
      const TickInput tick = random.Next();
      ticks_.push_back(tick);
      if (!begun || t % 5 == 1) {
        const absl::Status status = recorder->BeginSegment(t - 1, Snapshot(t - 1), "");
        if (!status.ok()) {
          EXPECT_TRUE(absl::IsResourceExhausted(status) || absl::IsUnavailable(status)) << status;
          // The old segment goes on where there is one: nothing is lost for want of a new one.
          if (!begun) continue;
        }
        begun = begun || status.ok();
      }
      const absl::Status status = recorder->Append(tick);
      if (status.ok()) {
        recorded.push_back(t);
      } else {
        EXPECT_TRUE(absl::IsResourceExhausted(status) || absl::IsUnavailable(status)) << status;
        EXPECT_EQ(recorder->Append(tick).code(), absl::StatusCode::kFailedPrecondition);
        begun = false;
      }
    }
    return recorded;
  }
  // All that was recorded, but for the oldest segments that made room.
  void ExpectReadable(std::vector<uint64_t> recorded) {
    const uint64_t first = std::stoull(std::filesystem::path(Files().front()).filename().string());
    std::erase_if(recorded, [&](uint64_t tick) { return tick < first; });
    const Reading reading = ReadDirectory(first - 1);
    ASSERT_TRUE(reading.status.ok()) << reading.status;
    ASSERT_EQ(reading.ticks.size(), recorded.size());
    for (size_t i = 0; i < recorded.size(); ++i) {
      ASSERT_EQ(reading.ticks[i].tick, recorded[i]);
      ASSERT_STREQ(FirstDifference(reading.ticks[i], ticks_[recorded[i] - 1]), "");
    }
  }
  void ForEveryCall(int FaultyDisk::*fault, bool short_write, size_t least, int error = ENOSPC) {
    bool fired = true;
    for (int n = 1; fired; ++n) {
      std::filesystem::remove_all(options_.directory);
      ticks_.clear();
      FaultyDisk disk;
      disk.*fault = n;
      disk.short_write = short_write;
      disk.write_errno = error;
      const std::vector<uint64_t> recorded = RecordThrough(&disk);
      fired = disk.fired;
      ASSERT_GE(recorded.size(), fired ? least : 20u) << n;
      ExpectReadable(recorded);
      ASSERT_LT(n, 200);
    }
  }
};

TEST_F(FullDisk, WhicheverWriteFailsEveryOtherTickIsReadBack) { ForEveryCall(&FaultyDisk::fail_write, false, 19); }
TEST_F(FullDisk, WhicheverWriteIsCutShortEveryOtherTickIsReadBack) { ForEveryCall(&FaultyDisk::fail_write, true, 19); }
TEST_F(FullDisk, WhicheverWriteHasAnInputOutputErrorEveryOtherTickIsReadBack) { ForEveryCall(&FaultyDisk::fail_write, true, 19, EIO); }
TEST_F(FullDisk, WhicheverSyncFailsEveryOtherTickIsReadBack) { ForEveryCall(&FaultyDisk::fail_sync, false, 19); }
TEST_F(FullDisk, WhicheverCreateFailsEveryOtherTickIsReadBack) { ForEveryCall(&FaultyDisk::fail_create, false, 19); }
TEST_F(FullDisk, WhicheverRenameFailsEveryOtherTickIsReadBack) { ForEveryCall(&FaultyDisk::fail_rename, false, 19); }

TEST_F(FullDisk, APartOfAFrameThatCannotBeCutBackIsTakenForTheTornTailItIs) {
  FaultyDisk disk;
  auto recorder = Open(disk);
  Record(recorder.get(), 3, 10);
  disk.fail_write = 1;
  disk.short_write = true;
  disk.fail_truncate = 1;
  EXPECT_TRUE(absl::IsResourceExhausted(recorder->Append(random_.Next())));
  const Reading reading = ReadDirectory(0);
  EXPECT_TRUE(reading.status.ok()) << reading.status;
  EXPECT_TRUE(reading.torn);
  ExpectTicks(reading.ticks, 1, 3);
}

TEST_F(FullDisk, TheOldestRecordingMakesRoomBeforeATickIsLost) {
  FaultyDisk disk;
  auto recorder = Open(disk);
  Record(recorder.get(), 15, 5);
  disk.fail_write = 1;
  ticks_.push_back(random_.Next());
  EXPECT_TRUE(recorder->Append(ticks_.back()).ok());
  EXPECT_EQ(Files().size(), 2u);
  ExpectTicks(ReadDirectory(15).ticks, 11, 6);
}

TEST_F(FullDisk, AnInputOutputErrorIsUnavailable) {
  FaultyDisk disk;
  auto recorder = Open(disk);
  Record(recorder.get(), 3, 10);
  disk.fail_write = 1;
  disk.write_errno = EIO;
  EXPECT_TRUE(absl::IsUnavailable(recorder->Append(random_.Next())));
}

}  // namespace
}  // namespace outlier
