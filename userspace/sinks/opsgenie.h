// The alert API of Opsgenie, which Jira Service Management has taken over for its integrations: one class, two dialects.
#pragma once
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "userspace/sinks/sink.h"

namespace outlier::sinks {

struct AlertDialect {
  std::string kind;                 // its key in relay.yaml, for errors
  std::string api_key_file;
  std::string url;                  // what comes before /v2/alerts
  std::vector<std::string> responders;
  bool updates = false;             // whether message, description and priority of an open alert can be changed; else a note says it
};

// INVALID_ARGUMENT for a key, an address or a responder that cannot be.
absl::StatusOr<AnySink> MakeAlerts(const SinkContext& context, AlertDialect dialect);

}  // namespace outlier::sinks
