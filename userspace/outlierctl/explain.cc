// outlierctl explain: why each contribution counts, in sentences with numbers.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <google/protobuf/struct.pb.h>

#include "userspace/base/text.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/incident_view.h"
#include "userspace/outlierctl/text_output.h"
#include "userspace/stream/incident_text.h"

namespace outlier::ctl {
namespace {

std::string Capitalised(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

// "about 1 in 1,200": the reciprocal of a tail probability to two digits.
std::string OneIn(double probability) {
  if (!(probability > 0) || probability >= 1) return "nearly always";
  const double n = 1 / probability;
  if (n >= 1e6) return fmt::format("about 1 in 10^{:.0f}", std::floor(std::log10(n)));
  const double unit = std::pow(10, std::max(0.0, std::floor(std::log10(n)) - 1));
  return fmt::format("about 1 in {:.0f}", std::round(n / unit) * unit);
}

// How far beyond its range: "4.3 times the most that was expected".
std::string HowFar(const v1::Contribution& c) {
  if (c.direction() == v1::Contribution::DOWN) {
    if (c.observed() == 0 && c.lower() > 0) return "nothing at all where there always was something";
    if (c.observed() > 0 && c.lower() > c.observed()) return fmt::format("{:.2g} times below the least that was expected", c.lower() / c.observed());
    return "below what was expected";
  }
  if (c.upper() > 0 && c.observed() > c.upper()) return fmt::format("{:.2g} times the most that was expected", c.observed() / c.upper());
  if (c.direction() == v1::Contribution::SHAPE) return "spread over its values in another way than before";
  return "above what was expected";
}

std::string Why(const v1::Contribution& c, const v1::Incident& i) {
  const bool killed = c.signal() == "workload.exits" && c.attributes().count("reason") > 0 && c.attributes().at("reason") == "oom";
  const bool restarts = i.has_restart() && (c.signal() == "workload.restarts" || killed);
  return fmt::format("{} was {}: {}. Were nothing wrong, a value this extreme would come by chance in {} {} (tail probability {:.2g}).",
                     Capitalised(SignalWords(c)), ObservedAndExpected(c), HowFar(c), OneIn(c.tail_probability()), restarts ? "hours" : "ticks",
                     c.tail_probability());
}

std::string Persistence(const Context& context, const v1::Incident& i) {
  const absl::Time onset = ToTime(i.onset_time());
  const absl::Time end = i.has_resolved_time() ? ToTime(i.resolved_time()) : context.now();
  std::string text = fmt::format("It began at {} and ", ClockTime(context, onset));
  const std::string lasted = HumanDuration(std::max(0.0, absl::ToDoubleSeconds(end - onset)));
  text += i.has_resolved_time() ? fmt::format("lasted {}, until {}", lasted, ClockTime(context, end)) : fmt::format("has lasted {}", lasted);
  if (i.has_opened_time()) {
    text += fmt::format("; the incident was opened {} after its onset",
                        HumanDuration(std::max(0.0, absl::ToDoubleSeconds(ToTime(i.opened_time()) - onset))));
  }
  return text + ".";
}

std::string SuspectText(const v1::Suspect& s) {
  std::string who = Printable(s.workload().name());
  if (s.process().pid() > 0) who += fmt::format(" (process {}, {})", s.process().pid(), Printable(s.process().executable()));
  std::string text = fmt::format("Suspect: {}, with {:.0f} % of the evidence.", who, s.share() * 100);
  for (const std::string& sentence : s.evidence()) text += " " + Capitalised(Printable(sentence)) + (sentence.ends_with('.') ? "" : ".");
  return text;
}

std::string NotSeen(const v1::Coverage& c) {
  std::string text;
  if (c.sampled_share() < 0.9995) text += fmt::format(" The probes observed {:.1f} % of its time.", c.sampled_share() * 100);
  if (c.events_lost() > 0) text += fmt::format(" {} events were lost meanwhile.", c.events_lost());
  for (const std::string& probe : c.probes_missing()) text += fmt::format(" The probe {} was missing; see `outlierctl probe doctor`.", Printable(probe));
  return text.empty() ? "Nothing is known to have been missed: all of its time was observed and no events were lost." : "Not seen:" + text;
}

// "0.03 times a week", "once in 12 weeks".
std::string HowOften(double per_week) {
  if (per_week >= 1) return fmt::format("{:.3g} times a week", per_week);
  const double weeks = 1 / std::max(per_week, 1e-300);
  return weeks > 5200 ? "less than once in a hundred years" : fmt::format("once in {:.2g} weeks", weeks);
}

bool IsFact(const v1::Incident& i) {
  return i.recurrences_per_week() <= 0 && (i.has_restart() || (i.contributions_size() > 0 && i.contributions(0).signal().starts_with("host.")));
}

// Why it was told: the false-alarm budget and what feedback has to do with it.
std::string Recurrence(const v1::Incident& i) {
  if (IsFact(i)) return "A fact, not an estimate, opened it: such are told whatever the false-alarm budget is.";
  if (i.recurrences_per_week() <= 0) {
    const bool waits = i.contributions_size() > 0 && i.contributions(0).signal() == "process.cpu.run_delay" && i.related_incident_ids_size() > 0;
    return waits ? "It waits for what another workload took, which a fact opened an incident of: such are told whatever the false-alarm budget is."
                 : "How rare its like is was not recorded.";
  }
  std::string text = fmt::format("Were nothing wrong, this host would still show the like of it {}; you allow {:.3g} false alarms a week, so it was told.",
                                 HowOften(i.recurrences_per_week()), i.promised_per_week());
  if (i.feedback_factor() > 1) {
    text += fmt::format(" Its like had been called a false alarm before: it had to be {:.0f} times rarer than otherwise.", i.feedback_factor());
  }
  return text;
}

std::string Judgement(const v1::Incident& i) {
  std::string text = i.acknowledged() ? "Somebody has acknowledged it." : "Nobody has acknowledged it yet.";
  if (i.feedback() == "false_alarm") {
    text += IsFact(i) ? " It was called a false alarm, but it is a fact, and its like is told all the same; `ignore` in the configuration leaves a signal out."
                      : " It was called a false alarm: its like at this workload has to be rarer from then on.";
  }
  if (i.feedback() == "useful") text += " It was called useful: its like is told again, as often as the budget allows.";
  return text;
}

google::protobuf::Struct AsStruct(const v1::Incident& incident, const std::vector<std::string>& sentences) {
  google::protobuf::Struct object;
  (*object.mutable_fields())["id"].set_string_value(incident.id());
  auto* list = (*object.mutable_fields())["explanation"].mutable_list_value();
  for (const std::string& sentence : sentences) list->add_values()->set_string_value(sentence);
  return object;
}

}  // namespace

std::vector<std::string> ExplainIncident(const Context& context, const v1::Incident& i) {
  std::vector<std::string> text;
  text.push_back(fmt::format("{}. This is a {} incident (score {:.0f} of 100), {}.", SummarySentence(i), Word(i.severity()), i.score(), Word(i.state())));
  text.push_back(Persistence(context, i));
  text.push_back(Recurrence(i));
  for (const v1::Contribution& c : i.contributions()) text.push_back(Why(c, i));
  if (i.has_restart() && i.restart().cause() != v1::Restart::CAUSE_UNSPECIFIED) {
    text.push_back(fmt::format("Restarts are told without a baseline: cause {}, last exit code {}, last signal {}, {} within the last hour.",
                               Word(i.restart().cause()), i.restart().exit_code(), i.restart().signal(), i.restart().count()));
  }
  if (i.has_time_to_exhaustion()) {
    text.push_back(fmt::format("If it goes on like this, memory is full in about {}.", HumanDuration(static_cast<double>(i.time_to_exhaustion().seconds()))));
  }
  for (const v1::Suspect& s : i.suspects()) text.push_back(SuspectText(s));
  if (i.suspects().empty()) text.push_back("No other process stands out as its cause.");
  if (!i.related_incident_ids().empty()) {
    std::string ids;
    for (const std::string& id : i.related_incident_ids()) ids += (ids.empty() ? "" : ", ") + Printable(id);
    text.push_back(fmt::format("It began together with: {}.", ids));
  }
  text.push_back(NotSeen(i.coverage()));
  text.push_back(Judgement(i));
  return text;
}

void AddExplain(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("explain", "Why each contribution of an incident counts, in sentences with numbers");
  auto id = std::make_shared<std::string>();
  AddIncidentId(*command, id.get());
  command->callback([&context, id] {
    context.action = [&context, id]() -> absl::Status {
      auto feed = FeedConnection::Open(context.address);
      if (!feed.ok()) return feed.status();
      auto incident = FetchIncident(*feed, *id);
      if (!incident.ok()) return incident.status();
      const std::vector<std::string> sentences = ExplainIncident(context, *incident);
      if (context.json) {
        PrintJson(context, AsStruct(*incident, sentences));
        return absl::OkStatus();
      }
      for (size_t k = 0; k < sentences.size(); ++k) {
        context.out << (k == 0 ? Styled(context, Style::kBold, sentences[k]) : "  " + sentences[k]) << "\n";
      }
      return absl::OkStatus();
    };
  });
}

}  // namespace outlier::ctl
