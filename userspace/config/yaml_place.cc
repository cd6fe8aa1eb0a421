#include "userspace/config/yaml_place.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include <fmt/format.h>

#include "userspace/base/status.h"
#include "userspace/base/text.h"

namespace outlier {
namespace {

bool IsPath(std::string_view text) {
  const auto fits = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '[' || c == ']'; };
  return !text.empty() && std::isalpha(static_cast<unsigned char>(text.front())) != 0 && std::all_of(text.begin(), text.end(), fits);
}

// What "sinks[2] (oncall): pagerduty.url: no address" speaks of: "sinks[2].pagerduty.url".
std::string PathIn(std::string_view message) {
  std::string path;
  for (;;) {
    const size_t end = message.find(": ");
    if (end == std::string_view::npos) return path;
    std::string_view part = message.substr(0, end);
    if (part.ends_with(')')) part = part.substr(0, part.find(" ("));  // its name, for a person
    if (!IsPath(part)) return path;
    path += (path.empty() ? "" : ".") + std::string(part);
    message.remove_prefix(end + 2);
  }
}

const YamlNode* ItemOf(const YamlNode& node, std::string_view number) {
  size_t index = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), index);
  const bool there = error == std::errc() && end == number.data() + number.size() && node.kind == YamlNode::Kind::kSequence && index < node.items.size();
  return there ? &node.items[index] : nullptr;
}

const YamlNode* ValueOf(const YamlNode& node, std::string_view key) {
  if (node.kind != YamlNode::Kind::kMap) return nullptr;
  const auto found = std::find_if(node.keys.begin(), node.keys.end(), [&](const YamlNode& one) { return one.text == key; });
  return found == node.keys.end() ? nullptr : &node.items[static_cast<size_t>(found - node.keys.begin())];
}

}  // namespace

const YamlNode* DeepestNode(const YamlNode& root, std::string_view path) {
  const YamlNode* deepest = nullptr;
  const YamlNode* node = &root;
  while (node != nullptr && !path.empty()) {
    const bool item = path.front() == '[';
    const size_t end = std::min(item ? path.find(']') : path.find_first_of(".["), path.size());
    node = item ? ItemOf(*node, path.substr(1, end - 1)) : ValueOf(*node, path.substr(0, end));
    if (node != nullptr) deepest = node;
    path.remove_prefix(std::min(item ? end + 1 : end, path.size()));
    if (path.starts_with('.')) path.remove_prefix(1);
  }
  return deepest;
}

absl::Status WithPlace(const absl::Status& status, const YamlNode& root, std::string_view name) {
  if (status.ok()) return status;
  const std::string message = MessageOf(status);
  const YamlNode* node = DeepestNode(root, PathIn(message));
  const std::string place = node == nullptr ? Printable(name) : fmt::format("{}:{}:{}", Printable(name), node->line, node->column);
  return absl::Status(status.code(), fmt::format("{}: {}", place, message));
}

}  // namespace outlier
