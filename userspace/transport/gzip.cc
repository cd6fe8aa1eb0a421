#include "userspace/transport/gzip.h"

#include <zlib.h>

#include <cassert>

namespace outlier {

std::string Gzip(std::string_view text) {
  constexpr int kLevel = 1, kGzipWindow = 15 + 16, kMemory = 8;
  z_stream stream{};
  [[maybe_unused]] int code = deflateInit2(&stream, kLevel, Z_DEFLATED, kGzipWindow, kMemory, Z_DEFAULT_STRATEGY);
  assert(code == Z_OK);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  code = deflate(&stream, Z_FINISH);
  assert(code == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace outlier
