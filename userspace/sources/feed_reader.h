// FeedReader: one Watch of one source for one sink, from a cursor, on a thread of its own, for ever: connects again with back-off, resumes,
// and where the source cannot give what comes next says so as a gap and goes on from what there is. Its events go to a mailbox in order.
//
// After each time it has caught up on a new connection it lists what is open, where the sink holds what is open.
//
// A source may be anything: whose feed_id or incident ids are no such thing is not followed, and what it says of incidents is about its own feed,
// whatever stands in them.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "outlier/config/v1/relay.pb.h"
#include "outlier/v1/feed.grpc.pb.h"
#include "userspace/sources/mailbox.h"

namespace outlier {

struct FeedReaderOptions {
  size_t source = 0;           // its number
  std::string address;
  config::v1::SourceTls tls;
  std::string feed_id;         // of the cursor; "" = none yet
  uint64_t start_after = 0;
  bool from_now = false;       // without a cursor: only what is open, and what changes from now on; else all that is kept
  bool lists_open = false;     // state sinks
  std::function<WallTime()> now;
  // Changes of a feed after a sequence that a spool holds for this sink, oldest first; none when it has none.
  std::function<std::vector<v1::IncidentChange>(const std::string& feed_id, uint64_t after)> spooled;
};

class FeedReader {
 public:
  FeedReader(FeedReaderOptions options, Mailbox* mailbox);  // begins
  ~FeedReader();                                            // ends within a second of its mailbox being closed, or of Stop where that has room
  void Stop();                                              // does not wait; thread-safe
  FeedReader(const FeedReader&) = delete;
  FeedReader& operator=(const FeedReader&) = delete;

 private:
  void Run();
  grpc::Status Follow(v1::OutlierFeed::Stub* stub);         // until something ends it
  grpc::Status WatchOnce(v1::OutlierFeed::Stub* stub);
  grpc::Status ReadStream(v1::OutlierFeed::Stub* stub, grpc::ClientContext* context, grpc::ClientReader<v1::WatchResponse>* stream);
  grpc::Status DrainSpool();
  grpc::Status Recover(v1::OutlierFeed::Stub* stub);        // from OUT_OF_RANGE
  grpc::Status Start(v1::OutlierFeed::Stub* stub);          // from_now
  grpc::Status ListOpen(v1::OutlierFeed::Stub* stub);
  grpc::Status Accept(v1::IncidentChange&& change);
  void TakeHost(const v1::Source& host);
  grpc::Status TakeFeedId(const std::string& feed_id);
  grpc::Status TakeHeartbeat(const v1::Heartbeat& heartbeat);
  grpc::Status Replaced(const std::string& feed_id);
  grpc::Status Tell(FeedEvent&& event);                      // CANCELLED where the mailbox is closed
  FeedEvent GapOf(Gap gap) const;
  bool Put(FeedEvent&& event);
  template <class Call>
  grpc::Status Unary(Call call);
  void WaitBefore(int attempt);

  const FeedReaderOptions options_;
  Mailbox* const mailbox_;
  std::string feed_id_;
  uint64_t position_;
  uint64_t lost_ = 0;
  bool lost_known_ = false;
  std::optional<uint64_t> gap_told_;  // the position that a gap was told to begin after
  bool started_ = false;       // a place to begin from is known
  bool from_oldest_ = false;   // what comes next is no longer held: all there is is asked for, and what lies before it passed over
  v1::Source host_;
  std::mutex mutex_;
  std::condition_variable wake_;
  grpc::ClientContext* under_way_ = nullptr;  // guarded by mutex_
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace outlier
