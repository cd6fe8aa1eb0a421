// The frame around every command: global options, --help and --version everywhere, one line on failure, exit status.
#include <cstdlib>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "userspace/base/text.h"
#include "userspace/base/usage.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/feed_connection.h"
#include "userspace/outlierctl/relay_connection.h"

namespace outlier::ctl {
namespace {

struct GlobalOptions {
  std::string format = "text";
  std::string log_level = "warning";
  std::string address;
  std::string relay_address;
};

void AddGlobalOptions(CLI::App& app, GlobalOptions& options) {
  app.add_option("--format", options.format, "text for people, json for programs: one object per line")
      ->check(CLI::IsMember({"text", "json"}));
  app.add_option("--address", options.address, "the daemon's feed, unix:///path; also $OUTLIER_ADDRESS");
  app.add_option("--relay-address", options.relay_address, "outlier-relay's socket, for `sinks` and `silence`, unix:///path");
  app.add_option("--log-level", options.log_level, "trace, debug, info, warning, error or off, on stderr")
      ->check(CLI::IsMember({"trace", "debug", "info", "warning", "error", "off"}));
}

// Every subcommand, at any depth, takes the global options after its name too.
void Finish(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands([](CLI::App* c) { return !c->get_name().empty(); })) {  // groups of options have no name
    command->fallthrough();
    command->set_version_flag("--version", "outlierctl " OUTLIER_VERSION);
    command->footer("Also: --format text|json, --address ADDRESS, --log-level LEVEL");
    Finish(*command);
  }
}

// One line: control characters in what a peer or a file said must not reach the terminal.
void Complain(Context& context, std::string_view text) {
  context.err << "outlierctl: " << Printable(text) << "\n";
  context.err.flush();
}

// "A subcommand is required" does not say that there is none of the name that was given.
std::string WhatIsWrong(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> rest = app.remaining(true);
  const CLI::App* innermost = &app;
  while (!innermost->get_subcommands().empty()) innermost = innermost->get_subcommands().front();
  const bool misses = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && innermost->get_require_subcommand_min() > 0;
  if (misses && !rest.empty()) return fmt::format("there is no {} '{}'", rest.front().starts_with('-') ? "option" : "command", rest.front());
  return FirstLine(error);
}

}  // namespace

int Run(int argc, const char* const* argv, Context& context) {
  CLI::App app("Asks the outlier daemon of this host what misbehaves, since when, how far from normal, and why.", "outlierctl");
  GlobalOptions options;
  AddGlobalOptions(app, options);
  app.set_version_flag("--version", "outlierctl " OUTLIER_VERSION);
  app.require_subcommand(1);
#define OUTLIER_COMMAND(name) Add##name(app, context);
#include "userspace/outlierctl/commands.def"
#undef OUTLIER_COMMAND
  Finish(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForVersion& call) {
    context.out << call.what() << "\n";
    return 0;
  } catch (const CLI::Success& call) {  // --help, of the program or of a subcommand
    app.exit(call, context.out, context.err);
    return 0;
  } catch (const CLI::ParseError& error) {
    Complain(context, fmt::format("{}; see `outlierctl --help`", WhatIsWrong(app, error)));
    return 2;
  }
  spdlog::set_level(spdlog::level::from_str(options.log_level));
  context.json = options.format == "json";
  context.address = options.address.empty() ? DefaultAddress() : options.address;
  context.relay_address = options.relay_address.empty() ? DefaultRelayAddress() : options.relay_address;
  const absl::Status status = context.action();
  context.out.flush();
  if (status.ok()) return 0;
  Complain(context, std::string(status.message()));
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

}  // namespace outlier::ctl
