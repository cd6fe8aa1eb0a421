// What a program says of a command line that it does not understand: one line, with its name. For CLI::App::failure_message.
#pragma once
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "userspace/base/text.h"

namespace outlier {

inline std::string FirstLine(const CLI::Error& error) {
  const std::string what = error.what();
  return what.substr(0, what.find('\n'));
}

inline std::string WrongUsage(const CLI::App* app, const CLI::Error& error) {
  return fmt::format("{0}: {1}; see `{0} --help`\n", app->get_name(), Printable(FirstLine(error)));
}

}  // namespace outlier
