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
constexpr size_t kMostOpen = 200'000;    // incidents that one source may list
constexpr size_t kMostIdBytes = 128;

// As journals make them: anything short and printable.
grpc::Status CheckFeedId(const std::string& feed_id) {
  const bool plain = std::all_of(feed_id.begin(), feed_id.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
  if (plain && !feed_id.empty() && feed_id.size() <= kMostIdBytes) return grpc::Status::OK;
  return {grpc::StatusCode::INVALID_ARGUMENT, fmt::format("it says that its feed_id is \"{}\": no outlierd says that", Printable(feed_id, 80))};
}

grpc::Status CheckIncident(const v1::Incident& incident) {
  if (!incident.id().empty() && incident.id().size() <= kMostIdBytes) return grpc::Status::OK;
  return {grpc::StatusCode::INVALID_ARGUMENT, fmt::format("it speaks of an incident with an id of {} bytes: no outlierd says that", incident.id().size())};
}

}  // namespace

FeedReader::FeedReader(FeedReaderOptions options, Mailbox* mailbox)
    : options_(std::move(options)),
      mailbox_(mailbox),
      feed_id_(options_.feed_id),
      position_(options_.start_after),
      started_(!options_.feed_id.empty() || !options_.from_now),
      thread_([this] { Run(); }) {}

FeedReader::~FeedReader() {
  Stop();
  thread_.join();
}

void FeedReader::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (under_way_ != nullptr) under_way_->TryCancel();
  }
  wake_.notify_all();
}

bool FeedReader::Put(FeedEvent&& event) {
  event.source = options_.source;
  if (event.feed_id.empty()) event.feed_id = feed_id_;
  return mailbox_->Put(std::move(event));
}

grpc::Status FeedReader::Tell(FeedEvent&& event) { return Put(std::move(event)) ? grpc::Status::OK : grpc::Status::CANCELLED; }

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
      const grpc::Status status = Follow(v1::OutlierFeed::NewStub(*channel).get());
      if (stopping_) return;
      why = status.error_code() == grpc::StatusCode::OK ? "the stream ended" : WhyNot(status, options_.address, options_.tls);
    }
    FeedEvent event;
    event.kind = FeedEvent::Kind::kDisconnected;
    event.message = fmt::format("cannot watch {}: {}", Printable(options_.address, 200), Printable(why, 300));
    if (!Put(std::move(event))) return;
    if (position_ > before) attempt = 0;  // it answered: no reason to wait long
  }
}

grpc::Status FeedReader::Follow(v1::OutlierFeed::Stub* stub) {
  if (!started_) {
    if (const grpc::Status status = Start(stub); !status.ok()) return status;
  }
  for (bool recovered = false;;) {
    const grpc::Status status = WatchOnce(stub);
    if (status.error_code() != grpc::StatusCode::OUT_OF_RANGE || stopping_) return status;
    // A spool may hold by now what the source has dropped.
    if (options_.spooled && !options_.spooled(feed_id_, position_).empty()) continue;
    if (recovered) return status;  // twice in a row: not without a wait between
    recovered = true;
    if (const grpc::Status recovery = Recover(stub); !recovery.ok()) return recovery;
  }
}

grpc::Status FeedReader::Start(v1::OutlierFeed::Stub* stub) {
  v1::Status host;
  grpc::Status status = Unary([&](grpc::ClientContext* context) { return stub->GetStatus(context, {}, &host); });
  if (status.ok()) status = CheckFeedId(host.source().feed_id());
  if (!status.ok()) return status;
  feed_id_ = host.source().feed_id();
  position_ = host.last_sequence();
  started_ = true;
  return status;
}

FeedEvent FeedReader::GapOf(Gap gap) const {
  FeedEvent event;
  event.kind = FeedEvent::Kind::kGap;
  event.gap = std::move(gap);
  event.time = options_.now();
  event.host = host_;
  event.host.set_feed_id(feed_id_);
  return event;
}

// Another journal is there than the one that was followed.
grpc::Status FeedReader::Replaced(const std::string& feed_id) {
  if (const grpc::Status status = Tell(GapOf({position_ + 1, 0, 0, "feed_replaced"})); !status.ok()) return status;
  FeedEvent replaced;
  replaced.kind = FeedEvent::Kind::kReplaced;
  replaced.old_feed_id = feed_id_;
  replaced.feed_id = feed_id;
  feed_id_ = feed_id;
  position_ = 0;
  lost_known_ = from_oldest_ = false;
  gap_told_.reset();
  return Tell(std::move(replaced));
}

grpc::Status FeedReader::Recover(v1::OutlierFeed::Stub* stub) {
  v1::Status host;
  grpc::Status status = Unary([&](grpc::ClientContext* context) { return stub->GetStatus(context, {}, &host); });
  if (status.ok()) status = CheckFeedId(host.source().feed_id());
  if (!status.ok()) return status;
  host_ = host.source();
  if (host_.feed_id() != feed_id_) return Replaced(host_.feed_id());
  if (position_ > host.last_sequence()) {
    // A journal that was put back to an older state: what it says next was not said before under these numbers.
    FeedEvent gap = GapOf({host.last_sequence() + 1, position_, 0, "journal_rewound"});
    position_ = host.last_sequence();
    return Tell(std::move(gap));
  }
  // What lies before `oldest_sequence` is there in parts: of incidents that are still open.
  from_oldest_ = true;
  if (gap_told_ == position_) return status;
  gap_told_ = position_;
  return Tell(GapOf({position_ + 1, std::max(host.oldest_sequence(), position_ + 2) - 1, 0, "compacted"}));
}

grpc::Status FeedReader::Accept(v1::IncidentChange&& change) {
  if (change.sequence() <= position_) return grpc::Status::OK;
  if (const grpc::Status status = CheckIncident(change.incident()); !status.ok()) return status;
  position_ = change.sequence();
  FeedEvent event;
  event.kind = FeedEvent::Kind::kChange;
  event.change = std::move(change);
  std::string& feed = *event.change.mutable_incident()->mutable_source()->mutable_feed_id();
  if (feed != feed_id_) feed = feed_id_;  // of no other, whatever it says
  event.bytes = event.change.ByteSizeLong();
  return Tell(std::move(event));
}

grpc::Status FeedReader::ListOpen(v1::OutlierFeed::Stub* stub) {
  FeedEvent event;
  event.kind = FeedEvent::Kind::kOpenNow;
  event.sequence = position_;
  v1::ListIncidentsRequest request;
  request.mutable_filter()->set_state(v1::Incident::OPEN);
  request.set_page_size(kPage);
  do {
    v1::ListIncidentsResponse response;
    const grpc::Status status = Unary([&](grpc::ClientContext* context) { return stub->ListIncidents(context, request, &response); });
    if (!status.ok()) return status;
    for (v1::Incident& incident : *response.mutable_incidents()) {
      if (const grpc::Status odd = CheckIncident(incident); !odd.ok()) return odd;
      if (incident.state() != v1::Incident::OPEN) continue;
      incident.mutable_source()->set_feed_id(feed_id_);
      event.open.push_back(std::move(incident));
    }
    if (event.open.size() > kMostOpen || (response.incidents().empty() && !response.next_page_token().empty())) {
      return {grpc::StatusCode::INVALID_ARGUMENT, fmt::format("its list of open incidents has no end ({} so far)", event.open.size())};
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return Tell(std::move(event));
}

grpc::Status FeedReader::DrainSpool() {
  while (options_.spooled && !feed_id_.empty() && !stopping_) {
    std::vector<v1::IncidentChange> changes = options_.spooled(feed_id_, position_);
    if (changes.empty()) break;
    const uint64_t before = position_;
    for (v1::IncidentChange& change : changes) {
      if (const grpc::Status status = Accept(std::move(change)); !status.ok()) return status;
    }
    if (position_ == before) break;
  }
  return grpc::Status::OK;
}

grpc::Status FeedReader::WatchOnce(v1::OutlierFeed::Stub* stub) {
  if (const grpc::Status status = DrainSpool(); !status.ok()) return status;
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
  const grpc::Status ours = ReadStream(stub, &context, stream.get());
  if (!ours.ok()) context.TryCancel();
  const grpc::Status theirs = stream->Finish();
  const std::lock_guard lock(mutex_);
  under_way_ = nullptr;
  return ours.ok() ? theirs : ours;
}

// OK when the source ended it.
grpc::Status FeedReader::ReadStream(v1::OutlierFeed::Stub* stub, grpc::ClientContext* context, grpc::ClientReader<v1::WatchResponse>* stream) {
  v1::WatchResponse response;
  bool listed = !options_.lists_open;
  while (stream->Read(&response)) {
    grpc::Status status;
    switch (response.kind_case()) {
      case v1::WatchResponse::kFeedId: status = TakeFeedId(response.feed_id()); break;
      case v1::WatchResponse::kChange:
        TakeHost(response.change().incident().source());
        status = Accept(std::move(*response.mutable_change()));
        break;
      case v1::WatchResponse::kHeartbeat:
        status = TakeHeartbeat(response.heartbeat());
        if (status.ok() && !listed) {
          // The stream goes on filling meanwhile; a call beside it must not become the one to cancel.
          status = ListOpen(stub);
          const std::lock_guard lock(mutex_);
          under_way_ = context;
          if (stopping_) context->TryCancel();
          listed = true;
        }
        break;
      default: break;
    }
    if (!status.ok()) return status;
  }
  return grpc::Status::OK;
}

// The same with nearly every change.
void FeedReader::TakeHost(const v1::Source& host) {
  if (host.host_name() == host_.host_name() && host.host_id() == host_.host_id() && host.boot_id() == host_.boot_id() && host.feed_id() == host_.feed_id()) return;
  host_ = host;
}

grpc::Status FeedReader::TakeFeedId(const std::string& feed_id) {
  grpc::Status status = CheckFeedId(feed_id);
  if (status.ok() && !feed_id_.empty() && feed_id != feed_id_) status = Replaced(feed_id);
  if (!status.ok()) return status;
  feed_id_ = feed_id;
  started_ = true;
  FeedEvent event;
  event.kind = FeedEvent::Kind::kConnected;
  event.sequence = position_;
  return Tell(std::move(event));
}

grpc::Status FeedReader::TakeHeartbeat(const v1::Heartbeat& heartbeat) {
  if (lost_known_ && heartbeat.lost() > lost_) {
    if (const grpc::Status status = Tell(GapOf({0, 0, heartbeat.lost() - lost_, "not_journalled"})); !status.ok()) return status;
  }
  lost_ = heartbeat.lost();
  lost_known_ = true;
  position_ = std::max(position_, heartbeat.last_sequence());
  from_oldest_ = false;
  FeedEvent event;
  event.kind = FeedEvent::Kind::kCaughtUp;
  event.sequence = position_;
  return Tell(std::move(event));
}

}  // namespace outlier
