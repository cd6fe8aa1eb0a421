#include "userspace/relay/relay.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "userspace/base/file.h"
#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/sources/feed_channel.h"

namespace outlier {
namespace {

constexpr size_t kSpooledAtOnce = 500;
// What all sinks together hold of what was read and not yet taken by a courier.
constexpr size_t kAllMailboxBytes = 3 << 20;
constexpr size_t kLeastMailboxBytes = 128 << 10;  // dozens of changes
// And of what a courier makes a batch of: message bytes, of which there may be two batches, and each byte takes three. (And for as long as
// a request hangs, one body that nobody waits for any more.)
constexpr size_t kAllBatchBytes = 5 << 18, kMostBatchBytes = 1 << 20, kLeastBatchBytes = 64 << 10;

absl::Status At(const std::string& where, const absl::Status& status) {
  return status.ok() ? status : absl::Status(status.code(), fmt::format("{}: {}", where, MessageOf(status)));
}

// The same for each, so that a stuck one takes nothing from the others.
size_t BatchBytes(int sinks) { return std::clamp(kAllBatchBytes / static_cast<size_t>(std::max(sinks, 1)), kLeastBatchBytes, kMostBatchBytes); }
size_t MailboxBytes(int sinks) { return std::clamp(kAllMailboxBytes / static_cast<size_t>(std::max(sinks, 1)), kLeastMailboxBytes, Carrier::kMostMailboxBytes); }

absl::StatusOr<AnySink> SinkOf(const RelayOptions& options, int i) {
  return MakeSink({options.config.sinks(i), options.version, options.host});
}

}  // namespace

std::string NameOfSink(const config::v1::Relay& config, int i) { return fmt::format("sinks[{}] ({})", i, Printable(config.sinks(i).name(), 80)); }

absl::Status CheckRelayConfig(const config::v1::Relay& config, const std::string& version) {
  for (int i = 0; i < config.sources_size(); ++i) {
    if (absl::Status status = CheckFeedAddress(config.sources(i), config.source_tls()); !status.ok()) return At(fmt::format("sources[{}]", i), status);
  }
  const auto labels = ParseLabels(config.labels());
  if (!labels.ok()) return labels.status();
  for (int i = 0; i < config.sinks_size(); ++i) {
    const std::string where = NameOfSink(config, i);
    if (const auto route = Route::Of(config.sinks(i).route(), *labels); !route.ok()) return At(where + ": route", route.status());
    if (const auto transport = MakeTransport(config.sinks(i).connection(), "outlier-relay"); !transport.ok()) return At(where, transport.status());
    if (const auto sink = MakeSink({config.sinks(i), version, "check"}); !sink.ok()) return At(where, sink.status());
  }
  return Silences(nullptr, *labels).Configure(config.silences());
}

absl::StatusOr<std::unique_ptr<Relay>> Relay::Open(RelayOptions options) {
  if (absl::Status status = CheckRelayConfig(options.config, options.version); !status.ok()) return status;
  std::unique_ptr<Relay> relay(new Relay(std::move(options)));
  if (absl::Status status = relay->Prepare(); !status.ok()) return status;
  return relay;
}

absl::Status Relay::Prepare() {
  const auto labels = ParseLabels(options_.config.labels());
  labels_ = std::make_shared<const Labels>(*labels);
  if (absl::Status status = MakeFolders(options_.state_dir); !status.ok()) return status;
  std::vector<std::string> messages;
  auto ledger = Ledger::Open(options_.state_dir + "/relay.db", &messages);
  if (!ledger.ok()) return ledger.status();
  for (const std::string& message : messages) options_.warn(message);
  ledger_ = *std::move(ledger);
  silences_ = std::make_unique<Silences>(ledger_.get(), *labels_);
  if (absl::Status status = silences_->Load(); !status.ok()) return status;
  if (absl::Status status = silences_->Configure(options_.config.silences()); !status.ok()) return status;
  for (int i = 0; i < options_.config.sinks_size(); ++i) {
    if (absl::Status status = AddSink(i); !status.ok()) return At(NameOfSink(options_.config, i), status);
  }
  observer_ = std::make_unique<Observer>(&exposition_, labels_);
  return absl::OkStatus();
}

absl::Status Relay::AddSink(int i) {
  const config::v1::Sink& config = options_.config.sinks(i);
  auto sink = SinkOf(options_, i);
  if (!sink.ok()) return sink.status();
  const auto route = Route::Of(config.route(), *labels_);
  if (!route.ok()) return route.status();
  CourierContext context{config, sink->kind, *route, {options_.config.sources().begin(), options_.config.sources().end()}, labels_, silences_.get(), ledger_.get(),
                         BatchBytes(options_.config.sinks_size())};
  holds_state_.push_back(sink->state != nullptr);
  auto courier = MakeCourier(std::move(context), *std::move(sink));
  if (!courier->loaded().ok()) return courier->loaded();
  if (const std::string left = courier->LeftWords(); !left.empty()) options_.warn(fmt::format("sink {}: {}", Printable(config.name(), 80), left));
  std::vector<std::unique_ptr<Transport>> transports;
  for (int k = 0; k < (courier->overlaps() ? 2 : 1); ++k) {
    auto transport = MakeTransport(config.connection(), "outlier-relay/" + options_.version);
    if (!transport.ok()) return transport.status();
    transports.push_back(*std::move(transport));
  }
  carriers_.push_back(std::make_unique<Carrier>(std::move(courier), std::move(transports), options_.now, options_.warn, MailboxBytes(options_.config.sinks_size())));
  return absl::OkStatus();
}

void Relay::Start() {
  for (auto& carrier : carriers_) carrier->Start();
  for (size_t sink = 0; sink < carriers_.size(); ++sink) StartReaders(sink);
  for (int source = 0; source < options_.config.sources_size(); ++source) {
    FeedReaderOptions reader;
    reader.source = static_cast<size_t>(source);
    reader.address = options_.config.sources(source);
    reader.tls = options_.config.source_tls();
    reader.from_now = true;
    reader.lists_open = true;
    reader.now = options_.now;
    readers_.push_back(std::make_unique<FeedReader>(std::move(reader), &observer_->mailbox()));
    StartSamples(static_cast<size_t>(source));
  }
  SpoolerOptions spooler;
  spooler.sources = {options_.config.sources().begin(), options_.config.sources().end()};
  spooler.tls = options_.config.source_tls();
  spooler.max_size = static_cast<uint64_t>(options_.config.spool().max_size());
  spooler.sinks = [this] { return Sinks(); };
  spooler.warn = options_.warn;
  spooler_ = std::make_unique<Spooler>(std::move(spooler), ledger_.get());
  started_ = true;
}

void Relay::StartReaders(size_t sink) {
  const std::string& name = options_.config.sinks(static_cast<int>(sink)).name();
  const auto cursors = ledger_->Cursors(name);
  for (int source = 0; source < options_.config.sources_size(); ++source) {
    FeedReaderOptions reader;
    reader.source = static_cast<size_t>(source);
    reader.address = options_.config.sources(source);
    reader.tls = options_.config.source_tls();
    reader.from_now = holds_state_[sink];
    reader.lists_open = true;
    reader.now = options_.now;
    reader.spooled = [this](const std::string& feed_id, uint64_t after) {
      auto changes = ledger_->Spooled(feed_id, after, kSpooledAtOnce);
      return changes.ok() ? *std::move(changes) : std::vector<v1::IncidentChange>{};
    };
    if (cursors.ok()) {
      for (const Cursor& cursor : *cursors) {  // the newest feed of a source stands last
        if (cursor.source != reader.address) continue;
        reader.feed_id = cursor.feed_id;
        reader.start_after = cursor.sequence;
      }
    }
    readers_.push_back(std::make_unique<FeedReader>(std::move(reader), &carriers_[sink]->mailbox()));
  }
}

void Relay::StartSamples(size_t source) {
  const std::string address = options_.config.sources(static_cast<int>(source));
  SampleReaderOptions reader;
  reader.address = address;
  reader.tls = options_.config.source_tls();
  reader.resolution_ns = options_.config.signals().resolution();
  reader.labels = labels_;
  reader.on_status = [this, address](const v1::Status& status) { exposition_.SetStatus(address, status); };
  reader.on_state = [this, address](bool connected, const std::string& message) {
    exposition_.SetConnected(address, connected);
    if (!connected) options_.warn(message);
  };
  reader.on_lost = [](uint64_t) {};  // the sample says so, too
  reader.on_samples = [this](Samples samples) {
    exposition_.Observe(samples);
    const std::string& of = options_.config.signals().of();
    if (of != "all") {
      for (v1::WorkloadState& workload : *samples.sample.mutable_workloads()) {
        if (of == "none" || !observer_->Troubled(samples.source.feed_id(), workload.workload(), TimeOf(samples.sample.time()))) workload.clear_values();
      }
    }
    const auto shared = std::make_shared<const Samples>(std::move(samples));
    for (auto& carrier : carriers_) {
      if (carrier->wants_samples()) carrier->Offer(shared);
    }
  };
  sample_readers_.push_back(std::make_unique<SampleReader>(std::move(reader)));
}

Relay::~Relay() {
  // All are told before any is waited for: a reader may wait for room in a mailbox, a carrier for an answer.
  for (auto& carrier : carriers_) carrier->Stop();
  if (observer_) observer_->Stop();
  for (auto& reader : sample_readers_) reader->Stop();
  for (auto& reader : readers_) reader->Stop();
  spooler_.reset();
  sample_readers_.clear();
  readers_.clear();
  carriers_.clear();
  observer_.reset();
}

std::vector<relay::v1::SinkStatus> Relay::Sinks() const {
  std::vector<relay::v1::SinkStatus> sinks;
  for (const auto& carrier : carriers_) sinks.push_back(carrier->Status());
  return sinks;
}

Carrier* Relay::Find(const std::string& name) const {
  for (int i = 0; i < options_.config.sinks_size(); ++i) {
    if (options_.config.sinks(i).name() == name) return carriers_[static_cast<size_t>(i)].get();
  }
  return nullptr;
}

absl::StatusOr<relay::v1::SinkStatus> Relay::RetrySink(const std::string& name) {
  Carrier* carrier = Find(name);
  if (carrier == nullptr) {
    std::vector<std::string> names;
    for (const config::v1::Sink& sink : options_.config.sinks()) names.push_back(sink.name());
    return absl::NotFoundError(fmt::format("no sink is called \"{}\"; there are: {}", Printable(name, 80), names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "))));
  }
  carrier->RetryNow();
  return carrier->Status();
}

absl::StatusOr<uint32_t> Relay::Resend(const std::string& sink, std::span<const std::string> ids) {
  Carrier* carrier = Find(sink);
  if (carrier == nullptr) return RetrySink(sink).status();
  auto letters = ledger_->DeadLetters(sink, Ledger::kMostDeadLetters);
  if (!letters.ok()) return letters.status();
  if (!ids.empty()) std::erase_if(*letters, [&](const auto& letter) { return std::find(ids.begin(), ids.end(), letter.id()) == ids.end(); });
  const auto count = static_cast<uint32_t>(letters->size());
  if (count == 0) return absl::NotFoundError(fmt::format("{} has no such dead letter", sink));
  std::stable_sort(letters->begin(), letters->end(), [](const auto& a, const auto& b) { return a.change().sequence() < b.change().sequence(); });
  carrier->Resend(*std::move(letters));
  return count;
}

Exposition::Page Relay::Metrics(std::string_view accept) {
  exposition_.SetSinks(Sinks());
  const WallTime now = options_.now();
  const auto silences = silences_->List(false, now);
  exposition_.SetSilences(static_cast<size_t>(std::count_if(silences.begin(), silences.end(), [&](const auto& silence) { return TimeOf(silence.starts()) <= now; })));
  return exposition_.Render(accept);
}

}  // namespace outlier
