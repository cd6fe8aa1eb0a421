// OOM victims as kernels tell them whose tracepoint hands over a pid and nothing else.
#include "userspace/probes/lifecycle.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace outlier {
namespace {

using Kind = LifecycleEvent::Kind;

constexpr uint64_t kSecond = 1'000'000'000;
constexpr ProcessKey kVictim{.pid = 500, .start_time_ns = 90 * kSecond};

class LifecycleReaderTest : public ::testing::Test {
 protected:
  void TakeVictim(int32_t pid, uint64_t time_ns) {
    outlier_oom_event oom{};
    oom.event = Event(OUTLIER_EVENT_OOM_VICTIM, {pid, 0}, time_ns);
    oom.constraint = OUTLIER_OOM_MEMORY;
    oom.limit_pages = 100;
    reader_.Take(std::as_bytes(std::span(&oom, 1)));
  }
  void TakeEnd(const ProcessKey& key, uint64_t time_ns) {
    outlier_end_event end{};
    end.event = Event(OUTLIER_EVENT_END, key, time_ns);
    end.event.parent_pid = 400;
    end.wait_status = 9;
    reader_.Take(std::as_bytes(std::span(&end, 1)));
  }
  // The events of one tick whose scan saw these processes.
  std::vector<LifecycleEvent> Tick(std::vector<ProcessKey> seen = {}) {
    TickInput input;
    for (const ProcessKey& key : seen) input.processes.emplace_back().key = key;
    reader_.Finish(&input);
    return input.events;
  }

 private:
  static outlier_event Event(uint32_t kind, const ProcessKey& key, uint64_t time_ns) {
    outlier_event event{};
    event.kind = kind;
    event.pid = key.pid;
    event.start_time_ns = key.start_time_ns;
    event.time_ns = time_ns;
    return event;
  }
  LifecycleReader reader_{4096};
};

TEST_F(LifecycleReaderTest, AVictimThatLivedAtTheScanIsTheOneOfItsPid) {
  TakeVictim(kVictim.pid, 100 * kSecond);
  const auto events = Tick({{499, kSecond}, kVictim, {501, kSecond}});
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].key, kVictim);
  EXPECT_EQ(events[0].oom_limit_bytes, 409600u);
}

TEST_F(LifecycleReaderTest, AVictimThatWasGoneBeforeTheScanIsKnownByItsEnd) {
  TakeVictim(kVictim.pid, 100 * kSecond);
  TakeEnd(kVictim, 101 * kSecond);
  const auto events = Tick({{499, kSecond}});
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].kind, Kind::kOomVictim);
  EXPECT_EQ(events[0].key, kVictim);
  EXPECT_EQ(events[0].parent_pid, 400);
  EXPECT_EQ(events[1].kind, Kind::kEnd);
}

TEST_F(LifecycleReaderTest, WhoHasThePidAfterItOrHadItBeforeIsNotTheVictim) {
  TakeEnd({kVictim.pid, 80 * kSecond}, 85 * kSecond);
  TakeVictim(kVictim.pid, 100 * kSecond);
  TakeEnd(kVictim, 101 * kSecond);
  const auto events = Tick({{kVictim.pid, 102 * kSecond}});
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[1].kind, Kind::kOomVictim);
  EXPECT_EQ(events[1].key, kVictim);
}

TEST_F(LifecycleReaderTest, AVictimBornSinceTheScanWaitsForItsEnd) {
  TakeVictim(kVictim.pid, 100 * kSecond);
  TakeEnd({499, kSecond}, 100 * kSecond);
  auto events = Tick();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, Kind::kEnd);
  TakeEnd(kVictim, 101 * kSecond);
  events = Tick();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].kind, Kind::kOomVictim);
  EXPECT_EQ(events[0].key, kVictim);
  EXPECT_EQ(events[0].time_ns, 100 * kSecond);
}

TEST_F(LifecycleReaderTest, AVictimThatNobodyKnowsIsToldOnceWithItsPid) {
  TakeVictim(kVictim.pid, 100 * kSecond);
  EXPECT_TRUE(Tick().empty());
  const auto events = Tick();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].key, (ProcessKey{kVictim.pid, 0}));
  EXPECT_TRUE(Tick().empty());
}

}  // namespace
}  // namespace outlier
