// Torn, damaged, foreign and hostile recordings.
#include <sys/resource.h>

#include <cstring>

#include "tests/recorder/recorder_fixture.h"
#include "userspace/recorder/frame.h"

namespace outlier {
namespace {

constexpr size_t kTicks = 6;

class Damage : public RecorderTest {
 protected:
  Damage() { Record(Open().get(), kTicks, kTicks); }
  std::string Recording() { return Bytes(Files().front()); }
  Reading Read(const std::string& bytes) {
    auto reader = RecordingReader::OpenFile(Write("file", bytes));
    return reader.ok() ? ReadAll(reader->get()) : Reading{{}, reader.status(), false};
  }
  // Where the frames of the recording begin.
  std::vector<size_t> FrameOffsets(const std::string& bytes) {
    std::vector<size_t> offsets;
    for (size_t at = recording::kSegmentStartBytes; at < bytes.size();) {
      offsets.push_back(at);
      at += recording::kFrameHeaderBytes + recording::ReadFrameHeader(std::string_view(bytes).substr(at)).length;
    }
    return offsets;
  }
};

TEST_F(Damage, CutAnywhereInItsTicksARecordingGivesEveryWholeTickBefore) {
  const std::string bytes = Recording();
  const std::vector<size_t> frames = FrameOffsets(bytes);
  ASSERT_EQ(frames.size(), kTicks + 2);  // header and snapshot first
  for (size_t cut = frames[2]; cut <= bytes.size(); ++cut) {
    const Reading reading = Read(bytes.substr(0, cut));
    ASSERT_TRUE(reading.status.ok()) << cut << " " << reading.status;
    size_t whole = 0;
    while (whole < kTicks && (whole + 3 < frames.size() ? frames[whole + 3] : bytes.size()) <= cut) ++whole;
    ASSERT_EQ(reading.ticks.size(), whole) << cut;
    const bool between_frames = cut == bytes.size() || std::find(frames.begin(), frames.end(), cut) != frames.end();
    ASSERT_EQ(reading.torn, !between_frames) << cut;
  }
}

TEST_F(Damage, ATailOfZerosAsAPowerCutLeavesItIsTorn) {
  const Reading reading = Read(Recording() + std::string(4096, '\0'));
  EXPECT_TRUE(reading.status.ok()) << reading.status;
  EXPECT_TRUE(reading.torn);
  ExpectTicks(reading.ticks, 1, kTicks);
}

TEST_F(Damage, AnyByteFlippedBeforeTheLastFrameIsDataLossWithFileAndOffset) {
  const std::string bytes = Recording();
  const std::vector<size_t> frames = FrameOffsets(bytes);
  for (size_t at = recording::kSegmentStartBytes; at < frames.back(); at += 3) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << (at % 8)));
    const Reading reading = Read(damaged);
    ASSERT_EQ(reading.status.code(), absl::StatusCode::kDataLoss) << at << " " << reading.status;
    size_t frame = 0;
    while (frame + 1 < frames.size() && frames[frame + 1] <= at) ++frame;
    ASSERT_NE(std::string(reading.status.message()).find("file: damaged at offset " + std::to_string(frames[frame])), std::string::npos)
        << at << " " << reading.status;
    ASSERT_EQ(reading.ticks.size(), frame < 2 ? 0 : frame - 2);
  }
}

TEST_F(Damage, WhereEveryFrameIsSpoiledTheFirstIsNotTakenForATornTail) {
  std::string bytes = Recording();
  const std::vector<size_t> frames = FrameOffsets(bytes);
  for (size_t i = 4; i < frames.size(); ++i) bytes[frames[i] + recording::kFrameHeaderBytes + 5] ^= 1;
  const Reading reading = Read(bytes);
  ASSERT_EQ(reading.status.code(), absl::StatusCode::kDataLoss) << reading.status;
  EXPECT_NE(reading.status.message().find("damaged at offset " + std::to_string(frames[4])), absl::string_view::npos) << reading.status;
  ExpectTicks(reading.ticks, 1, 2);
}

TEST_F(Damage, TheErrorStays) {
  std::string bytes = Recording();
  bytes[FrameOffsets(bytes)[3] + 30] ^= 1;
  auto reader = RecordingReader::OpenFile(Write("file", bytes));
  ASSERT_TRUE(reader.ok());
  const absl::Status first = ReadAll(reader->get()).status;
  EXPECT_EQ((*reader)->Next().status(), first);
}

TEST_F(Damage, ForeignFilesAreRefusedByName) {
  for (const std::string& bytes : {std::string(), std::string("hello"), std::string(1000, '\x89'), std::string("\x7f" "ELF") + std::string(100, 'x')}) {
    const absl::Status status = Read(bytes).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_NE(status.message().find("file: not a recording of outlierd"), absl::string_view::npos) << status;
  }
  EXPECT_EQ(RecordingReader::OpenFile(folder_).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(RecordingReader::OpenFile(folder_ + "/none").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(Damage, AnotherFormatVersionIsSaid) {
  std::string bytes = Recording();
  bytes[8] = 9;
  const absl::Status status = Read(bytes).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("recording format 9 at offset 0, this build reads format 1"), absl::string_view::npos) << status;
}

TEST_F(Damage, TheTornTailOfACrashIsCutWhenRecordingGoesOn) {
  const std::string file = Files().front();
  const std::string whole = Bytes(file);
  std::ofstream(file, std::ios::binary | std::ios::app) << whole.substr(FrameOffsets(whole)[5], 40);
  auto recorder = Open();
  EXPECT_EQ(Bytes(file), whole);
  EXPECT_EQ(recorder->bytes_on_disk(), whole.size());
}

TEST_F(Damage, ATornSegmentDoesNotEndTheReadingOfItsDirectory) {
  const std::string file = Files().front();
  Record(Open().get(), 5, 5);
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 3);
  const Reading reading = ReadDirectory(0);
  EXPECT_TRUE(reading.status.ok()) << reading.status;
  EXPECT_TRUE(reading.torn);
  ASSERT_EQ(reading.ticks.size(), kTicks + 4);  // one tick is gone
  EXPECT_EQ(reading.ticks[kTicks - 1].tick, kTicks + 1);
}

TEST_F(Damage, UnfinishedSegmentsOfACrashAreSweptAway) {
  std::ofstream(Files().front() + ".tmp") << "half";
  Open();
  EXPECT_EQ(Files().size(), 1u);
}

// A frame as the writer would make it, around any content.
std::string Frame(recording::FrameKind kind, uint64_t tick, std::string_view content) {
  std::string out;
  EXPECT_TRUE(recording::FrameWriter().Append(kind, tick, content, &out).ok());
  return out;
}

TEST_F(Damage, AFrameThatClaimsMoreThanItsBoundIsRefusedBeforeAnythingIsAllocated) {
  // 64 MiB of zeros in a few KiB, as a tick: a tick has at most 16 MiB.
  std::string bytes = Recording();
  bytes += Frame(recording::FrameKind::kTick, kTicks + 1, std::string(64 << 20, '\0'));
  const Reading reading = Read(bytes);
  EXPECT_EQ(reading.status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(reading.status.message().find("claims 67108864 bytes"), absl::string_view::npos) << reading.status;
  EXPECT_EQ(reading.ticks.size(), kTicks);
  std::string out;
  EXPECT_EQ(recording::FrameWriter().Append(recording::FrameKind::kSnapshot, 1, std::string((64 << 20) + 1, 'x'), &out).code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(Damage, FramesInTheWrongPlaceAreDataLoss) {
  const std::string bytes = Recording();
  const std::vector<size_t> frames = FrameOffsets(bytes);
  const auto frame = [&](size_t i) { return bytes.substr(frames[i], (i + 1 < frames.size() ? frames[i + 1] : bytes.size()) - frames[i]); };
  const std::string start = recording::SegmentStart();
  for (const std::string& wrong : {start + frame(1) + frame(0), start + frame(0) + frame(2), start + frame(2), bytes + frame(kTicks + 1), bytes + frame(0),
                                   bytes + frame(1), bytes + Frame(recording::FrameKind::kTick, kTicks + 1, "not a tick\xff\xff"),
                                   bytes + Frame(recording::FrameKind::kTick, 99, ""), start + Frame(recording::FrameKind::kHeader, 0, "\xff") + frame(1)}) {
    EXPECT_EQ(Read(wrong).status.code(), absl::StatusCode::kDataLoss);
  }
}

TEST_F(Damage, MutatedRecordingsNeverCrashAndNeverAllocateWithoutBound) {
  const std::string bytes = Recording();
  std::mt19937_64 random(5);
  rusage before;
  getrusage(RUSAGE_SELF, &before);
  for (int round = 0; round < 1500; ++round) {
    std::string damaged = bytes;
    for (uint64_t n = 1 + random() % 4; n > 0; --n) {
      const size_t at = random() % damaged.size();
      switch (random() % 4) {
        case 0:
          damaged[at] = static_cast<char>(random());
          break;
        case 1:
          damaged.erase(at, random() % 100);
          break;
        case 2:
          damaged.insert(at, damaged.substr(random() % damaged.size(), random() % 200));
          break;
        default:
          damaged.replace(at, std::min<size_t>(4, damaged.size() - at), std::min<size_t>(4, damaged.size() - at), '\xff');
      }
      if (damaged.empty()) damaged = bytes;
    }
    // With their hashes made right again, so that mutations get past the first gate.
    for (size_t at = recording::kSegmentStartBytes; round % 2 == 0 && at + recording::kFrameHeaderBytes < damaged.size();) {
      recording::FrameHeader h = recording::ReadFrameHeader(std::string_view(damaged).substr(at));
      if (h.length > damaged.size() - at - recording::kFrameHeaderBytes) break;
      h.hash = recording::HashOf(h, std::string_view(damaged).substr(at + recording::kFrameHeaderBytes, h.length));
      std::memcpy(damaged.data() + at + 4, &h.hash, sizeof h.hash);
      at += recording::kFrameHeaderBytes + h.length;
    }
    const Reading reading = Read(damaged);
    ASSERT_TRUE(reading.status.ok() || !reading.status.message().empty());
  }
  rusage after;
  getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 400 << 10);  // KiB
}

}  // namespace
}  // namespace outlier
