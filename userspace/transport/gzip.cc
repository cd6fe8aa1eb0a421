#include "userspace/transport/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <cassert>

namespace outlier {

std::string Gzip(std::string_view text) {
  constexpr int kLevel = 1, kGzipWindow = 15 + 16, kMemory = 8;
  z_stream stream{};
  int code = deflateInit2(&stream, kLevel, Z_DEFLATED, kGzipWindow, kMemory, Z_DEFAULT_STRATEGY);
  assert(code == Z_OK);
  // What it may come to at most is more than the text itself; it is a tenth of it nearly always, and there may be a request a sink in memory.
  std::string out;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  do {
    out.resize(std::max(2 * out.size(), text.size() / 6 + 256));
    stream.next_out = reinterpret_cast<Bytef*>(out.data()) + stream.total_out;
    stream.avail_out = static_cast<uInt>(out.size() - stream.total_out);
    code = deflate(&stream, Z_FINISH);
    assert(code == Z_OK || code == Z_STREAM_END);
  } while (code != Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace outlier
