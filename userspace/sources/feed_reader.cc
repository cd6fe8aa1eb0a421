#include "userspace/sources/feed_reader.h"

#include <algorithm>

#include <fmt/format.h>

#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/sources/feed_channel.h"

namespace outlier {
namespace {

constexpr auto kFirstWait = std::chrono::milliseconds(200), kLongestWait = std::chrono::milliseconds(5000);
constexpr auto kUnaryDeadline = std::chrono::seconds(20);
constexpr uint32_t kPage = 1000;

}  // namespace

FeedReader::FeedReader(FeedReaderOptions options, Mailbox* mailbox)
    : options_(std::move(options)),
      mailbox_(mailbox),
      feed_id_(options_.feed_id),
      position_(options_.start_after),
      started_(!options_.feed_id.empty() || !options_.from_now),
      thread_([this] { Run(); }) {}

FeedReader::~FeedReader() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (under_way_ != nullptr) under_way_->TryCancel();
  }
  wake_.notify_all();
  thread_.join();
}

bool FeedReader::Put(FeedEvent event) {
  event.source = options_.source;
  if (event.feed_id.empty()) event.feed_id = feed_id_;
  return mailbox_->Put(std::move(event));
}

// The call is cancelled when the reader ends.
template <class Call>
grpc::Status FeedReader::Unary(Call call) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kUnaryDeadline);
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return grpc::Status::CANCELLED;
    under_way_ = &context;
  }
  const grpc::Status status = call(&context);
  const std::lock_guard lock(mutex_);
  under_way_ = nullptr;
  return status;
}

void FeedReader::WaitBefore(int attempt) {
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, std::min<std::chrono::milliseconds>(kFirstWait * (1 << std::min(attempt, 5)), kLongestWait), [&] { return stopping_.load(); });
}

void FeedReader::Run() {
  for (int attempt = 0; !stopping_; ++attempt) {
    if (attempt > 0) WaitBefore(attempt - 1);
    if (stopping_) return;
    const uint64_t before = position_;
    const auto channel = OpenFeedChannel(options_.address, options_.tls);
    std::string why;
    if (!channel.ok()) {
      why = MessageOf(channel.status());
    } else {
      const auto stub = v1::OutlierFeed::NewStub(*channel);
      grpc::Status status;
      while (!stopping_) {
        if (!started_ && !Start(stub.get())) {
          status = {grpc::StatusCode::UNAVAILABLE, "does not answer"};
          break;
        }
        status = WatchOnce(stub.get());
        if (status.error_code() != grpc::StatusCode::OUT_OF_RANGE || !Recover(stub.get())) break;
        attempt = 0;
      }
      if (stopping_) return;
      why = status.error_code() == grpc::StatusCode::OK ? "the stream ended" : status.error_message();
    }
    FeedEvent event;
    event.kind = FeedEvent::Kind::kDisconnected;
    event.message = fmt::format("cannot watch {}: {}", Printable(options_.address, 200), Printable(why, 300));
    if (!Put(std::move(event))) return;
    if (position_ > before) attempt = 0;  // it answered: no reason to wait long
  }
}

bool FeedReader::Start(v1::OutlierFeed::Stub* stub) {
  v1::Status status;
  if (!Unary([&](grpc::ClientContext* context) { return stub->GetStatus(context, {}, &status); }).ok()) return false;
  feed_id_ = status.source().feed_id();
  position_ = status.last_sequence();
  started_ = true;
  return true;
}

bool FeedReader::Recover(v1::OutlierFeed::Stub* stub) {
  v1::Status status;
  if (!Unary([&](grpc::ClientContext* context) { return stub->GetStatus(context, {}, &status); }).ok()) return false;
  host_ = status.source();
  if (host_.feed_id() != feed_id_) {
    FeedEvent gap;
    gap.kind = FeedEvent::Kind::kGap;
    gap.gap = {position_ + 1, 0, 0, "feed_replaced"};
    gap.time = options_.now();
    gap.host = host_;
    gap.host.set_feed_id(feed_id_);
    FeedEvent replaced;
    replaced.kind = FeedEvent::Kind::kReplaced;
    replaced.old_feed_id = feed_id_;
    replaced.feed_id = host_.feed_id();
    if (!Put(std::move(gap)) || !Put(std::move(replaced))) return true;
    feed_id_ = host_.feed_id();
    position_ = 0;
    lost_known_ = false;
    return true;
  }
  if (position_ > status.last_sequence()) {
    // A journal that was put back to an older state: what it says next was not said before under these numbers.
    FeedEvent gap;
    gap.kind = FeedEvent::Kind::kGap;
    gap.gap = {status.last_sequence() + 1, position_, 0, "journal_rewound"};
    gap.time = options_.now();
    gap.host = host_;
    position_ = status.last_sequence();
    Put(std::move(gap));
    return true;
  }
  // What lies before `oldest_sequence` is there in parts: of incidents that are still open.
  FeedEvent gap;
  gap.kind = FeedEvent::Kind::kGap;
  gap.gap = {position_ + 1, std::max(status.oldest_sequence(), position_ + 2) - 1, 0, "compacted"};
  gap.time = options_.now();
  gap.host = host_;
  from_oldest_ = true;
  Put(std::move(gap));
  return true;
}

// False when the mailbox is closed.
bool FeedReader::Accept(const v1::IncidentChange& change) {
  if (change.sequence() <= position_) return true;
  position_ = change.sequence();
  FeedEvent event;
  event.kind = FeedEvent::Kind::kChange;
  event.change = change;
  return Put(std::move(event));
}

bool FeedReader::ListOpen(v1::OutlierFeed::Stub* stub) {
  FeedEvent event;
  event.kind = FeedEvent::Kind::kOpenNow;
  event.sequence = position_;
  v1::ListIncidentsRequest request;
  request.mutable_filter()->set_state(v1::Incident::OPEN);
  request.set_page_size(kPage);
  do {
    v1::ListIncidentsResponse response;
    if (!Unary([&](grpc::ClientContext* context) { return stub->ListIncidents(context, request, &response); }).ok()) return false;
    for (v1::Incident& incident : *response.mutable_incidents()) event.open.push_back(std::move(incident));
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return Put(std::move(event));
}

grpc::Status FeedReader::WatchOnce(v1::OutlierFeed::Stub* stub) {
  if (options_.spooled && !feed_id_.empty()) {
    for (;;) {
      const std::vector<v1::IncidentChange> changes = options_.spooled(feed_id_, position_);
      for (const v1::IncidentChange& change : changes) {
        if (!Accept(change)) return grpc::Status::CANCELLED;
      }
      if (changes.empty() || stopping_) break;
    }
  }
  grpc::ClientContext context;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return grpc::Status::CANCELLED;
    under_way_ = &context;
  }
  v1::WatchRequest request;
  request.set_start_after(from_oldest_ ? 0 : position_);
  request.set_feed_id(feed_id_);
  const auto stream = stub->Watch(&context, request);
  v1::WatchResponse response;
  bool caught_up = false, taken = true;
  while (taken && stream->Read(&response)) {
    FeedEvent event;
    switch (response.kind_case()) {
      case v1::WatchResponse::kFeedId:
        feed_id_ = response.feed_id();
        event.kind = FeedEvent::Kind::kConnected;
        event.sequence = position_;
        taken = Put(std::move(event));
        break;
      case v1::WatchResponse::kChange:
        host_ = response.change().incident().source();
        taken = Accept(response.change());
        break;
      case v1::WatchResponse::kHeartbeat: {
        const v1::Heartbeat& heartbeat = response.heartbeat();
        if (taken && lost_known_ && heartbeat.lost() > lost_) {
          event.kind = FeedEvent::Kind::kGap;
          event.gap = {0, 0, heartbeat.lost() - lost_, "not_journalled"};
          event.time = options_.now();
          event.host = host_;
          taken = Put(std::move(event));
          event = {};
        }
        lost_ = heartbeat.lost();
        lost_known_ = true;
        position_ = std::max(position_, heartbeat.last_sequence());
        from_oldest_ = false;
        event.kind = FeedEvent::Kind::kCaughtUp;
        event.sequence = position_;
        taken = taken && Put(std::move(event));
        // The stream goes on filling meanwhile; a call beside it must not become the one to cancel.
        if (taken && !caught_up && options_.lists_open) {
          {
            const std::lock_guard lock(mutex_);
            under_way_ = nullptr;
          }
          const bool listed = ListOpen(stub);
          {
            const std::lock_guard lock(mutex_);
            under_way_ = &context;
            if (stopping_) context.TryCancel();
          }
          if (!listed) context.TryCancel();  // again, from the beginning
        }
        caught_up = true;
        break;
      }
      default: break;
    }
  }
  if (!taken) context.TryCancel();
  const grpc::Status status = stream->Finish();
  const std::lock_guard lock(mutex_);
  under_way_ = nullptr;
  return status;
}

}  // namespace outlier
