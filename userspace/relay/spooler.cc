#include "userspace/relay/spooler.h"

#include <algorithm>

#include <fmt/format.h>

#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/sources/feed_channel.h"

namespace outlier {
namespace {

constexpr size_t kBatch = 500;

double Seconds(const google::protobuf::Duration& duration) { return static_cast<double>(duration.seconds()) + duration.nanos() * 1e-9; }

}  // namespace

Spooler::Spooler(SpoolerOptions options, Ledger* ledger) : options_(std::move(options)), ledger_(ledger), thread_([this] { Run(); }) {}

Spooler::~Spooler() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (under_way_ != nullptr) under_way_->TryCancel();
  }
  wake_.notify_all();
  thread_.join();
}

void Spooler::Run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, options_.look_every, [&] { return stopping_.load(); });
    }
    if (stopping_) return;
    for (const std::string& source : options_.sources) Look(source);
  }
}

void Spooler::Look(const std::string& source) {
  std::string feed_id;
  uint64_t least = UINT64_MAX, last = 0;
  double lag = 0;
  for (const relay::v1::SinkStatus& sink : options_.sinks()) {
    for (const relay::v1::SourcePosition& position : sink.sources()) {
      if (position.source() != source || position.feed_id().empty()) continue;
      feed_id = position.feed_id();
      least = std::min<uint64_t>(least, position.sequence());
      last = std::max<uint64_t>(last, position.last_sequence());
      lag = std::max(lag, Seconds(position.lag()));
    }
  }
  if (feed_id.empty()) return;
  if (const absl::Status status = ledger_->ForgetSpooled(feed_id, least); !status.ok()) return options_.warn(MessageOf(status));
  if (lag == 0) return;
  const auto channel = OpenFeedChannel(source, options_.tls);
  if (!channel.ok()) return;  // its readers say so
  const auto stub = v1::OutlierFeed::NewStub(*channel);
  v1::Status status;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  if (!stub->GetStatus(&context, {}, &status).ok() || status.source().feed_id() != feed_id) return;
  const double retained = Seconds(status.feed_retained());
  if (retained <= 0 || lag < kNear * retained) return;
  Copy(stub.get(), source, feed_id, least, std::max<uint64_t>(last, status.last_sequence()));
}

void Spooler::Copy(v1::OutlierFeed::Stub* stub, const std::string& source, const std::string& feed_id, uint64_t after, uint64_t up_to) {
  // Not again what is there.
  for (;;) {
    const auto held = ledger_->Spooled(feed_id, after, kBatch);
    if (!held.ok() || held->empty()) break;
    after = held->back().sequence();
  }
  grpc::ClientContext context;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    under_way_ = &context;
  }
  v1::WatchRequest request;
  request.set_feed_id(feed_id);
  request.set_start_after(after);
  const auto stream = stub->Watch(&context, request);
  std::vector<v1::IncidentChange> changes;
  size_t copied = 0;
  const auto write = [&] {
    const auto bytes = ledger_->SpooledBytes();
    absl::Status status = bytes.status();
    if (status.ok() && *bytes > options_.max_size) status = absl::ResourceExhaustedError(fmt::format("the spool has reached spool.max_size, {} bytes", options_.max_size));
    if (status.ok()) status = ledger_->Spool(changes, feed_id);
    if (!status.ok()) options_.warn(fmt::format("cannot rescue what {} is about to forget: {}", Printable(source, 200), MessageOf(status)));
    copied += changes.size();
    changes.clear();
    return status.ok();
  };
  v1::WatchResponse response;
  bool more = after < up_to;
  while (more && stream->Read(&response)) {
    if (response.has_heartbeat()) more = response.heartbeat().last_sequence() < up_to;
    if (!response.has_change()) continue;
    changes.push_back(response.change());
    more = response.change().sequence() < up_to;
    if (changes.size() >= kBatch && !write()) more = false;
  }
  if (!changes.empty()) write();
  context.TryCancel();
  (void)stream->Finish();
  if (copied > 0) options_.warn(fmt::format("{} changes of {} are spooled: a sink needs them and their source soon forgets them", copied, Printable(source, 200)));
  const std::lock_guard lock(mutex_);
  under_way_ = nullptr;
}

}  // namespace outlier
