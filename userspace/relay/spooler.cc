#include "userspace/relay/spooler.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/sources/feed_channel.h"

namespace outlier {
namespace {

constexpr size_t kBatch = 500;
constexpr auto kUnaryDeadline = std::chrono::seconds(20);
constexpr auto kCopyDeadline = std::chrono::minutes(5);

double Seconds(const google::protobuf::Duration& duration) { return static_cast<double>(duration.seconds()) + duration.nanos() * 1e-9; }

}  // namespace

// A call that ends with the spooler.
class Spooler::CallUnderWay {
 public:
  CallUnderWay(Spooler* spooler, grpc::ClientContext* context) : spooler_(*spooler) {
    const std::lock_guard lock(spooler_.mutex_);
    begun_ = !spooler_.stopping_;
    if (begun_) spooler_.under_way_ = context;
  }
  ~CallUnderWay() {
    const std::lock_guard lock(spooler_.mutex_);
    spooler_.under_way_ = nullptr;
  }
  CallUnderWay(const CallUnderWay&) = delete;
  CallUnderWay& operator=(const CallUnderWay&) = delete;
  bool begun() const { return begun_; }

 private:
  Spooler& spooler_;
  bool begun_;
};

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
    const auto sinks = options_.sinks();
    ForgetFeeds(sinks);
    for (const std::string& source : options_.sources) Look(source, sinks);
  }
}

// Of a feed that no sink reads any more nothing will ever be asked for.
void Spooler::ForgetFeeds(const std::vector<relay::v1::SinkStatus>& sinks) {
  const auto feeds = ledger_->SpooledFeeds();
  if (!feeds.ok()) return options_.warn(MessageOf(feeds.status()));
  for (const std::string& feed : *feeds) {
    const bool needed = std::any_of(sinks.begin(), sinks.end(), [&](const auto& sink) {
      return std::any_of(sink.sources().begin(), sink.sources().end(), [&](const auto& position) { return position.feed_id() == feed; });
    });
    if (needed) continue;
    if (const absl::Status status = ledger_->ForgetSpooled(feed, UINT64_MAX >> 1); !status.ok()) options_.warn(MessageOf(status));
  }
}

void Spooler::Look(const std::string& source, const std::vector<relay::v1::SinkStatus>& sinks) {
  struct Need {
    uint64_t least = UINT64_MAX, last = 0;
    double lag = 0;
  };
  std::map<std::string, Need> needs;  // by feed: after a new journal some sinks may still be at the old one
  for (const relay::v1::SinkStatus& sink : sinks) {
    for (const relay::v1::SourcePosition& position : sink.sources()) {
      if (position.source() != source || position.feed_id().empty()) continue;
      Need& need = needs[position.feed_id()];
      need.least = std::min<uint64_t>(need.least, position.sequence());
      need.last = std::max<uint64_t>(need.last, position.last_sequence());
      need.lag = std::max(need.lag, Seconds(position.lag()));
    }
  }
  for (const auto& [feed_id, need] : needs) {
    if (const absl::Status status = ledger_->ForgetSpooled(feed_id, need.least); !status.ok()) return options_.warn(MessageOf(status));
  }
  if (std::all_of(needs.begin(), needs.end(), [](const auto& need) { return need.second.lag == 0; })) return;
  const auto channel = OpenFeedChannel(source, options_.tls);
  if (!channel.ok()) return;  // its readers say so
  const auto stub = v1::OutlierFeed::NewStub(*channel);
  v1::Status status;
  {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kUnaryDeadline);
    const CallUnderWay call(this, &context);
    if (!call.begun() || !stub->GetStatus(&context, {}, &status).ok()) return;
  }
  const auto need = needs.find(status.source().feed_id());
  if (need == needs.end()) return;
  const double retained = Seconds(status.feed_retained());
  if (retained <= 0 || need->second.lag < kNear * retained) return;
  Copy(stub.get(), source, need->first, need->second.least, std::max<uint64_t>(need->second.last, status.last_sequence()));
}

void Spooler::Copy(v1::OutlierFeed::Stub* stub, const std::string& source, const std::string& feed_id, uint64_t after, uint64_t up_to) {
  // Not again what is there.
  for (;;) {
    const auto held = ledger_->Spooled(feed_id, after, kBatch);
    if (!held.ok() || held->empty()) break;
    after = held->back().sequence();
  }
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCopyDeadline);  // another source's turn must come
  const CallUnderWay call(this, &context);
  if (!call.begun()) return;
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
    if (status.ok()) copied += changes.size();
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
}

}  // namespace outlier
