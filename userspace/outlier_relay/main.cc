// outlier-relay: options, one relay, its admin socket and its HTTP, until a signal. Signals arrive on a descriptor.
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <iostream>

#include <fmt/format.h>
#include <grpc/grpc.h>

#include "userspace/base/file.h"
#include "userspace/base/log.h"
#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/config/relay_config.h"
#include "userspace/outlier_relay/admin_service.h"
#include "userspace/outlier_relay/check.h"
#include "userspace/outlier_relay/http_server.h"
#include "userspace/outlier_relay/options.h"
#include "userspace/relay/relay.h"

// Read by jemalloc before main. A message is made by the thread that reads and freed by the one that sends, and a body of a MiB is needed for a moment:
// one arena passes memory from thread to thread, threads hoard no large pieces, and what nobody wants goes back to the system within a second.
extern "C" const char* malloc_conf;
const char* malloc_conf = "narenas:1,lg_tcache_max:12,dirty_decay_ms:500,muzzy_decay_ms:0";

namespace outlier {
namespace {

int Fail(const absl::Status& status) { return FailProgram("outlier-relay", status); }

WallTime Now() { return std::chrono::floor<std::chrono::nanoseconds>(std::chrono::system_clock::now()); }

std::string HostName() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return Printable(name, 256);
}

void Reload(const RelayCommand& command, Relay* relay) {
  absl::StatusOr<config::v1::Relay> config = LoadRelayConfig(command.config_path, command.config_named, command.sets);
  absl::Status status = config.status();
  if (status.ok()) status = CheckRelayConfig(*config, OUTLIER_VERSION);
  if (status.ok()) status = relay->ReloadSilences(*config);
  status.ok() ? Say("silences read again; other changes of the configuration need a restart, which loses nothing")
              : Warn(fmt::format("{}; the old configuration stays in force", MessageOf(status)));
}

int Run(const RelayCommand& command) {
  const absl::StatusOr<config::v1::Relay> config = LoadRelayConfig(command.config_path, command.config_named, command.sets);
  if (!config.ok()) return Fail(config.status());
  if (command.what == RelayCommand::What::kCheck) return CheckSinks(*config, OUTLIER_VERSION, HostName(), Now());
  if (command.what == RelayCommand::What::kSetup) {
    const absl::Status done = SetUpSink(*config, command.sink, OUTLIER_VERSION, HostName(), command.dry_run);
    return done.ok() ? 0 : Fail(done);
  }
  StartLog("outlier-relay", command.log_level);
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);  // before any thread begins
  signal(SIGPIPE, SIG_IGN);
  const int signals = signalfd(-1, &set, SFD_CLOEXEC);
  if (signals < 0) return Fail(ErrnoStatus("open", "signalfd", errno));
  grpc_init();  // never given back: its shutdown may take ten seconds

  auto relay = Relay::Open({*config, command.state_dir, OUTLIER_VERSION, HostName(), Now, Say, Warn});
  if (!relay.ok()) return Fail(relay.status());
  auto admin = AdminServer::Start(command.relay_address, relay->get(), Now);
  if (!admin.ok()) return Fail(admin.status());
  std::unique_ptr<HttpServer> http;
  if (!config->http().listen().empty()) {
    auto started = HttpServer::Start(config->http().listen(), relay->get());
    if (!started.ok()) return Fail(started.status());
    http = *std::move(started);
  }
  (*relay)->Start();
  Say(fmt::format("outlier-relay {}: {} source{}, {} sink{}{}", OUTLIER_VERSION, config->sources_size(), config->sources_size() == 1 ? "" : "s", config->sinks_size(),
                  config->sinks_size() == 1 ? "" : "s", http ? fmt::format(", /metrics on port {}", http->port()) : ""));
  sd_notify(0, "READY=1");
  for (;;) {
    signalfd_siginfo signal{};
    if (read(signals, &signal, sizeof signal) != sizeof signal) continue;
    if (signal.ssi_signo != SIGHUP) break;
    sd_notify(0, "RELOADING=1");
    Reload(command, relay->get());
    sd_notify(0, "READY=1");
  }
  sd_notify(0, "STOPPING=1");
  http.reset();
  admin->reset();
  relay->reset();
  Say("stopped");
  return 0;
}

}  // namespace
}  // namespace outlier

int main(int argc, char** argv) {
  outlier::RelayCommand command;
  if (const int status = outlier::ParseRelayCommand(argc, argv, &command); status >= 0) return status;
  return outlier::Run(command);
}
