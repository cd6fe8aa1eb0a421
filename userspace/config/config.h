// outlierd.yaml: read, checked, and written. Pure but for LoadConfig, which reads one file.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "outlier/config/v1/config.pb.h"

namespace outlier {

config::v1::Config DefaultConfig();

// The file at `path` over the defaults, then `sets` ("key.path=value", the later wins) over both. An absent file is an
// error (NOT_FOUND) only where `named` says the user asked for it; otherwise it means the defaults.
// INVALID_ARGUMENT: "<file>:<line>:<column>: <key.path>: what is wrong, what is allowed", or "--set <assignment>: ...".
absl::StatusOr<config::v1::Config> LoadConfig(const std::string& path, bool named, std::span<const std::string> sets = {});

// The same over a text; `name` stands for the file in errors. Any bytes are safe.
absl::StatusOr<config::v1::Config> ParseConfig(std::string_view yaml, std::string_view name, std::span<const std::string> sets = {});

// A complete, commented file that parses to the defaults.
std::string DefaultsYaml();

// Every key, no comments; parses to the same message.
std::string ConfigToYaml(const config::v1::Config& config);

}  // namespace outlier
