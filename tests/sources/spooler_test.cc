#include "userspace/relay/spooler.h"

#include "tests/sources/source_fixture.h"

namespace outlier {
namespace {

class SpoolerTest : public SourceTest {
 protected:
  SpoolerTest() {
    std::vector<std::string> messages;
    ledger_ = *Ledger::Open(folder_ / "relay.db", &messages);
  }
  relay::v1::SinkStatus Sink(const std::string& feed_id, uint64_t sequence, int64_t lag_seconds) {
    relay::v1::SinkStatus status;
    relay::v1::SourcePosition& position = *status.add_sources();
    position.set_source(address_);
    position.set_feed_id(feed_id);
    position.set_sequence(sequence);
    position.set_last_sequence(journal_->last_sequence());
    position.mutable_lag()->set_seconds(lag_seconds);
    return status;
  }
  void Set(std::vector<relay::v1::SinkStatus> sinks) {
    const std::lock_guard lock(mutex_);
    sinks_ = std::move(sinks);
  }
  std::unique_ptr<Spooler> Start(uint64_t max_size = 1 << 30) {
    SpoolerOptions options;
    options.sources = {address_};
    options.max_size = max_size;
    options.look_every = std::chrono::milliseconds(20);
    options.sinks = [this] {
      const std::lock_guard lock(mutex_);
      return sinks_;
    };
    options.warn = [this](const std::string& text) {
      const std::lock_guard lock(mutex_);
      warnings_.push_back(text);
    };
    return std::make_unique<Spooler>(std::move(options), ledger_.get());
  }
  template <class Condition>
  static bool Eventually(Condition condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < until) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  std::unique_ptr<Ledger> ledger_;
  std::mutex mutex_;
  std::vector<relay::v1::SinkStatus> sinks_;
  std::vector<std::string> warnings_;
};

TEST_F(SpoolerTest, RescuesWhatTheSourceIsAboutToForgetAndFreesItWhenItIsDealtWith) {
  view_.retained = 1000;
  for (int i = 0; i < 1200; ++i) Open("a" + std::to_string(i));
  const std::string feed = journal_->feed_id();
  Set({Sink(feed, 100, 600), Sink(feed, 1200, 0)});
  const auto spooler = Start();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(*ledger_->SpooledBytes(), 0u) << "not near yet";
  Set({Sink(feed, 100, 800), Sink(feed, 1200, 0)});
  ASSERT_TRUE(Eventually([&] { return ledger_->Spooled(feed, 1199, 1)->size() == 1; }));
  EXPECT_EQ(ledger_->Spooled(feed, 0, 10'000)->size(), 1100u);
  EXPECT_EQ(ledger_->Spooled(feed, 0, 1)->front().sequence(), 101u);
  Set({Sink(feed, 1200, 0), Sink(feed, 1200, 0)});
  EXPECT_TRUE(Eventually([&] { return *ledger_->SpooledBytes() == 0; }));
}

TEST_F(SpoolerTest, FreesWhatIsOfAFeedThatNoSinkReadsAnyMore) {
  v1::IncidentChange change = MakeChange("a", v1::IncidentChange::OPENED, 1);
  change.set_sequence(5);
  ASSERT_TRUE(ledger_->Spool({change}, "old").ok());
  ASSERT_TRUE(ledger_->Spool({change}, "still").ok());
  Set({Sink(journal_->feed_id(), 0, 0), Sink("still", 3, 0)});
  const auto spooler = Start();
  EXPECT_TRUE(Eventually([&] { return ledger_->Spooled("old", 0, 10)->empty(); })) << "it fills the spool for ever";
  EXPECT_EQ(ledger_->Spooled("still", 0, 10)->size(), 1u);
}

TEST_F(SpoolerTest, ASinkStillAtTheOldJournalDoesNotMixItsNumbersIntoTheNew) {
  view_.retained = 1000;
  for (int i = 0; i < 20; ++i) Open("a" + std::to_string(i));
  v1::IncidentChange change = MakeChange("x", v1::IncidentChange::OPENED, 1);
  change.set_sequence(900);
  ASSERT_TRUE(ledger_->Spool({change}, "old").ok());
  Set({Sink("old", 800, 990), Sink(journal_->feed_id(), 3, 990)});
  const auto spooler = Start();
  ASSERT_TRUE(Eventually([&] { return ledger_->Spooled(journal_->feed_id(), 19, 10)->size() == 1; }));
  EXPECT_EQ(ledger_->Spooled(journal_->feed_id(), 0, 100)->size(), 17u);
  EXPECT_EQ(ledger_->Spooled("old", 0, 10)->size(), 1u);
}

TEST_F(SpoolerTest, StopsAtItsLargestSizeAndSaysSo) {
  view_.retained = 1000;
  for (int i = 0; i < 3000; ++i) Append("a" + std::to_string(i), v1::IncidentChange::OPENED, [](v1::IncidentChange* c) { c->mutable_incident()->set_summary(std::string(1000, 's')); });
  Set({Sink(journal_->feed_id(), 0, 990)});
  const auto spooler = Start(1 << 20);
  EXPECT_TRUE(Eventually([&] {
    const std::lock_guard lock(mutex_);
    return std::any_of(warnings_.begin(), warnings_.end(), [](const std::string& text) { return text.find("max_size") != std::string::npos; });
  }));
  EXPECT_LT(*ledger_->SpooledBytes(), (1u << 20) + 600'000);
}

}  // namespace
}  // namespace outlier
