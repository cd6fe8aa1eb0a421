// The command line of outlierd and where its files are.
#pragma once
#include <string>
#include <vector>

namespace outlier {

struct DaemonOptions {
  std::string config_path;
  bool config_named = false;
  std::string state_dir;
  std::string listen;
  std::string log_level = "info";
  std::vector<std::string> sets;
  bool probe_doctor = false;
  std::string format = "text";  // of --probe-doctor
};

// Returns -1 to go on, else the exit status (help and version were printed, or the usage error was said).
int ParseDaemonOptions(int argc, char** argv, DaemonOptions* options);

}  // namespace outlier
