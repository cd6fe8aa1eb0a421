// The real journal and the real feed server of a source, and one reader of it with its mailbox.
#pragma once
#include <fmt/format.h>

#include "tests/feed/feed_fixture.h"
#include "userspace/feed/server.h"
#include "userspace/sources/feed_reader.h"

namespace outlier {

class SourceView : public FakeView {
 public:
  std::function<const Journal*()> journal;
  std::string claims;  // a feed_id that is not its own
  int64_t retained = 0;
  v1::Status GetStatus() const override {
    v1::Status status;
    status.mutable_source()->set_feed_id(claims.empty() ? journal()->feed_id() : claims);
    status.mutable_source()->set_host_name("db-1");
    status.set_oldest_sequence(journal()->oldest_sequence());
    status.set_last_sequence(journal()->last_sequence());
    status.mutable_feed_retained()->set_seconds(retained);
    return status;
  }
};

class SourceTest : public testing::Test {
 protected:
  SourceTest() : address_("unix://" + folder_ / "feed.sock") {
    options_.address = address_;
    options_.heartbeat = absl::Milliseconds(50);
    view_.journal = [this] { return journal_.get(); };
    journal_ = OpenJournal(folder_ / "journal.db");
    Serve();
  }
  ~SourceTest() override { StopReader(); }

  void Serve() {
    auto server = FeedServer::Start(options_, journal_.get(), &view_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    server_->SetServing(true);
  }
  void Append(const std::string& id, v1::IncidentChange::Kind kind, const std::function<void(v1::IncidentChange*)>& tweak = {}) {
    v1::IncidentChange change = MakeChange(id, kind, static_cast<int64_t>(1'700'000'000 + tick_));
    change.mutable_incident()->mutable_source()->set_feed_id(journal_->feed_id());
    if (tweak) tweak(&change);
    std::vector<v1::IncidentChange> changes = {change};
    ASSERT_TRUE(journal_->Append(++tick_, &changes).ok());
    if (server_) server_->ChangesAppended(journal_->last_sequence(), lost_);
  }
  void Open(const std::string& id) { Append(id, v1::IncidentChange::OPENED); }
  void Resolve(const std::string& id) { Append(id, v1::IncidentChange::RESOLVED); }
  // `then` happens before anybody can read the new one.
  void Wipe(const std::function<void()>& then) {
    server_.reset();
    journal_.reset();
    for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(folder_ / ("journal.db" + std::string(suffix)));
    tick_ = 0;
    journal_ = OpenJournal(folder_ / "journal.db");
    then();
    Serve();
  }

  FeedReaderOptions ReaderOptions() {
    FeedReaderOptions options;
    options.address = address_;
    options.lists_open = true;
    options.now = [] { return WallTime(std::chrono::seconds(1'800'000'000)); };
    return options;
  }
  void Read(FeedReaderOptions options, size_t mailbox_bytes = 1 << 20) {
    StopReader();
    mailbox_ = std::make_unique<Mailbox>(mailbox_bytes);
    events_.clear();
    looked_ = 0;
    reader_ = std::make_unique<FeedReader>(std::move(options), mailbox_.get());
  }
  void StopReader() {
    if (mailbox_) mailbox_->Close();
    reader_.reset();
  }
  // The next event of this kind; all that come before it are kept in events_.
  std::optional<FeedEvent> Next(FeedEvent::Kind kind) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < until) {
      for (; looked_ < events_.size(); ++looked_) {
        if (events_[looked_].kind == kind) return events_[looked_++];
      }
      for (FeedEvent& event : mailbox_->Take(1, std::chrono::steady_clock::now() + std::chrono::milliseconds(100))) events_.push_back(std::move(event));
    }
    ADD_FAILURE() << "no event of kind " << static_cast<int>(kind) << " came within a minute";
    return std::nullopt;
  }
  // The changes read, up to this sequence.
  std::vector<uint64_t> ChangesUpTo(uint64_t sequence) {
    std::vector<uint64_t> sequences;
    while (sequences.empty() || sequences.back() < sequence) {
      const auto event = Next(FeedEvent::Kind::kChange);
      if (!event) break;
      sequences.push_back(event->change.sequence());
    }
    return sequences;
  }
  size_t Count(FeedEvent::Kind kind) const {
    return static_cast<size_t>(std::count_if(events_.begin(), events_.end(), [&](const FeedEvent& event) { return event.kind == kind; }));
  }

  TemporaryFolder folder_;
  const std::string address_;
  FeedServerOptions options_;
  SourceView view_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<FeedServer> server_;
  uint64_t tick_ = 0, lost_ = 0;
  std::unique_ptr<Mailbox> mailbox_;
  std::unique_ptr<FeedReader> reader_;
  std::vector<FeedEvent> events_;
  size_t looked_ = 0;
};

}  // namespace outlier
