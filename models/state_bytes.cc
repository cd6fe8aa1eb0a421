#include "models/state_bytes.h"

#include <cstring>

namespace outlier::models {
namespace {

constexpr uint32_t kMagic = 0x4c444f4d;  // "MODL" in the little-endian order of x86-64 and arm64

template <class T>
void Put(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
bool Take(std::string_view* in, T* value) {
  if (in->size() < sizeof *value) return false;
  std::memcpy(value, in->data(), sizeof *value);
  in->remove_prefix(sizeof *value);
  return true;
}

}  // namespace

void PutHeader(const StateShape& shape, std::string* out) {
  Put(kMagic, out);
  Put(static_cast<uint32_t>(shape.family.size()), out);
  out->append(shape.family);
  Put(shape.version, out);
  Put(shape.fields, out);
  Put(shape.series, out);
}

bool TakeHeader(std::string_view* in, uint64_t element_bytes, StateShape* shape) {
  std::string_view rest = *in;
  uint32_t magic = 0, length = 0, version = 0, fields = 0;
  uint64_t series = 0;
  if (!Take(&rest, &magic) || magic != kMagic || !Take(&rest, &length) || length != shape->family.size() ||
      rest.substr(0, length) != shape->family) {
    return false;
  }
  rest.remove_prefix(length);
  if (!Take(&rest, &version) || version != shape->version || !Take(&rest, &fields) || fields != shape->fields ||
      !Take(&rest, &series) || series > rest.size() / element_bytes / fields) {
    return false;
  }
  shape->series = series;
  *in = rest;
  return true;
}

}  // namespace outlier::models
