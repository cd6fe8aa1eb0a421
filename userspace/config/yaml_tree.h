// A YAML document as a small tree that remembers where everything stood. Bounded on purpose: no aliases (they can make
// a few bytes mean gigabytes), no tags, limited depth and size.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace outlier {

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };
  Kind kind = Kind::kNull;
  int line = 1;    // 1-based; column counts bytes
  int column = 1;
  bool quoted = false;          // kScalar: "5" is a text, 5 is a number
  std::string text;             // kScalar
  std::vector<YamlNode> keys;   // kMap: scalars, in file order, duplicates included
  std::vector<YamlNode> items;  // kSequence: its items; kMap: the values, beside their keys
};

inline constexpr size_t kMaxYamlBytes = 1 << 20;
inline constexpr int kMaxYamlDepth = 32;
inline constexpr size_t kMaxYamlNodes = 100'000;

// UTF-8 without control characters other than tab and line ends; the error says where.
absl::Status CheckYamlBytes(std::string_view yaml, std::string_view name);

// The only document in `yaml`; an empty one is kNull. INVALID_ARGUMENT reads "<name>:<line>:<column>: what is wrong".
// Hostile bytes are expected; never throws.
absl::StatusOr<YamlNode> ParseYaml(std::string_view yaml, std::string_view name);

}  // namespace outlier
