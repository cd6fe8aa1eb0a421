// outlierctl: the command line on the daemon's feed.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <thread>

#include "userspace/outlierctl/context.h"

namespace {

// A command that follows something is asked to end; any other just ends. A second signal always ends it.
void WatchSignals(sigset_t signals, outlier::ctl::Interrupt& interrupt) {
  std::thread([signals, &interrupt] {
    for (int signal = 0;;) {
      if (sigwait(&signals, &signal) != 0) continue;
      if (!interrupt.has_listener() || interrupt.raised()) _exit(128 + signal);
      interrupt.Raise();
    }
  }).detach();
}

}  // namespace

int main(int argc, char** argv) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // before any thread is made, so that all of them inherit it
  signal(SIGINT, SIG_DFL);                        // a shell's background job inherits it ignored
  signal(SIGPIPE, SIG_IGN);                       // a reader that left shows as a failed write
  static outlier::ctl::Interrupt interrupt;       // outlives the detached thread's use of it
  WatchSignals(signals, interrupt);

  outlier::ctl::Context context{.out = std::cout, .err = std::cerr, .interrupt = interrupt};
  context.terminal = isatty(STDOUT_FILENO) == 1;
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  context.colour = context.terminal && (no_color == nullptr || *no_color == '\0') && term != nullptr && std::string_view(term) != "dumb";
  std::error_code ignored;
  context.program_dir = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path().string();
  const int status = outlier::ctl::Run(argc, argv, context);
  std::cout.flush();
  return status;
}
