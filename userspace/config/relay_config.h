// relay.yaml: read and checked as far as the schema goes. Pure but for LoadRelayConfig, which reads one file.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "outlier/config/v1/relay.pb.h"

namespace outlier {

// As LoadConfig and ParseConfig of config.h, which see. Without a word about sources the local daemon's socket is the only one.
absl::StatusOr<config::v1::Relay> LoadRelayConfig(const std::string& path, bool named, std::span<const std::string> sets = {});
absl::StatusOr<config::v1::Relay> ParseRelayConfig(std::string_view yaml, std::string_view name, std::span<const std::string> sets = {});

}  // namespace outlier
