#include "userspace/outlier_relay/options.h"

#include <unistd.h>

#include <CLI/CLI.hpp>

#include "userspace/base/folders.h"
#include "userspace/base/usage.h"

namespace outlier {

int ParseRelayCommand(int argc, char** argv, RelayCommand* command) {
  CLI::App app("Carries the incidents that outlierd finds to Elasticsearch, OpenTelemetry, Prometheus, pagers and more.", "outlier-relay");
  app.failure_message(WrongUsage);
  app.set_version_flag("--version", "outlier-relay " OUTLIER_VERSION);
  app.add_option("--config", command->config_path, "configuration file; absent = no sinks, /metrics only");
  app.add_option("--state-dir", command->state_dir, "cursors, pages, dead letters, silences");
  app.add_option("--relay-address", command->relay_address, "where `outlierctl sinks` and `silence` are served, unix:///path");
  app.add_option("--set", command->sets, "key.path=value, wins over the file; repeatable")->take_all()->expected(1)->allow_extra_args(false);
  app.add_option("--log-level", command->log_level, "trace, debug, info, warning, error or off")
      ->check(CLI::IsMember({"trace", "debug", "info", "warning", "error", "off"}));
  app.fallthrough();
  app.require_subcommand(0, 1);
  CLI::App* setup = app.add_subcommand("setup", "install what a sink needs: templates, streams, retention; again changes nothing");
  setup->add_option("SINK", command->sink, "its name in the configuration")->required();
  setup->add_flag("--dry-run", command->dry_run, "only say what would be sent");
  const CLI::App* check = app.add_subcommand("check", "reach every sink and source, and say what would be done");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (setup->parsed()) command->what = RelayCommand::What::kSetup;
  if (check->parsed()) command->what = RelayCommand::What::kCheck;
  const Folders folders = FoldersOfUser();
  command->config_named = !command->config_path.empty();
  if (command->config_path.empty()) command->config_path = folders.config + "/relay.yaml";
  if (command->state_dir.empty()) command->state_dir = folders.state + "-relay";
  if (command->relay_address.empty()) command->relay_address = "unix://" + folders.run + "/relay.sock";
  return -1;
}

}  // namespace outlier
