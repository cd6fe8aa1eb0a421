// absl::Status as text: Debian's absl has a string_view of its own, which neither fmt nor std::string_view takes.
#pragma once
#include <string>

#include "absl/status/status.h"

namespace outlier {

inline std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

}  // namespace outlier
