// The _bulk request of Elasticsearch and OpenSearch: its body, and its answer item by item.
//
// A change is written twice: `create` in the data stream logs-outlier.change-<namespace>, where its id makes a second delivery a conflict, and `index` in
// outlier-incidents, the current state of every incident, where the change's sequence is the version, so that late and repeated changes lose. After a
// rewind of the journal, until its sequence is beyond what it lost, ids are others and the version is the last one lost. A gap is only a record in the
// stream. Pure but for the buffer of the writer.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "userspace/delivery/exchange.h"
#include "userspace/delivery/finding.h"

namespace outlier {

inline constexpr std::string_view kIncidentsIndex = "outlier-incidents";

class BulkWriter {
 public:
  explicit BulkWriter(std::string stream_namespace) : namespace_(std::move(stream_namespace)) {}
  // Whether `create` says that its target must be a data stream, so that no plain index is made where nothing is set up.
  void set_require_data_stream(bool required) { require_data_stream_ = required; }

  // INVALID_ARGUMENT: its identity is one that these systems cannot take.
  absl::Status Add(const Finding& finding, WallTime now, std::string* body);
  // Scores, signals and the host's status as bodies of some `most_bytes` each.
  std::vector<std::string> Bodies(const Samples& samples, WallTime now, size_t most_bytes) const;

 private:
  void AddAction(std::string_view stream, std::string* body) const;

  std::string namespace_;
  bool require_data_stream_ = false;
  std::string document_;  // kept for its room
};

// Of the answer: what JudgeBulk reads.
inline constexpr std::string_view kBulkFilterPath =
    "errors,items.*.status,items.*.failure_store,items.*.error.type,items.*.error.reason,error.type,error.reason,status";

// What an answer says of each finding: the worse of what became of its documents, where one that is to be tried again counts as worse than one that is
// refused, because it is not settled. An answer that is no JSON or tells of fewer operations than were sent: all again. What is not 2xx: as of HTTP,
// but a block suspends whatever its status.
Outcome JudgeBulk(const Response& response, std::span<const Finding> findings);
// Of a body of samples, where single refusals are only worth a warning.
Outcome JudgeBulkOfSamples(const Response& response);

}  // namespace outlier
