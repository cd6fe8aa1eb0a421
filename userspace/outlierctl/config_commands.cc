// outlierctl config check, outlierctl config defaults.
#include <fmt/format.h>

#include "userspace/base/file.h"
#include "userspace/base/text.h"
#include "userspace/config/config.h"
#include "userspace/config/relay_config.h"
#include "userspace/config/yaml_tree.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/text_output.h"

namespace outlier::ctl {

namespace {

template <class Config>
absl::Status Tell(Context& context, const std::string& file, const absl::StatusOr<Config>& config, std::string_view verdict) {
  if (!config.ok()) return config.status();
  if (context.json) {
    PrintJson(context, *config);
  } else {
    context.out << Printable(file) << ": " << verdict << "\n";
  }
  return absl::OkStatus();
}

}  // namespace

void AddConfig(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("config", "Configuration files");
  command->require_subcommand(1);

  CLI::App* check = command->add_subcommand("check", "Says whether a file is a good configuration; exit status 2 where not");
  auto file = std::make_shared<std::string>();
  check->add_option("FILE", *file, "such as /etc/outlierd/outlierd.yaml or relay.yaml")->required();
  check->callback([&context, file] {
    context.action = [&context, file]() -> absl::Status {
      const auto yaml = ReadFile(*file, kMaxYamlBytes);
      if (!yaml.ok()) return yaml.status();
      if (IsRelayConfig(*yaml)) {
        return Tell(context, *file, ParseRelayConfig(*yaml, *file), "good, as far as its keys go; `outlier-relay --config FILE check` tries it");
      }
      return Tell(context, *file, ParseConfig(*yaml, *file), "good");
    };
  });

  CLI::App* defaults = command->add_subcommand("defaults", "Prints a complete file with the defaults");
  defaults->callback([&context] {
    context.action = [&context]() -> absl::Status {
      if (context.json) {
        PrintJson(context, DefaultConfig());
      } else {
        context.out << DefaultsYaml();
      }
      return absl::OkStatus();
    };
  });
}

}  // namespace outlier::ctl
