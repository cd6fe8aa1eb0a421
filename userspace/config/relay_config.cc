#include "userspace/config/relay_config.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "outlier/config/v1/config.pb.h"
#include "userspace/base/file.h"
#include "userspace/base/folders.h"
#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/config/message_from_yaml.h"
#include "userspace/config/yaml_place.h"

namespace outlier {
namespace {


// Names are keys of the ledger, labels of metrics and words of the command line.
bool IsName(std::string_view name) {
  const auto good = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'; };
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), good);
}

absl::Status CheckNames(const config::v1::Relay& relay) {
  std::set<std::string> names, addresses;
  for (int i = 0; i < relay.sinks_size(); ++i) {
    const std::string& name = relay.sinks(i).name();
    if (!IsName(name)) {
      return absl::InvalidArgumentError(fmt::format("sinks[{}].name: {}: a name of up to 64 letters, digits, '-', '_' and '.'", i,
                                                    name.empty() ? "needed" : fmt::format("\"{}\" will not do", Printable(name, 80))));
    }
    if (!names.insert(name).second) return absl::InvalidArgumentError(fmt::format("sinks[{}].name: {} is the name of another sink, too", i, name));
    if (relay.sinks(i).kind_case() == config::v1::Sink::KIND_NOT_SET) {
      std::string kinds;
      for (int k = 0; k < config::v1::Sink::descriptor()->oneof_decl(0)->field_count(); ++k) {
        kinds += (k == 0 ? "" : ", ") + config::v1::Sink::descriptor()->oneof_decl(0)->field(k)->name();
      }
      return absl::InvalidArgumentError(fmt::format("sinks[{}] ({}): says not what it is; one of: {}", i, name, kinds));
    }
  }
  if (!relay.slos().empty()) {
    return absl::InvalidArgumentError("slos: error budgets are not kept yet; leave the list empty");
  }
  for (int i = 0; i < relay.sources_size(); ++i) {
    if (!addresses.insert(relay.sources(i)).second) return absl::InvalidArgumentError(fmt::format("sources[{}]: given twice", i));
  }
  return absl::OkStatus();
}

// Whether an option, not the file, gave what this error begins with.
bool IsSet(const absl::Status& status, std::span<const std::string> sets) {
  const std::string message = MessageOf(status);
  const auto gave = [&](const std::string& set) { return message.starts_with(set.substr(0, set.find_first_of("=.["))); };
  return std::any_of(sets.begin(), sets.end(), gave);
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
  if (relay.sources().empty()) relay.add_sources(LocalFeedAddress());
  if (absl::Status status = CheckNames(relay); !status.ok()) return IsSet(status, sets) ? status : WithPlace(status, *root, name);
  return relay;
}

absl::StatusOr<config::v1::Relay> LoadRelayConfig(const std::string& path, bool named, std::span<const std::string> sets) {
  const absl::StatusOr<std::string> yaml = ReadFile(path, kMaxYamlBytes);
  if (yaml.ok()) return ParseRelayConfig(*yaml, path, sets);
  if (!named && absl::IsNotFound(yaml.status())) return ParseRelayConfig("", path, sets);
  return yaml.status();
}

absl::Status PlaceInRelayConfig(const absl::Status& status, const std::string& path, std::span<const std::string> sets) {
  if (!absl::IsInvalidArgument(status) || IsSet(status, sets)) return status;
  const absl::StatusOr<std::string> yaml = ReadFile(path, kMaxYamlBytes);
  if (!yaml.ok()) return status;
  const absl::StatusOr<YamlNode> root = ParseYaml(*yaml, path);
  return root.ok() ? WithPlace(status, *root, path) : status;
}

bool IsRelayConfig(std::string_view yaml) {
  const absl::StatusOr<YamlNode> root = ParseYaml(yaml, "");
  if (!root.ok()) return false;
  const auto of_relay = [](const YamlNode& key) {
    return config::v1::Relay::descriptor()->FindFieldByName(key.text) != nullptr && config::v1::Config::descriptor()->FindFieldByName(key.text) == nullptr;
  };
  return std::any_of(root->keys.begin(), root->keys.end(), of_relay);
}

}  // namespace outlier
