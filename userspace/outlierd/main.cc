// outlierd: options, one pipeline, one feed server, one loop. Signals and ticks arrive on descriptors, so that nothing
// is done in a signal context and a stop is never later than the tick under way.
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <iostream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>

#include "userspace/base/file.h"
#include "userspace/base/log.h"
#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/base/unix_socket.h"
#include "userspace/config/config.h"
#include "userspace/feed/server.h"
#include "userspace/outlierd/options.h"
#include "userspace/outlierd/privileges.h"
#include "userspace/pipeline/pipeline.h"
#include "userspace/probes/doctor.h"
#include "userspace/probes/open_probes.h"

namespace outlier {
namespace {

int64_t Now(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec;
}

int Fail(const absl::Status& status) { return FailProgram("outlierd", status); }

std::string FirstLineOf(const std::string& path) {
  std::string text = ReadFile(path, 4096).value_or("");
  return Printable(text.substr(0, text.find('\n')), 256);
}

v1::Source ThisHost() {
  v1::Source source;
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  source.set_host_name(Printable(name, 256));
  source.set_host_id(FirstLineOf("/etc/machine-id"));
  if (source.host_id().empty()) source.set_host_id(source.host_name());
  source.set_boot_id(FirstLineOf("/proc/sys/kernel/random/boot_id"));
  return source;
}

int TellDoctor(const std::string& format) {
  for (const v1::ProbeState& probe : DoctorProbes()) {
    if (format == "json") {
      std::string line;
      google::protobuf::util::JsonPrintOptions json;
      json.preserve_proto_field_names = true;
      json.always_print_primitive_fields = true;
      (void)google::protobuf::util::MessageToJsonString(probe, &line, json);
      std::cout << line << "\n";
      continue;
    }
    std::cout << fmt::format("{:<16} {:<9} {}\n", probe.name(), v1::ProbeState::State_Name(probe.state()), Printable(probe.reason()));
    if (!probe.blind_to().empty()) std::cout << fmt::format("{:<26} cannot see: {}\n", "", Printable(probe.blind_to()));
  }
  return 0;
}

class Timer {
 public:
  Timer() : fd_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {}
  ~Timer() { close(fd_); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  int fd() const { return fd_; }
  void Start(int64_t period_ns) {
    const timespec period{period_ns / 1'000'000'000, period_ns % 1'000'000'000};
    const itimerspec spec{period, {0, 1}};  // the first tick at once
    timerfd_settime(fd_, 0, &spec, nullptr);
  }
  // Whether a tick is due; several missed ones are one.
  bool Take() {
    uint64_t expirations = 0;
    return read(fd_, &expirations, sizeof expirations) == sizeof expirations;
  }

 private:
  int fd_;
};

// What is opened once, at the start, and stands otherwise in the file by now.
std::string WaitsForRestart(const config::v1::Config& started, const config::v1::Config& read) {
  using google::protobuf::util::MessageDifferencer;
  std::vector<std::string> keys;
  if (!MessageDifferencer::Equals(started.probes(), read.probes())) keys.push_back("probes");
  if (!MessageDifferencer::Equals(started.recorder(), read.recorder())) keys.push_back("recorder");
  return keys.empty() ? "" : fmt::format("; {}: taken up at the next start", fmt::join(keys, ", "));
}

// Until a signal to stop. Every tick takes both clocks once.
void Loop(const DaemonOptions& options, int signals, Pipeline* pipeline, FeedServer* server, const config::v1::Config& started) {
  Timer timer;
  int64_t tick_ns = started.tick();
  timer.Start(tick_ns);
  bool ready = false;
  for (;;) {
    pollfd waits[] = {{signals, POLLIN, 0}, {timer.fd(), POLLIN, 0}};
    if (poll(waits, 2, -1) < 0) continue;
    if (waits[0].revents != 0) {
      signalfd_siginfo signal{};
      if (read(signals, &signal, sizeof signal) != sizeof signal) continue;
      if (signal.ssi_signo != SIGHUP) return;
      sd_notify(0, "RELOADING=1");
      const absl::StatusOr<config::v1::Config> config = LoadConfig(options.config_path, options.config_named, options.sets);
      if (config.ok()) {
        pipeline->Reload(*config);
        if (config->tick() != tick_ns) timer.Start(tick_ns = config->tick());
        Say("configuration read again" + WaitsForRestart(started, *config));
      } else {
        Warn(fmt::format("{}; the old configuration stays in force", MessageOf(config.status())));
      }
      sd_notify(0, "READY=1");
    }
    if (!timer.Take()) continue;
    pipeline->Tick(Now(CLOCK_BOOTTIME), Now(CLOCK_REALTIME));
    if (!ready) {
      server->SetServing(true);
      sd_notify(0, "READY=1");
      ready = true;
    }
  }
}

// In memory on most hosts.
std::string FolderOfSocket(const std::string& address) {
  const absl::StatusOr<std::string> path = SocketPath(address);
  return path.ok() ? std::filesystem::path(*path).parent_path().string() : "";
}

int Run(const DaemonOptions& options) {
  const absl::StatusOr<config::v1::Config> config = LoadConfig(options.config_path, options.config_named, options.sets);
  if (!config.ok()) return Fail(config.status());
  StartLog("outlierd", options.log_level);

  // Blocked before any thread begins, so that every thread leaves them to the descriptor.
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  const int signals = signalfd(-1, &set, SFD_CLOEXEC);
  if (signals < 0) return Fail(ErrnoStatus("open", "signalfd", errno));

  if (const absl::Status made = MakeFolders(options.state_dir); !made.ok()) return Fail(made);
  absl::StatusOr<std::unique_ptr<Pipeline>> pipeline =
      Pipeline::Open({*config, options.state_dir, OUTLIER_VERSION, ThisHost(), Warn, FolderOfSocket(options.listen)});
  if (!pipeline.ok()) return Fail(pipeline.status());

  std::vector<std::string> messages;
  absl::StatusOr<std::unique_ptr<ProbeSet>> probes = OpenProbes(*config, &messages);
  if (!probes.ok()) return Fail(probes.status());
  for (const std::string& message : messages) Warn(message);
  const std::string mode = (*probes)->mode();
  (*pipeline)->SetProbes(*std::move(probes), std::move(messages), Now(CLOCK_REALTIME));

  FeedServerOptions serving;
  serving.address = options.listen;
  serving.export_recording = [&](absl::Duration since, const std::function<bool(std::string_view)>& sink) {
    return (*pipeline)->Export(since, sink);
  };
  absl::StatusOr<std::unique_ptr<FeedServer>> server = FeedServer::Start(serving, (*pipeline)->journal(), pipeline->get());
  if (!server.ok()) return Fail(server.status());
  (*pipeline)->SetServer(server->get());
  if (const absl::Status dropped = DropPrivileges(); !dropped.ok()) Warn(MessageOf(dropped));
  Say(fmt::format("outlierd {} watches {} ({}), feed at {}", OUTLIER_VERSION, ThisHost().host_name(), mode, options.listen));

  Loop(options, signals, pipeline->get(), server->get(), *config);
  sd_notify(0, "STOPPING=1");
  (*server)->SetServing(false);
  (*pipeline)->SetServer(nullptr);
  (*pipeline)->StopWaiting();
  server->reset();
  (*pipeline)->SaveAll();
  close(signals);
  Say("stopped");
  return 0;
}

}  // namespace
}  // namespace outlier

int main(int argc, char** argv) {
  outlier::DaemonOptions options;
  if (const int status = outlier::ParseDaemonOptions(argc, argv, &options); status >= 0) return status;
  umask(umask(0077) | 0027);  // what is kept holds names of processes and paths, also where the folder is open to all
  return options.probe_doctor ? outlier::TellDoctor(options.format) : outlier::Run(options);
}
