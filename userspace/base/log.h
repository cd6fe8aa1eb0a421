// Logs of the two daemons, on stderr: text for a person at a terminal, one JSON object a line for a collector. Whatever bytes are in a text, they
// stay within their line. Thread-safe after StartLog.
#pragma once
#include <string>

#include "absl/status/status.h"

namespace outlier {

// `level`: trace, debug, info, warning, error or off.
void StartLog(const std::string& program, const std::string& level);
void Say(const std::string& text);
void Warn(const std::string& text);

// One line on stderr, before there is a log; returns the exit status: 2 for INVALID_ARGUMENT, else 1.
int FailProgram(const std::string& program, const absl::Status& status);

}  // namespace outlier
