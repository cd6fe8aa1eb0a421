#include "userspace/incidents/recurrences.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace outlier {
namespace {

constexpr double kNsPerWeek = 7 * 86400e9, kSecondsPerWeek = 7 * 86400.0;
constexpr double kLeastStrength = 0.35;    // of an excursion
constexpr uint64_t kGapNs = 10ull * 1'000'000'000;  // calm that ends an excursion, as it does an incident
constexpr double kMemoryWeeks = 2.0;       // half-life of what was seen
constexpr double kMostWeeks = 4.0;         // of a workload's past that count
constexpr double kFades = 0.25;            // of the strongest mark, a week
constexpr double kAlike = 0.15;            // difference of the marks of peers
constexpr double kYoungWeeks = 60.0 / kSecondsPerWeek;
// How fast marks fall off, measured on simulated hosts with wandering levels: 0.06 to 0.12.
constexpr double kPriorSpread = 0.08;
constexpr double kStrongRepeats = 8.0;     // from which their number says how often they come
constexpr double kMostMark = 4.0 * kPriorSpread, kSeenWeight = 30.0;
constexpr double kPriorWeight = 3.0;       // excursions
constexpr uint64_t kSlowNs = 3600ull * 1'000'000'000;  // as long the slow clocks may speak of what has ended
constexpr double kFirstsWeight = 1.0;      // of the prior of the marks of first ones: the first few say how strong they come on this host
constexpr uint64_t kSameMomentNs = 15ull * 1'000'000'000;  // what begins together: as long as evidence takes to hold
constexpr uint64_t kSettledNs = 3600ull * 1'000'000'000;  // age from which what falls is no end of a start
constexpr double kHeard = 0.25;            // of a first one that began within the warm-up
constexpr double kCause = 1.0;             // a week: what is rarer is no everyday departure, whatever the budget
constexpr double kKinds = 6.0;             // groups, sudden and held, in which a workload departs in practice
// The prior of repetitions: none in a week, which is given up for a day at the second, for half a day at the third, and so on: so many
// in so short a time are no accident.
constexpr double kFewRepeats = 1.0, kFewWeeks = 1.0, kManyWeeks = 1.0 / 7.0;
constexpr double kFalseAlarm = 50.0, kMostOffset = 1e6;
constexpr double kControlWeight = 10.0;    // departures: as few as a day of true trouble brings weigh little
constexpr double kEverydayWeight = 3.0;    // of those that hardly any true trouble is among: a few say that a host of this kind wanders further
constexpr double kMostCorrection = 10.0;
constexpr double kMargin = 0.5;            // a promise is a bound: what may come half as often on average keeps it

uint8_t IndexOf(const EvidenceKind& kind) { return static_cast<uint8_t>(2 * kind.group + (kind.up ? 1 : 0)); }
bool Rises(uint8_t index) { return index % 2 != 0; }
// Layer and direction.
size_t WayOf(uint8_t index) { return static_cast<size_t>(index / 2 / kEvidenceGroups * 2 + (Rises(index) ? 1 : 0)); }
double Mark(double strength) { return std::log(strength / kLeastStrength); }
double Faded(double value, uint64_t from_ns, uint64_t to_ns) {
  return value * std::exp2(-static_cast<double>(to_ns - std::min(from_ns, to_ns)) / (kMemoryWeeks * kNsPerWeek));
}
constexpr double kBinWidth = 0.25, kFineWidth = 0.0625;
double Offset(const auto* kind) { return kind == nullptr ? 1.0 : kind->offset; }
int BinOf(double mark, int bins) { return std::clamp(static_cast<int>(mark / kBinWidth), 0, bins - 1); }

}  // namespace

void Recurrences::Forget(size_t slot, uint64_t now_ns) {
  for (const Excursions& kind : slots_[slot].kinds) CountHabit(kind, -1.0);
  for (const First& first : slots_[slot].firsts) CountFirst(slots_[slot], first, -1.0);
  slots_[slot] = {};
  slots_[slot].born_ns = slots_[slot].past_ns = now_ns;
}

void Recurrences::Adopt(size_t from, size_t to, uint64_t now_ns) {
  Forget(to, now_ns);
  slots_[to] = slots_[from];
  slots_[to].born_ns = now_ns;
  slots_[to].since_ns = 0;
  slots_[to].rarest = 0.0;
  slots_[to].firsts.clear();
  for (Excursions& kind : slots_[to].kinds) {
    CountHabit(kind, 1.0);
    kind.since_ns = 0;
    kind.peak = 0.0;
  }
}

double Recurrences::OfSlot::Weeks(uint64_t now_ns) const { return static_cast<double>(now_ns - std::min(past_ns, now_ns)) / kNsPerWeek; }

const Recurrences::Excursions* Recurrences::Find(const OfSlot& slot, uint8_t index) const {
  for (const Excursions& kind : slot.kinds) {
    if (kind.index == index) return &kind;
  }
  return nullptr;
}

Recurrences::Excursions* Recurrences::FindOrMake(OfSlot* slot, uint8_t index) {
  if (const Excursions* kind = Find(*slot, index)) return const_cast<Excursions*>(kind);
  slot->kinds.emplace_back().index = index;
  return &slot->kinds.back();
}

double Recurrences::MarkOf(const OfSlot& slot, const GroupStrengths& now, int lead) const {
  GroupStrengths news = now;
  for (const Excursions& kind : slot.kinds) {
    const int group = kind.index / 2;
    if (group % kEvidenceGroups != lead % kEvidenceGroups && kind.number > 0.0 && kind.index == IndexOf({group, now.up[group]})) news.strength[group] = 0.0;
  }
  return Mark(Led(news, lead));
}

Recurrences::Sort Recurrences::SortOf(int group, bool taken) {
  switch (static_cast<EvidenceGroup>(group)) {
    case EvidenceGroup::kMemory: return Sort::kMemory;
    case EvidenceGroup::kErrors: return Sort::kErrors;
    case EvidenceGroup::kLatency: return Sort::kLatency;
    case EvidenceGroup::kPopulation: return Sort::kPopulation;
    case EvidenceGroup::kSilence: return Sort::kSilence;
    default: return taken ? Sort::kTaken : Sort::kWork;
  }
}

bool Recurrences::Taken(const OfSlot& slot, const GroupStrengths& now) {
  return now.taken || std::any_of(slot.firsts.begin(), slot.firsts.end(), [](const First& first) { return first.sort == Sort::kTaken && !first.over; });
}

// What is learned of a level in half a warm-up is worth a part: that of one alone is not to hide the first fault of a young host.
double Recurrences::WeightOf(const OfSlot& slot, const First& first) const { return first.since_ns < slot.born_ns + warm_up_ns_ ? kHeard : 1.0; }

void Recurrences::CountFirst(const OfSlot& slot, const First& first, double by) {
  if (first.Counts()) firsts_under_way_[static_cast<size_t>(first.sort)][BinOf(first.peak, kRepeatBins)] += by * WeightOf(slot, first);
}

void Recurrences::FindCounts() {
  firsts_under_way_ = {};
  habits_ = {};
  for (const OfSlot& slot : slots_) {
    for (const Excursions& kind : slot.kinds) CountHabit(kind, 1.0);
    for (const First& first : slot.firsts) CountFirst(slot, first, 1.0);
  }
}

void Recurrences::ObserveFirsts(size_t slot, const GroupStrengths& now, bool agree, uint64_t now_ns) {
  OfSlot& own = slots_[slot];
  for (int group = 0; group < kEvidenceGroups && !own.Known(now_ns); ++group) {
    if (now.strength[group] < kLeastStrength) continue;
    const Sort sort = SortOf(group, Taken(own, now));
    auto first = std::find_if(own.firsts.begin(), own.firsts.end(), [&](const First& f) { return f.sort == sort; });
    if (first == own.firsts.end()) {
      first = own.firsts.emplace(own.firsts.end());
      first->sort = sort;
      first->since_ns = now_ns;
    }
    if (first->over) continue;
    CountFirst(own, *first, -1.0);
    first->agreed |= agree;
    first->last_ns = now_ns;
    first->peak = std::max(first->peak, MarkOf(own, now, group));
    CountFirst(own, *first, 1.0);
  }
}

void Recurrences::EndFirsts(size_t slot, bool taken, uint64_t now_ns) {
  std::erase_if(slots_[slot].firsts, [&](First& first) {
    if (first.over) return false;
    // It takes some seconds to see who took the CPU.
    const bool explained = first.sort == Sort::kWork && taken;
    if (!explained && now_ns < first.last_ns + kGapNs) return false;
    CountFirst(slots_[slot], first, -1.0);
    if (explained || !first.agreed || BeganWithAnother(slot, first.since_ns)) return true;
    firsts_[static_cast<size_t>(first.sort)][BinOf(first.peak, kRepeatBins)] += WeightOf(slots_[slot], first);
    first.over = true;
    return false;
  });
}

bool Recurrences::BeganWithAnother(size_t slot, uint64_t since_ns) const {
  return std::any_of(causes_.begin(), causes_.end(), [&](const Cause& cause) {
    return cause.since_ns != 0 && cause.slot != slot && since_ns < cause.since_ns + kSameMomentNs && cause.since_ns < since_ns + kSameMomentNs;
  });
}

// What a workload did for the first time that is known, or fell for the first time: where levels wander, how near to nothing they come shows within
// the first day, and the work of new ones ends in no other way than that of known ones. What was rare may be true trouble: it came, and of how
// far it went no more is believed than that it was rare.
void Recurrences::LearnFirst(const OfSlot& slot, const Excursions& kind) {
  const bool fell = !Rises(kind.index) && slot.born_ns + kSettledNs <= kind.since_ns;
  if (!slot.Known(kind.since_ns) && !fell) return;
  const bool issued = slot.Known(kind.since_ns) || slot.rarest > 0.0;
  const bool rare = issued && slot.rarest <= kCause;
  const size_t way = WayOf(kind.index);
  const double believed = rare ? std::min(kind.peak, kPriorSpread * std::log(Exceeds(slot, kind.since_ns) / kCause)) : kind.peak;
  auto& firsts = known_firsts_[way];
  firsts[static_cast<size_t>(std::clamp(believed / kFineWidth, 0.0, firsts.size() - 1.0))] += 1.0;
  if (rare) return;
  seen_[way].marks += std::min(kind.peak, kMostMark);
  seen_[way].number += 1.0;
}

void Recurrences::End(size_t slot, Excursions* kind) {
  if (BeganWithAnother(slot, kind->since_ns)) {
    kind->since_ns = 0;
    kind->peak = 0.0;
    return;
  }
  const double faded = kind->ended_ns == 0 ? 0.0 : Faded(1.0, kind->ended_ns, kind->last_ns);
  const double weeks = kind->ended_ns == 0 ? 0.0 : static_cast<double>(kind->last_ns - kind->ended_ns) / kNsPerWeek;
  kind->number *= faded;
  kind->peers *= faded;
  kind->strongest = std::max(kind->strongest - kFades * weeks, 0.0);
  const int bin = BinOf(kind->peak, kRepeatBins);
  if (kind->number > 0.0) repeats_[bin] += 1.0;
  if (kind->ended_ns == 0) LearnFirst(slots_[slot], *kind);
  if (kind->peak > kind->strongest + kAlike) kind->peers = 0.0;
  if (kind->peak > kind->strongest - kAlike) kind->peers += 1.0;
  kind->strongest = std::max(kind->strongest, kind->peak);
  CountHabit(*kind, -1.0);
  kind->number += 1.0;
  CountHabit(*kind, 1.0);
  kind->newest_lasted = static_cast<double>(kind->last_ns - kind->since_ns) * 1e-9;
  kind->lasted += (kind->newest_lasted - kind->lasted) / kind->number;
  kind->mean += (kind->peak - kind->mean) / kind->number;
  kind->square += (kind->peak * kind->peak - kind->square) / kind->number;
  kind->ended_ns = kind->last_ns;
  kind->since_ns = 0;
  kind->peak = 0.0;
}

void Recurrences::Listen(size_t slot, const GroupStrengths& now, bool agree, uint64_t now_ns) {
  if (slots_[slot].past_ns == slots_[slot].born_ns) ObserveFirsts(slot, now, agree, now_ns);
}

void Recurrences::Observe(size_t slot, const GroupStrengths& now, bool agree, uint64_t now_ns) {
  OfSlot& own = slots_[slot];
  ObserveFirsts(slot, now, agree, now_ns);
  for (int i = 0; i < kEvidenceEntries; ++i) {
    if (now.strength[i] < kLeastStrength) continue;
    const uint8_t index = IndexOf({i, now.up[i]});
    Excursions* kind = FindOrMake(&own, index);
    if (kind->since_ns == 0) kind->since_ns = now_ns;
    kind->last_ns = now_ns;
    kind->peak = std::max(kind->peak, MarkOf(own, now, i));
  }
  Settle(slot, now.taken, now_ns);
}

void Recurrences::Settle(size_t slot, bool taken, uint64_t now_ns) {
  OfSlot& own = slots_[slot];
  EndFirsts(slot, taken, now_ns);
  for (Excursions& kind : own.kinds) {
    if (kind.since_ns != 0 && kind.last_ns + kGapNs <= now_ns) End(slot, &kind);
  }
  if (own.since_ns == 0 || std::any_of(own.kinds.begin(), own.kinds.end(), [](const Excursions& kind) { return kind.since_ns != 0; })) return;
  for (size_t level = 0; level < kLevels.size(); ++level) {
    if (own.rarest <= kLevels[level] && !BeganWithAnother(slot, own.since_ns)) departures_[level] += 1.0;
  }
  own.since_ns = 0;
  own.rarest = 0.0;
}

// How often departures as strong or stronger come, of which those in `marks` were seen. What is stronger than all but a few of them falls off
// from those few by their mean excess.
template <size_t bins>
double Recurrences::SeenOnHost(const std::array<double, bins>& marks, double width, double mark) const {
  const int own = static_cast<int>(std::clamp(mark / width, 0.0, double{bins}));  // bins: beyond the last one
  const double weeks = seconds_ / kSecondsPerWeek;
  double sum = 0.0, excess = 0.0, as_strong = 0.0;  // excess: over the bin
  for (int bin = bins - 1; bin >= 0; --bin) {
    excess += width * sum;
    sum += marks[bin];
    if (bin == own) as_strong = Common(sum, weeks);
    if (sum < kStrongRepeats || bin > own) continue;
    const double beyond = mark - bin * width, spread = std::max(excess / sum + width / 2.0, kPriorSpread);
    return std::max(as_strong, Common(sum, weeks) * std::exp(-beyond / spread));
  }
  return as_strong;
}

double Recurrences::Common(double times, double weeks) {
  const double belief = times <= kFewRepeats ? kFewWeeks : kManyWeeks / std::max(times - kFewRepeats, 1.0);
  return times / (std::min(weeks, kMostWeeks) + belief);
}

double Recurrences::New(const OfSlot& slot, Sort sort, double mark) const {
  std::array<double, kRepeatBins> others = firsts_[static_cast<size_t>(sort)];
  for (int bin = 0; bin < kRepeatBins; ++bin) others[bin] += firsts_under_way_[static_cast<size_t>(sort)][bin];
  for (const First& own : slot.firsts) {
    if (own.sort == sort && own.Counts()) others[BinOf(own.peak, kRepeatBins)] -= WeightOf(slot, own);
  }
  double number = 0.0, as_strong = 0.0, marks = 0.0;
  for (int bin = 0; bin < kRepeatBins; ++bin) {
    number += others[bin];
    marks += others[bin] * (bin + 0.5) * kBinWidth;
    if (bin >= BinOf(mark, kRepeatBins)) as_strong += others[bin];
  }
  const double weeks = seconds_ / kSecondsPerWeek;
  const double spread = (marks + kFirstsWeight * kPriorSpread) / (number + kFirstsWeight);
  return std::max(Common(as_strong, weeks), Common(number, weeks) * std::exp(-mark / spread));
}

double Recurrences::Seen::Spread() const { return std::max((marks + kSeenWeight * kPriorSpread) / (number + kSeenWeight), kPriorSpread); }

double Recurrences::Spread(uint8_t index) const { return std::max(seen_[index % 2].Spread(), seen_[WayOf(index)].Spread()); }

double Recurrences::Lasting(const OfSlot& slot, uint8_t index, uint64_t now_ns) const {
  constexpr uint8_t kSudden = 2 * kEvidenceGroups;
  const bool lasts_longer = index >= kSudden;  // layers of what is held
  const Excursions* sudden = lasts_longer ? Find(slot, index % kSudden) : nullptr;
  if (sudden == nullptr || sudden->number == 0.0) return 0.0;
  const bool goes_on = sudden->since_ns != 0;
  if (!goes_on && sudden->ended_ns + kSlowNs <= now_ns) return 0.0;
  const auto seconds_since = [now_ns](uint64_t since_ns) { return static_cast<double>(now_ns - std::min(since_ns, now_ns)) * 1e-9; };
  const double lasts = goes_on ? seconds_since(sudden->since_ns) : sudden->newest_lasted;
  const double lasted = (sudden->number * sudden->lasted + kPriorLasts) / (sudden->number + 1.0);
  double longer = lasts / lasted;
  // The fast models may flicker, or have accepted it, while the slow ones still hold it. These repeat themselves until a bin of a minute is full, and in
  // the next there may be another excursion.
  const Excursions* own = Find(slot, index);
  if (own != nullptr && own->since_ns != 0) longer = std::max(longer, seconds_since(own->since_ns) / std::max(lasted, kPriorLasts));
  // Any of the workloads with such excursions could be the one whose lasts that long.
  return habits_[index % kSudden] * Common(Faded(sudden->number, sudden->ended_ns, now_ns), slot.Weeks(now_ns)) * std::exp(-longer);
}

// Events a week of the host, of a kind that one workload did not show in the time it was watched.
double Recurrences::Exceeds(const OfSlot& slot, uint64_t now_ns) const { return workloads_ * kKinds / (std::min(slot.Weeks(now_ns), kMostWeeks) + kYoungWeeks); }

double Recurrences::Law(const OfSlot& slot, uint8_t index, double mark, bool taken, uint64_t now_ns, double correction) const {
  const double watched = slot.Weeks(now_ns), exceeds = correction * Exceeds(slot, now_ns);
  const bool known = slot.Known(now_ns);
  const bool by_host = known || !Rises(index);
  const double unseen = exceeds * std::exp(-mark / (by_host ? Spread(index) : kPriorSpread));
  const double first = std::max(unseen, by_host ? SeenOnHost(known_firsts_[WayOf(index)], kFineWidth, mark) : 0.0);
  const Excursions* kind = Find(slot, index);
  const double as_new = known ? 0.0 : New(slot, SortOf(index / 2 % kEvidenceGroups, taken), mark);
  const double lasting = correction * Lasting(slot, index, now_ns) * Offset(kind);
  if (kind == nullptr || kind->number == 0.0) return std::max({first * Offset(kind), as_new * Offset(kind), lasting});
  const double since = static_cast<double>(now_ns - std::min(kind->ended_ns, now_ns)) / kNsPerWeek;
  const double strongest = std::max(kind->strongest - kFades * since, 0.0);
  const double spread = std::sqrt(std::max(kind->square - kind->mean * kind->mean, 0.0));
  const double shrunk = (kind->number * spread + kPriorWeight * kPriorSpread) / (kind->number + kPriorWeight);
  const double beyond = exceeds * std::exp(-std::max(mark - strongest, 0.0) / std::max(shrunk, kPriorSpread));
  const double own = Faded(mark > strongest - kAlike ? kind->peers : kind->number, kind->ended_ns, now_ns);
  const double seen = std::max(Common(own, watched), known ? SeenOnHost(repeats_, kBinWidth, mark) : 0.0);
  return std::max(std::max({first, as_new, std::min(beyond, seen)}) * kind->offset, lasting);
}

Recurrences::Issued Recurrences::Rarest(const OfSlot& slot, const GroupStrengths& now, const Tellable& counts, uint64_t now_ns, double correction) const {
  Issued rarest;
  const bool taken = Taken(slot, now);
  for (int i = 0; i < kEvidenceEntries; ++i) {
    if (now.strength[i] < kLeastStrength || !counts[i]) continue;
    const uint8_t index = IndexOf({i, now.up[i]});
    const double per_week = Law(slot, index, MarkOf(slot, now, i), taken, now_ns, correction);
    if (per_week < rarest.per_week) rarest = {per_week, Offset(Find(slot, index))};
  }
  return rarest;
}

double Recurrences::PerWeek(size_t slot, const GroupStrengths& now, const Tellable& counts, uint64_t now_ns) const {
  return Rarest(slots_[slot], now, counts, now_ns, Correction()).per_week;
}

Recurrences::Issued Recurrences::Issue(size_t slot, const GroupStrengths& now, const Tellable& counts, uint64_t now_ns) {
  OfSlot& own = slots_[slot];
  const double correction = Correction();
  const Issued issued = Rarest(own, now, counts, now_ns, 1.0);
  const double as_issued = issued.per_week;
  if (!std::isfinite(as_issued)) return issued;
  if (own.since_ns == 0) {
    own.since_ns = now_ns;
    for (const Excursions& kind : own.kinds) {
      if (kind.since_ns != 0) own.since_ns = std::min(own.since_ns, kind.since_ns);
    }
    own.rarest = as_issued;
  }
  own.rarest = std::min(own.rarest, as_issued);
  const auto known = [&](const Cause& cause) { return cause.slot == slot && cause.since_ns == own.since_ns; };
  if (as_issued <= kCause && !BeganWithAnother(slot, own.since_ns) && std::none_of(causes_.begin(), causes_.end(), known)) {
    std::rotate(causes_.begin(), causes_.end() - 1, causes_.end());
    causes_.front() = {own.since_ns, static_cast<uint32_t>(slot)};
  }
  return correction > 1.0 ? Rarest(own, now, counts, now_ns, correction) : issued;
}

void Recurrences::EndTick(size_t workloads, double seconds) {
  workloads_ = std::max<double>(static_cast<double>(workloads), 1.0);
  const double fade = std::exp2(-seconds / (kMemoryWeeks * kSecondsPerWeek));
  for (double& repeats : repeats_) repeats *= fade;
  for (auto& of_kind : firsts_) {
    for (double& firsts : of_kind) firsts *= fade;
  }
  for (double& departures : departures_) departures *= fade;
  for (Seen& seen : seen_) {
    seen.marks *= fade;
    seen.number *= fade;
  }
  for (auto& of_layer : known_firsts_) {
    for (double& firsts : of_layer) firsts *= fade;
  }
  seconds_ = seconds_ * fade + seconds;
}

double Recurrences::Excess(double of_expected) const {
  const double weeks = of_expected * seconds_ / kSecondsPerWeek;
  const auto over = [weeks](double departures, double a_week, double weight) { return (departures + weight) / (a_week * weeks + weight); };
  double excess = over(departures_.back() - departures_.front(), kLevels.back() - kLevels.front(), kEverydayWeight);
  for (size_t level = 0; level + 1 < kLevels.size(); ++level) excess = std::max(excess, over(departures_[level], kLevels[level], kControlWeight));
  return excess;
}

double Recurrences::Correction() const { return std::clamp(Excess(kMargin), 1.0, kMostCorrection); }

Recurrences::Account Recurrences::account() const {
  const double weeks = seconds_ / kSecondsPerWeek;
  return {weeks, Excess(1.0), Correction(), kLevels.back() * weeks < kControlWeight};
}

double Recurrences::Feedback(size_t slot, const EvidenceKind& kind) const { return Offset(Find(slots_[slot], IndexOf(kind))); }

double Recurrences::Rarer(double factor) { return std::min(factor * kFalseAlarm, kMostOffset); }

void Recurrences::SetFeedback(size_t slot, const EvidenceKind& kind, double factor) { FindOrMake(&slots_[slot], IndexOf(kind))->offset = factor; }

}  // namespace outlier
