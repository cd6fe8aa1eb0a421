#include "userspace/config/relay_config.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "userspace/base/file.h"
#include "userspace/base/text.h"
#include "userspace/config/message_from_yaml.h"

namespace outlier {
namespace {

constexpr const char* kLocalFeed = "unix:///run/outlierd/outlierd.sock";

// Names are keys of the ledger, labels of metrics and words of the command line.
bool IsName(std::string_view name) {
  const auto good = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'; };
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), good);
}

absl::Status CheckNames(const config::v1::Relay& relay, std::string_view file) {
  std::set<std::string> names, addresses;
  for (int i = 0; i < relay.sinks_size(); ++i) {
    const std::string& name = relay.sinks(i).name();
    if (!IsName(name)) {
      return absl::InvalidArgumentError(fmt::format("{}: sinks[{}].name: {}: a name of up to 64 letters, digits, '-', '_' and '.'", Printable(file), i,
                                                    name.empty() ? "needed" : fmt::format("\"{}\" will not do", Printable(name, 80))));
    }
    if (!names.insert(name).second) return absl::InvalidArgumentError(fmt::format("{}: sinks[{}].name: {} is the name of another sink, too", Printable(file), i, name));
    if (relay.sinks(i).kind_case() == config::v1::Sink::KIND_NOT_SET) {
      std::string kinds;
      for (int k = 0; k < config::v1::Sink::descriptor()->oneof_decl(0)->field_count(); ++k) {
        kinds += (k == 0 ? "" : ", ") + config::v1::Sink::descriptor()->oneof_decl(0)->field(k)->name();
      }
      return absl::InvalidArgumentError(fmt::format("{}: sinks[{}] ({}): says not what it is; one of: {}", Printable(file), i, name, kinds));
    }
  }
  if (!relay.slos().empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: slos: error budgets are not kept yet; leave the list empty", Printable(file)));
  }
  for (int i = 0; i < relay.sources_size(); ++i) {
    if (!addresses.insert(relay.sources(i)).second) return absl::InvalidArgumentError(fmt::format("{}: sources[{}]: given twice", Printable(file), i));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<config::v1::Relay> ParseRelayConfig(std::string_view yaml, std::string_view name, std::span<const std::string> sets) {
  const absl::StatusOr<YamlNode> root = ParseYaml(yaml, name);
  if (!root.ok()) return root.status();
  config::v1::Relay relay;
  FillDefaults(&relay);
  if (absl::Status status = ReadMessage(*root, name, {}, &relay); !status.ok()) return status;
  for (const std::string& set : sets) {
    if (absl::Status status = ReadAssignment(set, {}, &relay); !status.ok()) return status;
  }
  if (relay.sources().empty()) relay.add_sources(kLocalFeed);
  if (absl::Status status = CheckNames(relay, name); !status.ok()) return status;
  return relay;
}

absl::StatusOr<config::v1::Relay> LoadRelayConfig(const std::string& path, bool named, std::span<const std::string> sets) {
  const absl::StatusOr<std::string> yaml = ReadFile(path, kMaxYamlBytes);
  if (yaml.ok()) return ParseRelayConfig(*yaml, path, sets);
  if (!named && absl::IsNotFound(yaml.status())) return ParseRelayConfig("", path, sets);
  return yaml.status();
}

}  // namespace outlier
