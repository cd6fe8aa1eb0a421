#include "userspace/outlierctl/text_output.h"

#include <algorithm>

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include "userspace/base/text.h"

namespace outlier::ctl {
namespace {

size_t Width(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

// "CRASH_LOOP" to "crash loop"; the zero value, and values of a newer daemon, to "unknown".
std::string EnumWord(const std::string& name) {
  if (name.empty() || name.find("_UNSPECIFIED") != std::string::npos) return "unknown";
  std::string word = name;
  for (char& c : word) c = c == '_' ? ' ' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return word;
}

}  // namespace

std::string JsonLine(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string line;
  if (!google::protobuf::util::MessageToJsonString(message, &line, options).ok()) return "{}";
  return line;
}

bool PrintJson(Context& context, const google::protobuf::Message& message) {
  context.out << JsonLine(message) << '\n';
  context.out.flush();
  return context.out.good();
}

std::string Styled(const Context& context, Style style, std::string_view text) {
  if (!context.colour || style == Style::kPlain) return std::string(text);
  static constexpr std::string_view kCodes[] = {"0", "1", "2", "31", "33", "32"};
  return fmt::format("\x1b[{}m{}\x1b[0m", kCodes[static_cast<int>(style)], text);
}

Style SeverityStyle(v1::Incident::Severity severity) {
  if (severity >= v1::Incident::MAJOR) return Style::kRed;
  return severity >= v1::Incident::MINOR ? Style::kYellow : Style::kPlain;
}

Style ScoreStyle(double score) {
  if (score >= 50) return Style::kRed;
  return score >= 25 ? Style::kYellow : Style::kPlain;
}

std::string Word(v1::Incident::Severity value) { return EnumWord(v1::Incident::Severity_Name(value)); }
std::string Word(v1::Incident::State value) { return EnumWord(v1::Incident::State_Name(value)); }
std::string Word(v1::Incident::Pattern value) { return EnumWord(v1::Incident::Pattern_Name(value)); }
std::string Word(v1::Restart::Cause value) { return EnumWord(v1::Restart::Cause_Name(value)); }
std::string Word(v1::Workload::Kind value) { return EnumWord(v1::Workload::Kind_Name(value)); }
std::string Word(v1::ProbeState::State value) { return EnumWord(v1::ProbeState::State_Name(value)); }
std::string Word(v1::IncidentChange::Kind value) { return EnumWord(v1::IncidentChange::Kind_Name(value)); }

absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

std::string ClockTime(const Context& context, absl::Time time) {
  const absl::CivilDay today = absl::ToCivilDay(context.now(), context.zone);
  const bool same_day = absl::ToCivilDay(time, context.zone) == today;
  return absl::FormatTime(same_day ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", time, context.zone);
}

std::string RelativeTime(const Context& context, absl::Time time) {
  const double seconds = absl::ToDoubleSeconds(context.now() - time);
  if (seconds < 0) return ClockTime(context, time);  // the clock was set back: say only what is known
  return fmt::format("{} ago ({})", HumanDuration(std::max(1.0, seconds)), ClockTime(context, time));
}

void Table::Print(Context& context, std::string_view indent) const {
  std::vector<std::vector<Cell>> rows = rows_;
  std::vector<size_t> widths;
  for (auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t k = 0; k < row.size(); ++k) {
      row[k].text = Printable(row[k].text);
      widths[k] = std::max(widths[k], Width(row[k].text));
    }
  }
  for (const auto& row : rows) {
    std::string line(indent);
    for (size_t k = 0; k < row.size(); ++k) {
      const std::string padding(widths[k] - Width(row[k].text), ' ');
      const std::string text = Styled(context, row[k].style, row[k].text);
      const bool last = k + 1 == row.size();
      line += row[k].right ? padding + text : last ? text : text + padding;
      if (!last) line += "  ";
    }
    context.out << line << '\n';
  }
}

}  // namespace outlier::ctl
