// What is installed in Elasticsearch and OpenSearch before documents come: templates and retention, from the files of deploy/search, which are built in.
#pragma once
#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace outlier {

// One file of deploy/search/<dialect>/. In a generated source.
struct SearchFile {
  std::string_view dialect, name, content;
};
std::span<const SearchFile> SearchFiles();

struct SearchInstallation {
  std::string method, path, what, body;
  bool optional = false;  // a server that lacks the feature refuses it, and the rest works without
};

// In order. `dialect`: elasticsearch or opensearch. `retention_by`: lifecycle, ilm, ism or none; `retention` goes for every stream, and a stream that would
// roll over less often than that rolls over that often; 0 = each stream as its file says.
absl::StatusOr<std::vector<SearchInstallation>> SearchInstallations(std::string_view dialect, std::string_view retention_by,
                                                                    std::chrono::nanoseconds retention);

}  // namespace outlier
