#include "userspace/sources/mailbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace outlier {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

FeedEvent Event(uint64_t sequence, size_t bytes = 10) {
  FeedEvent event;
  event.change.set_sequence(sequence);
  event.change.mutable_incident()->set_summary(std::string(bytes, 's'));
  return event;
}

TEST(MailboxTest, GivesEverythingOnceAndInOrderToOneReaderOfManyWriters) {
  Mailbox mailbox(20'000);
  constexpr uint64_t kEach = 5000;
  std::vector<std::thread> writers;
  for (size_t w = 0; w < 4; ++w) {
    writers.emplace_back([&mailbox, w] {
      for (uint64_t i = 1; i <= kEach; ++i) {
        FeedEvent event = Event(i);
        event.source = w;
        ASSERT_TRUE(mailbox.Put(std::move(event)));
      }
    });
  }
  std::vector<uint64_t> last(4);
  uint64_t taken = 0;
  while (taken < 4 * kEach) {
    for (const FeedEvent& event : mailbox.Take(100, steady_clock::now() + std::chrono::seconds(20))) {
      ASSERT_EQ(event.change.sequence(), ++last[event.source]);
      ++taken;
    }
  }
  for (std::thread& writer : writers) writer.join();
}

TEST(MailboxTest, HoldsAWriterUpWhenFullButTakesOneThatIsLargerThanAll) {
  Mailbox mailbox(10'000);
  ASSERT_TRUE(mailbox.Put(Event(1, 1 << 20)));
  std::atomic<bool> put = false;
  std::thread writer([&] {
    mailbox.Put(Event(2));
    put = true;
  });
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_FALSE(put);
  EXPECT_EQ(mailbox.Take(1, steady_clock::now()).size(), 1u);
  writer.join();
  EXPECT_TRUE(put);
}

TEST(MailboxTest, OneWhoTakesNothingSleepsThoughThereIsSomething) {
  Mailbox mailbox(10'000);
  mailbox.Put(Event(1));
  const auto begun = steady_clock::now();
  EXPECT_TRUE(mailbox.Take(0, begun + milliseconds(200)).empty());
  EXPECT_GE(steady_clock::now() - begun, milliseconds(200)) << "a sink without room spins through its outage";
  EXPECT_EQ(mailbox.Take(5, steady_clock::now()).size(), 1u);
}

TEST(MailboxTest, AWakeIsNeverLost) {
  Mailbox mailbox(10'000);
  mailbox.Wake();  // before anybody waits
  auto begun = steady_clock::now();
  mailbox.Take(10, begun + std::chrono::seconds(20));
  EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(10));
  for (int i = 0; i < 200; ++i) {
    std::thread other([&] { mailbox.Wake(); });
    begun = steady_clock::now();
    mailbox.Take(i % 2 == 0 ? 10 : 0, begun + std::chrono::seconds(20));
    EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(10));
    other.join();
  }
}

TEST(MailboxTest, ANewsIsNeverLostWhereOneTakesNothingFirst) {
  Mailbox mailbox(10'000);
  for (uint64_t i = 1; i <= 200; ++i) {
    std::thread other([&] { mailbox.Put(Event(i)); });
    mailbox.Take(0, steady_clock::now() + milliseconds(1));
    EXPECT_EQ(mailbox.Take(10, steady_clock::now() + std::chrono::seconds(20)).size(), 1u);
    other.join();
  }
}

TEST(MailboxTest, ClosingLetsEverybodyGo) {
  Mailbox mailbox(100);
  mailbox.Put(Event(1, 1000));
  std::thread writer([&] { EXPECT_FALSE(mailbox.Put(Event(2))); });
  std::thread reader([&] {
    Mailbox empty(100);
    std::thread closer([&] { empty.Close(); });
    EXPECT_TRUE(empty.Take(10, steady_clock::now() + std::chrono::seconds(60)).empty());
    closer.join();
  });
  std::this_thread::sleep_for(milliseconds(50));
  mailbox.Close();
  writer.join();
  reader.join();
}

}  // namespace
}  // namespace outlier
