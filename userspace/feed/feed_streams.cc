// The streaming calls of FeedService.
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/feed/feed_service.h"
#include "userspace/feed/filter.h"

namespace outlier {
namespace {

using std::chrono::steady_clock;

constexpr int kBatch = 256;                                // changes read at once
constexpr size_t kBatchBytes = 512 << 10;
constexpr std::chrono::milliseconds kNoticeDeparture(250);  // how long a stream of someone gone may keep its slot

grpc::ByteBuffer BufferOf(const v1::WatchResponse& response) {
  const grpc::Slice slice(response.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

// Of a WatchResponse with this change, which is a serialised one.
grpc::ByteBuffer BufferOf(const std::string& change) {
  using google::protobuf::io::CodedOutputStream;
  using google::protobuf::internal::WireFormatLite;
  const uint32_t tag = WireFormatLite::MakeTag(v1::WatchResponse::kChangeFieldNumber, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  const auto length = static_cast<uint32_t>(change.size());
  grpc::Slice slice(CodedOutputStream::VarintSize32(tag) + CodedOutputStream::VarintSize32(length) + change.size());
  auto* to = const_cast<uint8_t*>(slice.begin());  // nobody else has it yet
  to = CodedOutputStream::WriteTagToArray(tag, to);
  to = CodedOutputStream::WriteVarint32ToArray(length, to);
  change.copy(reinterpret_cast<char*>(to), change.size());
  return grpc::ByteBuffer(&slice, 1);
}

bool StoredMatches(const v1::Filter& filter, const std::string& change) {
  v1::IncidentChange parsed;
  return parsed.ParseFromString(change) && Matches(filter, parsed.incident());
}

}  // namespace

class FeedService::StreamSlot {
 public:
  explicit StreamSlot(FeedService* service) : service_(*service), taken_(++service_.streams_ <= kMaxFeedStreams) {}
  ~StreamSlot() { --service_.streams_; }
  StreamSlot(const StreamSlot&) = delete;
  StreamSlot& operator=(const StreamSlot&) = delete;
  grpc::Status status() const {
    if (taken_) return grpc::Status::OK;
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, fmt::format("{} streams are open, no more are served", kMaxFeedStreams)};
  }

 private:
  FeedService& service_;
  const bool taken_;
};

absl::Status FeedService::CheckStart(const v1::WatchRequest& request) const {
  if (const absl::Status status = CheckFilter(request.filter()); !status.ok()) return status;
  const uint64_t last = journal_.last_sequence(), oldest = journal_.oldest_sequence();
  const std::string held = fmt::format("feed {} holds sequences {} to {}", journal_.feed_id(), oldest, last);
  if (!request.feed_id().empty() && request.feed_id() != journal_.feed_id()) {
    return absl::OutOfRangeError(fmt::format("feed_id: {} is another journal; {}", Printable(request.feed_id(), 64), held));
  }
  if (request.start_after() > last) {
    return absl::OutOfRangeError(fmt::format("start_after: {} lies beyond the end; {}", request.start_after(), held));
  }
  // 0 asks for whatever there is.
  if (request.start_after() != 0 && request.start_after() + 1 < oldest) {
    return absl::OutOfRangeError(fmt::format("start_after: changes after {} are no longer held; {}", request.start_after(), held));
  }
  return absl::OkStatus();
}

grpc::ByteBuffer FeedService::HeartbeatAt(uint64_t position) const {
  v1::WatchResponse response;
  v1::Heartbeat* heartbeat = response.mutable_heartbeat();
  heartbeat->set_last_sequence(position);
  heartbeat->set_lost(lost_);
  heartbeat->set_compacted_before(journal_.oldest_sequence());
  return BufferOf(response);
}

bool FeedService::WaitForChanges(uint64_t position, steady_clock::time_point until) {
  std::unique_lock lock(mutex_);
  wake_.wait_until(lock, std::min(until, steady_clock::now() + kNoticeDeparture),
                   [&] { return stopping_ || journal_.last_sequence() > position; });
  return !stopping_;
}

grpc::Status FeedService::WatchBytes(grpc::ServerContext* context, Watcher* stream) {
  const StreamSlot slot(this);
  if (!slot.status().ok()) return slot.status();
  v1::WatchRequest request;
  if (!stream->Read(&request)) return {grpc::StatusCode::INVALID_ARGUMENT, "the call brings no WatchRequest that can be read"};
  const uint64_t complete_from = journal_.oldest_sequence();
  if (const absl::Status status = CheckStart(request); !status.ok()) return ToGrpc(status);
  v1::WatchResponse first;
  first.set_feed_id(journal_.feed_id());
  if (!stream->Write(BufferOf(first))) return grpc::Status::CANCELLED;

  const auto period = absl::ToChronoNanoseconds(options_.heartbeat);
  const bool all = !request.has_filter();
  uint64_t position = request.start_after();
  auto next_heartbeat = steady_clock::now();  // at once when the backlog has been sent
  while (!context->IsCancelled()) {
    const uint64_t last = journal_.last_sequence();  // before Read: everything up to it will then have been read
    const auto changes = journal_.ReadStored(position, kBatch, kBatchBytes);
    if (!changes.ok()) return ToGrpc(changes.status());
    // Asked after Read: what compaction took away meanwhile must not look like a feed without gaps.
    if (const uint64_t oldest = journal_.oldest_sequence(); oldest > complete_from && position + 1 < oldest) {
      return ToGrpc(absl::OutOfRangeError(fmt::format("too slow: changes after {} were dropped meanwhile; the oldest held is {}", position, oldest)));
    }
    for (const StoredChange& change : *changes) {
      position = change.sequence;
      if (!all && !StoredMatches(request.filter(), change.bytes)) continue;
      // All but the last may wait for the next: a system call each would cost more than all else. Behind the last none may come for long; with a
      // filter that may be any.
      grpc::WriteOptions options;
      if (all && &change != &changes->back()) options.set_buffer_hint();
      if (stopping_ || !stream->Write(BufferOf(change.bytes), options)) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the stream was closed");
    }
    if (!changes->empty() && position < last) continue;
    position = std::max(position, last);
    if (steady_clock::now() >= next_heartbeat) {
      if (!stream->Write(HeartbeatAt(position))) return grpc::Status::CANCELLED;
      next_heartbeat = steady_clock::now() + period;
    }
    if (!WaitForChanges(position, next_heartbeat)) return {grpc::StatusCode::UNAVAILABLE, "outlierd is stopping"};
  }
  return grpc::Status::CANCELLED;
}

grpc::Status FeedService::WatchSamples(grpc::ServerContext* context, const v1::WatchSamplesRequest* request,
                                       grpc::ServerWriter<v1::SampleResponse>* writer) {
  const StreamSlot slot(this);
  if (!slot.status().ok()) return slot.status();
  if (const absl::Status status = CheckWorkloadFilter(request->filter()); !status.ok()) return ToGrpc(status);
  const auto resolution = DurationNs(request->resolution(), "resolution");
  if (!resolution.ok()) return ToGrpc(resolution.status());
  const auto subscription = samples_.Subscribe(*resolution);
  // So that a subscriber knows it is heard before the first sample comes.
  writer->SendInitialMetadata();
  v1::SampleResponse response;
  while (!context->IsCancelled() && !stopping_) {
    const auto next = subscription->Wait(kNoticeDeparture);
    if (!next) continue;
    response.Clear();
    *response.mutable_time() = next->sample->time();
    response.set_tick(next->sample->tick());
    response.set_lost(next->lost);
    for (const v1::WorkloadState& workload : next->sample->workloads()) {
      if (Matches(request->filter(), workload)) *response.add_workloads() = workload;
    }
    if (!writer->Write(response)) return grpc::Status::CANCELLED;
  }
  return stopping_ ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "outlierd is stopping") : grpc::Status::CANCELLED;
}

grpc::Status FeedService::ExportRecording(grpc::ServerContext* context, const v1::ExportRecordingRequest* request,
                                          grpc::ServerWriter<v1::ExportRecordingResponse>* writer) {
  const StreamSlot slot(this);
  if (!slot.status().ok()) return slot.status();
  const auto since = DurationNs(request->since(), "since");
  if (!since.ok()) return ToGrpc(since.status());
  if (options_.export_recording == nullptr) return {grpc::StatusCode::FAILED_PRECONDITION, "the flight recorder is off"};
  v1::ExportRecordingResponse response;
  return ToGrpc(options_.export_recording(absl::Nanoseconds(*since), [&](std::string_view chunk) {
    if (stopping_ || context->IsCancelled()) return false;
    response.set_chunk(chunk.data(), chunk.size());
    return writer->Write(response);
  }));
}

}  // namespace outlier
