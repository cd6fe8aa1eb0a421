#include "userspace/outlierd/options.h"

#include <CLI/CLI.hpp>

#include "userspace/base/folders.h"
#include "userspace/base/usage.h"

namespace outlier {
namespace {

void FillDefaults(DaemonOptions* options) {
  const Folders folders = FoldersOfUser();
  options->config_named = !options->config_path.empty();
  if (options->config_path.empty()) options->config_path = folders.config + "/outlierd.yaml";
  if (options->state_dir.empty()) options->state_dir = folders.state;
  if (options->listen.empty()) options->listen = "unix://" + folders.run + "/outlierd.sock";
}

}  // namespace

int ParseDaemonOptions(int argc, char** argv, DaemonOptions* options) {
  CLI::App app("Watches every process of this host through eBPF and says which workload misbehaves, since when and why.", "outlierd");
  app.failure_message(WrongUsage);
  app.set_version_flag("--version", "outlierd " OUTLIER_VERSION);
  app.add_option("--config", options->config_path, "configuration file; absent = defaults");
  app.add_option("--state-dir", options->state_dir, "journal, models and recordings");
  app.add_option("--listen", options->listen, "address of the feed, unix:///path");
  app.add_option("--set", options->sets, "key.path=value, wins over the file; repeatable")->take_all()->expected(1)->allow_extra_args(false);
  app.add_option("--log-level", options->log_level, "trace, debug, info, warning, error or off")
      ->check(CLI::IsMember({"trace", "debug", "info", "warning", "error", "off"}));
  app.add_flag("--probe-doctor", options->probe_doctor, "say what loads on this kernel, what does not, why, and what is lost by it; then stop");
  app.add_option("--format", options->format, "of --probe-doctor: text or json")->check(CLI::IsMember({"text", "json"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  FillDefaults(options);
  return -1;
}

}  // namespace outlier
