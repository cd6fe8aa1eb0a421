// Recurrences: how often would chance alone bring the like of this departure on this host? In events a host-week, independent of
// any budget: an incident opens where that is at most the budget, so the incidents of a smaller budget are among those of a
// larger one.
//
// An excursion is a spell in which a kind of evidence of one workload departs in one direction; its mark is ln of its peak
// strength over the least one counted. Marks are taken as issued and never revised. For a departure with mark y:
//  - first(y): of a workload that never departed so in T weeks. The next of n exchangeable marks exceeds the largest m with
//    probability 1/(n+1), hence at a rate of about 1/T, and falls off exponentially beyond (peaks over a threshold, Pickands
//    1975): exp(-(y - m)/s) / T, with m = 0 here. Any of the host's workloads and kinds could be the one that brings it (union
//    bound): times workloads and kinds.
//  - beyond(y): the same of one that did, m being its strongest mark and s the spread of its marks, shrunk to the prior's.
//  - seen(y): how often its like came, at this workload, or at any workload of the host that had departed so before, over the time
//    that it, or the host, was watched and one of belief: a week for the first repetition, a day for the second, and ever less of a day for more.
//  - new(y), of a workload that is not known for a day: how often workloads as new had departed so in two kinds of signal, for the
//    first time, others now among them; what all new ones do is common. What is stronger than all of theirs falls off from the
//    number of theirs by the mean of their marks, exp(-y/s): in a host of bursts of every size the next record is near.
// R = f max(first, new) where it never departed so, or is not known for a day (what little it showed says less of it than what all
// new ones do), else f max(first, min(beyond, seen)): a repetition is as common as it was seen to be, but what is stronger than ever may be rarer,
// and what is weak is common whoever does it.
// What the slow clocks say of a kind that departs suddenly, too, is the same excursion, which lasts, or did within the hour: it is as common as those which last so
// long, the workload's number of them times exp(-t/l), t being how long this one has lasted and l how long they did on average.
// f in [1, 10] is the slow controller: in ten-minute windows, the rarest R as issued should be between 20 and 200 in
// 180 windows a week; where it is in more, the law is too bold and R grows by that ratio. Rarer windows, which may be true
// incidents, are not counted, so that real trouble does not make it deaf.
//
// Pure; deterministic; not thread-safe. Slots without departures cost nothing.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "userspace/incidents/evidence.h"

namespace outlier {

class Recurrences {
 public:
  // How well the law fits this host.
  struct Account {
    double weeks = 0;         // watched, fading
    double excess = 1;        // everyday windows seen over those the law expects, shrunk to 1
    double correction = 1;    // f
    bool from_prior = true;   // fewer everyday windows were expected yet than the prior weighs
  };

  void Resize(size_t slots) {
    const bool fewer = slots < slots_.size();
    slots_.resize(slots);
    if (fewer) FindFirstsUnderWay();
  }
  void Forget(size_t slot, uint64_t now_ns);
  void Adopt(size_t from, size_t to, uint64_t now_ns);  // a replica: its marks are expected, its age is its own
  // Watched for a day: until then a workload has not shown what it does once a day.
  bool Known(size_t slot, uint64_t now_ns) const { return slots_[slot].Known(now_ns); }
  // Departures of one slot at one tick, `now_ns` of any clock that only ascends. `agree`: two kinds of signal depart together.
  void Observe(size_t slot, const GroupStrengths& now, bool agree, uint64_t now_ns);
  // The same of a slot that does not depart at all.
  void Rest(size_t slot, uint64_t now_ns);
  // Of the rarest of these departures; `counts(index)` false leaves one out. Infinite where nothing departs. After Observe.
  double PerWeek(size_t slot, const GroupStrengths& now, const std::array<bool, 2 * kEvidenceGroups>& counts, uint64_t now_ns) const;
  // What a person's word has multiplied that by: the most of what departs now. At least 1.
  double FeedbackFactor(size_t slot) const;
  // Ends a tick that took `seconds`: the rarest departure of the host as issued, and how many workloads may depart.
  void EndTick(double rarest_per_week, size_t workloads, double seconds);
  // A person's word on these kinds of evidence: kFalseAlarm times more common from now on, at most kMostOffset in all; or no more so.
  void MakeRarer(size_t slot, std::span<const EvidenceKind> kinds);
  void TakeBack(size_t slot, std::span<const EvidenceKind> kinds);
  Account account() const;
  // A week: how often what was seen so many times in so many weeks may be expected.
  static double Common(double times, double weeks);

  template <class Archive>
  void Serialize(Archive& a) {
    a(slots_, repeats_, firsts_, workloads_, seconds_, window_seconds_, window_rarest_, everyday_);
    if constexpr (Archive::kReading) {
      first_marks_ = first_number_ = 0;
      if (a.ok()) FindFirstsUnderWay();
      if (a.layout() < 5) return;
    }
    a(first_marks_, first_number_);
  }

 private:
  static constexpr uint64_t kKnownNs = 86400ull * 1'000'000'000;
  static constexpr double kPriorLasts = 30.0;  // seconds: of an excursion; worth one
  struct Excursions {
    uint8_t index = 0;        // of GroupStrengths, twice, plus 1 where up
    double number = 0;        // ended, fading
    double peers = 0;         // of them: about as strong as the strongest
    double strongest = 0;     // mark, fading
    double mean = 0, square = 0;  // of the marks
    double lasted = 0, newest_lasted = 0;  // seconds: on average, and the last one
    double offset = 1;        // by feedback; >= 1
    uint64_t ended_ns = 0;    // the last one; 0 = none yet
    uint64_t since_ns = 0;    // of the one under way; 0 = none
    uint64_t last_ns = 0;
    double peak = 0;          // mark of the one under way
    bool young = false;       // when the one under way began, its workload was not known
    bool agreed = false;      // in the one under way two kinds of signal have departed together
    template <class Archive>
    void Serialize(Archive& a) {
      a(index, number, peers, strongest, mean, square, offset, ended_ns, since_ns, last_ns, peak, agreed);
      if constexpr (Archive::kReading) {
        if (index >= 4 * kEvidenceGroups || !(peak >= 0.0 && peak < 100.0)) a.Fail();
        if (a.layout() < 5) {
          lasted = newest_lasted = kPriorLasts;
          young = true;
          return;
        }
      }
      a(lasted, newest_lasted, young);
    }
  };
  struct OfSlot {
    uint64_t born_ns = 0;
    uint64_t past_ns = 0;           // since when its kind was watched: born_ns, or its sibling's
    std::vector<Excursions> kinds;  // those that ever departed
    bool Known(uint64_t now_ns) const { return born_ns + kKnownNs <= now_ns; }
    double Weeks(uint64_t now_ns) const;  // watched
    template <class Archive>
    void Serialize(Archive& a) { a(born_ns, past_ns, kinds); }
  };
  static constexpr int kRepeatBins = 16;
  const Excursions* Find(const OfSlot& slot, uint8_t index) const;
  Excursions* FindOrMake(OfSlot* slot, uint8_t index);
  double Repeats(double mark) const;
  double Excess() const;
  double Correction() const;
  double New(const Excursions* own, uint8_t index, double mark) const;
  double Lasting(const OfSlot& slot, uint8_t index, uint64_t now_ns) const;
  double Law(const OfSlot& slot, uint8_t index, double mark, uint64_t now_ns) const;
  double Firsts(const Excursions* own, uint8_t index, double mark) const;
  // Whether this excursion is a first: under way, in two kinds of signal, of a workload that is not known and never departed so.
  static bool IsFirst(const Excursions& kind) { return kind.since_ns != 0 && kind.young && kind.agreed && kind.number == 0.0; }
  void CountFirst(const Excursions& kind, double by);
  void FindFirstsUnderWay();
  void End(Excursions* kind);

  std::vector<OfSlot> slots_;
  std::array<double, kRepeatBins> repeats_{};  // on the host, by mark, fading
  std::array<std::array<double, kRepeatBins>, 4 * kEvidenceGroups> firsts_{};  // of workloads not known yet, by index, too
  std::array<std::array<double, kRepeatBins>, 4 * kEvidenceGroups> firsts_under_way_{};  // the same, of those that have not ended; derived
  double first_marks_ = 0, first_number_ = 0;  // sum and number of all of them, fading
  double workloads_ = 1;
  double seconds_ = 0;
  double window_seconds_ = 0, window_rarest_ = 0;  // 0 = nothing departed in this window
  double everyday_ = 0;                            // windows, fading with the weeks they are compared with
};

}  // namespace outlier
