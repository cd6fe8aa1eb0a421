#include "userspace/feed/journal.h"

#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <mutex>

#include <fmt/format.h>

#include "userspace/base/file.h"
#include "userspace/base/text.h"
#include "userspace/feed/journal_lock.h"
#include "userspace/feed/journal_reader.h"
#include "userspace/feed/journal_schema.h"

namespace outlier {
namespace {

using journal::JournalReader;
using journal::Row;
using sqlite::Connection;
using sqlite::Statement;

class SqliteJournal : public Journal {
 public:
  SqliteJournal(const std::string& path, std::unique_ptr<JournalLock> lock, std::unique_ptr<Connection> connection)
      : lock_(std::move(lock)), connection_(std::move(connection)), writes_(connection_.get()), readers_(path) {}

  absl::Status Load() {
    const auto feed_id = connection_->Text("SELECT feed_id FROM position");
    const auto sequence = connection_->Integer("SELECT last_sequence FROM position");
    const auto tick = connection_->Integer("SELECT last_tick FROM position");
    const auto oldest = connection_->Integer("SELECT complete_from FROM position");
    for (const absl::Status& status : {feed_id.status(), sequence.status(), tick.status(), oldest.status()}) {
      if (!status.ok()) return status;
    }
    feed_id_ = *feed_id;
    last_sequence_ = static_cast<uint64_t>(*sequence);
    last_tick_ = static_cast<uint64_t>(*tick);
    oldest_ = static_cast<uint64_t>(*oldest);
    return absl::OkStatus();
  }

  const std::string& feed_id() const override { return feed_id_; }
  uint64_t last_tick() const override { return last_tick_; }
  uint64_t last_sequence() const override { return last_sequence_; }
  uint64_t oldest_sequence() const override { return oldest_; }

  absl::Status Append(uint64_t tick, std::vector<v1::IncidentChange>* changes) override {
    if (changes->empty()) return absl::OkStatus();
    const std::lock_guard lock(write_mutex_);
    if (tick <= last_tick_) return RecallSequences(tick, changes);
    std::vector<std::string> bytes;
    uint64_t sequence = last_sequence_;
    for (v1::IncidentChange& change : *changes) {
      change.set_sequence(++sequence);
      bytes.push_back(change.SerializeAsString());
      // Names that are not valid UTF-8 can be written but not read: better no such row than one that stops every subscriber.
      if (!v1::IncidentChange().ParseFromString(bytes.back()) || change.incident().id().empty()) {
        return absl::InvalidArgumentError(
            fmt::format("cannot journal a change of incident {}: it has no id, or text that is not UTF-8", Printable(change.incident().id(), 80)));
      }
    }
    sqlite::Transaction transaction(connection_.get());
    absl::Status status = transaction.Begin();
    for (size_t i = 0; status.ok() && i < changes->size(); ++i) status = Write(tick, i, (*changes)[i], bytes[i]);
    if (status.ok()) {
      writes_.position.Bind(0, static_cast<int64_t>(sequence));
      writes_.position.Bind(1, static_cast<int64_t>(tick));
      status = writes_.position.Run();
    }
    if (status.ok()) status = transaction.Commit();
    if (!status.ok()) return status;
    last_sequence_ = sequence;
    last_tick_ = tick;
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<v1::IncidentChange>> Read(uint64_t after, int limit) const override {
    return WithReader([&](JournalReader& r) { return r.Read(after, limit); });
  }
  absl::StatusOr<std::vector<StoredChange>> ReadStored(uint64_t after, int limit, size_t most_bytes) const override {
    return WithReader([&](JournalReader& r) { return r.ReadStored(after, limit, most_bytes); });
  }
  absl::StatusOr<std::vector<v1::Incident>> Incidents(const v1::Filter& filter, int64_t since_wall_ns, int limit, const std::string& page_token,
                                                      std::string* next_page_token) const override {
    return WithReader([&](JournalReader& r) { return r.Incidents(filter, since_wall_ns, limit, page_token, next_page_token); });
  }
  absl::StatusOr<v1::Incident> Get(const std::string& id) const override {
    return WithReader([&](JournalReader& r) { return r.Get(id); });
  }
  std::optional<std::string> GetMeta(const std::string& key) const override {
    auto reader = readers_.Take();
    if (!reader.ok()) return std::nullopt;
    auto value = (*reader)->GetMeta(key);
    readers_.GiveBack(*std::move(reader));
    return value;
  }

  absl::Status Compact(int64_t before_wall_ns) override {
    const std::lock_guard lock(write_mutex_);
    sqlite::Transaction transaction(connection_.get());
    absl::Status status = transaction.Begin();
    if (!status.ok()) return status;
    Statement dropped(connection_.get(),
                      "SELECT max(c.sequence) FROM changes c JOIN incidents i ON i.id = c.incident_id WHERE i.open = 0 AND i.changed_wall_ns < ?");
    dropped.Bind(0, before_wall_ns);
    const auto row = dropped.Step();
    if (!row.ok()) return row.status();
    const uint64_t newest_dropped = static_cast<uint64_t>(dropped.Int(0));  // NULL reads as 0
    dropped.Reset();
    if (newest_dropped == 0) return absl::OkStatus();
    const uint64_t complete_from = std::max<uint64_t>(oldest_, newest_dropped + 1);
    for (const std::string_view sql : {"DELETE FROM changes WHERE incident_id IN (SELECT id FROM incidents WHERE open = 0 AND changed_wall_ns < ?)",
                                       "DELETE FROM incidents WHERE open = 0 AND changed_wall_ns < ?"}) {
      Statement statement(connection_.get(), sql);
      statement.Bind(0, before_wall_ns);
      if (status = statement.Run(); !status.ok()) return status;
    }
    Statement position(connection_.get(), "UPDATE position SET complete_from = ?");
    position.Bind(0, static_cast<int64_t>(complete_from));
    if (status = position.Run(); !status.ok()) return status;
    if (status = transaction.Commit(); !status.ok()) return status;
    oldest_ = complete_from;
    return absl::OkStatus();
  }

  absl::Status Skip(uint64_t sequence, uint64_t tick) override {
    const std::lock_guard lock(write_mutex_);
    if (sequence <= last_sequence_) return absl::OkStatus();
    tick = std::max<uint64_t>(tick, last_tick_);
    Statement position(connection_.get(), "UPDATE position SET last_sequence = ?1, last_tick = ?2, complete_from = ?1 + 1");
    position.Bind(0, static_cast<int64_t>(sequence));
    position.Bind(1, static_cast<int64_t>(tick));
    if (const absl::Status status = position.Run(); !status.ok()) return status;
    last_sequence_ = sequence;
    last_tick_ = tick;
    oldest_ = sequence + 1;
    return absl::OkStatus();
  }

  absl::Status PutMeta(const std::string& key, const std::string& value) override {
    const std::lock_guard lock(write_mutex_);
    writes_.meta.Bind(0, std::string_view(key));
    writes_.meta.BindBlob(1, value);
    const absl::Status status = writes_.meta.Run();
    if (!status.ok()) writes_.meta.Reset();
    return status;
  }

 private:
  struct Writes {
    explicit Writes(Connection* c)
        : change(c, "INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?)"),
          incident(c,
                   "INSERT INTO incidents VALUES (?1, ?2, ?2, ?3, ?4) ON CONFLICT(id) DO UPDATE"
                   " SET last_sequence = ?2, changed_wall_ns = ?3, open = ?4"),
          position(c, "UPDATE position SET last_sequence = ?, last_tick = ?"),
          meta(c, "INSERT INTO meta VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value"),
          sequence(c, "SELECT sequence, incident_id FROM changes WHERE tick = ? AND ordinal = ?") {}
    Statement change, incident, position, meta, sequence;
  };

  absl::Status Write(uint64_t tick, size_t ordinal, const v1::IncidentChange& change, std::string_view bytes) {
    const v1::Incident& incident = change.incident();
    Row row;
    row.sequence = static_cast<int64_t>(change.sequence());
    row.tick = static_cast<int64_t>(tick);
    row.ordinal = static_cast<int64_t>(ordinal);
    row.wall_ns = change.time().seconds() * 1'000'000'000 + change.time().nanos();
    row.incident_id = incident.id();
    row.severity = incident.severity();
    row.change = bytes;
    Statement& c = writes_.change;
    c.Bind(0, row.sequence);
    c.Bind(1, row.tick);
    c.Bind(2, row.ordinal);
    c.Bind(3, row.wall_ns);
    c.Bind(4, row.incident_id);
    c.Bind(5, row.severity);
    c.BindBlob(6, row.change);
    c.Bind(7, journal::HashOf(row));
    if (const absl::Status status = c.Run(); !status.ok()) {
      c.Reset();
      return status;
    }
    Statement& i = writes_.incident;
    i.Bind(0, row.incident_id);
    i.Bind(1, row.sequence);
    i.Bind(2, row.wall_ns);
    i.Bind(3, int64_t{incident.state() != v1::Incident::RESOLVED});
    const absl::Status status = i.Run();
    if (!status.ok()) i.Reset();
    return status;
  }

  absl::Status RecallSequences(uint64_t tick, std::vector<v1::IncidentChange>* changes) {
    Statement& s = writes_.sequence;
    for (size_t i = 0; i < changes->size(); ++i) {
      s.Bind(0, static_cast<int64_t>(tick));
      s.Bind(1, static_cast<int64_t>(i));
      const auto row = s.Step();
      if (row.ok()) (*changes)[i].set_sequence(*row && s.Bytes(1) == (*changes)[i].incident().id() ? static_cast<uint64_t>(s.Int(0)) : 0);
      s.Reset();
      if (!row.ok()) return row.status();
    }
    return absl::OkStatus();
  }

  template <class Call>
  auto WithReader(Call call) const -> decltype(call(std::declval<JournalReader&>())) {
    auto reader = readers_.Take();
    if (!reader.ok()) return reader.status();
    auto result = call(**reader);
    // A reader that failed may hold a broken connection: the next call opens another.
    if (result.ok()) readers_.GiveBack(*std::move(reader));
    return result;
  }

  std::unique_ptr<JournalLock> lock_;
  std::mutex write_mutex_;
  std::unique_ptr<Connection> connection_;
  Writes writes_;
  mutable journal::JournalReaders readers_;  // closed first: the last to close is the writer, which can empty the log
  std::string feed_id_;
  std::atomic<uint64_t> last_tick_{0}, last_sequence_{0}, oldest_{1};
};

absl::StatusOr<std::unique_ptr<Connection>> OpenChecked(const std::string& path) {
  auto connection = Connection::Open(path, /*read_only=*/false);
  if (!connection.ok()) return connection;
  if (const absl::Status status = journal::Prepare(connection->get(), path); !status.ok()) {
    // What is set aside is kept as it is: no checkpoint on the way out.
    sqlite3_db_config((*connection)->get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    return status;
  }
  return connection;
}

// The file with its write-ahead log; the shared-memory index is made anew and would be wrong for the next file.
absl::StatusOr<std::string> SetJournalAside(const std::string& path) {
  auto aside = SetAside(path);
  if (!aside.ok()) return aside;
  for (const char* suffix : {"-wal", "-shm"}) {
    if (access((path + suffix).c_str(), F_OK) != 0) continue;
    if (const auto other = SetAside(path + suffix); !other.ok()) return other;
  }
  return aside;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Journal>> Journal::Open(const std::string& path, std::string* message) {
  message->clear();
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (!folder.empty()) {
    if (const absl::Status status = MakeFolders(folder); !status.ok()) return status;
  }
  auto lock = JournalLock::Take(path);
  if (!lock.ok()) return lock.status();
  auto connection = OpenChecked(path);
  if (absl::IsDataLoss(connection.status())) {
    const auto aside = SetJournalAside(path);
    if (!aside.ok()) return aside.status();
    *message = fmt::format("{}; it was set aside as {} and a new journal begun, so subscribers start from its beginning",
                           std::string(connection.status().message()), Printable(*aside));
    connection = OpenChecked(path);
  }
  if (!connection.ok()) return connection.status();
  auto journal = std::make_unique<SqliteJournal>(path, *std::move(lock), *std::move(connection));
  if (const absl::Status status = journal->Load(); !status.ok()) return status;
  return journal;
}

}  // namespace outlier
