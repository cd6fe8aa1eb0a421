#include "userspace/config/config.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "userspace/base/file.h"
#include "userspace/base/text.h"
#include "userspace/config/message_from_yaml.h"
#include "userspace/config/signals.h"
#include "userspace/config/yaml_from_message.h"

namespace outlier {
namespace {

struct Comment {
  std::string_view path;
  std::string_view text;
};

// What DefaultsYaml says above each key; a test asks that every key has one.
constexpr Comment kComments[] = {
    {"tick", "One step: samples are taken, models updated, incidents decided this often."},
    {"budgets", "\nWhat it may cost you; what it does cost is shown by `outlierctl status`."},
    {"budgets.false_alarms_per_week", "Incidents of this host a week that mean nothing."},
    {"budgets.cpu_percent", "Of one core, time in the kernel included."},
    {"budgets.memory", "Resident set and kernel maps together."},
    {"detection", "\nHow it learns."},
    {"detection.warm_up",
     "No incident before a workload (not a process) was seen this long;\ncrash loops and OOM kills are told from the first moment."},
    {"detection.half_life", "What was normal this long ago counts half."},
    {"probes", "\nauto: used where this kernel allows it. on: not starting without it. off: not used."},
    {"probes.tasks", "CPU, memory, faults, switches, I/O of every process, once a tick."},
    {"probes.lifecycle", "Starts, ends, exit codes, OOM kills."},
    {"probes.syscall_latency", "Duration and errors of system calls by class."},
    {"recorder", "\nThe flight recorder: everything observed, compressed, in a ring of files."},
    {"recorder.max_size", "The oldest segments go first beyond this size,"},
    {"recorder.max_age", "or beyond this age."},
    {"feed", "\nThe journal of incidents, which subscribers resume from."},
    {"feed.retain", "Resolved incidents older than this leave the journal."},
    {"privacy", "\nWhat is kept of what may be secret."},
    {"privacy.arguments", "Of command lines the path of an interpreter's script is kept, which names the workload, or with none nothing; full keeps no more than redacted."},
    {"workloads",
     "\nRules for some workloads; the first match wins. Globs; an absent one matches everything. For example\n"
     "  - match: { executable: \"/usr/bin/backup*\", name: \"*\", unit: \"*\", user: \"*\" }\n"
     "    ignore: [process.cpu.utilization, process.disk.io]   # these signals raise nothing for it"},
    {"state", "\nWhat is kept across restarts."},
    {"state.snapshot_interval", "What was learned is saved this often: a crash forgets no more than this."},
};

std::string CommentOfKey(const std::string& path) {
  for (const Comment& comment : kComments) {
    if (comment.path == path) return std::string(comment.text);
  }
  return "";
}

std::string CheckText(std::string_view field, std::string_view text) {
  if (field != "outlier.config.v1.WorkloadRule.ignore") return "";
  if (std::find(kSignalNames.begin(), kSignalNames.end(), text) != kSignalNames.end()) return "";
  std::vector<std::string_view> names;  // in order, each once
  for (const std::string_view name : kSignalNames) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  const std::string_view near = Nearest(text, names);
  return fmt::format("\"{}\" is not a signal{}; known signals: {}", Printable(text, 80),
                     near.empty() ? "" : fmt::format(" (did you mean \"{}\"?)", near), fmt::join(names, ", "));
}

}  // namespace

config::v1::Config DefaultConfig() {
  config::v1::Config config;
  FillDefaults(&config);
  return config;
}

absl::StatusOr<config::v1::Config> ParseConfig(std::string_view yaml, std::string_view name, std::span<const std::string> sets) {
  const absl::StatusOr<YamlNode> root = ParseYaml(yaml, name);
  if (!root.ok()) return root.status();
  config::v1::Config config = DefaultConfig();
  if (absl::Status status = ReadMessage(*root, name, CheckText, &config); !status.ok()) return status;
  for (const std::string& set : sets) {
    if (absl::Status status = ReadAssignment(set, CheckText, &config); !status.ok()) return status;
  }
  return config;
}

absl::StatusOr<config::v1::Config> LoadConfig(const std::string& path, bool named, std::span<const std::string> sets) {
  const absl::StatusOr<std::string> yaml = ReadFile(path, kMaxYamlBytes);
  if (yaml.ok()) return ParseConfig(*yaml, path, sets);
  if (!named && absl::IsNotFound(yaml.status())) return ParseConfig("", path, sets);
  return yaml.status();
}

std::string DefaultsYaml() { return "# outlierd.yaml: every key with its default value.\n" + WriteMessage(DefaultConfig(), CommentOfKey); }

std::string ConfigToYaml(const config::v1::Config& config) { return WriteMessage(config); }

}  // namespace outlier
