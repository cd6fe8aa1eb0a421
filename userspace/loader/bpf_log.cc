#include "userspace/loader/bpf_log.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>
#include <string_view>
#include <vector>

namespace outlier {
namespace {

thread_local BpfLog* current_log = nullptr;

int Print(libbpf_print_level level, const char* format, va_list args) {
  if (level == LIBBPF_DEBUG || current_log == nullptr) return 0;
  char line[4096];
  vsnprintf(line, sizeof line, format, args);
  current_log->Append(line);
  return 0;
}

}  // namespace

BpfLog::BpfLog() {
  current_log = this;
  libbpf_set_print(Print);
}

BpfLog::~BpfLog() { current_log = nullptr; }

std::string BpfLog::FailedProgram() const {
  const std::string_view mark = "prog '";
  const size_t at = text_.rfind(mark);
  if (at == std::string::npos) return "";
  const size_t begin = at + mark.size();
  const size_t end = text_.find('\'', begin);
  return end == std::string::npos ? "" : text_.substr(begin, end - begin);
}

std::string BpfLog::Reason() const {
  // The verifier's verdict is the last line before its "processed N insns" statistics.
  std::vector<std::string_view> lines;
  std::string_view rest = text_;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    if (!line.empty()) lines.push_back(line);
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  std::string_view verdict;
  for (size_t i = 1; i < lines.size(); ++i) {
    if (lines[i].starts_with("processed ")) verdict = lines[i - 1];
  }
  if (verdict.empty() && !lines.empty()) verdict = lines.front();
  return std::string(verdict.substr(0, 300));
}

}  // namespace outlier
