// outlierctl follow: for a person at a terminal: what is watched and what is not seen, progress while learning, then
// incidents in sentences as they open, change and resolve. `./run` shows this.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/feed_follower.h"
#include "userspace/outlierctl/filter_options.h"
#include "userspace/outlierctl/incident_view.h"
#include "userspace/outlierctl/probe_report.h"
#include "userspace/outlierctl/text_output.h"

namespace outlier::ctl {
namespace {

constexpr std::chrono::milliseconds kPoll{500};
constexpr std::chrono::seconds kProgress{2};
constexpr int kTerseProgressEvery = 8;  // lines of progress where there is no terminal to redraw: each 16 s

absl::StatusOr<v1::Status> AskStatus(FeedConnection& feed) {
  return feed.Call(&v1::OutlierFeed::Stub::GetStatus, v1::GetStatusRequest(), "follow the daemon");
}

// The daemon may still be starting: asks until it answers or `patience` is over.
absl::StatusOr<v1::Status> WaitForDaemon(Context& context, FeedConnection& feed, absl::Duration patience) {
  const auto deadline = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(patience);
  for (;;) {
    auto status = AskStatus(feed);
    if (status.ok() || !absl::IsUnavailable(status.status())) return status;
    if (std::chrono::steady_clock::now() >= deadline || context.interrupt.WaitFor(kPoll)) return status;
  }
}

// Learning is called done when a fifth of the workloads or fewer is new, or when for this long no more were learned:
// what is idle, or came late, has a baseline later.
constexpr int kPollsWithoutNews = 15;

class Learning {
 public:
  bool Done(const v1::Status& status) {
    const uint32_t learned = status.workloads() - std::min(status.workloads(), status.warming_up());
    polls_without_news_ = learned > learned_ ? 0 : polls_without_news_ + 1;
    learned_ = std::max(learned_, learned);
    return status.workloads() > 0 && (status.warming_up() * 5 <= status.workloads() || (learned > 0 && polls_without_news_ >= kPollsWithoutNews));
  }

 private:
  uint32_t learned_ = 0;
  int polls_without_news_ = 0;
};

// Lines that stay and, on a terminal, one line of progress under them that is redrawn.
class Screen {
 public:
  explicit Screen(Context& context) : context_(context) {}
  bool Say(const std::string& line) {
    std::lock_guard lock(mutex_);
    if (progress_shown_) context_.out << "\r\x1b[K";
    progress_shown_ = false;
    context_.out << line << "\n";
    context_.out.flush();
    return context_.out.good();
  }
  void Progress(const std::string& line) {
    if (!context_.terminal) {
      if (terse_++ % kTerseProgressEvery == 0) Say(line);
      return;
    }
    std::lock_guard lock(mutex_);
    context_.out << "\r\x1b[K" << Styled(context_, Style::kDim, line);
    context_.out.flush();
    progress_shown_ = true;
  }

 private:
  std::mutex mutex_;
  Context& context_;
  bool progress_shown_ = false;
  int terse_ = 0;
};

void PrintBanner(Context& context, const v1::Status& s) {
  context.out << Styled(context, Style::kBold, fmt::format("outlierd {} watches {}", Printable(s.version()), Printable(s.source().host_name())))
              << fmt::format(": {} processes in {} workloads, {}\n", s.processes(), s.workloads(),
                             s.mode() == "ebpf" ? "through eBPF" : "through /proc only");
  PrintProbes(context, s);
  for (const std::string& message : s.messages()) context.out << "  note: " << Printable(message) << "\n";
  context.out << fmt::format("budgets: {:.3g} false alarms a week, {:.3g} % of a core, {}\n", s.budgets().false_alarms_per_week_promised(),
                             s.budgets().cpu_percent_promised(), HumanValue(static_cast<double>(s.budgets().memory_promised_bytes()), "By"));
  context.out.flush();
}

// Asks for the status until most workloads have a baseline.
void TellLearning(Context& context, FeedConnection& feed, Screen& screen, const std::atomic<bool>& done) {
  Learning learning;
  while (!done && !context.interrupt.WaitFor(kProgress)) {
    const auto status = AskStatus(feed);
    if (!status.ok()) continue;  // the other thread says that the daemon is away
    if (learning.Done(*status)) {
      screen.Say(fmt::format("{}  {} of {} workloads have a baseline; what departs from it is told from now on",
                             ClockTime(context, context.now()), status->workloads() - status->warming_up(), status->workloads()));
      return;
    }
    screen.Progress(fmt::format("learning what is normal here: {} of {} workloads have a baseline, tick {}",
                                status->workloads() - status->warming_up(), status->workloads(), status->ticks()));
  }
}

std::string Bullet(const Context& context, const v1::IncidentChange& change) {
  const Style style = change.kind() == v1::IncidentChange::RESOLVED ? Style::kGreen : SeverityStyle(change.incident().severity());
  return fmt::format("{}  {}  [{}]", ClockTime(context, ToTime(change.time())), Styled(context, style, ChangeLine(context, change)),
                     Printable(change.incident().id()));
}

absl::Status Follow(Context& context, absl::Duration patience) {
  auto feed = FeedConnection::Open(context.address);
  if (!feed.ok()) return feed.status();
  auto status = WaitForDaemon(context, *feed, patience);
  if (context.interrupt.raised()) return absl::OkStatus();
  if (!status.ok()) return status.status();
  Screen screen(context);
  FollowOptions options;
  options.start_after = status->last_sequence();
  options.on_message = [&screen](const std::string& message) { screen.Say(Printable(message)); };
  if (context.json) {
    options.on_change = [&context](const v1::IncidentChange& change) { return PrintJson(context, change); };
    return FollowFeed(context, *feed, options);
  }
  PrintBanner(context, *status);
  v1::Filter open;
  open.set_state(v1::Incident::OPEN);
  const auto incidents = FetchIncidents(*feed, open, 0);
  if (!incidents.ok()) return incidents.status();
  for (const v1::Incident& i : *incidents) {
    screen.Say(fmt::format("open since {}: {}  [{}]", ClockTime(context, ToTime(i.onset_time())), Printable(i.summary()), Printable(i.id())));
  }
  options.on_change = [&](const v1::IncidentChange& change) { return screen.Say(Bullet(context, change)); };
  std::atomic<bool> done = false;
  std::thread learning([&] { TellLearning(context, *feed, screen, done); });
  const absl::Status result = FollowFeed(context, *feed, options);
  done = true;
  learning.join();
  return result;
}

}  // namespace

void AddFollow(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("follow", "For a person: what is watched, progress while learning, then incidents in sentences");
  auto patience = std::make_shared<std::string>("10s");
  command->add_option("--wait", *patience, "how long to wait for a daemon that is starting")->capture_default_str();
  command->callback([&context, patience] {
    context.action = [&context, patience]() -> absl::Status {
      auto wait = DurationOption("--wait", *patience);
      if (!wait.ok()) return wait.status();
      return Follow(context, absl::Nanoseconds(*wait));
    };
  });
}

}  // namespace outlier::ctl
