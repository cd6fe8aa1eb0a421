// A configuration with which any sink of sinks.def can be made, its keys in files of their own.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/sinks/sink.h"

namespace outlier::examples {

// Files that hold secrets, in a folder that goes with it.
class Keys {
 public:
  Keys();
  ~Keys();
  Keys(const Keys&) = delete;
  Keys& operator=(const Keys&) = delete;

  // Writes a file and returns its path; an existing one is replaced, as a key is rotated, with a time of change of its own.
  std::string Write(const std::string& name, std::string_view content);
  void Remove(const std::string& name);
  // What was written last to each, in order of names.
  std::vector<std::string> contents() const;
  std::vector<std::string> names() const;

 private:
  std::filesystem::path folder_;
  std::vector<std::pair<std::string, std::string>> files_;
  int rotations_ = 0;
};

// The sink with this key in relay.yaml: defaults, every address given that has none, every `..._file` a file of `keys` with a key unlike any
// other. A sink that needs more has a few lines in example_config.cc.
SinkContext ContextOf(std::string_view kind, Keys* keys);

// `kind` of ContextOf for every line of sinks.def.
std::vector<std::string> EverySink();

}  // namespace outlier::examples
