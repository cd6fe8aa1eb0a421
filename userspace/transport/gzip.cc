#include "userspace/transport/gzip.h"

#include <libdeflate.h>

#include <cassert>
#include <memory>

namespace outlier {

std::string Gzip(std::string_view text) {
  constexpr int kLevel = 1;
  const std::unique_ptr<libdeflate_compressor, decltype(&libdeflate_free_compressor)> compressor(libdeflate_alloc_compressor(kLevel), libdeflate_free_compressor);
  assert(compressor != nullptr);
  std::string out;
  // What it may come to at most is more than the text itself; it is a tenth of it nearly always, and there may be a request a sink in memory.
  size_t size = 0;
  for (size_t room = text.size() / 6 + 256; size == 0; room = libdeflate_gzip_compress_bound(compressor.get(), text.size())) {
    out.resize(room);
    size = libdeflate_gzip_compress(compressor.get(), text.data(), text.size(), out.data(), out.size());
  }
  out.resize(size);
  return out;
}

}  // namespace outlier
