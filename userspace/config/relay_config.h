// relay.yaml: read and checked as far as the schema goes. Pure but for what takes a path, which reads that file.
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

// What was found to be wrong later ("sinks[0] (am): alertmanager.urls[1]: ..."), with file, line and column before it, where the file says it.
absl::Status PlaceInRelayConfig(const absl::Status& status, const std::string& path, std::span<const std::string> sets = {});

// Whether a document has a key that only relay.yaml has.
bool IsRelayConfig(std::string_view yaml);

}  // namespace outlier
