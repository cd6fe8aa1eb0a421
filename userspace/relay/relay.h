// Relay: sources, sinks and what runs between them. One reader a (source, sink), one carrier a sink, one sample reader a source; a stuck sink
// holds up only itself.
//
//   feed --FeedReader--> Mailbox --Carrier: Courier--> Transport --> sink
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "outlier/config/v1/relay.pb.h"
#include "userspace/exposition/exposition.h"
#include "userspace/ledger/ledger.h"
#include "userspace/relay/carrier.h"
#include "userspace/relay/observer.h"
#include "userspace/relay/silences.h"
#include "userspace/relay/spooler.h"
#include "userspace/sources/feed_reader.h"
#include "userspace/sources/sample_reader.h"

namespace outlier {

struct RelayOptions {
  config::v1::Relay config;
  std::string state_dir;
  std::string version;
  std::string host;
  std::function<WallTime()> now;
  std::function<void(const std::string&)> say, warn;
};

class Relay {
 public:
  // INVALID_ARGUMENT: "sinks[2] (oncall): pagerduty.routing_key_file: ..."; else what the ledger says.
  static absl::StatusOr<std::unique_ptr<Relay>> Open(RelayOptions options);
  ~Relay();                       // within two seconds
  void Start();

  // Thread-safe.
  std::vector<relay::v1::SinkStatus> Sinks() const;
  absl::StatusOr<relay::v1::SinkStatus> RetrySink(const std::string& name);   // NOT_FOUND names those there are
  absl::StatusOr<uint32_t> Resend(const std::string& sink, std::span<const std::string> ids);
  Silences& silences() { return *silences_; }
  const Ledger& ledger() const { return *ledger_; }
  Exposition::Page Metrics(std::string_view accept);
  bool ready() const { return started_; }
  absl::Status ReloadSilences(const config::v1::Relay& config) { return silences_->Configure(config.silences()); }

 private:
  explicit Relay(RelayOptions options) : options_(std::move(options)) {}
  absl::Status Prepare();
  absl::Status AddSink(int i);
  void StartReaders(size_t sink);
  void StartSamples(size_t source);
  Carrier* Find(const std::string& name) const;

  const RelayOptions options_;
  std::shared_ptr<const Labels> labels_;
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<Silences> silences_;
  Exposition exposition_;
  std::vector<std::unique_ptr<Carrier>> carriers_;
  std::vector<bool> holds_state_;              // by sink
  std::unique_ptr<Observer> observer_;         // what is open now, for metrics and for the choice of signals
  std::unique_ptr<Spooler> spooler_;
  std::vector<std::unique_ptr<FeedReader>> readers_;
  std::vector<std::unique_ptr<SampleReader>> sample_readers_;
  std::atomic<bool> started_ = false;
};

// "sinks[2] (oncall)": how messages name a sink of the configuration.
std::string NameOfSink(const config::v1::Relay& config, int i);
// Everything that can be checked without touching anything: addresses, labels, routes, sinks, silences.
absl::Status CheckRelayConfig(const config::v1::Relay& config, const std::string& version);

}  // namespace outlier
