#include "userspace/sources/sample_reader.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "tests/sources/source_fixture.h"

namespace outlier {
namespace {

using std::chrono::steady_clock;

class SampleReaderTest : public SourceTest {
 protected:
  SampleReaderOptions Options() {
    SampleReaderOptions options;
    options.address = address_;
    options.labels = std::make_shared<const Labels>();
    options.on_samples = [this](Samples samples) {
      const std::lock_guard lock(mutex_);
      samples_.push_back(std::move(samples));
    };
    options.on_status = [this](const v1::Status&) { ++statuses_; };
    options.on_state = [this](bool connected, const std::string& message) {
      const std::lock_guard lock(mutex_);
      states_.emplace_back(connected, message);
    };
    options.on_lost = [](uint64_t) {};
    return options;
  }
  template <class Condition>
  bool Eventually(Condition condition) {
    const auto until = steady_clock::now() + std::chrono::seconds(60);
    while (steady_clock::now() < until) {
      {
        const std::lock_guard lock(mutex_);
        if (condition()) return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  std::mutex mutex_;
  std::vector<Samples> samples_;
  std::vector<std::pair<bool, std::string>> states_;
  std::atomic<int> statuses_ = 0;
};

TEST_F(SampleReaderTest, GivesSamplesWithTheStatusOfTheHost) {
  SampleReader reader(Options());
  ASSERT_TRUE(Eventually([&] { return server_->wants_samples(); }));
  v1::SampleResponse sample;
  sample.mutable_time()->set_seconds(1'800'000'000);
  sample.add_workloads()->mutable_workload()->set_name("redis");
  server_->PublishSample(sample);
  ASSERT_TRUE(Eventually([&] { return !samples_.empty(); }));
  EXPECT_EQ(samples_[0].source.host_name(), "db-1");
  ASSERT_TRUE(samples_[0].status.has_value());
  EXPECT_EQ(states_.front(), (std::pair<bool, std::string>{true, ""}));
}

TEST_F(SampleReaderTest, SaysOnceThatTheSourceIsAwayAndOnceThatItIsBack) {
  server_.reset();
  SampleReader reader(Options());
  ASSERT_TRUE(Eventually([&] { return !states_.empty(); }));
  std::this_thread::sleep_for(std::chrono::milliseconds(4500));  // two more tries
  {
    const std::lock_guard lock(mutex_);
    EXPECT_LE(states_.size(), 2u) << "a line in the log every two seconds";
  }
  Serve();
  EXPECT_TRUE(Eventually([&] { return states_.back().first; }));
}

// Takes connections and never says a word.
class MuteServer {
 public:
  explicit MuteServer(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::snprintf(name.sun_path, sizeof name.sun_path, "%s", path.c_str());
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
    EXPECT_EQ(listen(fd_, 10), 0);
  }
  ~MuteServer() { close(fd_); }

 private:
  const int fd_;
};

TEST_F(SampleReaderTest, EndsWithinASecondThoughTheSourceHangs) {
  MuteServer mute(folder_ / "mute.sock");
  SampleReaderOptions options = Options();
  options.address = "unix://" + folder_ / "mute.sock";
  auto samples = std::make_unique<SampleReader>(options);
  FeedReaderOptions feed = ReaderOptions();
  feed.address = options.address;
  feed.from_now = true;
  Read(feed);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const auto begun = steady_clock::now();
  samples.reset();
  StopReader();
  EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(1));
}

}  // namespace
}  // namespace outlier
