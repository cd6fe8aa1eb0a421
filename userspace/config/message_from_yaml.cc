#include "userspace/config/message_from_yaml.h"

#include <algorithm>
#include <cassert>
#include <cctype>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "absl/strings/numbers.h"
#include "outlier/config/v1/config.pb.h"
#include "userspace/base/text.h"
#include "userspace/config/quantity.h"

namespace outlier {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Kind = YamlNode::Kind;

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0;;) {
    const size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

std::string Suggestion(std::string_view word, const std::vector<std::string_view>& words) {
  const std::string_view near = Nearest(word, words);
  return near.empty() ? "" : fmt::format(" (did you mean \"{}\"?)", near);
}

std::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kNull: return "nothing";
    case Kind::kScalar: return "a single value";
    case Kind::kSequence: return "a list";
    case Kind::kMap: return "a group of keys";
  }
  return "";
}

std::string FormatNumber(const FieldDescriptor* field, double value) {
  if (!std::isfinite(value)) return "any";
  switch (field->options().GetExtension(config::v1::unit)) {
    case config::v1::DURATION: return FormatDuration(static_cast<int64_t>(value));
    case config::v1::SIZE: return FormatSize(static_cast<int64_t>(value));
    default: return fmt::format("{:g}", value);
  }
}

class Reader {
 public:
  // `place` is "file" or "--set ..."; with_position says whether line and column mean anything in it.
  Reader(std::string_view place, bool with_position, const TextCheck& check) : place_(place), with_position_(with_position), check_(check) {}

  absl::Status Read(const YamlNode& node, const std::string& path, Message* message) const {
    if (node.kind == Kind::kNull) return absl::OkStatus();  // `budgets:` with everything below it commented out
    if (node.kind != Kind::kMap) return Wrong(node, path, fmt::format("expected a group of keys, found {}", KindName(node.kind)));
    for (size_t i = 0; i < node.keys.size(); ++i) {
      const YamlNode& key = node.keys[i];
      const std::string below = Join(path, key.text);
      const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(key.text);
      if (field == nullptr) return Unknown(key, below, key.text, message->GetDescriptor());
      for (size_t k = 0; k < i; ++k) {
        if (node.keys[k].text == key.text) {
          return Wrong(key, below, fmt::format("given twice, first on line {}", node.keys[k].line));
        }
      }
      if (absl::Status status = ReadField(node.items[i], below, field, message); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status ReadField(const YamlNode& node, const std::string& path, const FieldDescriptor* field, Message* message) const {
    if (!field->is_repeated()) return ReadOne(node, path, field, message);
    message->GetReflection()->ClearField(message, field);
    if (node.kind == Kind::kNull) return absl::OkStatus();
    if (node.kind != Kind::kSequence) return Wrong(node, path, fmt::format("expected a list, found {}", KindName(node.kind)));
    for (size_t i = 0; i < node.items.size(); ++i) {
      if (absl::Status status = ReadOne(node.items[i], fmt::format("{}[{}]", path, i), field, message); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status Unknown(const YamlNode& node, const std::string& path, std::string_view key, const Descriptor* descriptor) const {
    std::vector<std::string_view> names;
    for (int i = 0; i < descriptor->field_count(); ++i) names.push_back(descriptor->field(i)->name());
    return Wrong(node, path, fmt::format("unknown key{}; allowed here: {}", Suggestion(key, names), fmt::join(names, ", ")));
  }

  absl::Status Wrong(const YamlNode& node, const std::string& path, std::string_view what) const {
    const std::string where = with_position_ ? fmt::format("{}:{}:{}", Printable(place_), node.line, node.column) : Printable(place_, 200);
    return absl::InvalidArgumentError(path.empty() ? fmt::format("{}: {}", where, what)
                                                   : fmt::format("{}: {}: {}", where, Printable(path, 200), what));
  }

 private:
  static std::string Join(const std::string& path, const std::string& key) { return path.empty() ? key : path + "." + key; }

  absl::Status ReadOne(const YamlNode& node, const std::string& path, const FieldDescriptor* field, Message* message) const {
    const auto* reflection = message->GetReflection();
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      const auto* oneof = field->real_containing_oneof();
      if (oneof != nullptr && reflection->HasOneof(*message, oneof) && !reflection->HasField(*message, field)) {
        return Wrong(node, path, fmt::format("{} is given already; only one of them may be", reflection->GetOneofFieldDescriptor(*message, oneof)->name()));
      }
      const bool fresh = field->is_repeated() || (oneof != nullptr && !reflection->HasField(*message, field));
      Message* child = field->is_repeated() ? reflection->AddMessage(message, field) : reflection->MutableMessage(message, field);
      if (fresh) FillDefaults(child);
      return Read(node, path, child);
    }
    if (node.kind != Kind::kScalar) return Wrong(node, path, fmt::format("expected a single value, found {}", KindName(node.kind)));
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING: return ReadText(node, path, field, message);
      case FieldDescriptor::CPPTYPE_BOOL: {
        if (node.quoted || (node.text != "true" && node.text != "false")) return Wrong(node, path, "expected true or false");
        const bool value = node.text == "true";
        field->is_repeated() ? reflection->AddBool(message, field, value) : reflection->SetBool(message, field, value);
        return absl::OkStatus();
      }
      case FieldDescriptor::CPPTYPE_DOUBLE:
      case FieldDescriptor::CPPTYPE_INT32:
      case FieldDescriptor::CPPTYPE_INT64:
      case FieldDescriptor::CPPTYPE_UINT32:
      case FieldDescriptor::CPPTYPE_UINT64: return ReadNumber(node, path, field, message);
      default: return Wrong(node, path, fmt::format("a field of type {} cannot be written in YAML", field->cpp_type_name()));
    }
  }

  absl::Status ReadText(const YamlNode& node, const std::string& path, const FieldDescriptor* field, Message* message) const {
    if (field->options().GetExtension(config::v1::unit) == config::v1::CHOICE) {
      const std::string& allowed = field->options().GetExtension(config::v1::choices);
      const std::vector<std::string_view> choices = Split(allowed, '|');
      if (std::find(choices.begin(), choices.end(), node.text) == choices.end()) {
        return Wrong(node, path, fmt::format("\"{}\" is not a choice{}; allowed: {}", Printable(node.text, 80), Suggestion(node.text, choices),
                                             fmt::join(choices, ", ")));
      }
    }
    if (check_) {
      if (const std::string what = check_(field->full_name(), node.text); !what.empty()) return Wrong(node, path, what);
    }
    const auto* reflection = message->GetReflection();
    field->is_repeated() ? reflection->AddString(message, field, node.text) : reflection->SetString(message, field, node.text);
    return absl::OkStatus();
  }

  absl::Status ReadNumber(const YamlNode& node, const std::string& path, const FieldDescriptor* field, Message* message) const {
    const config::v1::Unit unit = field->options().GetExtension(config::v1::unit);
    const bool real = field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE;
    double number = 0;
    int64_t integer = 0;
    if (unit == config::v1::DURATION || unit == config::v1::SIZE) {
      const absl::StatusOr<int64_t> parsed = unit == config::v1::DURATION ? ParseDuration(node.text) : ParseSize(node.text);
      if (!parsed.ok()) return Wrong(node, path, std::string(parsed.status().message()));
      integer = *parsed;
      number = static_cast<double>(integer);
    } else if (real) {
      if (node.quoted || !absl::SimpleAtod(node.text, &number) || !std::isfinite(number)) {
        return Wrong(node, path, fmt::format("expected a number, found \"{}\"", Printable(node.text, 80)));
      }
    } else {
      if (node.quoted || !absl::SimpleAtoi(node.text, &integer)) {
        return Wrong(node, path, fmt::format("expected a whole number, found \"{}\"", Printable(node.text, 80)));
      }
      number = static_cast<double>(integer);
    }
    if (absl::Status status = CheckRange(node, path, field, number); !status.ok()) return status;
    SetNumber(field, number, integer, message);
    return absl::OkStatus();
  }

  absl::Status CheckRange(const YamlNode& node, const std::string& path, const FieldDescriptor* field, double number) const {
    double least = -std::numeric_limits<double>::infinity(), most = -least;
    switch (field->cpp_type()) {  // what the type itself can hold
      case FieldDescriptor::CPPTYPE_INT32: least = std::numeric_limits<int32_t>::min(), most = std::numeric_limits<int32_t>::max(); break;
      case FieldDescriptor::CPPTYPE_UINT32: least = 0, most = std::numeric_limits<uint32_t>::max(); break;
      case FieldDescriptor::CPPTYPE_UINT64: least = 0; break;
      default: break;
    }
    const auto& options = field->options();
    if (options.HasExtension(config::v1::minimum)) least = std::max(least, options.GetExtension(config::v1::minimum));
    if (options.HasExtension(config::v1::maximum)) most = std::min(most, options.GetExtension(config::v1::maximum));
    if (number >= least && number <= most) return absl::OkStatus();
    return Wrong(node, path, fmt::format("{} is out of range; allowed: {} to {}", Printable(node.text, 80), FormatNumber(field, least),
                                         FormatNumber(field, most)));
  }

  static void SetNumber(const FieldDescriptor* field, double number, int64_t integer, Message* message) {
    const auto* reflection = message->GetReflection();
    const bool add = field->is_repeated();
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return add ? reflection->AddDouble(message, field, number) : reflection->SetDouble(message, field, number);
      case FieldDescriptor::CPPTYPE_INT32:
        return add ? reflection->AddInt32(message, field, static_cast<int32_t>(integer))
                   : reflection->SetInt32(message, field, static_cast<int32_t>(integer));
      case FieldDescriptor::CPPTYPE_INT64:
        return add ? reflection->AddInt64(message, field, integer) : reflection->SetInt64(message, field, integer);
      case FieldDescriptor::CPPTYPE_UINT32:
        return add ? reflection->AddUInt32(message, field, static_cast<uint32_t>(integer))
                   : reflection->SetUInt32(message, field, static_cast<uint32_t>(integer));
      default:
        return add ? reflection->AddUInt64(message, field, static_cast<uint64_t>(integer))
                   : reflection->SetUInt64(message, field, static_cast<uint64_t>(integer));
    }
  }

  std::string place_;
  bool with_position_;
  const TextCheck& check_;
};

}  // namespace

std::string_view Nearest(std::string_view word, const std::vector<std::string_view>& words) {
  if (word.size() > 64) return {};
  std::string_view best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  std::vector<size_t> row;
  for (const std::string_view candidate : words) {  // Levenshtein distance, letters without case
    row.resize(candidate.size() + 1);
    for (size_t k = 0; k < row.size(); ++k) row[k] = k;
    for (size_t i = 1; i <= word.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t k = 1; k <= candidate.size(); ++k) {
        const bool same = std::tolower(static_cast<unsigned char>(word[i - 1])) == std::tolower(static_cast<unsigned char>(candidate[k - 1]));
        const size_t replaced = diagonal + (same ? 0 : 1);
        diagonal = row[k];
        row[k] = std::min({replaced, row[k] + 1, row[k - 1] + 1});
      }
    }
    if (row.back() < best_distance && row.back() < candidate.size()) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

void FillDefaults(Message* message) {
  const TextCheck no_check;
  const Descriptor* descriptor = message->GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    if (field->is_repeated() || field->real_containing_oneof() != nullptr) continue;  // which one of a oneof is for the file to say
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      FillDefaults(message->GetReflection()->MutableMessage(message, field));
    } else if (field->options().HasExtension(config::v1::default_value)) {
      YamlNode node;
      node.kind = Kind::kScalar;
      node.text = field->options().GetExtension(config::v1::default_value);
      const absl::Status status = Reader("default", false, no_check).ReadField(node, field->name(), field, message);
      assert(status.ok());  // a default in config.proto that its own field refuses: a test reads them all
      static_cast<void>(status);
    }
  }
}

absl::Status ReadMessage(const YamlNode& node, std::string_view name, const TextCheck& check, Message* message) {
  return Reader(name, true, check).Read(node, "", message);
}

absl::Status ReadAssignment(std::string_view assignment, const TextCheck& check, Message* message) {
  const Reader reader(fmt::format("--set {}", Printable(assignment, 160)), false, check);
  const YamlNode nowhere;
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) return reader.Wrong(nowhere, "", "expected key.path=value");
  const std::string path(assignment.substr(0, equals));
  const std::string value(assignment.substr(equals + 1));
  const std::vector<std::string_view> names = Split(path, '.');
  for (size_t i = 0;; ++i) {
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(std::string(names[i]));
    if (field == nullptr) return reader.Unknown(nowhere, path, names[i], message->GetDescriptor());
    const bool group = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (i + 1 == names.size()) {
      const std::string place = fmt::format("--set {}", path);
      if (group || field->is_repeated()) {
        const absl::StatusOr<YamlNode> node = ParseYaml(value, place);
        return node.ok() ? reader.ReadField(*node, path, field, message) : node.status();
      }
      if (absl::Status status = CheckYamlBytes(value, place); !status.ok()) return status;
      YamlNode node;  // the text as it stands: a glob such as *.service needs no YAML quotes here
      node.kind = Kind::kScalar;
      node.text = value;
      return reader.ReadField(node, path, field, message);
    }
    if (!group || field->is_repeated()) {
      return reader.Wrong(nowhere, path, fmt::format("{} is {}, it has no keys below it", field->name(), group ? "a list: set all of it" : "a single value"));
    }
    message = message->GetReflection()->MutableMessage(message, field);
  }
}

}  // namespace outlier
