#include "userspace/outlier_relay/running_relay.h"

#include <google/protobuf/util/message_differencer.h>

#include <utility>

#include <fmt/format.h>

#include "userspace/base/status.h"

namespace outlier {
namespace {

bool DifferOnlyInSilences(config::v1::Relay a, config::v1::Relay b) {
  a.clear_silences();
  b.clear_silences();
  return google::protobuf::util::MessageDifferencer::Equals(a, b);
}

std::string Count(int number, const char* noun) { return fmt::format("{} {}{}", number, noun, number == 1 ? "" : "s"); }

}  // namespace

absl::StatusOr<std::unique_ptr<RunningRelay>> RunningRelay::Start(RelayOptions options, std::string admin_address) {
  std::unique_ptr<RunningRelay> running(new RunningRelay(std::move(options), std::move(admin_address)));
  if (absl::Status status = running->Begin(); !status.ok()) return status;
  return running;
}

// Nothing of the relay moves before everything could be opened.
absl::Status RunningRelay::Begin() {
  auto relay = Relay::Open(options_);
  if (!relay.ok()) return relay.status();
  auto admin = AdminServer::Start(admin_address_, relay->get(), options_.now);
  if (!admin.ok()) return admin.status();
  std::unique_ptr<HttpServer> http;
  if (const std::string& listen = options_.config.http().listen(); !listen.empty()) {
    auto started = HttpServer::Start(listen, relay->get());
    if (!started.ok()) return started.status();
    http = *std::move(started);
  }
  relay_ = *std::move(relay);
  admin_ = *std::move(admin);
  http_ = std::move(http);
  relay_->Start();
  return absl::OkStatus();
}

void RunningRelay::Stop() {
  http_.reset();
  admin_.reset();
  relay_.reset();
}

absl::Status RunningRelay::TakeUp(const config::v1::Relay& config) {
  if (DifferOnlyInSilences(options_.config, config)) {
    if (absl::Status status = relay_->ReloadSilences(config); !status.ok()) return status;
    options_.config = config;
    return absl::OkStatus();
  }
  Stop();
  const config::v1::Relay before = std::exchange(options_.config, config);
  const absl::Status status = Begin();
  if (status.ok()) return status;
  options_.config = before;
  if (const absl::Status again = Begin(); !again.ok()) options_.warn(fmt::format("nor can the configuration before be taken up again: {}", MessageOf(again)));
  return status;
}

std::string RunningRelay::Description() const {
  const std::string metrics = http_ == nullptr ? "" : fmt::format(", /metrics on port {}", http_->port());
  return fmt::format("{}, {}{}", Count(options_.config.sources_size(), "source"), Count(options_.config.sinks_size(), "sink"), metrics);
}

}  // namespace outlier
