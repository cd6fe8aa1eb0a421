#include "userspace/detectors/csv_table.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <span>

#include "userspace/base/file.h"
#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr int64_t kProgressRows = 5000;     // a fraction of a second
constexpr size_t kLongestLine = 16 << 20;  // a line beyond this is not a table
constexpr unsigned kReadAtOnce = 64 << 10;  // bytes
constexpr std::string_view kLoneReturn = "a carriage return without a line feed; lines end in LF or CRLF: convert them, tr '\\r' '\\n'";

std::string Lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// As much of `cell` as is a number into `value`; the rest is what it returns.
std::string_view ReadNumber(std::string_view cell, double* value, std::errc* error) {
  if (!cell.empty() && cell.front() == '+') cell.remove_prefix(1);
  const std::from_chars_result read = std::from_chars(cell.data(), cell.data() + cell.size(), *value);
  *error = read.ec;
  return cell.substr(static_cast<size_t>(read.ptr - cell.data()));
}

// All of them numbers or empty, one at least a number: a header has names.
bool AreNumbers(const std::vector<std::string>& cells) {
  bool some = false;
  for (const std::string& text : cells) {
    const std::string_view cell = Trimmed(text);
    if (cell.empty() || Lower(cell) == "nan") continue;
    double value = 0.0;
    std::errc error;
    if (!ReadNumber(cell, &value, &error).empty() || error == std::errc::invalid_argument || !std::isfinite(value)) return false;
    some = true;
  }
  return some;
}

// A name inside the list of features: RFC 4180 quotes where the name holds a separator.
std::string Quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

}  // namespace

void CsvTable::Closer::operator()(gzFile_s* file) const { gzclose(file); }
CsvTable::CsvTable(CsvTable&&) noexcept = default;
CsvTable& CsvTable::operator=(CsvTable&&) noexcept = default;
CsvTable::~CsvTable() = default;

absl::Status CsvTable::At(int column, const std::string& what) const {
  return absl::InvalidArgumentError(fmt::format("cannot read {} line {} column {}: {}", Printable(path_), line_, column + 1, what));
}

absl::Status CsvTable::NoSuchText(const std::string& what) const {
  return absl::DataLossError(fmt::format("cannot read {} line {}: {}", Printable(path_), line_, what));
}

absl::StatusOr<CsvTable> CsvTable::Open(const std::string& path) {
  CsvTable table;
  table.path_ = path;
  errno = 0;
  table.file_.reset(gzopen(path.c_str(), "rbe"));  // reads uncompressed files too
  if (!table.file_) return ErrnoStatus("open", path, errno);
  const absl::StatusOr<bool> more = table.ReadLine();
  if (!more.ok()) return more.status();
  if (!*more) return absl::InvalidArgumentError(fmt::format("cannot read {}: no header line", Printable(path)));
  if (table.line_text_.starts_with("\xef\xbb\xbf")) table.line_text_.erase(0, 3);  // byte order mark
  if (const absl::Status split = table.Split(); !split.ok()) return split;
  table.header_is_numbers_ = AreNumbers(table.cells_);
  for (int c = 0; c < static_cast<int>(table.cells_.size()); ++c) {
    const std::string name(Trimmed(table.cells_[c])), lower = Lower(name);
    int* reserved = lower == "timestamp" ? &table.timestamp_ : lower == "label" ? &table.label_ : lower == "is_test" ? &table.is_test_ : nullptr;
    if (reserved != nullptr && *reserved >= 0) return table.At(c, fmt::format("a second column named {}", lower));
    if (reserved != nullptr) *reserved = c;
    table.feature_of_column_.push_back(reserved != nullptr ? -1 : static_cast<int>(table.features_.size()));
    if (reserved == nullptr) table.features_.push_back(name);
  }
  if (table.features_.empty()) {
    return absl::InvalidArgumentError(fmt::format("cannot score {}: its header names no feature column", Printable(path)));
  }
  return table;
}

// More bytes; false at the end of the file.
absl::StatusOr<bool> CsvTable::Fill() {
  bytes_.resize(kReadAtOnce);
  const int got = gzread(file_.get(), bytes_.data(), kReadAtOnce);
  next_ = 0;
  end_ = static_cast<size_t>(std::max(got, 0));
  if (got > 0) return true;
  int error = 0;
  const char* text = gzerror(file_.get(), &error);
  if (error == Z_OK || error == Z_STREAM_END) return false;
  return absl::DataLossError(fmt::format("cannot read {} after line {}: {}", Printable(path_), line_, Printable(text)));
}

absl::StatusOr<bool> CsvTable::ReadLine() {
  line_text_.clear();
  for (bool ended = false; !ended && line_text_.size() <= kLongestLine;) {
    if (next_ == end_) {
      const absl::StatusOr<bool> more = Fill();
      if (!more.ok()) return more.status();
      if (!*more) break;
    }
    const char* from = bytes_.data() + next_;
    const void* end = std::memchr(from, '\n', end_ - next_);
    ended = end != nullptr;
    const size_t size = ended ? static_cast<size_t>(static_cast<const char*>(end) - from) + 1 : end_ - next_;
    line_text_.append(from, size);
    next_ += size;
  }
  if (line_text_.empty()) return false;
  ++line_;
  if (line_ == 1 && (line_text_.starts_with("\xff\xfe") || line_text_.starts_with("\xfe\xff"))) {
    return NoSuchText("this is UTF-16; convert it to UTF-8, iconv -f UTF-16 -t UTF-8");
  }
  if (line_text_.find('\0') != std::string::npos) {
    return NoSuchText("a NUL byte: this is no text in UTF-8; if it is UTF-16, convert it, iconv -f UTF-16LE -t UTF-8");
  }
  if (line_text_.size() > kLongestLine) {
    return line_text_.find('\r') != std::string::npos ? NoSuchText(std::string(kLoneReturn)) : At(0, "the line is longer than 16 MiB");
  }
  while (!line_text_.empty() && (line_text_.back() == '\n' || line_text_.back() == '\r')) line_text_.pop_back();
  return true;
}

// The next line that is a row.
absl::StatusOr<bool> CsvTable::ReadRow() {
  do {
    const absl::StatusOr<bool> more = ReadLine();
    if (!more.ok() || !*more) return more;
    if (!line_text_.empty()) return true;
  } while (feature_of_column_.size() > 1);
  return next_ < end_ ? absl::StatusOr<bool>(true) : Fill();  // at the very end it is none
}

absl::Status CsvTable::Split() {
  cells_.assign(1, "");
  bool quoted = false;
  for (size_t i = 0; i < line_text_.size(); ++i) {
    const char c = line_text_[i];
    if (quoted && c == '"' && i + 1 < line_text_.size() && line_text_[i + 1] == '"') {
      cells_.back() += '"';
      ++i;
    } else if (c == '"' && (quoted || cells_.back().empty())) {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      cells_.emplace_back();
    } else if (c == '\r' && !quoted) {
      return NoSuchText(std::string(kLoneReturn));
    } else {
      cells_.back() += c;
    }
  }
  if (quoted) return At(static_cast<int>(cells_.size()) - 1, "a quote that is not closed; no cell may hold a line end");
  return absl::OkStatus();
}

absl::StatusOr<bool> CsvTable::Next(Row* row) {
  const absl::StatusOr<bool> more = ReadRow();
  if (!more.ok() || !*more) return more;
  if (const absl::Status split = Split(); !split.ok()) return split;
  if (cells_.size() != feature_of_column_.size()) {
    return At(static_cast<int>(std::min(cells_.size(), feature_of_column_.size())) - 1,
              fmt::format("{} cells where the header has {}", cells_.size(), feature_of_column_.size()));
  }
  row->values.assign(features_.size(), 0.0);
  if (!row->present) row->present = std::make_unique<bool[]>(features_.size());
  for (int c = 0; c < static_cast<int>(cells_.size()); ++c) {
    if (feature_of_column_[c] < 0) continue;
    const int f = feature_of_column_[c];
    const std::string_view cell = Trimmed(cells_[c]);
    row->present[f] = !cell.empty() && Lower(cell) != "nan";
    if (!row->present[f]) continue;
    std::errc error;
    if (!ReadNumber(cell, &row->values[f], &error).empty() || error == std::errc::invalid_argument) {
      return At(c, fmt::format("\"{}\" is not a number", Printable(cells_[c], 64)));
    }
    if (error == std::errc::result_out_of_range) row->present[f] = false;
  }
  row->is_test = true;
  if (is_test_ >= 0) {
    const std::string cell = Lower(Trimmed(cells_[is_test_]));
    if (cell != "0" && cell != "1" && cell != "true" && cell != "false") return At(is_test_, "is_test must be 0 or 1");
    row->is_test = cell == "1" || cell == "true";
  }
  row->label = label_ >= 0 ? cells_[label_] : "";
  row->timestamp = timestamp_ >= 0 ? cells_[timestamp_] : "";
  return true;
}

ScoreWriter::ScoreWriter(std::ostream* out) : out_(out) { *out_ << "row,tail_probability,score,features\n"; }

void ScoreWriter::Write(const TableScorer::Row& row) {
  std::string names;
  for (const std::string& name : row.features) names += (names.empty() ? "" : ";") + name;
  *out_ << fmt::format("{},{:.6g},{:.2f},{}\n", row_++, row.tail_probability, row.score, Quoted(names));
}

absl::Status ScoreTable(const std::string& path, const TableScorer::Options& options, std::ostream* out, const ScoreListener& listener) {
  absl::StatusOr<CsvTable> table = CsvTable::Open(path);
  if (!table.ok()) return table.status();
  if (listener.warn && table->header_is_numbers()) {
    listener.warn(fmt::format("{} line 1: every name in it is a number; it is taken for the header and not scored: put a line with names before it",
                              Printable(path)));
  }
  TableScorer scorer(table->features(), options);
  ScoreWriter writer(out);
  CsvTable::Row row;
  for (int64_t rows = 1;; ++rows) {
    const absl::StatusOr<bool> more = table->Next(&row);
    if (!more.ok()) return more.status();
    if (!*more) break;
    writer.Write(scorer.Score(row.values, std::span<const bool>(row.present.get(), row.values.size()), !row.is_test));
    if (listener.progress && rows % kProgressRows == 0) listener.progress(rows);
  }
  out->flush();
  if (!out->good()) return absl::UnavailableError("cannot write the scores: the output does not accept them");
  return absl::OkStatus();
}

}  // namespace outlier
