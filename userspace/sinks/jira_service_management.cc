// Jira Service Management: its integration events are Opsgenie's alerts under another address, with a key of the same form, but for one thing:
// an integration may create, acknowledge, close and add notes, and not change an alert. So an update, also one that raises the severity, is
// a note; the priority stays that of the opening.
//
// Known from the vendor's reference and from other senders: paths, GenieKey, identifierType=alias. Unverified: that limits and answers are
// Opsgenie's; that responders may be named (its reference shows ids, which are taken here as well).
#include "userspace/sinks/opsgenie.h"

namespace outlier {
namespace sinks {

absl::StatusOr<AnySink> MakeJiraServiceManagement(const SinkContext& context) {
  const config::v1::JiraServiceManagement& config = context.config.jira_service_management();
  return MakeAlerts(context, {"jira_service_management", config.api_key_file(), config.url(),
                              {config.responders().begin(), config.responders().end()}, false});
}

}  // namespace sinks
}  // namespace outlier
