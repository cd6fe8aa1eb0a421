// The two formats. They differ in the name that a counter is described under, in UNIT and EOF, and in what is escaped in HELP.
#include <fmt/format.h>

#include "userspace/exposition/exposition.h"

namespace outlier {
namespace {

std::string Escaped(std::string_view text, bool quotes) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || (c == '"' && quotes)) out += '\\';
    c == '\n' ? out += "\\n" : out += c;
  }
  return out;
}

void AppendSeries(std::string_view name, const SeriesLabels& labels, double value, std::string* out) {
  *out += name;
  char before = '{';
  for (const auto& [label, text] : labels) {
    *out += fmt::format("{}{}=\"{}\"", before, label, Escaped(text, true));
    before = ',';
  }
  *out += fmt::format("{} {}\n", labels.empty() ? "" : "}", value);
}

std::string Render(const MetricFamilies& families, bool open_metrics) {
  std::string out;
  for (size_t i = 0; i < kMetrics; ++i) {
    const auto metric = static_cast<Metric>(i);
    const MetricFamilies::Points& points = families.of(metric);
    if (points.empty()) continue;
    const MetricSpec& spec = SpecOf(metric);
    const std::string series = std::string(spec.name) + (spec.counter ? "_total" : "");
    const std::string family = open_metrics ? std::string(spec.name) : series;
    const char* kind = spec.counter ? "counter" : "gauge";
    if (open_metrics) {
      out += fmt::format("# TYPE {} {}\n", family, kind);
      if (!spec.unit.empty()) out += fmt::format("# UNIT {} {}\n", family, spec.unit);
      out += fmt::format("# HELP {} {}\n", family, Escaped(spec.help, true));
    } else {
      out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", family, Escaped(spec.help, false), family, kind);
    }
    for (const auto& [labels, value] : points) AppendSeries(series, labels, value, &out);
  }
  if (open_metrics) out += "# EOF\n";
  return out;
}

}  // namespace

std::string RenderOpenMetrics(const MetricFamilies& families) { return Render(families, true); }
std::string RenderText(const MetricFamilies& families) { return Render(families, false); }

}  // namespace outlier
