// A protobuf message as YAML that message_from_yaml.h reads back to the same message. Pure functions.
#pragma once
#include <functional>
#include <string>

#include <google/protobuf/message.h>

namespace outlier {

// The comment above a key, by its path ("budgets.memory"); "" = none. Lines are separated by '\n'.
using CommentOf = std::function<std::string(const std::string& path)>;

// Every field, in the order of the .proto file. A scalar that equals its default is written as the .proto writes it.
std::string WriteMessage(const google::protobuf::Message& message, const CommentOf& comment_of = {});

}  // namespace outlier
