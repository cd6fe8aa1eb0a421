// CSV tables for `outlierctl score`: a streaming reader of FILE.csv[.gz] and a writer of scores.
#pragma once
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "userspace/detectors/table_scorer.h"

struct gzFile_s;

namespace outlier {

// Columns named timestamp, label, is_test (in any case) are reserved; every other one is a feature. Cells may be quoted;
// an empty cell (also NaN, in any case) is a missing value. An empty line is the missing value of a table's only column, but no row where it
// ends the file or where there are more columns. Text is UTF-8, lines end in LF or CRLF, no cell holds a line end. Not thread-safe.
class CsvTable {
 public:
  struct Row {
    std::vector<double> values;           // one a feature
    std::unique_ptr<bool[]> present;      // same length
    bool is_test = true;                  // true where there is no such column
    std::string label, timestamp;         // as written; "" where there is no such column
  };

  // NOT_FOUND or PERMISSION_DENIED when the file cannot be opened, INVALID_ARGUMENT when it has no header or no feature.
  static absl::StatusOr<CsvTable> Open(const std::string& path);
  CsvTable(CsvTable&&) noexcept;
  CsvTable& operator=(CsvTable&&) noexcept;
  ~CsvTable();

  const std::vector<std::string>& features() const { return features_; }
  bool has_is_test() const { return is_test_ >= 0; }
  // Whether the header reads like a row of values, and there is perhaps none.
  bool header_is_numbers() const { return header_is_numbers_; }

  // The next row into `row`; false at the end. INVALID_ARGUMENT names line and column number of a bad cell; DATA_LOSS: the
  // compressed file is damaged, or the file is no such text.
  absl::StatusOr<bool> Next(Row* row);

 private:
  struct Closer {
    void operator()(gzFile_s* file) const;
  };
  CsvTable() = default;
  absl::StatusOr<bool> Fill();
  absl::StatusOr<bool> ReadLine();
  absl::StatusOr<bool> ReadRow();
  absl::Status Split();
  absl::Status At(int column, const std::string& what) const;
  absl::Status NoSuchText(const std::string& what) const;

  std::string path_, line_text_;
  std::vector<char> bytes_;  // of the file; those from `next_` to `end_` are not read yet
  size_t next_ = 0, end_ = 0;
  std::unique_ptr<gzFile_s, Closer> file_;
  std::vector<std::string> features_, cells_;
  std::vector<int> feature_of_column_;  // -1 = reserved
  int is_test_ = -1, label_ = -1, timestamp_ = -1;
  bool header_is_numbers_ = false;
  int64_t line_ = 0;
};

struct ScoreOutput {
  std::ostream* out = nullptr;
  bool json = false;      // an object a line instead of CSV
  bool terminal = false;  // control characters in names are escaped
};

// Header, then `row,tail_probability,score,features` for row 0, 1, 2 ...; probabilities to six significant digits.
class ScoreWriter {
 public:
  explicit ScoreWriter(const ScoreOutput& output);
  void Write(const TableScorer::Row& row);

 private:
  const ScoreOutput output_;
  int64_t row_ = 0;
  std::string names_, line_;  // of the row; kept for their room
};

// Each where given.
struct ScoreListener {
  std::function<void(int64_t rows)> progress = nullptr;               // rows done, now and then
  std::function<void(const std::string& warning)> warn = nullptr;     // what may be a mistake of the table; one line
};

// The whole of `outlierctl score FILE`; "-" is standard input. Ends quietly where nobody reads the output any more.
absl::Status ScoreTable(const std::string& path, const TableScorer::Options& options, const ScoreOutput& output, const ScoreListener& listener = {});

}  // namespace outlier
