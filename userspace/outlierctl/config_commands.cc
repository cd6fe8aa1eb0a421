// outlierctl config check, outlierctl config defaults.
#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/config/config.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/text_output.h"

namespace outlier::ctl {

void AddConfig(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("config", "Configuration files");
  command->require_subcommand(1);

  CLI::App* check = command->add_subcommand("check", "Says whether a file is a good configuration; exit status 2 where not");
  auto file = std::make_shared<std::string>();
  check->add_option("FILE", *file, "such as /etc/outlierd/outlierd.yaml")->required();
  check->callback([&context, file] {
    context.action = [&context, file]() -> absl::Status {
      const auto config = LoadConfig(*file, /*named=*/true);
      if (!config.ok()) return config.status();
      if (context.json) {
        PrintJson(context, *config);
      } else {
        context.out << Printable(*file) << ": good\n";
      }
      return absl::OkStatus();
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
