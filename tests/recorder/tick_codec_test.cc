#include "userspace/recorder/tick_codec.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/recorder/random_ticks.h"
#include "tests/recorder/tick_equality.h"

namespace outlier {
namespace {

RC_GTEST_PROP(TickCodec, WhatIsEncodedIsDecodedToTheSameTickField, (uint64_t seed)) {
  RandomTicks ticks(seed);
  TickEncoder encoder;
  TickDecoder decoder;
  std::string bytes;
  for (int i = 0; i < 30; ++i) {
    if (i == 15) {  // a new segment
      encoder.Reset();
      decoder.Reset();
    }
    const TickInput tick = ticks.Next();
    RC_ASSERT(encoder.Encode(tick, &bytes).ok());
    const auto back = decoder.Decode(bytes);
    RC_ASSERT(back.ok());
    RC_ASSERT(std::string(FirstDifference(tick, *back)) == "");
  }
}

RC_GTEST_PROP(TickCodec, MutatedBytesNeverCrashTheDecoder, (uint64_t seed)) {
  RandomTicks ticks(seed);
  std::mt19937_64 random(seed);
  TickEncoder encoder;
  TickDecoder decoder;
  std::string bytes;
  for (int i = 0; i < 20; ++i) {
    RC_ASSERT(encoder.Encode(ticks.Next(), &bytes).ok());
    std::string damaged = bytes;
    for (uint64_t n = random() % 3; n > 0; --n) damaged[random() % damaged.size()] = static_cast<char>(random());
    if (random() % 4 == 0) damaged.resize(random() % (damaged.size() + 1));
    const auto tick = decoder.Decode(damaged);
    if (tick.ok()) {
      RC_ASSERT(tick->processes.size() <= kMaxTickRows);
      RC_ASSERT(tick->accounts.size() <= kMaxTickAccounts);
    }
  }
}

TEST(TickCodec, OfSyscallsOnlyTheClassesThatMayHaveChangedAreRecordedAndShownToHaveChanged) {
  TickInput input;
  input.accounts.resize(1);
  input.accounts[0].account = 5;
  input.syscalls.resize(1);
  AccountSyscalls& row = input.syscalls[0];
  row.account = 5;
  for (int c = 0; c < kSyscallClasses; ++c) row.buckets[c][7] = 100 + c;
  TickEncoder encoder;
  TickDecoder decoder;
  const auto recorded = [&] {
    std::string bytes;
    EXPECT_TRUE(encoder.Encode(input, &bytes).ok());
    const auto decoded = decoder.Decode(bytes);
    EXPECT_TRUE(decoded.ok());
    return decoded->syscalls[0];
  };
  AccountSyscalls told = recorded();
  EXPECT_EQ(told.changed, kEverySyscallClass);
  EXPECT_EQ(Fields(told), Fields(row));

  row.changed = 1 << 2 | 1 << 6;
  row.buckets[2][7] += 1;
  row.duration_sum_ns[6] += 4000;
  row.errors[6] += 1;
  row.buckets[6][51] += 1;
  told = recorded();
  EXPECT_EQ(told.changed, 1 << 2 | 1 << 6);
  EXPECT_EQ(Fields(told), Fields(row));

  // Read while a call of another class was being counted: told once, when that class says that it has changed.
  row.changed = 1 << 6;
  row.errors[0] += 7;
  row.duration_sum_ns[0] += 900;
  row.buckets[0][3] += 7;
  EXPECT_EQ(recorded().changed, 0) << "nothing of class 6 differs";
  row.changed = 1 << 0;
  row.errors[0] += 1;
  told = recorded();
  EXPECT_EQ(told.changed, 1 << 0);
  EXPECT_EQ(Fields(told), Fields(row));

  // A recording that begins here knows nothing of the other classes, nor says that they changed.
  encoder.Reset();
  decoder.Reset();
  row.changed = 1 << 6;
  told = recorded();
  EXPECT_EQ(told.changed, 1 << 6);
  EXPECT_EQ(told.buckets[6], row.buckets[6]);
  EXPECT_EQ(told.buckets[2][7], 0u);
}

TEST(TickCodec, AnEmptyTickIsATick) {
  TickEncoder encoder;
  TickDecoder decoder;
  std::string bytes;
  ASSERT_TRUE(encoder.Encode({}, &bytes).ok());
  const auto back = decoder.Decode(bytes);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_STREQ(FirstDifference({}, *back), "");
}

TEST(TickCodec, ATickTooLargeToBeReadBackIsRefused) {
  TickInput tick;
  tick.processes.resize(kMaxTickRows + 1);
  std::string bytes;
  EXPECT_EQ(TickEncoder().Encode(tick, &bytes).code(), absl::StatusCode::kResourceExhausted);
  tick.processes.clear();
  tick.commands.resize(1);
  tick.commands[0].config.assign(kMaxTickBytes, 'c');
  EXPECT_EQ(TickEncoder().Encode(tick, &bytes).code(), absl::StatusCode::kResourceExhausted);
}

TEST(TickCodec, AHostWhereNothingHappensCostsAlmostNothing) {
  TickInput tick;
  tick.processes.resize(1000);
  for (int i = 0; i < 1000; ++i) {
    tick.processes[i].key = {i + 1, 12345u + i};
    tick.processes[i].rss_file_bytes = i * 4096;
    tick.processes[i].comm = "sleeper";
  }
  TickEncoder encoder;
  std::string bytes;
  ASSERT_TRUE(encoder.Encode(tick, &bytes).ok());
  ++tick.tick;
  ASSERT_TRUE(encoder.Encode(tick, &bytes).ok());
  EXPECT_LT(bytes.size(), 100u);
}

}  // namespace
}  // namespace outlier
