// The journal's tables, and the checks a file must pass before it is believed.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "userspace/base/sqlite.h"

namespace outlier::journal {

// One row of `changes` without its hash.
struct Row {
  int64_t sequence = 0;
  int64_t tick = 0;
  int64_t ordinal = 0;  // among the changes of its tick
  int64_t wall_ns = 0;
  std::string_view incident_id;
  int64_t severity = 0;
  std::string_view change;  // serialised IncidentChange
};

// Covers every column: SQLite's own check sees broken pages, not a changed byte inside a value.
int64_t HashOf(const Row& row);

// Columns in the order of the select list `kRowColumns`; DATA_LOSS when the hash does not match.
inline constexpr std::string_view kRowColumns = "c.sequence, c.tick, c.ordinal, c.wall_ns, c.incident_id, c.severity, c.change, c.hash";
absl::Status ReadRow(const sqlite::Statement& statement, Row* row);

// Makes the tables in an empty file, or checks them. DATA_LOSS = damaged or no journal, FAILED_PRECONDITION = of a later
// version; the file is then as it was.
absl::Status Prepare(sqlite::Connection* connection, const std::string& path);

}  // namespace outlier::journal
