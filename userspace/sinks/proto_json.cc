#include "userspace/sinks/proto_json.h"

#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include "absl/strings/escaping.h"
#include "userspace/delivery/finding.h"
#include "userspace/sinks/json_text.h"

namespace outlier {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr int64_t kFirstSecond = -62'135'596'800, kLastSecond = 253'402'300'799;  // of the years 1 and 9999
constexpr int64_t kLastDuration = 315'576'000'000;                                // seconds: 10,000 years

class Writer {
 public:
  explicit Writer(std::string* out) : out_(*out) {}

  void Write(const Message& message) {
    const Descriptor* descriptor = message.GetDescriptor();
    const Reflection* reflection = message.GetReflection();
    out_ += '{';
    bool first = true;
    for (int i = 0; i < descriptor->field_count(); ++i) {
      const FieldDescriptor* field = descriptor->field(i);
      if (!field->is_repeated() && field->has_presence() && !reflection->HasField(message, field)) continue;
      const size_t before = out_.size();
      out_ += first ? "\"" : ",\"";
      out_ += field->name();  // of the program's own .proto files: needs no escapes
      out_ += "\":";
      if (field->is_map()) {
        WriteMap(message, reflection, field);
      } else if (field->is_repeated()) {
        WriteList(message, reflection, field);
      } else if (!WriteValue(message, reflection, field, -1)) {
        out_.resize(before);
        continue;
      }
      first = false;
    }
    out_ += '}';
  }

 private:
  void WriteList(const Message& message, const Reflection* reflection, const FieldDescriptor* field) {
    out_ += '[';
    const int size = reflection->FieldSize(message, field);
    for (int i = 0; i < size; ++i) {
      if (i > 0) out_ += ',';
      if (!WriteValue(message, reflection, field, i)) out_ += "null";
    }
    out_ += ']';
  }

  void WriteMap(const Message& message, const Reflection* reflection, const FieldDescriptor* field) {
    const FieldDescriptor* key = field->message_type()->map_key();
    const FieldDescriptor* value = field->message_type()->map_value();
    out_ += '{';
    const int size = reflection->FieldSize(message, field);
    for (int i = 0; i < size; ++i) {
      const Message& entry = reflection->GetRepeatedMessage(message, field, i);
      if (i > 0) out_ += ',';
      std::string scratch;
      if (key->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
        WriteText(entry.GetReflection()->GetStringReference(entry, key, &scratch));
      } else {
        const size_t before = out_.size();
        WriteValue(entry, entry.GetReflection(), key, -1);
        if (out_[before] != '"') out_.insert(before, 1, '"'), out_ += '"';  // keys are texts
      }
      out_ += ':';
      if (!WriteValue(entry, entry.GetReflection(), value, -1)) out_ += "null";
    }
    out_ += '}';
  }

  // `index` -1: the field itself. False, and nothing is written, for what the mapping cannot write.
  bool WriteValue(const Message& message, const Reflection* r, const FieldDescriptor* field, int index) {
    const bool one = index < 0;
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_BOOL: out_ += (one ? r->GetBool(message, field) : r->GetRepeatedBool(message, field, index)) ? "true" : "false"; return true;
      case FieldDescriptor::CPPTYPE_INT32: return WriteNumber(one ? r->GetInt32(message, field) : r->GetRepeatedInt32(message, field, index));
      case FieldDescriptor::CPPTYPE_UINT32: return WriteNumber(one ? r->GetUInt32(message, field) : r->GetRepeatedUInt32(message, field, index));
      case FieldDescriptor::CPPTYPE_INT64: return WriteQuoted(one ? r->GetInt64(message, field) : r->GetRepeatedInt64(message, field, index));
      case FieldDescriptor::CPPTYPE_UINT64: return WriteQuoted(one ? r->GetUInt64(message, field) : r->GetRepeatedUInt64(message, field, index));
      case FieldDescriptor::CPPTYPE_DOUBLE: return WriteReal(one ? r->GetDouble(message, field) : r->GetRepeatedDouble(message, field, index));
      case FieldDescriptor::CPPTYPE_FLOAT: return WriteReal(one ? r->GetFloat(message, field) : r->GetRepeatedFloat(message, field, index));
      case FieldDescriptor::CPPTYPE_ENUM: {
        const int number = one ? r->GetEnumValue(message, field) : r->GetRepeatedEnumValue(message, field, index);
        const auto* value = field->enum_type()->FindValueByNumber(number);
        if (value == nullptr) return WriteNumber(number);  // of a newer version
        out_ += '"';
        out_ += value->name();
        out_ += '"';
        return true;
      }
      case FieldDescriptor::CPPTYPE_STRING: {
        std::string scratch;
        const std::string& text = one ? r->GetStringReference(message, field, &scratch) : r->GetRepeatedStringReference(message, field, index, &scratch);
        WriteText(field->type() == FieldDescriptor::TYPE_BYTES ? absl::Base64Escape(text) : text);
        return true;
      }
      case FieldDescriptor::CPPTYPE_MESSAGE: return WriteMessage(one ? r->GetMessage(message, field) : r->GetRepeatedMessage(message, field, index));
    }
    return false;
  }

  bool WriteMessage(const Message& message) {
    if (message.GetDescriptor() == google::protobuf::Timestamp::descriptor()) return WriteTime(static_cast<const google::protobuf::Timestamp&>(message));
    if (message.GetDescriptor() == google::protobuf::Duration::descriptor()) return WriteDuration(static_cast<const google::protobuf::Duration&>(message));
    Write(message);
    return true;
  }

  template <class T>
  bool WriteNumber(T value) {
    char text[32];
    out_.append(text, std::to_chars(text, text + sizeof text, value).ptr);
    return true;
  }
  template <class T>
  bool WriteQuoted(T value) {
    out_ += '"';
    WriteNumber(value);
    out_ += '"';
    return true;
  }
  template <class T>
  bool WriteReal(T value) {
    if (std::isnan(value)) {
      out_ += "\"NaN\"";
    } else if (std::isinf(value)) {
      out_ += value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
    } else {
      WriteNumber(value);
    }
    return true;
  }
  void WriteText(const std::string& text) { JsonText(&out_).Quote(text); }

  // Fractions of 0, 3, 6 or 9 digits.
  void WriteFraction(int nanos) {
    if (nanos == 0) return;
    if (nanos % 1'000'000 == 0) {
      fmt::format_to(std::back_inserter(out_), ".{:03}", nanos / 1'000'000);
    } else if (nanos % 1000 == 0) {
      fmt::format_to(std::back_inserter(out_), ".{:06}", nanos / 1000);
    } else {
      fmt::format_to(std::back_inserter(out_), ".{:09}", nanos);
    }
  }
  bool WriteTime(const google::protobuf::Timestamp& time) {
    if (time.seconds() < kFirstSecond || time.seconds() > kLastSecond || time.nanos() < 0 || time.nanos() >= 1'000'000'000) return false;
    google::protobuf::Timestamp whole = time;
    whole.set_nanos(0);
    const std::string text = Rfc3339(whole);  // "2026-03-01T10:00:00.000Z"
    out_ += '"';
    out_.append(text, 0, text.size() - 5);
    WriteFraction(time.nanos());
    out_ += "Z\"";
    return true;
  }
  bool WriteDuration(const google::protobuf::Duration& duration) {
    const int64_t seconds = duration.seconds();
    const int nanos = duration.nanos();
    const bool mixed = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
    if (seconds > kLastDuration || seconds < -kLastDuration || nanos <= -1'000'000'000 || nanos >= 1'000'000'000 || mixed) return false;
    out_ += seconds < 0 || nanos < 0 ? "\"-" : "\"";
    WriteNumber(seconds < 0 ? -seconds : seconds);
    WriteFraction(nanos < 0 ? -nanos : nanos);
    out_ += "s\"";
    return true;
  }

  std::string& out_;
};

}  // namespace

void AppendProtoJson(const Message& message, std::string* out) { Writer(out).Write(message); }

}  // namespace outlier
