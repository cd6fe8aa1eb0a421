// Feedback: what people said of the incidents of a workload, by its name and kind: it outlives the workload's place among those that are watched, which a
// newcomer takes once it has had no process for a day. The last kMost words are kept. Pure; not thread-safe.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "outlier/v1/feed.pb.h"
#include "userspace/incidents/evidence.h"

namespace outlier {

class Feedback {
 public:
  static constexpr size_t kMost = 4096;
  struct Word {
    std::string workload;
    EvidenceKind kind;
    double factor = 1;  // > 1: so many times rarer it has to be
    template <class Archive>
    void Serialize(Archive& a) {
      a(workload, kind.group, kind.up, factor);
      if constexpr (Archive::kReading) {
        if (kind.group < 0 || kind.group >= kEvidenceEntries || !(factor >= 1.0)) a.Fail();
      }
    }
  };

  // `factor` of a kind after a word on it; 1 takes it back.
  void Say(const v1::Workload& workload, const EvidenceKind& kind, double factor);
  double Of(const v1::Workload& workload, const EvidenceKind& kind) const;  // 1 where nobody said anything
  std::vector<Word> Of(const v1::Workload& workload) const;

  template <class Archive>
  void Serialize(Archive& a) { a(words_); }

 private:
  std::vector<Word> words_;  // oldest first
};

}  // namespace outlier
