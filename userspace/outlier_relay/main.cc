// outlier-relay: options, one relay, its admin socket and its HTTP, until a signal. Signals arrive on a descriptor.
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
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
#include "userspace/outlier_relay/check.h"
#include "userspace/outlier_relay/http_server.h"
#include "userspace/outlier_relay/options.h"
#include "userspace/outlier_relay/running_relay.h"

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

// What the schema cannot say.
absl::Status Check(const RelayCommand& command, const config::v1::Relay& config) {
  absl::Status status = CheckRelayConfig(config, OUTLIER_VERSION);
  if (status.ok()) status = HttpServer::CheckAddress(config.http().listen());
  return PlaceInRelayConfig(status, command.config_path, command.sets);
}

void Reload(const RelayCommand& command, RunningRelay* running) {
  const absl::StatusOr<config::v1::Relay> config = LoadRelayConfig(command.config_path, command.config_named, command.sets);
  absl::Status status = config.status();
  if (status.ok()) status = Check(command, *config);
  if (status.ok()) status = running->TakeUp(*config);
  status.ok() ? Say(fmt::format("configuration read again: {}", running->Description()))
              : Warn(fmt::format("{}; the old configuration stays in force", MessageOf(status)));
}

int Run(const RelayCommand& command) {
  const absl::StatusOr<config::v1::Relay> config = LoadRelayConfig(command.config_path, command.config_named, command.sets);
  if (!config.ok()) return Fail(config.status());
  if (const absl::Status good = Check(command, *config); !good.ok()) return Fail(good);
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

  auto running = RunningRelay::Start({*config, command.state_dir, OUTLIER_VERSION, HostName(), Now, Say, Warn}, command.relay_address);
  if (!running.ok()) return Fail(running.status());
  Say(fmt::format("outlier-relay {}: {}", OUTLIER_VERSION, (*running)->Description()));
  sd_notify(0, "READY=1");
  for (;;) {
    signalfd_siginfo signal{};
    if (read(signals, &signal, sizeof signal) != sizeof signal) continue;
    if (signal.ssi_signo != SIGHUP) break;
    sd_notify(0, "RELOADING=1");
    Reload(command, running->get());
    if (!(*running)->running()) return 1;
    sd_notify(0, "READY=1");
  }
  sd_notify(0, "STOPPING=1");
  running->reset();
  Say("stopped");
  return 0;
}

}  // namespace
}  // namespace outlier

int main(int argc, char** argv) {
  outlier::RelayCommand command;
  if (const int status = outlier::ParseRelayCommand(argc, argv, &command); status >= 0) return status;
  umask(umask(0077) | 0027);  // what is kept holds names of processes and paths, also where the folder is open to all
  return outlier::Run(command);
}
