// Where in a YAML document something stands that turned out to be wrong after it was read. Pure functions.
#pragma once
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "userspace/config/yaml_tree.h"

namespace outlier {

// "sinks[2].pagerduty.routing_key_file": that node, or the deepest on the way to it that is there; null where not even the first is.
const YamlNode* DeepestNode(const YamlNode& root, std::string_view path);

// An error that begins with a key, "sinks[2] (oncall): pagerduty.url: no address", as "<name>:<line>:<column>: sinks[2] ..."; where there is no such
// key as "<name>: ...". The code stays.
absl::Status WithPlace(const absl::Status& status, const YamlNode& root, std::string_view name);

}  // namespace outlier
