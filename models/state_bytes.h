// The header in front of every saved state: magic, family, version, width of one series, number of series.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace outlier::models {

struct StateShape {
  std::string_view family;
  uint32_t version = 0;
  uint32_t fields = 0;   // elements a series
  uint64_t series = 0;
};

void PutHeader(const StateShape& shape, std::string* out);
// Takes a header of this family, version and width from the front of `in` and sets `shape->series`. False, and `in` where it
// was, when it is another's or fewer than series x fields x `element_bytes` follow.
bool TakeHeader(std::string_view* in, uint64_t element_bytes, StateShape* shape);

}  // namespace outlier::models
