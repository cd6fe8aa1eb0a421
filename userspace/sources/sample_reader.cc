#include "userspace/sources/sample_reader.h"

#include <fmt/format.h>

#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/sources/feed_channel.h"

namespace outlier {
namespace {

constexpr auto kWait = std::chrono::seconds(2);
constexpr auto kUnaryDeadline = std::chrono::seconds(20);
constexpr int64_t kStatusEverySeconds = 60;

}  // namespace

SampleReader::SampleReader(SampleReaderOptions options) : options_(std::move(options)), thread_([this] { Run(); }) {}

SampleReader::~SampleReader() {
  Stop();
  thread_.join();
}

void SampleReader::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (under_way_ != nullptr) under_way_->TryCancel();
  }
  wake_.notify_all();
}

void SampleReader::Tell(bool connected, const std::string& message) {
  std::pair<bool, std::string> now{connected, message};
  if (told_ == now) return;  // every two seconds the same
  told_ = std::move(now);
  options_.on_state(connected, message);
}

// Takes the place of the stream as the call to cancel; the caller puts that back.
grpc::Status SampleReader::Ask(v1::OutlierFeed::Stub* stub, v1::Status* host) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kUnaryDeadline);
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return grpc::Status::CANCELLED;
    under_way_ = &context;
  }
  v1::Status answer;
  const grpc::Status status = stub->GetStatus(&context, {}, &answer);
  {
    const std::lock_guard lock(mutex_);
    under_way_ = nullptr;
  }
  if (!status.ok()) return status;
  *host = std::move(answer);
  options_.on_status(*host);
  return status;
}

void SampleReader::Run() {
  while (!stopping_) {
    std::string why;
    const auto channel = OpenFeedChannel(options_.address, options_.tls);
    if (channel.ok()) {
      const grpc::Status status = ReadOnce(v1::OutlierFeed::NewStub(*channel).get());
      why = status.ok() ? "the stream ended" : WhyNot(status, options_.address, options_.tls);
    } else {
      why = MessageOf(channel.status());
    }
    if (stopping_) return;
    Tell(false, fmt::format("cannot watch samples of {}: {}", Printable(options_.address, 200), Printable(why, 300)));
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, kWait, [&] { return stopping_.load(); });
  }
}

grpc::Status SampleReader::ReadOnce(v1::OutlierFeed::Stub* stub) {
  v1::Status host;
  if (const grpc::Status status = Ask(stub, &host); !status.ok()) return status;
  Tell(true, "");
  grpc::ClientContext context;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return grpc::Status::CANCELLED;
    under_way_ = &context;
  }
  v1::WatchSamplesRequest request;
  request.mutable_resolution()->set_seconds(options_.resolution_ns / 1'000'000'000);
  request.mutable_resolution()->set_nanos(static_cast<int32_t>(options_.resolution_ns % 1'000'000'000));
  const auto stream = stub->WatchSamples(&context, request);
  v1::SampleResponse response;
  uint64_t lost = 0;
  int64_t status_due = 0;
  while (stream->Read(&response)) {
    if (response.lost() > lost) options_.on_lost(response.lost() - lost);
    lost = response.lost();
    Samples samples{host.source(), std::move(response), std::nullopt, options_.labels};
    response.Clear();
    if (samples.sample.time().seconds() >= status_due) {
      status_due = samples.sample.time().seconds() + kStatusEverySeconds;
      if (Ask(stub, &host).ok()) {
        samples.status = host;
        samples.source = host.source();
      }
      const std::lock_guard lock(mutex_);
      under_way_ = &context;
      if (stopping_) context.TryCancel();
    }
    options_.on_samples(std::move(samples));
  }
  const grpc::Status status = stream->Finish();
  const std::lock_guard lock(mutex_);
  under_way_ = nullptr;
  return status;
}

}  // namespace outlier
