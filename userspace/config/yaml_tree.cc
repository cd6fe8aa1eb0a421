#include "userspace/config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <exception>
#include <sstream>

#include <fmt/format.h>

#include "userspace/base/text.h"

namespace outlier {
namespace {

absl::Status At(std::string_view name, int line, int column, std::string_view what) {
  return absl::InvalidArgumentError(fmt::format("{}:{}:{}: {}", Printable(name), line, column, what));
}

// Thrown from inside the parser's callbacks, which have no other way to stop it; caught in ParseYaml.
struct Refusal : std::exception {
  Refusal(const YAML::Mark& mark, std::string text) : line(mark.line + 1), column(mark.column + 1), what_(std::move(text)) {}
  const char* what() const noexcept override { return what_.c_str(); }
  int line, column;

 private:
  std::string what_;
};

class TreeBuilder : public YAML::EventHandler {
 public:
  YamlNode root;

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  // Where nothing was written, yaml-cpp says where the next thing stands: it is where its key is.
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override {
    YamlNode node = Node(mark, YamlNode::Kind::kNull);
    if (!open_.empty() && open_.back()->keys.size() > open_.back()->items.size() && open_.back()->keys.back().line < node.line) {
      node.line = open_.back()->keys.back().line;
      node.column = open_.back()->keys.back().column;
    }
    Add(std::move(node));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw Refusal(mark, "aliases (*name) are not accepted; write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, const std::string& value) override {
    YamlNode node = Node(mark, YamlNode::Kind::kScalar);
    node.quoted = tag == "!";  // how yaml-cpp marks a quoted scalar
    if (!node.quoted) CheckTag(mark, tag);
    node.text = value;
    if (!node.quoted && (value == "~" || value == "null" || value.empty())) node.kind = YamlNode::Kind::kNull;
    Add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, YAML::EmitterStyle::value) override {
    CheckTag(mark, tag);
    Open(mark, YamlNode::Kind::kSequence);
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, YAML::EmitterStyle::value) override {
    CheckTag(mark, tag);
    Open(mark, YamlNode::Kind::kMap);
  }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  YamlNode Node(const YAML::Mark& mark, YamlNode::Kind kind) {
    if (++count_ > kMaxYamlNodes) throw Refusal(mark, fmt::format("more than {} values", kMaxYamlNodes));
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    return node;
  }
  void CheckTag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!") throw Refusal(mark, "tags (!name) are not accepted");
  }
  // Pointers into open_ stay valid: a parent's vector only grows while none of its children is open.
  YamlNode* Add(YamlNode node) {
    if (open_.empty()) {
      root = std::move(node);
      return &root;
    }
    YamlNode& parent = *open_.back();
    if (parent.kind == YamlNode::Kind::kMap && parent.keys.size() == parent.items.size()) {
      if (node.kind != YamlNode::Kind::kScalar) {
        YAML::Mark mark;
        mark.line = node.line - 1;
        mark.column = node.column - 1;
        throw Refusal(mark, "a key must be a plain name");
      }
      parent.keys.push_back(std::move(node));
      return &parent.keys.back();
    }
    parent.items.push_back(std::move(node));
    return &parent.items.back();
  }
  void Open(const YAML::Mark& mark, YamlNode::Kind kind) {
    if (open_.size() >= kMaxYamlDepth) throw Refusal(mark, fmt::format("nested deeper than {} levels", kMaxYamlDepth));
    open_.push_back(Add(Node(mark, kind)));
  }

  std::vector<YamlNode*> open_;
  size_t count_ = 0;
};

}  // namespace

// yaml-cpp guesses UTF-16 and UTF-32 and lets control characters pass: bytes are judged before it sees them.
absl::Status CheckYamlBytes(std::string_view yaml, std::string_view name) {
  int line = 1, column = 1;
  for (size_t i = 0; i < yaml.size(); ++i, ++column) {
    const auto byte = static_cast<unsigned char>(yaml[i]);
    if (byte == '\n') {
      ++line;
      column = 0;
      continue;
    }
    if (byte < 0x20 ? byte != '\t' && byte != '\r' : byte == 0x7F) {
      return At(name, line, column, fmt::format("control character \\x{:02x}; write it as \"\\x{:02x}\" in double quotes", byte, byte));
    }
    if (byte < 0x80) continue;
    const size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
    uint32_t code = length == 2 ? byte & 0x1F : length == 3 ? byte & 0x0F : byte & 0x07;
    bool valid = byte >= 0xC2 && byte <= 0xF4 && i + length <= yaml.size();
    for (size_t k = 1; valid && k < length; ++k) {
      const auto next = static_cast<unsigned char>(yaml[i + k]);
      valid = (next & 0xC0) == 0x80;
      code = code << 6 | (next & 0x3F);
    }
    if (!valid || (length == 3 && (code < 0x800 || (code >= 0xD800 && code < 0xE000))) ||
        (length == 4 && (code < 0x10000 || code > 0x10FFFF))) {
      return At(name, line, column, fmt::format("byte \\x{:02x} is not UTF-8", byte));
    }
    i += length - 1;
    column += static_cast<int>(length) - 1;
  }
  return absl::OkStatus();
}

absl::StatusOr<YamlNode> ParseYaml(std::string_view yaml, std::string_view name) {
  if (yaml.size() > kMaxYamlBytes) return At(name, 1, 1, fmt::format("larger than {} bytes", kMaxYamlBytes));
  if (absl::Status status = CheckYamlBytes(yaml, name); !status.ok()) return status;
  std::istringstream stream{std::string(yaml)};
  TreeBuilder builder;
  try {
    YAML::Parser parser(stream);
    if (!parser.HandleNextDocument(builder)) return YamlNode{};
    TreeBuilder second;
    if (parser.HandleNextDocument(second)) {
      return At(name, second.root.line, second.root.column, "a second document (---) begins here; only one is accepted");
    }
  } catch (const Refusal& refusal) {
    return At(name, refusal.line, refusal.column, refusal.what());
  } catch (const YAML::Exception& error) {
    return At(name, error.mark.line < 0 ? 1 : error.mark.line + 1, error.mark.column < 0 ? 1 : error.mark.column + 1,
              fmt::format("not YAML: {}", Printable(error.msg, 200)));
  } catch (const std::exception& error) {  // std::bad_alloc and what else the parser lets through
    return At(name, 1, 1, fmt::format("not YAML: {}", Printable(error.what(), 200)));
  }
  return std::move(builder.root);
}

}  // namespace outlier
