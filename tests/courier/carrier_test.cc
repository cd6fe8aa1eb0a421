// The threads: a carrier with a transport that hangs, fails, or answers, and what others do to it meanwhile.
#include "userspace/relay/carrier.h"

#include <sys/resource.h>

#include <condition_variable>
#include <deque>

#include "tests/courier/bench.h"

namespace outlier {
namespace {

using std::chrono::steady_clock;

// Answers when it is told to; hangs until then.
class GatedTransport : public Transport {
 public:
  Response Send(const Request& request) override {
    std::unique_lock lock(mutex_);
    ++sends_;
    last_ = request.body;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_ || let_ > 0 || aborted_; });
    if (let_ > 0) --let_;
    Response response;
    if (aborted_) {
      response.failure = Response::Failure::kReset;
    } else if (!once_.empty()) {
      response.status = once_.front();
      once_.pop_front();
    } else {
      response.status = status_;
    }
    ++answers_;
    changed_.notify_all();
    return response;
  }
  void Abort() override {
    const std::lock_guard lock(mutex_);
    aborted_ = true;
    changed_.notify_all();
  }
  // The next answers are `once`, all others `status`.
  void Open(int status = 200, std::deque<int> once = {}) {
    const std::lock_guard lock(mutex_);
    open_ = true;
    status_ = status;
    once_ = std::move(once);
    changed_.notify_all();
  }
  bool WaitForAnswers(int n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [&] { return answers_ >= n; });
  }
  int sends() {
    const std::lock_guard lock(mutex_);
    return sends_;
  }
  void OpenOnce() {
    const std::lock_guard lock(mutex_);
    ++let_;
    changed_.notify_all();
  }
  bool WaitForSends(int n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [&] { return sends_ >= n; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false, aborted_ = false;
  int let_ = 0;
  int sends_ = 0, answers_ = 0, status_ = 200;
  std::deque<int> once_;
  std::string last_;
};

class CarrierTest : public testing::Test {
 protected:
  struct Line {
    StreamServer server;
    GatedTransport* transport = nullptr;
    GatedTransport* second = nullptr;
    std::unique_ptr<Carrier> carrier;
  };
  CarrierTest() {
    std::vector<std::string> messages;
    ledger_ = *Ledger::Open(folder_ / "relay.db", &messages);
    silences_ = std::make_unique<Silences>(ledger_.get(), *labels_);
  }
  std::unique_ptr<Line> Make(const std::string& name, bool samples = false, uint32_t overlapping = 0 /* items of each request */) {
    auto line = std::make_unique<Line>();
    line->server.limits.samples = samples;
    line->server.limits.works_ahead = line->server.limits.knows_repeats = overlapping > 0;
    config::v1::Sink config = DefaultSink(name);
    config.mutable_delivery()->set_linger(0);
    if (overlapping > 0) config.mutable_delivery()->set_max_items(overlapping);
    config.mutable_delivery()->set_first_backoff(std::chrono::nanoseconds(seconds(30)).count());
    AnySink sink;
    sink.stream = std::make_unique<ScriptedStream>(&line->server);
    std::vector<std::unique_ptr<Transport>> transports;
    for (GatedTransport** gate : {&line->transport, &line->second}) {
      if (gate == &line->second && overlapping == 0) break;
      auto transport = std::make_unique<GatedTransport>();
      *gate = transport.get();
      transports.push_back(std::move(transport));
    }
    auto courier = MakeCourier({config, "scripted", *Route::Of(config.route(), *labels_), {"unix:///a"}, labels_, silences_.get(), ledger_.get()}, std::move(sink));
    line->carrier = std::make_unique<Carrier>(
        std::move(courier), std::move(transports),
        [this] {
          ++clock_readings_;
          return std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now());
        },
        [this](const std::string& text) {
          const std::lock_guard lock(said_mutex_);
          said_ += text + "\n";
        });
    return line;
  }
  FeedEvent Change(uint64_t sequence, size_t bytes = 100) {
    FeedEvent event;
    event.feed_id = "f";
    event.change.set_sequence(sequence);
    event.change.set_kind(v1::IncidentChange::OPENED);
    v1::Incident& incident = *event.change.mutable_incident();
    incident.set_id(std::to_string(sequence));
    incident.set_severity(v1::Incident::MAJOR);
    incident.set_state(v1::Incident::OPEN);
    incident.mutable_source()->set_feed_id("f");
    incident.set_summary(std::string(bytes, 's'));
    return event;
  }
  template <class Condition>
  static bool Eventually(Condition condition) {
    const auto until = steady_clock::now() + std::chrono::seconds(60);
    while (!condition()) {
      if (steady_clock::now() > until) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }

  Folder folder_;
  std::shared_ptr<const Labels> labels_ = std::make_shared<const Labels>();
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<Silences> silences_;
  bool Said(const std::string& text) {
    const std::lock_guard lock(said_mutex_);
    return said_.find(text) != std::string::npos;
  }

  std::mutex said_mutex_;
  std::string said_;
  std::atomic<uint64_t> clock_readings_ = 0;
};

TEST_F(CarrierTest, AStuckSinkHoldsUpNobodyElse) {
  auto stuck = Make("stuck"), healthy = Make("healthy");
  healthy->transport->Open();
  stuck->carrier->Start();
  healthy->carrier->Start();
  stuck->carrier->mailbox().Put(Change(1));
  ASSERT_TRUE(stuck->transport->WaitForSends(1));
  for (uint64_t i = 1; i <= 100; ++i) healthy->carrier->mailbox().Put(Change(i));
  EXPECT_TRUE(Eventually([&] { return healthy->carrier->Status().delivered() == 100; }));
  EXPECT_EQ(stuck->carrier->Status().delivered(), 0u);
}

TEST_F(CarrierTest, EndsWithinASecondWhileARequestHangs) {
  auto line = Make("stuck");
  line->carrier->Start();
  line->carrier->mailbox().Put(Change(1));
  ASSERT_TRUE(line->transport->WaitForSends(1));
  const auto begun = steady_clock::now();
  line->carrier.reset();
  EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(1));
}

TEST_F(CarrierTest, SleepsThroughAnOutageThoughAllItsRoomIsTaken) {
  auto line = Make("down");
  line->transport->Open(503);
  line->carrier->Start();
  std::thread reader([&] {
    for (uint64_t i = 1; line->carrier->mailbox().Put(Change(i, 50'000)); ++i) {
    }
  });
  ASSERT_TRUE(line->transport->WaitForSends(1));
  ASSERT_TRUE(Eventually([&] { return line->carrier->Status().state() == relay::v1::SinkStatus::BACKING_OFF; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // what it has room for is read
  const uint64_t before = clock_readings_;
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const uint64_t looks = clock_readings_ - before;
  EXPECT_LT(looks, 20u) << "it spins";
  const auto begun = steady_clock::now();
  line->carrier->Stop();
  reader.join();
  line->carrier.reset();
  EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(1));
}

TEST_F(CarrierTest, APersonsWordEndsABackOffAtOnce) {
  auto line = Make("down");
  line->transport->Open(503);
  line->carrier->Start();
  line->carrier->mailbox().Put(Change(1));
  ASSERT_TRUE(Eventually([&] { return line->carrier->Status().state() == relay::v1::SinkStatus::BACKING_OFF; }));
  line->transport->Open(200);
  line->carrier->RetryNow();
  EXPECT_TRUE(Eventually([&] { return line->carrier->Status().delivered() == 1; }));
}

TEST_F(CarrierTest, ThatASuspendedSinkIsNotTriedAgainIsSaid) {
  auto line = Make("hook");
  line->transport->Open(410, {401});
  line->carrier->Start();
  line->carrier->mailbox().Put(Change(1));
  ASSERT_TRUE(Eventually([&] { return line->carrier->Status().state() == relay::v1::SinkStatus::SUSPENDED; }));
  line->carrier->RetryNow();
  EXPECT_TRUE(Eventually([&] { return Said("sinks retry hook"); }));
  EXPECT_FALSE(line->carrier->Status().has_retry_time());
}

TEST_F(CarrierTest, WishesOfOthersAreBoundedWhileARequestHangs) {
  auto line = Make("stuck", true);
  line->carrier->Start();
  line->carrier->mailbox().Put(Change(1));
  ASSERT_TRUE(line->transport->WaitForSends(1));
  std::vector<std::weak_ptr<const Samples>> held;
  for (int i = 0; i < 1000; ++i) {
    auto samples = std::make_shared<Samples>();
    samples->sample.add_workloads();
    held.push_back(samples);
    line->carrier->Offer(std::move(samples));
    line->carrier->RetryNow();
  }
  const auto alive = std::count_if(held.begin(), held.end(), [](const auto& one) { return !one.expired(); });
  EXPECT_LE(alive, 16);
  line->transport->Open();
  EXPECT_TRUE(Eventually([&] { return line->carrier->Status().samples_lost() + 16 >= 1000; }));
}

TEST_F(CarrierTest, TheNextRequestIsSentBeforeTheAnswerWhereTheSinkKnowsRepeats) {
  auto line = Make("search", false, 10);
  for (uint64_t i = 1; i <= 20; ++i) line->carrier->mailbox().Put(Change(i));
  line->carrier->Start();
  ASSERT_TRUE(line->transport->WaitForSends(1));
  ASSERT_TRUE(line->second->WaitForSends(1)) << "while the first hangs";
  line->second->Open();
  ASSERT_TRUE(line->second->WaitForAnswers(1));
  for (uint64_t i = 21; i <= 100; ++i) line->carrier->mailbox().Put(Change(i));
  EXPECT_EQ(line->carrier->Status().delivered(), 0u) << "in its turn";
  line->transport->Open();
  EXPECT_TRUE(Eventually([&] { return line->carrier->Status().delivered() == 100; }));
  EXPECT_EQ(line->transport->sends() + line->second->sends(), 10) << "each of the ten once";
}

TEST_F(CarrierTest, TheAnswerToWhatWasSentAheadOfAFailureIsNobodys) {
  auto line = Make("search", false, 10);
  for (uint64_t i = 1; i <= 20; ++i) line->carrier->mailbox().Put(Change(i));
  line->carrier->Start();
  ASSERT_TRUE(line->transport->WaitForSends(1));
  ASSERT_TRUE(line->second->WaitForSends(1));
  line->transport->Open(503);
  ASSERT_TRUE(Eventually([&] { return line->carrier->Status().state() == relay::v1::SinkStatus::BACKING_OFF; }));
  line->transport->Open(200);
  line->carrier->RetryNow();  // and all goes over the first, for the second hangs
  EXPECT_TRUE(Eventually([&] { return line->carrier->Status().delivered() == 20; }));
  EXPECT_EQ(line->second->sends(), 1);
  line->second->Open(200, {500});
  ASSERT_TRUE(line->second->WaitForAnswers(1));
  for (uint64_t i = 21; i <= 60; ++i) line->carrier->mailbox().Put(Change(i));
  EXPECT_TRUE(Eventually([&] { return line->carrier->Status().delivered() == 60; }));
  EXPECT_EQ(line->carrier->Status().retried(), 10u) << "the first, and not those after the 500";
}

// Of two requests that are answered at once, the second is looked at later: by then a third is on its way.
TEST_F(CarrierTest, AThirdRequestIsSentBeforeTheSecondsAnswerIsLookedAt) {
  auto line = Make("search", false, 10);
  for (uint64_t i = 1; i <= 60; ++i) line->carrier->mailbox().Put(Change(i));
  line->carrier->Start();
  ASSERT_TRUE(line->transport->WaitForSends(1));
  ASSERT_TRUE(line->second->WaitForSends(1));
  line->second->Open();
  ASSERT_TRUE(line->second->WaitForAnswers(1));
  line->transport->OpenOnce();
  ASSERT_TRUE(line->transport->WaitForSends(2)) << "behind the second, which is answered";
  line->transport->Open();
  EXPECT_TRUE(Eventually([&] { return line->carrier->Status().delivered() == 60; }));
}

TEST_F(CarrierTest, EndsWithinASecondWhileTwoRequestsHang) {
  auto line = Make("stuck", false, 10);
  for (uint64_t i = 1; i <= 20; ++i) line->carrier->mailbox().Put(Change(i));
  line->carrier->Start();
  ASSERT_TRUE(line->second->WaitForSends(1));
  const auto begun = steady_clock::now();
  line->carrier.reset();
  EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(1));
}

TEST_F(CarrierTest, IsAskedFromManyThreadsAtOnce) {  // for the thread sanitizer
  auto line = Make("busy", true);
  line->transport->Open();
  line->carrier->Start();
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        line->carrier->Offer(std::make_shared<Samples>());
        line->carrier->RetryNow();
        line->carrier->Status();
        relay::v1::DeadLetter letter;
        letter.set_id(std::to_string(i));
        line->carrier->Resend({letter});
        relay::v1::Silence silence;
        silence.set_author("a");
        silence.set_reason(std::to_string(t * 1000 + i));
        silence.mutable_match()->set_workload("nobody");
        silence.mutable_ends()->set_seconds(4'000'000'000);
        if (i % 10 == 0) silences_->Add(silence, kStart).IgnoreError();
      }
    });
  }
  for (uint64_t i = 1; i <= 300; ++i) line->carrier->mailbox().Put(Change(i));
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(Eventually([&] { return line->carrier->Status().delivered() == 300; }));
}

}  // namespace
}  // namespace outlier
