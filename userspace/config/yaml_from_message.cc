#include "userspace/config/yaml_from_message.h"

#include <algorithm>

#include <fmt/format.h>

#include "outlier/config/v1/config.pb.h"
#include "userspace/config/quantity.h"

namespace outlier {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string IntegerText(const FieldDescriptor* field, int64_t value) {
  const config::v1::Unit unit = field->options().GetExtension(config::v1::unit);
  std::string text = unit == config::v1::DURATION ? FormatDuration(value) : unit == config::v1::SIZE ? FormatSize(value) : fmt::format("{}", value);
  const std::string& usual = field->options().GetExtension(config::v1::default_value);
  if (unit == config::v1::DURATION && !usual.empty() && ParseDuration(usual).value_or(-1) == value) text = usual;  // "60s", not "1m"
  return text;
}

// One scalar; index < 0 = not an item of a list.
std::string ScalarText(const Message& message, const FieldDescriptor* field, int index) {
  const auto* reflection = message.GetReflection();
  const bool item = index >= 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string text = item ? reflection->GetRepeatedString(message, field, index) : reflection->GetString(message, field);
      return field->options().GetExtension(config::v1::unit) == config::v1::CHOICE ? text : Quoted(text);
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      return (item ? reflection->GetRepeatedBool(message, field, index) : reflection->GetBool(message, field)) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_DOUBLE:  // {} is the shortest text that reads back to the same bits
      return fmt::format("{}", item ? reflection->GetRepeatedDouble(message, field, index) : reflection->GetDouble(message, field));
    case FieldDescriptor::CPPTYPE_INT32:
      return IntegerText(field, item ? reflection->GetRepeatedInt32(message, field, index) : reflection->GetInt32(message, field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return IntegerText(field, item ? reflection->GetRepeatedUInt32(message, field, index) : reflection->GetUInt32(message, field));
    case FieldDescriptor::CPPTYPE_INT64:
      return IntegerText(field, item ? reflection->GetRepeatedInt64(message, field, index) : reflection->GetInt64(message, field));
    default:
      return "~";  // message_from_yaml.h refuses such a field too
  }
}

class Writer {
 public:
  explicit Writer(const CommentOf& comment_of) : comment_of_(comment_of) {}
  std::string out;

  void Write(const Message& message, const std::string& path, int indent) {
    const auto* descriptor = message.GetDescriptor();
    for (int i = 0; i < descriptor->field_count(); ++i) {
      const FieldDescriptor* field = descriptor->field(i);
      const std::string below = path.empty() ? field->name() : path + "." + field->name();
      Comment(below, indent);
      out += std::string(indent, ' ');
      out += field->name() + ":";
      if (field->is_repeated()) {
        List(message, field, below, indent);
      } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        Group(message.GetReflection()->GetMessage(message, field), below, indent + 2);
      } else {
        out += " " + ScalarText(message, field, -1) + "\n";
      }
    }
  }

 private:
  void Group(const Message& message, const std::string& path, int indent) {
    out += "\n";
    Write(message, path, indent);
  }
  void List(const Message& message, const FieldDescriptor* field, const std::string& path, int indent) {
    const int size = message.GetReflection()->FieldSize(message, field);
    if (size == 0) out += " []";
    out += "\n";
    for (int i = 0; i < size; ++i) {
      out += std::string(indent + 2, ' ') + "-";
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        Group(message.GetReflection()->GetRepeatedMessage(message, field, i), path + "[]", indent + 4);
      } else {
        out += " " + ScalarText(message, field, i) + "\n";
      }
    }
  }
  void Comment(const std::string& path, int indent) {
    if (!comment_of_) return;
    const std::string text = comment_of_(path);
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      const std::string line = text.substr(begin, end - begin);
      out += line.empty() ? "\n" : fmt::format("{:{}}# {}\n", "", indent, line);
      begin = end + 1;
    }
  }
  const CommentOf& comment_of_;
};

}  // namespace

std::string WriteMessage(const Message& message, const CommentOf& comment_of) {
  Writer writer(comment_of);
  writer.Write(message, "", 0);
  return std::move(writer.out);
}

}  // namespace outlier
