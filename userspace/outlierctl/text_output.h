// How results look: JSON lines for programs, aligned columns and plain times for people.
#pragma once
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/message.h>
#include <google/protobuf/timestamp.pb.h>

#include "outlier/v1/feed.pb.h"
#include "userspace/outlierctl/context.h"

namespace outlier::ctl {

// protobuf's JSON mapping on one line: names as in the .proto files, default values printed.
std::string JsonLine(const google::protobuf::Message& message);
// Prints the line and says whether the reader is still there.
bool PrintJson(Context& context, const google::protobuf::Message& message);

enum class Style { kPlain, kBold, kDim, kRed, kYellow, kGreen };
// `text` in that style where the context has colours. Make it Printable first.
std::string Styled(const Context& context, Style style, std::string_view text);
Style SeverityStyle(v1::Incident::Severity severity);
Style ScoreStyle(double score);

// Names of enum values as people write them: "critical", "open", "crash loop", "step".
std::string Word(v1::Incident::Severity severity);
std::string Word(v1::Incident::State state);
std::string Word(v1::Incident::Pattern pattern);
std::string Word(v1::Restart::Cause cause);
std::string Word(v1::Workload::Kind kind);
std::string Word(v1::ProbeState::State state);
std::string Word(v1::IncidentChange::Kind kind);

absl::Time ToTime(const google::protobuf::Timestamp& time);
// "14:02:11" today, "2026-11-20 14:02:11" on other days, in the context's zone.
std::string ClockTime(const Context& context, absl::Time time);
// "3 min ago (14:02:11)".
std::string RelativeTime(const Context& context, absl::Time time);

// Columns as wide as their widest cell; every character is taken as one column wide.
class Table {
 public:
  struct Cell {
    std::string text;  // any bytes: made Printable here
    Style style = Style::kPlain;
    bool right = false;
  };
  void AddRow(std::vector<Cell> cells) { rows_.push_back(std::move(cells)); }
  void Print(Context& context, std::string_view indent = "") const;

 private:
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace outlier::ctl
