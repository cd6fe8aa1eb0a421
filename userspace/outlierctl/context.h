// Context: what a command may touch of the world outside: two streams, the clock, the daemon's address, and a way to be
// stopped. Tests give their own, so that every command runs in-process.
#pragma once
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace outlier::ctl {

// Raised once, by a signal or by a test; commands that follow something end soon after. Thread-safe.
class Interrupt {
 public:
  void Raise();
  bool raised() const;
  // True when raised before `duration` has passed.
  bool WaitFor(std::chrono::milliseconds duration);
  // Runs `action` when raised, at once if it has been; one action at a time. An empty function takes it away, after
  // which the old one is neither running nor will run.
  void OnRaise(std::function<void()> action);
  // Whether some command listens: if none does, a signal ends the program as usual.
  bool has_listener() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool raised_ = false;
  bool listened_ = false;
  std::function<void()> action_;
};

struct Context {
  std::ostream& out;
  std::ostream& err;
  Interrupt& interrupt;
  std::string address = {}; // as given, else found by DefaultAddress
  std::string relay_address = {};  // of outlier-relay, likewise
  bool json = false;
  bool terminal = false;    // out is a terminal: live redraws make sense
  bool colour = false;      // terminal, and NO_COLOR is not set
  std::string program_dir = {};  // where this program lies, to find outlierd beside it
  std::function<absl::Time()> now = [] { return absl::Now(); };
  absl::TimeZone zone = absl::LocalTimeZone();
  // Set by the chosen subcommand. INVALID_ARGUMENT means wrong usage or configuration (exit status 2), all else 1.
  std::function<absl::Status()> action = {};
};

// The whole program: parses, runs, reports. Returns the exit status: 0 fine, 1 failed, 2 wrong usage or configuration.
int Run(int argc, const char* const* argv, Context& context);

}  // namespace outlier::ctl
