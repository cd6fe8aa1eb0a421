// RunningRelay: the relay with its admin socket and its HTTP, under one configuration after another. Not thread-safe.
#pragma once
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "userspace/outlier_relay/admin_service.h"
#include "userspace/outlier_relay/http_server.h"
#include "userspace/relay/relay.h"

namespace outlier {

class RunningRelay {
 public:
  // What Relay::Open, AdminServer::Start and HttpServer::Start say.
  static absl::StatusOr<std::unique_ptr<RunningRelay>> Start(RelayOptions options, std::string admin_address);
  ~RunningRelay() { Stop(); }

  // Takes up another configuration, which has passed CheckRelayConfig. Where only silences differ nothing is interrupted; else everything stops,
  // within two seconds, and goes on from its cursors: what is under way may be sent again, as after a restart. On an error the configuration
  // before is in force again, unless running() says that it could not be taken up either.
  absl::Status TakeUp(const config::v1::Relay& config);
  bool running() const { return relay_ != nullptr; }
  std::string Description() const;  // "2 sources, 3 sinks, /metrics on port 9464"

 private:
  RunningRelay(RelayOptions options, std::string admin_address) : options_(std::move(options)), admin_address_(std::move(admin_address)) {}
  absl::Status Begin();
  void Stop();

  RelayOptions options_;
  const std::string admin_address_;
  std::unique_ptr<Relay> relay_;
  std::unique_ptr<AdminServer> admin_;
  std::unique_ptr<HttpServer> http_;
};

}  // namespace outlier
