// outlierctl probe doctor: what loads on this kernel, what does not, why, and what is lost by it. Asks the daemon; where
// none runs, `outlierd --probe-doctor` tries the probes itself.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>


#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include "userspace/base/file.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/feed_connection.h"
#include "userspace/outlierctl/probe_report.h"
#include "userspace/outlierctl/text_output.h"

namespace outlier::ctl {
namespace {

// outlierd beside this program, else in the PATH.
std::string DaemonProgram(const Context& context) {
  const std::string beside = context.program_dir + "/outlierd";
  return !context.program_dir.empty() && access(beside.c_str(), X_OK) == 0 ? beside : "outlierd";
}

// What `outlierd --probe-doctor` prints.
absl::StatusOr<std::string> AskProgram(const std::string& program) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus("make", "a pipe", errno);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawnattr_t attributes;  // signals are blocked here, and must end the child
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  std::string name = program, option = "--probe-doctor", format = "--format", json = "json";
  char* arguments[] = {name.data(), option.data(), format.data(), json.data(), nullptr};
  pid_t child = 0;
  const int error = posix_spawnp(&child, program.c_str(), &actions, &attributes, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(ends[1]);
  std::string output;
  if (error == 0) {
    char buffer[4096];
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR);) {
      if (n > 0) output.append(buffer, n);
    }
  }
  close(ends[0]);
  if (error != 0) return ErrnoStatus("run", program, error);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return absl::UnavailableError(fmt::format("cannot ask {} --probe-doctor: it failed (wait status {})", program, status));
  }
  return output;
}

// One ProbeState as JSON a line; false where it is something else.
bool ParseProbes(const std::string& text, v1::Status* status) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.empty()) continue;
    if (!google::protobuf::util::JsonStringToMessage(line, status->add_probes()).ok()) return false;
  }
  return true;
}

void Print(Context& context, const v1::Status& status) {
  if (!context.json) {
    PrintProbes(context, status);
    return;
  }
  for (const v1::ProbeState& probe : status.probes()) PrintJson(context, probe);
}

absl::Status Doctor(Context& context) {
  auto feed = FeedConnection::Open(context.address);
  if (!feed.ok()) return feed.status();
  auto answer = feed->Call(&v1::OutlierFeed::Stub::GetStatus, v1::GetStatusRequest(), "ask for the probes");
  if (answer.ok()) {
    if (!context.json) context.out << "probes of the running daemon\n";
    Print(context, *answer);
    return absl::OkStatus();
  }
  if (!absl::IsUnavailable(answer.status())) return answer.status();
  const auto output = AskProgram(DaemonProgram(context));
  if (!output.ok()) return output.status();
  v1::Status status;
  if (!ParseProbes(*output, &status)) {
    return absl::InternalError(fmt::format("cannot read what {} --probe-doctor says: it is not of this version", DaemonProgram(context)));
  }
  if (!context.json) context.out << "no daemon runs; what it could load here\n";
  Print(context, status);
  return absl::OkStatus();
}

}  // namespace

void AddProbe(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("probe", "The kernel side");
  command->require_subcommand(1);
  CLI::App* doctor = command->add_subcommand("doctor", "What loads on this kernel, what does not, why, and what is lost by it");
  doctor->callback([&context] { context.action = [&context] { return Doctor(context); }; });
}

}  // namespace outlier::ctl
