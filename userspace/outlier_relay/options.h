// The command line of outlier-relay and where its files are.
#pragma once
#include <string>
#include <vector>

namespace outlier {

struct RelayCommand {
  enum class What { kRun, kSetup, kCheck };
  What what = What::kRun;
  std::string sink;          // of setup
  std::string config_path;
  bool config_named = false;
  std::string state_dir;
  std::string relay_address;
  std::string log_level = "info";
  std::vector<std::string> sets;
  bool dry_run = false;      // of setup
};

// Returns -1 to go on, else the exit status (help and version were printed, or the usage error was said).
int ParseRelayCommand(int argc, char** argv, RelayCommand* command);

}  // namespace outlier
