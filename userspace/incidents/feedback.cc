#include "userspace/incidents/feedback.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

namespace outlier {
namespace {

std::string NameOf(const v1::Workload& workload) { return fmt::format("{} {}", v1::Workload::Kind_Name(workload.kind()), workload.name()); }

bool Is(const Feedback::Word& word, const std::string& name, const EvidenceKind& kind) {
  return word.kind.group == kind.group && word.kind.up == kind.up && word.workload == name;
}

}  // namespace

void Feedback::Say(const v1::Workload& workload, const EvidenceKind& kind, double factor) {
  const std::string name = NameOf(workload);
  std::erase_if(words_, [&](const Word& word) { return Is(word, name, kind); });
  if (factor <= 1.0) return;
  if (words_.size() >= kMost) words_.erase(words_.begin());
  words_.push_back({name, kind, factor});
}

double Feedback::Of(const v1::Workload& workload, const EvidenceKind& kind) const {
  const std::string name = NameOf(workload);
  const auto word = std::find_if(words_.begin(), words_.end(), [&](const Word& w) { return Is(w, name, kind); });
  return word == words_.end() ? 1.0 : word->factor;
}

std::vector<Feedback::Word> Feedback::Of(const v1::Workload& workload) const {
  std::vector<Word> of;
  if (words_.empty()) return of;  // as nearly always
  const std::string name = NameOf(workload);
  std::copy_if(words_.begin(), words_.end(), std::back_inserter(of), [&](const Word& w) { return w.workload == name; });
  return of;
}

}  // namespace outlier
