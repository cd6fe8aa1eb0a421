// What libbpf and the verifier said, kept so that an error can tell which program failed and why.
#pragma once
#include <string>

namespace outlier {

// Between construction and destruction libbpf's messages of this thread go into text() instead of stderr.
class BpfLog {
 public:
  BpfLog();
  ~BpfLog();
  BpfLog(const BpfLog&) = delete;
  BpfLog& operator=(const BpfLog&) = delete;

  const std::string& text() const { return text_; }
  void Clear() { text_.clear(); }
  // The program that could not be loaded, "" if the log names none.
  std::string FailedProgram() const;
  // The last lines that matter, on one line.
  std::string Reason() const;

  void Append(const char* line) { text_ += line; }

 private:
  std::string text_;
};

}  // namespace outlier
