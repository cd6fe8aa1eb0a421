// Recurrences: how often would chance alone bring the like of this departure on this host? In events a host-week, independent of
// any budget: an incident opens where that is at most the budget, so the incidents of a smaller budget are among those of a
// larger one.
//
// An excursion is a spell in which a kind of evidence of one workload departs in one direction; its mark is ln of its peak
// strength over the least one counted. Marks are taken as issued and never revised. For a departure with mark y:
//  - first(y): of a workload that never departed so in T weeks. The next of n exchangeable marks exceeds the largest m with
//    probability 1/(n+1), hence at a rate of about 1/T, and falls off exponentially beyond (peaks over a threshold, Pickands
//    1975): exp(-(y - m)/s) / T, with m = 0 here. Any of the host's workloads and kinds could be the one that brings it (union
//    bound): times workloads and kinds. Of a known workload s is at least the mean mark of what known workloads of this host did for the first
//    time in that direction, suddenly, or in that layer of evidence, shrunk to the prior: levels that wander do so further here than there, and
//    those that fall to nothing further than those that rise. Falls of workloads that are not known, but an hour old, count as well, and they are judged by
//    them, too: the lower end of a level is that of its kind, whatever it will do next. What was rare as issued (R <= 1), and may be true trouble, is left out. And it
//    is at least as common as those firsts were, with as strong a mark; what is stronger than all but a few of them falls off from these few
//    by their mean excess. Of what was rare no more is believed here than that.
//  - beyond(y): the same of one that did, m being its strongest mark and s the spread of its marks, shrunk to the prior's.
//  - seen(y): how often its like came, at this workload, or at any workload of the host that had departed so before, over the time
//    that it, or the host, was watched and one of belief: a week for the first repetition, a day for the second, and ever less of a day for more.
//    What is stronger than all but a few of the host's falls off from those few by their mean excess.
//  - new(y), of a workload that is not known for a day: how often workloads as new had departed for the first time in two kinds of signal, and in the
//    same sort of thing (does another amount of work, waits for a CPU that others took, ...), others now among them; what all new ones do is common.
//    What they do in the later half of their warm-up, in which nothing is told, counts a quarter.
//    What is stronger than all of theirs falls off from the number of theirs by the mean of their marks, exp(-y/s), those under way included: the
//    first few say in what sizes they come on this host. Sorts are fewer than kinds: a host whose workloads begin to work now and then shows it in
//    CPU here and in I/O there. And they are more than one: that one burns a core says nothing of who grows or fails.
// R = max(f first, new) where it never departed so, else max(f first, min(f beyond, seen)), and new too where it is not known for a day:
// a repetition is as common as it was seen to be, but what is stronger than ever may be rarer, and what is weak is common whoever does it.
// Of a workload that is not known, seen is what it did itself: repetitions of known ones say nothing of it.
// What the slow clocks, or records, say of a kind that departs suddenly, too, is the same excursion, which lasts, or did within the hour: it is as common as those which last so
// long, the workload's number of them times exp(-t/l), t being how long this one has lasted and l how long they did on average, times
// the workloads that have such excursions, for any of them could be the one that lasts (union bound).
//
// What begins with a departure that was rare as issued (R <= 1), at another workload and within 15 s, is its consequence: one burns a core,
// others wait for it. It counts while it goes on and is forgotten once it has ended, so that a trouble does not make the host deaf for the next.
//
// f in [1, 10] is the slow controller, of what the law extrapolates; what was counted needs no correction. A departure of a workload, of whatever
// kinds, has the least R that was issued for it, without f. There should be r a week of those with R <= r; f is the largest of
// (n + 10) / (r t / 2 + 10) over r = 1 and 10, n being how many there were in t weeks: the mean of a Gamma posterior whose prior says that the law is
// right, over half of what it says, since a promise is a bound and not an average; and of the same of those with 1 < R <= 100, of which 3 weigh as much,
// for hardly any true trouble is among them: in its first days they tell what kind of host it is. One to three true incidents in a day are 1.1 to 1.3, ten are 2; as f
// moves thresholds by s ln f only, what is strong is told all the same.
//
// Pure; deterministic; not thread-safe. Slots without departures cost nothing.
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "userspace/incidents/evidence.h"

namespace outlier {

class Recurrences {
 public:
  using Tellable = std::array<bool, kEvidenceEntries>;  // of GroupStrengths: what may open an incident
  // How well the law fits this host.
  struct Account {
    double weeks = 0;         // watched, fading
    double excess = 1;        // departures seen over those the law expects, shrunk to 1
    double correction = 1;    // f
    bool from_prior = true;   // fewer departures were expected yet than the prior weighs
  };

  void Resize(size_t slots) {
    const bool fewer = slots < slots_.size();
    slots_.resize(slots);
    if (fewer) FindCounts();
  }
  void Forget(size_t slot, uint64_t now_ns);
  void Adopt(size_t from, size_t to, uint64_t now_ns);  // a replica: its marks are expected, its age is its own
  // Watched for a day: until then a workload has not shown what it does once a day.
  bool Known(size_t slot, uint64_t now_ns) const { return slots_[slot].Known(now_ns); }
  // Departures of one slot at one tick, `now_ns` of any clock that only ascends. `agree`: two kinds of signal depart together.
  void Observe(size_t slot, const GroupStrengths& now, bool agree, uint64_t now_ns);
  // The same of a slot in its warm-up, of which nothing is told yet. Of a replica, whose kind is known, nothing is learned.
  void Listen(size_t slot, const GroupStrengths& now, bool agree, uint64_t now_ns);
  // How long that is.
  void SetWarmUp(uint64_t ns) {
    warm_up_ns_ = ns;
    FindCounts();
  }
  // The same of a slot that does not depart at all.
  void Rest(size_t slot, uint64_t now_ns) { Settle(slot, false, now_ns); }
  // Of the rarest of these departures; `counts(index)` false leaves one out. Infinite where nothing departs. After Observe.
  double PerWeek(size_t slot, const GroupStrengths& now, const Tellable& counts, uint64_t now_ns) const;
  struct Issued {
    double per_week = std::numeric_limits<double>::infinity();
    double feedback = 1;      // what a person's word has multiplied that by; at least 1
  };
  // The same, and remembers that it was issued: once a tick in which something of it departs.
  Issued Issue(size_t slot, const GroupStrengths& now, const Tellable& counts, uint64_t now_ns);
  // Ends a tick that took `seconds`, in which so many workloads may have departed.
  void EndTick(size_t workloads, double seconds);
  // What people's words on this kind of evidence have come to: so many times more common it counts as from now on; 1 = as if nobody had said anything.
  void SetFeedback(size_t slot, const EvidenceKind& kind, double factor);
  double Feedback(size_t slot, const EvidenceKind& kind) const;
  static double Rarer(double factor);  // by one word more: kFalseAlarm times, at most kMostOffset
  Account account() const;
  // A week: how often what was seen so many times in so many weeks may be expected.
  static double Common(double times, double weeks);

  template <class Archive>
  void Serialize(Archive& a) {
    a(slots_, repeats_);
    if constexpr (Archive::kReading) {
      if (a.layout() < 6) {
        ReadBefore6(a);
      } else {
        a(firsts_, workloads_, seconds_, causes_, departures_);
        if (a.layout() == 7) {  // of all that was sudden
          a(seen_[0]);
          seen_[1] = seen_[0];
        }
        if (a.layout() >= 8) a(seen_, known_firsts_);
      }
      if (a.ok()) FindCounts();
      return;
    }
    a(firsts_, workloads_, seconds_, causes_, departures_, seen_, known_firsts_);
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
    template <class Archive>
    void Serialize(Archive& a) {
      a(index, number, peers, strongest, mean, square, offset, ended_ns, since_ns, last_ns, peak);
      if constexpr (Archive::kReading) {
        if (index >= 2 * kEvidenceEntries || !(peak >= 0.0 && peak < 100.0)) a.Fail();
        bool agreed = false, young = false;  // of layouts before 6: firsts were told by kind
        if (a.layout() < 6) a(agreed);
        if (a.layout() < 5) {
          lasted = newest_lasted = kPriorLasts;
          return;
        }
        a(lasted, newest_lasted);
        if (a.layout() < 6) a(young);
        return;
      }
      a(lasted, newest_lasted);
    }
  };
  // What a new workload may do for the first time.
  enum class Sort : uint8_t { kWork, kTaken, kMemory, kErrors, kLatency, kPopulation, kSilence };
  static constexpr int kSorts = 7;
  struct First {
    Sort sort = Sort::kWork;
    bool agreed = false;      // two kinds of signal have departed together
    bool over = false;
    uint64_t since_ns = 0, last_ns = 0;
    double peak = 0;          // mark
    bool Counts() const { return agreed && !over; }
    template <class Archive>
    void Serialize(Archive& a) {
      a(sort, agreed, over, since_ns, last_ns, peak);
      if constexpr (Archive::kReading) {
        if (static_cast<int>(sort) >= kSorts || !(peak >= 0.0 && peak < 100.0)) a.Fail();
      }
    }
  };
  struct OfSlot {
    uint64_t born_ns = 0;
    uint64_t past_ns = 0;           // since when its kind was watched: born_ns, or its sibling's
    std::vector<Excursions> kinds;  // those that ever departed
    std::vector<First> firsts;      // begun before it was known; one a sort
    uint64_t since_ns = 0;          // of the departure under way, of whatever kinds; 0 = none
    double rarest = 0;              // the least that was issued for it
    bool Known(uint64_t now_ns) const { return born_ns + kKnownNs <= now_ns; }
    double Weeks(uint64_t now_ns) const;  // watched
    template <class Archive>
    void Serialize(Archive& a) {
      a(born_ns, past_ns, kinds);
      if constexpr (Archive::kReading) {
        if (a.layout() < 6) return;
      }
      a(since_ns, rarest, firsts);
    }
  };
  static constexpr int kRepeatBins = 16;
  using Marks = std::array<double, kRepeatBins>;  // how many, by mark
  static constexpr size_t kFineBins = 32;
  // The beginning of a departure that was rare as issued, and no consequence of another one.
  struct Cause {
    uint64_t since_ns = 0;  // 0 = none
    uint32_t slot = 0;
    template <class Archive>
    void Serialize(Archive& a) { a(since_ns, slot); }
  };
  static constexpr size_t kCauses = 8;
  // Firsts by kind, and what the controller of that time counted.
  template <class Archive>
  void ReadBefore6(Archive& a) {
    constexpr int kEntries = 2 * kEvidenceGroups;
    std::array<std::array<double, kRepeatBins>, 2 * kEntries> by_kind{};
    std::array<double, 3> windows{};
    std::array<double, 2> marks{};
    a(by_kind, workloads_, seconds_, windows);
    if (a.layout() >= 5) a(marks);
    firsts_ = {};
    for (int index = 0; index < kEntries; ++index) {
      for (int bin = 0; bin < kRepeatBins; ++bin) firsts_[static_cast<size_t>(SortOf(index / 2, false))][bin] += by_kind[index][bin];
    }
    causes_ = {};
    departures_ = {};
  }
  struct Seen {
    double marks = 0, number = 0;  // their sum, how many
    double Spread() const;
    template <class Archive>
    void Serialize(Archive& a) { a(marks, number); }
  };
  const Excursions* Find(const OfSlot& slot, uint8_t index) const;
  Excursions* FindOrMake(OfSlot* slot, uint8_t index);
  template <size_t bins>
  double SeenOnHost(const std::array<double, bins>& marks, double width, double mark) const;
  double Spread(uint8_t index) const;
  double Excess(double of_expected) const;
  double Correction() const;
  double New(const OfSlot& slot, Sort sort, double mark) const;
  double Exceeds(const OfSlot& slot, uint64_t now_ns) const;
  double Lasting(const OfSlot& slot, uint8_t index, uint64_t now_ns) const;
  double Law(const OfSlot& slot, uint8_t index, double mark, bool taken, uint64_t now_ns, double correction) const;
  Issued Rarest(const OfSlot& slot, const GroupStrengths& now, const Tellable& counts, uint64_t now_ns, double correction) const;
  double MarkOf(const OfSlot& slot, const GroupStrengths& now, int lead) const;
  static Sort SortOf(int group, bool taken);
  static bool Taken(const OfSlot& slot, const GroupStrengths& now);
  double WeightOf(const OfSlot& slot, const First& first) const;
  void CountFirst(const OfSlot& slot, const First& first, double by);
  void ObserveFirsts(size_t slot, const GroupStrengths& now, bool agree, uint64_t now_ns);
  void EndFirsts(size_t slot, bool taken, uint64_t now_ns);
  void Settle(size_t slot, bool taken, uint64_t now_ns);
  void CountHabit(const Excursions& kind, double by) { habits_[kind.index] += kind.number > 0.0 ? by : 0.0; }
  void FindCounts();
  bool BeganWithAnother(size_t slot, uint64_t since_ns) const;
  void LearnFirst(const OfSlot& slot, const Excursions& kind);
  void End(size_t slot, Excursions* kind);

  std::vector<OfSlot> slots_;
  Marks repeats_{};  // on the host, by mark, fading
  std::array<Marks, kSorts> firsts_{};  // of workloads not known yet, ended, by sort, too
  std::array<Marks, kSorts> firsts_under_way_{};  // the same, under way; derived
  std::array<Cause, kCauses> causes_{};        // newest first
  uint64_t warm_up_ns_ = 60'000'000'000;
  double workloads_ = 1;
  double seconds_ = 0;
  // Of what known workloads did for the first time, and how new ones fell, by layer of evidence and direction (twice the layer, plus 1 where up), fading.
  std::array<Seen, 2 * kEvidenceLayers> seen_{};  // but for what was rare
  std::array<std::array<double, kFineBins>, 2 * kEvidenceLayers> known_firsts_{};
  static constexpr std::array<double, 3> kLevels = {1.0, 10.0, 100.0};
  std::array<double, kLevels.size()> departures_{};  // at most so common as issued, fading with the weeks they are compared with
  std::array<double, 2 * kEvidenceEntries> habits_{};  // workloads that have departed so, by index; derived
};

}  // namespace outlier
