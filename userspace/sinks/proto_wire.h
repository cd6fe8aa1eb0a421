// Protobuf's wire format written straight into a string, for bodies of thousands of records: no message is built. Pure.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace outlier {

static_assert(std::endian::native == std::endian::little, "fixed64 is written as it lies in memory");

class ProtoWire {
 public:
  explicit ProtoWire(std::string* out) : out_(*out) {}

  void Integer(int field, uint64_t value) { Varint(Tag(field, 0)), Varint(value); }
  void Fixed64(int field, uint64_t value) {
    Varint(Tag(field, 1));
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    out_.append(bytes, sizeof bytes);
  }
  void Real(int field, double value) { Fixed64(field, std::bit_cast<uint64_t>(value)); }
  void Bytes(int field, std::string_view bytes) {  // texts and messages, too
    Head(field, bytes.size());
    out_ += bytes;
  }
  // Of a message whose `size` bytes are written next.
  void Head(int field, size_t size) { Varint(Tag(field, 2)), Varint(size); }

  static size_t SizeOfVarint(uint64_t value) { return static_cast<size_t>((std::bit_width(value | 1) + 6) / 7); }
  // Of a field of less than 16 with so many bytes in it.
  static size_t SizeOfBytes(size_t size) { return 1 + SizeOfVarint(size) + size; }

 private:
  static uint64_t Tag(int field, uint64_t type) { return static_cast<uint64_t>(field) << 3 | type; }
  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_ += static_cast<char>(value | 0x80);
    out_ += static_cast<char>(value);
  }
  std::string& out_;
};

}  // namespace outlier
