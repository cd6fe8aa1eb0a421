// JSON written straight into a string, for bodies of thousands of documents: no tree is built. What is empty is left out (texts, objects, arrays), and so
// are numbers that JSON has not. Valid JSON whatever the values hold: bytes that are no UTF-8 become U+FFFD. Keys are not escaped: they are the
// program's own, or made by FieldNames.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/timestamp.pb.h>

namespace outlier {

class JsonText {
 public:
  explicit JsonText(std::string* out) : out_(*out) {}

  // `fill` writes what is within. Without a key: within an array, or the whole.
  template <class Fill>
  void Object(std::string_view key, Fill fill) { Enclose(key, '{', '}', fill); }
  template <class Fill>
  void Object(Fill fill) { Enclose({}, '{', '}', fill); }
  template <class Fill>
  void Array(std::string_view key, Fill fill) { Enclose(key, '[', ']', fill); }

  void Text(std::string_view key, std::string_view value) {
    if (!value.empty()) Begin(key), Quote(value);
  }
  void Text(std::string_view value) { Begin({}), Quote(value); }  // within an array
  // Several pieces as one text.
  template <class... Pieces>
  void Joined(std::string_view key, const Pieces&... pieces) {
    Begin(key);
    out_ += '"';
    (Escape(pieces), ...);
    out_ += '"';
  }
  void Integer(std::string_view key, int64_t value);
  void Unsigned(std::string_view key, uint64_t value);   // at most 2^63 - 1: what a signed 64-bit field holds
  void Real(std::string_view key, double value);         // shortest text that reads back as the same
  void Single(std::string_view key, double value);       // left out beyond what 32 bits hold
  void Flag(std::string_view key, bool value);
  void Time(std::string_view key, const google::protobuf::Timestamp& time);  // RFC 3339, milliseconds, within the years 1 to 9999
  void Quote(std::string_view text) {                    // the text alone, no key, no comma
    out_ += '"';
    Escape(text);
    out_ += '"';
  }

 private:
  template <class Fill>
  void Enclose(std::string_view key, char open, char close, Fill fill) {
    const size_t before = out_.size();
    Begin(key);
    out_ += open;
    const size_t within = out_.size();
    fill();
    if (out_.size() == within) {
      out_.resize(before);
    } else {
      out_ += close;
    }
  }
  void Begin(std::string_view key) {
    // No value ends in one of these, so that the last byte tells whether this is the first within its braces.
    const char last = out_.empty() ? '{' : out_.back();
    const bool first = last == '{' || last == '[' || last == ',' || last == '\n';
    if (key.empty()) {
      if (!first) out_ += ',';
      return;
    }
    // In place and at once: most of a document is short fields.
    const size_t before = out_.size();
    out_.resize(before + key.size() + (first ? 3 : 4));
    char* to = out_.data() + before;
    if (!first) *to++ = ',';
    *to++ = '"';
    to += key.copy(to, key.size());
    *to++ = '"';
    *to = ':';
  }
  // Appends what a JSON text says of these bytes.
  void Escape(std::string_view text);

  std::string& out_;
};

// Names of fields from outside, of one object: letters, digits, _ and -, single dots within where `dots`; at most 128 bytes.
class FieldNames {
 public:
  explicit FieldNames(bool dots) : dots_(dots) {}
  // "" where the object has this name already: a field that is there twice is refused with its whole document.
  std::string Of(std::string_view text);

 private:
  bool dots_;
  std::vector<std::string> taken_;
};

}  // namespace outlier
