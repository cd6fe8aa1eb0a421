// One function a subcommand: adds it with its options to the parser; when chosen it sets context.action.
#pragma once
#include <CLI/CLI.hpp>

#include "userspace/outlierctl/context.h"

namespace outlier::ctl {

#define OUTLIER_COMMAND(name) void Add##name(CLI::App& app, Context& context);
#include "userspace/outlierctl/commands.def"
#undef OUTLIER_COMMAND

}  // namespace outlier::ctl
