#include "userspace/base/sqlite.h"

#include <sqlite3.h>

#include <fmt/format.h>

#include "userspace/base/text.h"

namespace outlier::sqlite {
namespace {

constexpr int kBusyTimeoutMs = 5000;

}  // namespace

absl::Status ToStatus(int code, std::string_view what, std::string_view path, std::string_view message) {
  const std::string text = fmt::format("cannot {} {}: {}", what, Printable(path), message);
  switch (code & 0xff) {
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(text);
    case SQLITE_ERROR:  // our statements are right: a table they name is not there
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(text);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return absl::PermissionDeniedError(text);
    default:
      return absl::UnavailableError(text);
  }
}

Statement::Statement(Connection* connection, std::string_view sql) : connection_(connection) {
  error_ = sqlite3_prepare_v3(connection->get(), sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
}

Statement::~Statement() { sqlite3_finalize(statement_); }

void Statement::Bind(int index, int64_t value) {
  if (error_ == SQLITE_OK) error_ = sqlite3_bind_int64(statement_, index + 1, value);
}

void Statement::Bind(int index, std::string_view text) {
  if (error_ == SQLITE_OK) error_ = sqlite3_bind_text64(statement_, index + 1, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

void Statement::BindBlob(int index, std::string_view bytes) {
  if (error_ == SQLITE_OK) error_ = sqlite3_bind_blob64(statement_, index + 1, bytes.data(), bytes.size(), SQLITE_TRANSIENT);
}

absl::StatusOr<bool> Statement::Step() {
  if (error_ != SQLITE_OK) return connection_->Error(error_, "prepare a statement for");
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  const absl::Status status = connection_->Error(code, "use database");
  sqlite3_reset(statement_);
  return status;
}

absl::Status Statement::Run() {
  for (;;) {
    const auto row = Step();
    if (!row.ok()) return row.status();
    if (!*row) break;
  }
  Reset();
  return absl::OkStatus();
}

void Statement::Reset() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

int64_t Statement::Int(int column) const { return sqlite3_column_int64(statement_, column); }

std::string_view Statement::Bytes(int column) const {
  const void* bytes = sqlite3_column_blob(statement_, column);
  return {static_cast<const char*>(bytes), static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const std::string& path, bool read_only) {
  sqlite3* db = nullptr;
  const int flags = (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(path.c_str(), &db, flags, nullptr);
  std::unique_ptr<Connection> connection(new Connection(path, db));
  if (code != SQLITE_OK) return ToStatus(code, "open database", path, db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code));
  sqlite3_busy_timeout(db, kBusyTimeoutMs);
  // The file may be damaged by accident or on purpose: its schema must not be able to run anything.
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  return connection;
}

Connection::~Connection() { sqlite3_close_v2(db_); }

absl::Status Connection::Error(int code, std::string_view what) const { return ToStatus(code, what, path_, sqlite3_errmsg(db_)); }

absl::Status Connection::Execute(const char* sql) {
  const int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error(code, "use database");
}

absl::StatusOr<int64_t> Connection::Integer(std::string_view sql) {
  Statement statement(this, sql);
  const auto row = statement.Step();
  if (!row.ok()) return row.status();
  return *row ? statement.Int(0) : 0;
}

absl::StatusOr<std::string> Connection::Text(std::string_view sql) {
  Statement statement(this, sql);
  const auto row = statement.Step();
  if (!row.ok()) return row.status();
  return *row ? std::string(statement.Bytes(0)) : std::string();
}

Transaction::~Transaction() {
  if (open_) connection_->Execute("ROLLBACK").IgnoreError();  // SQLite may have rolled back by itself
}

absl::Status Transaction::Begin() {
  const absl::Status status = connection_->Execute("BEGIN IMMEDIATE");
  open_ = status.ok();
  return status;
}

absl::Status Transaction::Commit() {
  const absl::Status status = connection_->Execute("COMMIT");
  if (status.ok()) open_ = false;
  return status;
}

}  // namespace outlier::sqlite
