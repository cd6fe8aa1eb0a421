// outlierctl watch: follows the feed, change by change.
#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/feed_follower.h"
#include "userspace/outlierctl/filter_options.h"
#include "userspace/outlierctl/incident_view.h"
#include "userspace/outlierctl/text_output.h"

namespace outlier::ctl {
namespace {

struct WatchOptions {
  FilterOptions filter;
  uint64_t start_after = 0;
};

}  // namespace

void AddWatch(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("watch", "Incident changes: those the journal holds, then live; Ctrl-C ends it");
  auto options = std::make_shared<WatchOptions>();
  options->filter.AddTo(*command, /*with_state=*/true);
  command->add_option("--start-after", options->start_after, "only changes after this sequence; 0 = from the oldest kept")
      ->check(CLI::NonNegativeNumber);
  command->callback([&context, options] {
    context.action = [&context, options]() -> absl::Status {
      auto feed = FeedConnection::Open(context.address);
      if (!feed.ok()) return feed.status();
      FollowOptions follow;
      follow.start_after = options->start_after;
      follow.filter = options->filter.filter();
      follow.on_change = [&context](const v1::IncidentChange& change) {
        if (context.json) return PrintJson(context, change);
        const std::string line = ChangeLine(context, change);
        context.out << fmt::format("{}  {}  {}\n", change.sequence(), ClockTime(context, ToTime(change.time())),
                                   Styled(context, SeverityStyle(change.incident().severity()), line));
        context.out.flush();
        return context.out.good();
      };
      follow.on_message = [&context](const std::string& message) {
        context.err << "outlierctl: " << Printable(message) << "\n";
        context.err.flush();
      };
      return FollowFeed(context, *feed, follow);
    };
  });
}

}  // namespace outlier::ctl
