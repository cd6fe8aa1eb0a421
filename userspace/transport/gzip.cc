#include "userspace/transport/gzip.h"

#include <isa-l/igzip_lib.h>

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <memory>

namespace outlier {

std::string Gzip(std::string_view text) {
  constexpr int kLevel = 1;
  assert(text.size() < UINT32_MAX / 2);  // as its interface counts
  const auto scratch = std::make_unique_for_overwrite<uint8_t[]>(ISAL_DEF_LVL1_DEFAULT);
  std::string out;
  // What it may come to at most is more than the text itself; it is a tenth of it nearly always, and there may be a request a sink in memory.
  for (size_t room = text.size() / 6 + 512;; room = std::max(2 * room, text.size() + text.size() / 64 + 512)) {
    out.resize(room);
    isal_zstream stream;
    isal_deflate_stateless_init(&stream);
    stream.level = kLevel;
    stream.level_buf = scratch.get();
    stream.level_buf_size = ISAL_DEF_LVL1_DEFAULT;
    stream.gzip_flag = IGZIP_GZIP;
    stream.end_of_stream = 1;
    stream.next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));  // only read
    stream.avail_in = static_cast<uint32_t>(text.size());
    stream.next_out = reinterpret_cast<uint8_t*>(out.data());
    stream.avail_out = static_cast<uint32_t>(out.size());
    const int code = isal_deflate_stateless(&stream);
    if (code == STATELESS_OVERFLOW) continue;
    assert(code == COMP_OK);
    out.resize(stream.total_out);
    return out;
  }
}

}  // namespace outlier
