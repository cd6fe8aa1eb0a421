#include "userspace/feed/journal_schema.h"

#include <sys/random.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>
#include <xxhash.h>

#include "userspace/base/text.h"

namespace outlier::journal {
namespace {

constexpr int64_t kApplicationId = 0x4F55544C;  // "OUTL": tells file(1) and us what it is
constexpr int64_t kVersion = 1;

// `position` holds what must survive compaction: numbers are never given out twice.
constexpr char kSchema[] = R"sql(
CREATE TABLE position(
  only INTEGER PRIMARY KEY CHECK (only = 1),
  feed_id TEXT NOT NULL,
  last_sequence INTEGER NOT NULL,
  last_tick INTEGER NOT NULL,
  complete_from INTEGER NOT NULL
);
CREATE TABLE changes(
  sequence INTEGER PRIMARY KEY,
  tick INTEGER NOT NULL,
  ordinal INTEGER NOT NULL,
  wall_ns INTEGER NOT NULL,
  incident_id TEXT NOT NULL,
  severity INTEGER NOT NULL,
  change BLOB NOT NULL,
  hash INTEGER NOT NULL
);
CREATE UNIQUE INDEX changes_by_tick ON changes(tick, ordinal);
CREATE INDEX changes_by_incident ON changes(incident_id, sequence);
CREATE TABLE incidents(
  id TEXT PRIMARY KEY,
  first_sequence INTEGER NOT NULL UNIQUE,
  last_sequence INTEGER NOT NULL,
  changed_wall_ns INTEGER NOT NULL,
  open INTEGER NOT NULL
);
CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL);
)sql";

absl::StatusOr<std::string> RandomId() {
  unsigned char bytes[16];
  for (size_t got = 0; got < sizeof bytes;) {
    const ssize_t n = getrandom(bytes + got, sizeof bytes - got, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::UnavailableError(fmt::format("cannot make a feed id: {}", strerror(errno)));
    got += static_cast<size_t>(n);
  }
  std::string id;
  for (const unsigned char byte : bytes) id += fmt::format("{:02x}", byte);
  return id;
}

absl::Status Create(sqlite::Connection* connection) {
  const auto id = RandomId();
  if (!id.ok()) return id.status();
  sqlite::Transaction transaction(connection);
  absl::Status status = transaction.Begin();
  if (status.ok()) status = connection->Execute(kSchema);
  if (status.ok()) status = connection->Execute(fmt::format("INSERT INTO position VALUES (1, '{}', 0, 0, 1)", *id).c_str());
  if (status.ok()) status = connection->Execute(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplicationId, kVersion).c_str());
  if (status.ok()) status = transaction.Commit();
  // Into the file itself: should its log be lost one day, it is still known for a journal.
  return status.ok() ? connection->Execute("PRAGMA wal_checkpoint(TRUNCATE)") : status;
}

absl::Status Damaged(const std::string& path, std::string_view what) {
  return absl::DataLossError(fmt::format("journal {} is damaged: {}", Printable(path), what));
}

// Every row as it was written, and every sequence from `complete_from` on present.
absl::Status CheckRows(sqlite::Connection* connection, const std::string& path) {
  const auto integer = [&](std::string_view sql) { return connection->Integer(sql).value_or(-1); };
  if (integer("SELECT count(*) FROM position") != 1) return Damaged(path, "its position is missing");
  const int64_t last = integer("SELECT last_sequence FROM position");
  const int64_t complete = integer("SELECT complete_from FROM position");
  if (last < 0 || complete < 1 || complete > last + 1 || connection->Text("SELECT feed_id FROM position").value_or("").size() != 32) {
    return Damaged(path, "its position makes no sense");
  }
  sqlite::Statement all(connection, fmt::format("SELECT {} FROM changes c ORDER BY c.sequence", kRowColumns));
  int64_t expected = complete;
  for (;;) {
    const auto more = all.Step();
    if (!more.ok()) return more.status();
    if (!*more) break;
    Row row;
    if (const absl::Status status = ReadRow(all, &row); !status.ok()) return Damaged(path, std::string(status.message()));
    if (row.sequence < complete) continue;
    if (row.sequence != expected) return Damaged(path, fmt::format("sequence {} is missing", expected));
    ++expected;
  }
  if (expected != last + 1) return Damaged(path, fmt::format("sequence {} is missing", expected));
  const int64_t wrong = integer(
      "SELECT abs((SELECT count(*) FROM incidents) - (SELECT count(DISTINCT incident_id) FROM changes)) +"
      " (SELECT count(*) FROM incidents i WHERE i.last_sequence IS NOT (SELECT max(sequence) FROM changes WHERE incident_id = i.id)"
      "  OR i.first_sequence IS NOT (SELECT min(sequence) FROM changes WHERE incident_id = i.id))");
  return wrong == 0 ? absl::OkStatus() : Damaged(path, "incidents do not match their changes");
}

}  // namespace

int64_t HashOf(const Row& row) {
  const int64_t numbers[] = {row.sequence, row.tick, row.ordinal, row.wall_ns, row.severity, static_cast<int64_t>(row.incident_id.size())};
  uint64_t hash = XXH3_64bits(numbers, sizeof numbers);
  hash = XXH3_64bits_withSeed(row.incident_id.data(), row.incident_id.size(), hash);
  return static_cast<int64_t>(XXH3_64bits_withSeed(row.change.data(), row.change.size(), hash));
}

absl::Status ReadRow(const sqlite::Statement& s, Row* row) {
  *row = {s.Int(0), s.Int(1), s.Int(2), s.Int(3), s.Bytes(4), s.Int(5), s.Bytes(6)};
  if (HashOf(*row) == s.Int(7)) return absl::OkStatus();
  return absl::DataLossError(fmt::format("the checksum of sequence {} does not match", row->sequence));
}

absl::Status Prepare(sqlite::Connection* connection, const std::string& path) {
  const auto application = connection->Integer("PRAGMA application_id");
  if (!application.ok()) return application.status();
  const auto version = connection->Integer("PRAGMA user_version");
  if (!version.ok()) return version.status();
  const auto tables = connection->Integer("SELECT count(*) FROM sqlite_schema");
  if (!tables.ok()) return tables.status();
  const auto pages = connection->Integer("PRAGMA page_count");
  if (!pages.ok()) return pages.status();
  const auto page_bytes = connection->Integer("PRAGMA page_size");
  if (!page_bytes.ok()) return page_bytes.status();
  std::error_code no_size;
  const uintmax_t bytes = std::filesystem::file_size(path, no_size);
  if (!no_size && bytes % static_cast<uintmax_t>(*page_bytes) != 0) return Damaged(path, "it was cut short");
  // No file yet, or one whose making was interrupted.
  const bool empty = *application == 0 && *version == 0 && *tables == 0 && *pages <= 1;
  if (!empty && *application != kApplicationId) return Damaged(path, "it is a database of another program");
  if (*version > kVersion) {
    return absl::FailedPreconditionError(
        fmt::format("journal {} has version {}, this outlierd knows versions up to {}; start the newer outlierd, or give another state folder",
                    Printable(path), *version, kVersion));
  }
  // FULL: a change is on the disk before any subscriber sees it.
  absl::Status status = connection->Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  if (!status.ok()) return status;
  if (empty) return Create(connection);
  const auto check = connection->Text("PRAGMA quick_check(1)");
  if (!check.ok()) return check.status();
  if (*check != "ok") return Damaged(path, *check);
  return CheckRows(connection, path);
}

}  // namespace outlier::journal
