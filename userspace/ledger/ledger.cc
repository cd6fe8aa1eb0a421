#include "userspace/ledger/ledger.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include <fmt/format.h>

#include "userspace/base/file.h"
#include "userspace/base/status.h"
#include "userspace/base/text.h"

namespace outlier {
namespace {

using sqlite::Statement;

constexpr int64_t kApplicationId = 0x4F55544B;  // "OUTK"
constexpr int64_t kVersion = 1;

constexpr char kSchema[] = R"sql(
CREATE TABLE cursors(sink TEXT, source TEXT, feed_id TEXT, sequence INTEGER NOT NULL, turn INTEGER NOT NULL, PRIMARY KEY(sink, source, feed_id)) WITHOUT ROWID;
CREATE TABLE held(sink TEXT, incident_key TEXT, value BLOB NOT NULL, PRIMARY KEY(sink, incident_key)) WITHOUT ROWID;
CREATE TABLE followed(sink TEXT, incident_key TEXT, value BLOB NOT NULL, PRIMARY KEY(sink, incident_key)) WITHOUT ROWID;
CREATE TABLE dead_letters(id INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, value BLOB NOT NULL);
CREATE INDEX dead_letters_by_sink ON dead_letters(sink, id);
CREATE TABLE counters(sink TEXT, name TEXT, value INTEGER NOT NULL, PRIMARY KEY(sink, name)) WITHOUT ROWID;
CREATE TABLE silences(id TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE spool(feed_id TEXT, sequence INTEGER, change BLOB NOT NULL, PRIMARY KEY(feed_id, sequence)) WITHOUT ROWID;
)sql";

struct NamedCounter {
  std::string_view name;
  uint64_t Counters::*value;
};
constexpr NamedCounter kCounters[] = {
    {"delivered", &Counters::delivered},
    {"retried", &Counters::retried},
    {"refused", &Counters::refused},
    {"expired", &Counters::expired},
    {"withheld", &Counters::withheld},
    {"samples_delivered", &Counters::samples_delivered},
    {"samples_lost", &Counters::samples_lost},
    {"letters_dropped", &Counters::letters_dropped},
};

absl::StatusOr<std::unique_ptr<sqlite::Connection>> OpenDatabase(const std::string& path) {
  auto connection = sqlite::Connection::Open(path, false);
  if (!connection.ok()) return connection;
  sqlite::Connection& db = **connection;
  if (absl::Status status = db.Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 1000"); !status.ok()) return status;
  const auto application = db.Integer("PRAGMA application_id"), version = db.Integer("PRAGMA user_version"), tables = db.Integer("SELECT count(*) FROM sqlite_schema");
  if (!application.ok()) return application.status();
  if (!version.ok()) return version.status();
  if (!tables.ok()) return tables.status();
  if (*tables == 0) {
    sqlite::Transaction transaction(&db);
    absl::Status status = transaction.Begin();
    if (status.ok()) status = db.Execute(kSchema);
    if (status.ok()) status = db.Execute(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplicationId, kVersion).c_str());
    if (status.ok()) status = transaction.Commit();
    if (!status.ok()) return status;
    return connection;
  }
  if (*application != kApplicationId) return absl::DataLossError(fmt::format("{} is no ledger of outlier-relay", Printable(path)));
  if (*version > kVersion) {
    return absl::FailedPreconditionError(fmt::format("{} is a ledger of version {}, this program knows {} at most: run the newer outlier-relay, or move the file away and begin anew",
                                                     Printable(path), *version, kVersion));
  }
  const auto check = db.Text("PRAGMA quick_check(1)");
  if (!check.ok()) return check.status();
  if (*check != "ok") return absl::DataLossError(fmt::format("ledger {} is damaged: {}", Printable(path), Printable(*check, 200)));
  return connection;
}

// Rows whose bytes are no longer a message are dropped: each is worth less than the start.
template <class Message>
absl::Status DropUnreadable(sqlite::Connection* db, std::string_view table, std::string_view keys, std::vector<std::string>* messages) {
  std::vector<std::pair<std::string, std::string>> dropped;
  {
    Statement all(db, fmt::format("SELECT value, {} FROM {}", keys, table));
    for (;;) {
      const auto row = all.Step();
      if (!row.ok()) return row.status();
      if (!*row) break;
      const std::string_view bytes = all.Bytes(0);
      if (!Message().ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) dropped.emplace_back(all.Bytes(1), all.Bytes(2));
    }
  }
  const size_t comma = keys.find(", ");
  for (const auto& [first, second] : dropped) {
    Statement drop(db, fmt::format("DELETE FROM {} WHERE {} = ? AND {} = ?", table, keys.substr(0, comma), keys.substr(comma + 2)));
    drop.Bind(0, first);
    drop.Bind(1, second);
    if (absl::Status status = drop.Run(); !status.ok()) return status;
    messages->push_back(fmt::format("a row of the ledger's {} cannot be read and is dropped: {} {}", table, Printable(first, 100), Printable(second, 100)));
  }
  return absl::OkStatus();
}

absl::Status DropUnreadable(sqlite::Connection* db, std::vector<std::string>* messages) {
  absl::Status status = DropUnreadable<relay::v1::Held>(db, "held", "sink, incident_key", messages);
  if (status.ok()) status = DropUnreadable<relay::v1::Followed>(db, "followed", "sink, incident_key", messages);
  if (status.ok()) status = DropUnreadable<relay::v1::DeadLetter>(db, "dead_letters", "sink, CAST(id AS TEXT)", messages);
  if (status.ok()) status = DropUnreadable<relay::v1::Silence>(db, "silences", "id, id", messages);
  return status;
}

absl::StatusOr<int> TakeLock(const std::string& path) {
  const std::string name = path + ".lock";
  const int fd = open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (fd < 0) return ErrnoStatus("open", name, errno);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  const int error = errno;
  close(fd);
  if (error == EWOULDBLOCK) return absl::UnavailableError(fmt::format("ledger {} is in use by another outlier-relay; give this one a --state-dir of its own", Printable(path)));
  return ErrnoStatus("lock", name, error);
}

template <class Message>
absl::StatusOr<std::vector<Message>> Messages(Statement* statement, const std::function<void(Statement*, Message*)>& also = {}) {
  std::vector<Message> messages;
  for (;;) {
    const auto row = statement->Step();
    if (!row.ok()) return row.status();
    if (!*row) return messages;
    const std::string_view bytes = statement->Bytes(0);
    Message message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return absl::DataLossError("a row of the ledger cannot be read");
    if (also) also(statement, &message);
    messages.push_back(std::move(message));
  }
}

}  // namespace

bool Entry::empty() const {
  for (const NamedCounter& counter : kCounters) {
    if (counted.*counter.value != 0) return false;
  }
  return cursors.empty() && held.empty() && no_longer_held.empty() && followed.empty() && unfollowed.empty() && refused.empty() && buried.empty();
}

absl::StatusOr<std::unique_ptr<Ledger>> Ledger::Open(const std::string& path, std::vector<std::string>* messages) {
  const auto lock = TakeLock(path);
  if (!lock.ok()) return lock.status();
  auto connection = OpenDatabase(path);
  if (!connection.ok() && absl::IsDataLoss(connection.status())) {
    const auto aside = SetAside(path);
    for (const char* suffix : {"-wal", "-shm"}) {
      std::error_code ignored;
      std::filesystem::remove(path + suffix, ignored);
    }
    if (!aside.ok()) {
      close(*lock);
      return aside.status();
    }
    messages->push_back(fmt::format("{}; it is kept as {}, and every sink begins anew: search indices take no duplicates, pagers are told what is open now",
                                    MessageOf(connection.status()), Printable(*aside)));
    connection = OpenDatabase(path);
  }
  if (connection.ok()) {
    if (absl::Status status = DropUnreadable(connection->get(), messages); !status.ok()) connection = status;
  }
  if (!connection.ok()) {
    close(*lock);
    return connection.status();
  }
  return std::unique_ptr<Ledger>(new Ledger(*std::move(connection), *lock));
}

Ledger::~Ledger() {
  connection_.reset();
  close(lock_);
}

absl::Status Ledger::Write(const Entry& entry) {
  const std::lock_guard guard(mutex_);
  sqlite::Transaction transaction(connection_.get());
  absl::Status status = transaction.Begin();
  if (status.ok()) status = WriteLocked(entry);
  if (status.ok()) status = transaction.Commit();
  return status;
}

absl::Status Ledger::WriteLocked(const Entry& entry) {
  sqlite::Connection* db = connection_.get();
  absl::Status status;
  const auto keys = [&](std::string_view sql, const std::vector<std::string>& all) {
    if (all.empty() || !status.ok()) return;
    Statement statement(db, sql);
    for (const std::string& key : all) {
      statement.Bind(0, entry.sink);
      statement.Bind(1, key);
      if (status.ok()) status = statement.Run();
    }
  };
  if (!entry.cursors.empty()) {
    Statement put(db,
                  "INSERT INTO cursors SELECT ?1, ?2, ?3, ?4, coalesce(max(turn), 0) + 1 FROM cursors WHERE sink = ?1 AND source = ?2 "
                  "ON CONFLICT(sink, source, feed_id) DO UPDATE SET sequence = excluded.sequence, turn = excluded.turn");
    for (const Cursor& cursor : entry.cursors) {
      put.Bind(0, entry.sink);
      put.Bind(1, cursor.source);
      put.Bind(2, cursor.feed_id);
      put.Bind(3, static_cast<int64_t>(cursor.sequence));
      if (status.ok()) status = put.Run();
    }
    // A source whose journal is new at every look must not fill the file.
    Statement drop(db,
                   "DELETE FROM cursors WHERE sink = ?1 AND (SELECT count(*) FROM cursors AS newer WHERE newer.sink = ?1 AND newer.source = cursors.source AND newer.turn > cursors.turn) >= ?2");
    drop.Bind(0, entry.sink);
    drop.Bind(1, kMostFeeds);
    if (status.ok()) status = drop.Run();
  }
  if (!entry.held.empty()) {
    Statement put(db, "INSERT OR REPLACE INTO held VALUES (?, ?, ?)");
    for (const relay::v1::Held& held : entry.held) {
      put.Bind(0, entry.sink);
      put.Bind(1, held.incident_key());
      put.BindBlob(2, held.SerializeAsString());
      if (status.ok()) status = put.Run();
    }
  }
  keys("DELETE FROM held WHERE sink = ? AND incident_key = ?", entry.no_longer_held);
  if (!entry.followed.empty()) {
    Statement put(db, "INSERT OR REPLACE INTO followed VALUES (?, ?, ?)");
    for (const relay::v1::Followed& followed : entry.followed) {
      put.Bind(0, entry.sink);
      put.Bind(1, followed.incident_key());
      put.BindBlob(2, followed.SerializeAsString());
      if (status.ok()) status = put.Run();
    }
  }
  keys("DELETE FROM followed WHERE sink = ? AND incident_key = ?", entry.unfollowed);
  keys("DELETE FROM dead_letters WHERE sink = ? AND id = CAST(? AS INTEGER)", entry.buried);
  Counters counted = entry.counted;
  if (!entry.refused.empty() && status.ok()) {
    Statement put(db, "INSERT INTO dead_letters(sink, value) VALUES (?, ?)");
    for (const relay::v1::DeadLetter& letter : entry.refused) {
      put.Bind(0, entry.sink);
      put.BindBlob(1, letter.SerializeAsString());
      if (status.ok()) status = put.Run();
    }
    Statement count(db, "SELECT count(*) FROM dead_letters WHERE sink = ?");
    count.Bind(0, entry.sink);
    if (const auto row = count.Step(); status.ok() && row.ok() && *row && count.Int(0) > static_cast<int64_t>(kMostDeadLetters)) {
      const int64_t surplus = count.Int(0) - static_cast<int64_t>(kMostDeadLetters);
      Statement drop(db, "DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters WHERE sink = ? ORDER BY id LIMIT ?)");
      drop.Bind(0, entry.sink);
      drop.Bind(1, surplus);
      status = drop.Run();
      counted.letters_dropped += static_cast<uint64_t>(surplus);
    }
  }
  for (const NamedCounter& counter : kCounters) {
    if (counted.*counter.value == 0 || !status.ok()) continue;
    Statement add(db, "INSERT INTO counters VALUES (?1, ?2, ?3) ON CONFLICT(sink, name) DO UPDATE SET value = value + excluded.value");
    add.Bind(0, entry.sink);
    add.Bind(1, counter.name);
    add.Bind(2, static_cast<int64_t>(counted.*counter.value));
    status = add.Run();
  }
  return status;
}

absl::StatusOr<std::vector<Cursor>> Ledger::Cursors(const std::string& sink) const {
  const std::lock_guard guard(mutex_);
  Statement statement(connection_.get(), "SELECT source, feed_id, sequence FROM cursors WHERE sink = ? ORDER BY source, turn");
  statement.Bind(0, sink);
  std::vector<Cursor> cursors;
  for (;;) {
    const auto row = statement.Step();
    if (!row.ok()) return row.status();
    if (!*row) return cursors;
    cursors.push_back({std::string(statement.Bytes(0)), std::string(statement.Bytes(1)), static_cast<uint64_t>(statement.Int(2))});
  }
}

absl::StatusOr<std::vector<relay::v1::Held>> Ledger::Held(const std::string& sink) const {
  const std::lock_guard guard(mutex_);
  Statement statement(connection_.get(), "SELECT value FROM held WHERE sink = ? ORDER BY incident_key");
  statement.Bind(0, sink);
  return Messages<relay::v1::Held>(&statement);
}

absl::StatusOr<std::vector<relay::v1::Followed>> Ledger::Followed(const std::string& sink) const {
  const std::lock_guard guard(mutex_);
  Statement statement(connection_.get(), "SELECT value FROM followed WHERE sink = ? ORDER BY incident_key");
  statement.Bind(0, sink);
  return Messages<relay::v1::Followed>(&statement);
}

absl::StatusOr<std::vector<relay::v1::DeadLetter>> Ledger::DeadLetters(const std::string& sink, size_t limit) const {
  const std::lock_guard guard(mutex_);
  Statement statement(connection_.get(), "SELECT value, id, sink FROM dead_letters WHERE ?1 = '' OR sink = ?1 ORDER BY id LIMIT ?2");
  statement.Bind(0, sink);
  statement.Bind(1, static_cast<int64_t>(limit));
  return Messages<relay::v1::DeadLetter>(&statement, [](Statement* row, relay::v1::DeadLetter* letter) {
    letter->set_id(std::to_string(row->Int(1)));
    letter->set_sink(std::string(row->Bytes(2)));
  });
}

absl::StatusOr<bool> Ledger::HasDeadLetter(const std::string& sink, const std::string& id) const {
  const std::lock_guard guard(mutex_);
  Statement statement(connection_.get(), "SELECT 1 FROM dead_letters WHERE sink = ? AND id = CAST(? AS INTEGER)");
  statement.Bind(0, sink);
  statement.Bind(1, id);
  return statement.Step();
}

absl::StatusOr<uint64_t> Ledger::DeadLetterCount(const std::string& sink) const {
  const std::lock_guard guard(mutex_);
  Statement statement(connection_.get(), "SELECT count(*) FROM dead_letters WHERE sink = ?");
  statement.Bind(0, sink);
  const auto row = statement.Step();
  if (!row.ok()) return row.status();
  return static_cast<uint64_t>(statement.Int(0));
}

absl::StatusOr<Counters> Ledger::Counted(const std::string& sink) const {
  const std::lock_guard guard(mutex_);
  Statement statement(connection_.get(), "SELECT name, value FROM counters WHERE sink = ?");
  statement.Bind(0, sink);
  Counters counters;
  for (;;) {
    const auto row = statement.Step();
    if (!row.ok()) return row.status();
    if (!*row) return counters;
    for (const NamedCounter& counter : kCounters) {
      if (counter.name == statement.Bytes(0)) counters.*counter.value = static_cast<uint64_t>(statement.Int(1));
    }
  }
}

absl::Status Ledger::PutSilence(const relay::v1::Silence& silence) {
  const std::lock_guard guard(mutex_);
  Statement statement(connection_.get(), "INSERT OR REPLACE INTO silences VALUES (?, ?)");
  statement.Bind(0, silence.id());
  statement.BindBlob(1, silence.SerializeAsString());
  return statement.Run();
}

absl::Status Ledger::DropSilence(const std::string& id) {
  const std::lock_guard guard(mutex_);
  Statement statement(connection_.get(), "DELETE FROM silences WHERE id = ?");
  statement.Bind(0, id);
  return statement.Run();
}

absl::StatusOr<std::vector<relay::v1::Silence>> Ledger::Silences() const {
  const std::lock_guard guard(mutex_);
  Statement statement(connection_.get(), "SELECT value FROM silences ORDER BY id");
  return Messages<relay::v1::Silence>(&statement);
}

absl::Status Ledger::Spool(const std::vector<v1::IncidentChange>& changes, const std::string& feed_id) {
  const std::lock_guard guard(mutex_);
  sqlite::Transaction transaction(connection_.get());
  absl::Status status = transaction.Begin();
  Statement put(connection_.get(), "INSERT OR IGNORE INTO spool VALUES (?, ?, ?)");
  for (const v1::IncidentChange& change : changes) {
    put.Bind(0, feed_id);
    put.Bind(1, static_cast<int64_t>(change.sequence()));
    put.BindBlob(2, change.SerializeAsString());
    if (status.ok()) status = put.Run();
  }
  return status.ok() ? transaction.Commit() : status;
}

absl::StatusOr<std::vector<v1::IncidentChange>> Ledger::Spooled(const std::string& feed_id, uint64_t after, size_t limit) const {
  const std::lock_guard guard(mutex_);
  Statement statement(connection_.get(), "SELECT change FROM spool WHERE feed_id = ? AND sequence > ? ORDER BY sequence LIMIT ?");
  statement.Bind(0, feed_id);
  statement.Bind(1, static_cast<int64_t>(after));
  statement.Bind(2, static_cast<int64_t>(limit));
  return Messages<v1::IncidentChange>(&statement);
}

absl::Status Ledger::ForgetSpooled(const std::string& feed_id, uint64_t up_to) {
  const std::lock_guard guard(mutex_);
  Statement statement(connection_.get(), "DELETE FROM spool WHERE feed_id = ? AND sequence <= ?");
  statement.Bind(0, feed_id);
  statement.Bind(1, static_cast<int64_t>(up_to));
  return statement.Run();
}

absl::StatusOr<std::vector<std::string>> Ledger::SpooledFeeds() const {
  const std::lock_guard guard(mutex_);
  Statement statement(connection_.get(), "SELECT DISTINCT feed_id FROM spool");
  std::vector<std::string> feeds;
  for (;;) {
    const auto row = statement.Step();
    if (!row.ok()) return row.status();
    if (!*row) return feeds;
    feeds.emplace_back(statement.Bytes(0));
  }
}

absl::StatusOr<uint64_t> Ledger::SpooledBytes() const {
  const std::lock_guard guard(mutex_);
  const auto bytes = connection_->Integer("SELECT coalesce(sum(length(change)), 0) FROM spool");
  if (!bytes.ok()) return bytes.status();
  return static_cast<uint64_t>(*bytes);
}

}  // namespace outlier
