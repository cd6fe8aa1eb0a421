// Packs bodies as the relay does: stdin to stdout, each behind its length as eight bytes, little-endian.
#include <cstdint>
#include <iostream>
#include <string>

#include "userspace/transport/gzip.h"

int main() {
  std::string body;
  for (uint64_t size = 0; std::cin.read(reinterpret_cast<char*>(&size), sizeof size);) {
    body.resize(size);
    if (!std::cin.read(body.data(), static_cast<std::streamsize>(size))) return 1;
    const std::string packed = outlier::Gzip(body);
    const uint64_t packed_size = packed.size();
    std::cout.write(reinterpret_cast<const char*>(&packed_size), sizeof packed_size);
    std::cout.write(packed.data(), static_cast<std::streamsize>(packed_size));
  }
  return std::cout.flush() ? 0 : 1;
}
