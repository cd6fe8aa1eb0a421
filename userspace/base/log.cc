#include "userspace/base/log.h"

#include <unistd.h>

#include <iostream>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "userspace/base/status.h"
#include "userspace/base/text.h"

namespace outlier {
namespace {

std::string Loggable(const std::string& text) {
  const bool json = !isatty(STDERR_FILENO);
  std::string out;
  for (const char c : Printable(text)) {
    if ((c == '"' || c == '\\') && json) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

void StartLog(const std::string& program, const std::string& level) {
  auto log = spdlog::stderr_color_mt(program);
  // Messages hold no quotes or control characters that are not escaped: Loggable sees to it.
  log->set_pattern(isatty(STDERR_FILENO) ? "%H:%M:%S %^%l%$ %v" : R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","message":"%v"})");
  log->set_level(spdlog::level::from_str(level));
  spdlog::set_default_logger(log);
}

void Say(const std::string& text) { spdlog::info("{}", Loggable(text)); }
void Warn(const std::string& text) { spdlog::warn("{}", Loggable(text)); }

int FailProgram(const std::string& program, const absl::Status& status) {
  std::cerr << program << ": " << Printable(MessageOf(status)) << std::endl;
  return status.code() == absl::StatusCode::kInvalidArgument ? 2 : 1;
}

}  // namespace outlier
