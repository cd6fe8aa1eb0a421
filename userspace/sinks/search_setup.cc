#include "userspace/sinks/search_setup.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

using std::chrono::seconds;
constexpr seconds kMinute{60}, kHour{3600}, kDay{86'400};

// In the largest unit that says it exactly.
struct Retention {
  seconds time;
  std::string short_form;  // "30d", as both systems write it
  std::string words;       // "30 days"
};

Retention RetentionOf(std::chrono::nanoseconds time) {
  const auto whole = std::max(std::chrono::ceil<seconds>(time), kHour);
  for (const auto& [unit, letter, word] : {std::tuple{kDay, 'd', "day"}, std::tuple{kHour, 'h', "hour"}, std::tuple{kMinute, 'm', "minute"}}) {
    if (whole % unit == seconds(0)) return {whole, fmt::format("{}{}", whole / unit, letter), fmt::format("{} {}{}", whole / unit, word, whole == unit ? "" : "s")};
  }
  return {whole, fmt::format("{}s", whole.count()), fmt::format("{} seconds", whole.count())};
}

// "30d" of a file; all of them are in days.
seconds DaysOf(const std::string& text) { return kDay * std::strtol(text.c_str(), nullptr, 10); }

// Every "<number> days" becomes `words`; with none, it goes with the comma before it.
std::string WithDays(std::string text, const std::string& words) {
  for (size_t end = text.find(" days"); end != std::string::npos; end = text.find(" days", end + 1)) {
    size_t begin = end;
    while (begin > 0 && std::isdigit(static_cast<unsigned char>(text[begin - 1]))) --begin;
    if (begin == end) continue;
    if (words.empty() && begin >= 2 && text.compare(begin - 2, 2, ", ") == 0) begin -= 2;
    const size_t length = end + 5 - begin;
    text.replace(begin, length, words);
    end = begin + words.size();
    if (end > 0) --end;
  }
  return text;
}

// Wherever a file says how long something is kept.
void SetRetention(const Retention& retention, const std::string& words, Json* json) {
  if (json->is_array()) {
    for (Json& item : *json) SetRetention(retention, words, &item);
  }
  if (!json->is_object()) return;
  for (auto& [key, value] : json->items()) {
    if (key == "data_retention" || key == "min_age" || key == "min_rollover_age") {
      value = retention.short_form;
    } else if (key == "max_age" || key == "min_index_age") {  // of a roll-over
      if (value.is_string() && DaysOf(value.get<std::string>()) > retention.time) value = retention.short_form;
    } else if (key == "description" && value.is_string()) {
      value = WithDays(value.get<std::string>(), words);
    } else {
      SetRetention(retention, words, &value);
    }
  }
}

absl::StatusOr<Json> FileOf(std::string_view dialect, const std::string& name) {
  const auto files = SearchFiles();
  const auto file = std::find_if(files.begin(), files.end(), [&](const SearchFile& f) { return f.dialect == dialect && f.name == name; });
  if (file == files.end()) return absl::InternalError(fmt::format("this program was built without deploy/search/{}/{}", dialect, name));
  Json json = ParseJson(file->content);
  if (json.is_discarded()) return absl::InternalError(fmt::format("deploy/search/{}/{} is no JSON", dialect, name));
  return json;
}

}  // namespace

absl::StatusOr<std::vector<SearchInstallation>> SearchInstallations(std::string_view dialect, std::string_view retention_by,
                                                                    std::chrono::nanoseconds retention) {
  const Retention wanted = RetentionOf(retention);
  const std::string words = retention_by == "none" ? "" : wanted.words;
  const bool as_files_say = retention.count() == 0 && retention_by != "none";
  std::vector<std::string> manifests = {"manifest.json"};
  if (retention_by == "ilm") manifests.insert(manifests.begin(), "manifest-ilm.json");
  std::vector<SearchInstallation> installations;
  std::vector<std::string> indices;
  for (const std::string& manifest : manifests) {
    const absl::StatusOr<Json> entries = FileOf(dialect, manifest);
    if (!entries.ok()) return entries.status();
    for (const Json& entry : *entries) {
      const std::string path = entry.at("path");
      if (retention_by != "lifecycle" && path.ends_with("@lifecycle")) continue;
      if (retention_by != "ism" && path.find("/_ism/") != std::string::npos) continue;
      absl::StatusOr<Json> body = FileOf(dialect, entry.at("file"));
      if (!body.ok()) return body.status();
      if (!as_files_say) SetRetention(wanted, words, &*body);
      const std::string what = entry.at("what");
      if (path.starts_with("/_index_template/")) {
        for (const Json& pattern : body->at("index_patterns")) indices.push_back(pattern);
      }
      installations.push_back({entry.at("method"), path, as_files_say ? what : WithDays(what, words), Dump(*body), entry.value("optional", false)});
    }
  }
  // Templates are for what is made from now on; what is there learns new fields by this. A field that became another type is refused, and named.
  const absl::StatusOr<Json> mappings = FileOf(dialect, "outlier@mappings.json");
  if (!mappings.ok()) return mappings.status();
  installations.push_back({"PUT", fmt::format("/{}/_mapping?ignore_unavailable=true&allow_no_indices=true", fmt::join(indices, ",")),
                           "the same fields in the indices that are there", Dump(mappings->at("template").at("mappings"))});
  return installations;
}

}  // namespace outlier
