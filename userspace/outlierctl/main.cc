// outlierctl: the command line on the daemon's feed.
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <streambuf>
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

// The standard output, which remembers why it could not be written.
class Output : public std::streambuf {
 public:
  Output() { setp(buffer_.data(), buffer_.data() + buffer_.size()); }
  int error() const { return error_; }

 protected:
  int overflow(int c) override {
    if (!Drain()) return traits_type::eof();
    return traits_type::eq_int_type(c, traits_type::eof()) ? traits_type::not_eof(c) : sputc(traits_type::to_char_type(c));
  }
  int sync() override { return Drain() ? 0 : -1; }

 private:
  bool Drain() {
    const char* at = pbase();
    while (at != pptr() && error_ == 0) {
      const ssize_t written = write(STDOUT_FILENO, at, static_cast<size_t>(pptr() - at));
      if (written >= 0) {
        at += written;
      } else if (errno == EAGAIN) {
        pollfd ready{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
        poll(&ready, 1, -1);
      } else if (errno != EINTR) {
        error_ = errno;
      }
    }
    setp(buffer_.data(), buffer_.data() + buffer_.size());
    return error_ == 0;
  }

  std::array<char, 16384> buffer_;
  int error_ = 0;
};

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

  Output output;
  std::ostream out(&output);
  std::cerr.tie(&out);  // what is said of a row comes after it
  outlier::ctl::Context context{.out = out, .err = std::cerr, .interrupt = interrupt};
  context.terminal = isatty(STDOUT_FILENO) == 1;
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  context.colour = context.terminal && (no_color == nullptr || *no_color == '\0') && term != nullptr && std::string_view(term) != "dumb";
  std::error_code ignored;
  context.program_dir = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path().string();
  const int status = outlier::ctl::Run(argc, argv, context);
  out.flush();
  std::cerr.tie(nullptr);
  if (status != 0 || output.error() == 0 || output.error() == EPIPE) return status;  // a reader that has seen enough is no failure
  std::cerr << "outlierctl: cannot write the output: " << std::strerror(output.error()) << "\n";
  return 1;
}
