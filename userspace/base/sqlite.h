// The little of SQLite that the journal and the ledger need, with RAII and Status. A connection and its statements belong to one thread at
// a time.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct sqlite3;
struct sqlite3_stmt;

namespace outlier::sqlite {

// RESOURCE_EXHAUSTED = disk full, DATA_LOSS = damaged or no database, UNAVAILABLE = input/output, locks and the rest.
absl::Status ToStatus(int code, std::string_view what, std::string_view path, std::string_view message);

class Connection;

// A prepared statement: bind all, Step through the rows, Reset. Parameters and columns count from 0.
class Statement {
 public:
  Statement() = default;
  Statement(Connection* connection, std::string_view sql);  // a failure shows at the first Step
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  void Bind(int index, int64_t value);
  void Bind(int index, std::string_view text);
  void BindBlob(int index, std::string_view bytes);
  absl::StatusOr<bool> Step();  // true = a row
  absl::Status Run();           // Step to the end, then Reset
  void Reset();
  int64_t Int(int column) const;
  std::string_view Bytes(int column) const;  // valid until the next Step

 private:
  Connection* connection_ = nullptr;
  sqlite3_stmt* statement_ = nullptr;
  int error_ = 0;
};

class Connection {
 public:
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const std::string& path, bool read_only);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  absl::Status Execute(const char* sql);
  absl::StatusOr<int64_t> Integer(std::string_view sql);  // first column of the first row; 0 without one
  absl::StatusOr<std::string> Text(std::string_view sql);
  absl::Status Error(int code, std::string_view what) const;
  sqlite3* get() const { return db_; }

 private:
  Connection(std::string path, sqlite3* db) : path_(std::move(path)), db_(db) {}
  const std::string path_;
  sqlite3* db_;
};

// Rolls back unless committed.
class Transaction {
 public:
  explicit Transaction(Connection* connection) : connection_(connection) {}
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  absl::Status Begin();
  absl::Status Commit();

 private:
  Connection* connection_;
  bool open_ = false;
};

}  // namespace outlier::sqlite
