// YAML on a protobuf message by reflection: keys are the field names, the field options of config.proto say how a scalar
// is written, what it may be, and what it is when absent. Knows no particular message. Pure functions.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include <google/protobuf/message.h>

#include "absl/status/status.h"
#include "userspace/config/yaml_tree.h"

namespace outlier {

// Judges a text beyond its type. Gets the field's full name and the text; "" = fine, else what is wrong.
using TextCheck = std::function<std::string(std::string_view field, std::string_view text)>;

// Sets every field with a default_value, sub-messages included, members of a oneof not: those get theirs when they are chosen.
void FillDefaults(google::protobuf::Message* message);

// Puts `node` over `message`. Lists replace. INVALID_ARGUMENT: "<name>:<line>:<column>: <key.path>: what is wrong, what
// is allowed"; `message` may then be half written.
absl::Status ReadMessage(const YamlNode& node, std::string_view name, const TextCheck& check, google::protobuf::Message* message);

// One `key.path=value` as of --set; value is YAML for lists and groups, plain text else.
// INVALID_ARGUMENT: "--set <assignment>: <key.path>: ...".
absl::Status ReadAssignment(std::string_view assignment, const TextCheck& check, google::protobuf::Message* message);

// The word of `words` most like `word`, "" where none is near: for "did you mean".
std::string_view Nearest(std::string_view word, const std::vector<std::string_view>& words);

}  // namespace outlier
