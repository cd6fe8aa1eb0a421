#include "userspace/detectors/csv_table.h"

#include <fmt/compile.h>
#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <iterator>
#include <optional>
#include <set>
#include <span>

#include "absl/time/time.h"
#include "userspace/base/file.h"
#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr int64_t kProgressRows = 5000, kProgressCells = 250'000;  // a fraction of a second each
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

bool IsNan(std::string_view cell) { return cell.size() == 3 && (cell[0] == 'n' || cell[0] == 'N') && Lower(cell) == "nan"; }

// As much of `cell` as is a number into `value`; the rest is what it returns.
std::string_view ReadNumber(std::string_view cell, double* value, std::errc* error) {
  if (cell.size() > 1 && cell.front() == '+' && cell[1] != '-') cell.remove_prefix(1);
  const std::from_chars_result read = std::from_chars(cell.data(), cell.data() + cell.size(), *value);
  *error = read.ec;
  return cell.substr(static_cast<size_t>(read.ptr - cell.data()));
}

// All of them numbers or empty, one at least a number: a header has names.
bool AreNumbers(const std::vector<std::string>& cells) {
  bool some = false;
  for (const std::string& text : cells) {
    const std::string_view cell = Trimmed(text);
    if (cell.empty() || IsNan(cell)) continue;
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

// Valid UTF-8 without control characters, as a string of JSON.
std::string JsonQuoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : Printable(text, 4 * text.size() + 4)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

// Names that a reader of the output could not tell apart.
void WarnOfNames(const std::vector<std::string>& names, const std::function<void(const std::string&)>& warn) {
  std::set<std::string_view> seen;
  for (const std::string& name : names) {
    if (Printable(name, 4 * name.size() + 4) != name) {
      return warn(fmt::format(" line 1: the name \"{}\" holds control characters, or what is not UTF-8", Printable(name, 64)));
    }
    if (name.find(';') != std::string::npos) {
      return warn(fmt::format(" line 1: the name \"{}\" holds a semicolon, which parts names in the features of the output", Printable(name, 64)));
    }
    if (!seen.insert(name).second) return warn(fmt::format(" line 1: two columns are named \"{}\"; both are scored, and named alike", Printable(name, 64)));
  }
}

// What timestamps say of the rows' distance and order. Numbers are seconds, or milliseconds, since 1970; row numbers are none.
class TimestampCheck {
 public:
  explicit TimestampCheck(double interval_seconds) : interval_(interval_seconds) {}
  void Add(const std::string& cell) {
    if (steps_.size() == kSteps || ++looked_ > 2 * kSteps) return;
    const std::optional<double> seconds = SecondsOf(cell);
    if (seconds && !std::isnan(last_)) {
      const double step = *seconds - last_;
      steps_.push_back(step);
      backwards_ += step < 0.0 ? 1 : 0;
    }
    last_ = seconds.value_or(NAN);
  }
  void Warn(const std::function<void(const std::string&)>& warn) {
    if (steps_.size() < kFewSteps) return;
    std::nth_element(steps_.begin(), steps_.begin() + static_cast<std::ptrdiff_t>(steps_.size() / 2), steps_.end());
    const double median = steps_[steps_.size() / 2];
    if (median > 0.0 && std::abs(median - interval_) > kNear * interval_) {
      warn(fmt::format(": its timestamps are {:.6g} s apart, and --interval says {:.6g} s: hours of the day were taken wrongly", median, interval_));
    }
    if (backwards_ > 0) warn(fmt::format(": {} of its first {} rows are earlier than the row before; rows were taken in the order of the file", backwards_, steps_.size() + 1));
  }

 private:
  static constexpr size_t kFewSteps = 20, kSteps = 1000;
  static constexpr double kNear = 0.1;
  static std::optional<double> SecondsOf(const std::string& cell) {
    const std::string_view text = Trimmed(cell);
    if (text.empty()) return std::nullopt;
    double value = 0.0;
    std::errc error;
    if (ReadNumber(text, &value, &error).empty() && error == std::errc()) {
      // 1973 to 2100; 202601011200 is a date, and not taken for one.
      if (value >= 1e8 && value < 4.2e9) return value;
      return value >= 9e11 && value < 4.2e12 ? std::optional(value * 1e-3) : std::nullopt;
    }
    absl::Time time;
    std::string why;
    for (const char* format : {"%Y-%m-%d%ET%H:%M:%E*S%Ez", "%Y-%m-%d%ET%H:%M:%E*S", "%Y-%m-%d %H:%M:%E*S"}) {
      if (absl::ParseTime(format, absl::string_view(text.data(), text.size()), &time, &why)) return absl::ToDoubleSeconds(time - absl::UnixEpoch());
    }
    return std::nullopt;
  }
  const double interval_;
  std::vector<double> steps_;
  double last_ = NAN;  // of the row before, where it had one
  size_t looked_ = 0;
  int64_t backwards_ = 0;
};

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
  const bool standard_input = path == "-";
  table.path_ = standard_input ? "standard input" : path;
  errno = 0;
  table.file_.reset(standard_input ? gzdopen(dup(STDIN_FILENO), "rb") : gzopen(path.c_str(), "rbe"));  // reads uncompressed files too
  if (!table.file_) return ErrnoStatus("open", path, errno);
  const absl::StatusOr<bool> more = table.ReadLine();
  if (!more.ok()) return more.status();
  if (!*more) return absl::InvalidArgumentError(fmt::format("cannot read {}: no header line", Printable(table.path_)));
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
    return absl::InvalidArgumentError(fmt::format("cannot score {}: its header names no feature column", Printable(table.path_)));
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
  bool quoted = false, closed = false;
  for (size_t i = 0; i < line_text_.size(); ++i) {
    const char c = line_text_[i];
    if (closed && c != ',' && c != '\r') {
      if (c != ' ' && c != '\t') return At(static_cast<int>(cells_.size()) - 1, "text behind a closing quote; a quote within quotes is written twice");
    } else if (quoted && c == '"' && i + 1 < line_text_.size() && line_text_[i + 1] == '"') {
      cells_.back() += '"';
      ++i;
    } else if (c == '"' && (quoted || cells_.back().empty())) {
      closed = quoted;
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      cells_.emplace_back();
      closed = false;
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
    row->present[f] = !cell.empty() && !IsNan(cell);
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
    row->is_test = cell == "1" || cell == "1.0" || cell == "true";
    if (!row->is_test && cell != "0" && cell != "0.0" && cell != "false") return At(is_test_, "is_test must be 0 or 1");
  }
  row->label = label_ >= 0 ? cells_[label_] : "";
  row->timestamp = timestamp_ >= 0 ? cells_[timestamp_] : "";
  return true;
}

ScoreWriter::ScoreWriter(const ScoreOutput& output) : output_(output) {
  if (!output_.json) *output_.out << "row,tail_probability,score,features\n";
}

void ScoreWriter::Write(const TableScorer::Row& row) {
  names_.clear();
  for (const std::string& name : row.features) {
    if (!names_.empty()) names_ += output_.json ? ',' : ';';
    names_ += output_.json ? JsonQuoted(name) : output_.terminal ? Printable(name) : name;
  }
  line_.clear();
  const auto to = std::back_inserter(line_);
  if (output_.json) {
    fmt::format_to(to, FMT_COMPILE("{{\"row\":{},\"tail_probability\":{:.6g},\"score\":{:.2f},\"features\":[{}]}}\n"), row_, row.tail_probability, row.score, names_);
  } else {
    fmt::format_to(to, FMT_COMPILE("{},{:.6g},{:.2f},{}\n"), row_, row.tail_probability, row.score, Quoted(names_));
  }
  ++row_;
  output_.out->write(line_.data(), static_cast<std::streamsize>(line_.size()));
}

absl::Status ScoreTable(const std::string& path, const TableScorer::Options& options, const ScoreOutput& output, const ScoreListener& listener) {
  absl::StatusOr<CsvTable> table = CsvTable::Open(path);
  if (!table.ok()) return table.status();
  const auto warn = [&](const std::string& what) {
    if (listener.warn) listener.warn(fmt::format("{}{}", path == "-" ? "standard input" : Printable(path), what));
  };
  if (table->header_is_numbers()) warn(" line 1: every name in it is a number; it is taken for the header and not scored: put a line with names before it");
  WarnOfNames(table->features(), warn);
  TableScorer scorer(table->features(), options);
  errno = 0;
  ScoreWriter writer(output);
  TimestampCheck timestamps(options.interval_seconds);
  CsvTable::Row row;
  const int64_t each = std::clamp<int64_t>(kProgressCells / static_cast<int64_t>(table->features().size()), 1, kProgressRows);
  for (int64_t rows = 1;; ++rows) {
    const absl::StatusOr<bool> more = table->Next(&row);
    if (!more.ok()) return more.status();
    if (!*more) break;
    timestamps.Add(row.timestamp);
    const TableScorer::Row scored = scorer.Score(row.values, std::span<const bool>(row.present.get(), row.values.size()), !row.is_test);
    errno = 0;
    writer.Write(scored);
    if (!output.out->good()) break;
    if (listener.progress && rows % each == 0) listener.progress(rows);
  }
  if (output.out->good()) output.out->flush();
  const int why = errno;
  timestamps.Warn(warn);
  if (output.out->good() || why == EPIPE) return absl::OkStatus();
  return absl::UnavailableError(fmt::format("cannot write the scores: {}", why != 0 ? std::strerror(why) : "the output does not accept them"));
}

}  // namespace outlier
