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
constexpr double kPriorWeight = 3.0;       // excursions
constexpr uint64_t kSlowNs = 3600ull * 1'000'000'000;  // as long the slow clocks may speak of what has ended
constexpr double kFirstsWeight = 30.0;     // of the prior of the marks of first ones: a few true faults on a new host do not make it deaf
constexpr double kKinds = 6.0;             // groups, sudden and held, in which a workload departs in practice
// The prior of repetitions: none in a week, which is given up for a day at the second, for half a day at the third, and so on: so many
// in so short a time are no accident.
constexpr double kFewRepeats = 1.0, kFewWeeks = 1.0, kManyWeeks = 1.0 / 7.0;
constexpr double kFalseAlarm = 50.0, kMostOffset = 1e6;
constexpr double kWindowSeconds = 600.0, kEverydayFrom = 20.0, kEverydayTo = 200.0;
constexpr double kControlWeight = 10.0;    // windows
constexpr double kMostCorrection = 10.0;

uint8_t IndexOf(const EvidenceKind& kind) { return static_cast<uint8_t>(2 * kind.group + (kind.up ? 1 : 0)); }
double Mark(double strength) { return std::log(strength / kLeastStrength); }
double Faded(double value, uint64_t from_ns, uint64_t to_ns) {
  return value * std::exp2(-static_cast<double>(to_ns - std::min(from_ns, to_ns)) / (kMemoryWeeks * kNsPerWeek));
}
int BinOf(double mark, int bins) { return std::clamp(static_cast<int>(mark / 0.25), 0, bins - 1); }

}  // namespace

void Recurrences::Forget(size_t slot, uint64_t now_ns) {
  for (const Excursions& kind : slots_[slot].kinds) CountFirst(kind, -1.0);
  slots_[slot] = {};
  slots_[slot].born_ns = slots_[slot].past_ns = now_ns;
}

void Recurrences::Adopt(size_t from, size_t to, uint64_t now_ns) {
  for (const Excursions& kind : slots_[to].kinds) CountFirst(kind, -1.0);
  slots_[to] = slots_[from];
  slots_[to].born_ns = now_ns;
  for (Excursions& kind : slots_[to].kinds) {
    kind.since_ns = 0;
    kind.peak = 0.0;
    kind.agreed = false;
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

void Recurrences::CountFirst(const Excursions& kind, double by) {
  if (IsFirst(kind)) firsts_under_way_[kind.index][BinOf(kind.peak, kRepeatBins)] += by;
}

void Recurrences::FindFirstsUnderWay() {
  firsts_under_way_ = {};
  for (const OfSlot& slot : slots_) {
    for (const Excursions& kind : slot.kinds) CountFirst(kind, 1.0);
  }
}

void Recurrences::End(Excursions* kind) {
  CountFirst(*kind, -1.0);
  const double faded = kind->ended_ns == 0 ? 0.0 : Faded(1.0, kind->ended_ns, kind->last_ns);
  const double weeks = kind->ended_ns == 0 ? 0.0 : static_cast<double>(kind->last_ns - kind->ended_ns) / kNsPerWeek;
  kind->number *= faded;
  kind->peers *= faded;
  kind->strongest = std::max(kind->strongest - kFades * weeks, 0.0);
  const int bin = BinOf(kind->peak, kRepeatBins);
  if (kind->number > 0.0) {
    repeats_[bin] += 1.0;
  } else if (kind->young && kind->agreed) {
    firsts_[kind->index][bin] += 1.0;
    first_marks_ += kind->peak;
    first_number_ += 1.0;
  }
  if (kind->peak > kind->strongest + kAlike) kind->peers = 0.0;
  if (kind->peak > kind->strongest - kAlike) kind->peers += 1.0;
  kind->strongest = std::max(kind->strongest, kind->peak);
  kind->number += 1.0;
  kind->newest_lasted = static_cast<double>(kind->last_ns - kind->since_ns) * 1e-9;
  kind->lasted += (kind->newest_lasted - kind->lasted) / kind->number;
  kind->mean += (kind->peak - kind->mean) / kind->number;
  kind->square += (kind->peak * kind->peak - kind->square) / kind->number;
  kind->ended_ns = kind->last_ns;
  kind->since_ns = 0;
  kind->peak = 0.0;
  kind->agreed = false;
}

void Recurrences::Observe(size_t slot, const GroupStrengths& now, bool agree, uint64_t now_ns) {
  OfSlot& own = slots_[slot];
  for (int i = 0; i < 2 * kEvidenceGroups; ++i) {
    if (now.strength[i] < kLeastStrength) continue;
    const uint8_t index = IndexOf({i, now.up[i]});
    Excursions* kind = FindOrMake(&own, index);
    CountFirst(*kind, -1.0);
    if (kind->since_ns == 0) {
      kind->since_ns = now_ns;
      kind->young = !Known(slot, now_ns);
    }
    kind->last_ns = now_ns;
    kind->agreed |= agree;
    kind->peak = std::max(kind->peak, Mark(Led(now, i)));
    CountFirst(*kind, 1.0);
  }
  Rest(slot, now_ns);
}

void Recurrences::Rest(size_t slot, uint64_t now_ns) {
  for (Excursions& kind : slots_[slot].kinds) {
    if (kind.since_ns != 0 && kind.last_ns + kGapNs <= now_ns) End(&kind);
  }
}

// Departures on the host, about as strong or stronger, of workloads that had departed so before.
double Recurrences::Repeats(double mark) const {
  double sum = 0.0;
  for (int bin = BinOf(mark, kRepeatBins); bin < kRepeatBins; ++bin) sum += repeats_[bin];
  return sum;
}

double Recurrences::Firsts(const Excursions* own, uint8_t index, double mark) const {
  double sum = own != nullptr && IsFirst(*own) ? -1.0 : 0.0;
  for (int bin = BinOf(mark, kRepeatBins); bin < kRepeatBins; ++bin) sum += firsts_[index][bin] + firsts_under_way_[index][bin];
  return std::max(sum, 0.0);
}

double Recurrences::Common(double times, double weeks) {
  const double belief = times <= kFewRepeats ? kFewWeeks : kManyWeeks / std::max(times - kFewRepeats, 1.0);
  return times / (std::min(weeks, kMostWeeks) + belief);
}

double Recurrences::New(const Excursions* own, uint8_t index, double mark) const {
  const double weeks = seconds_ / kSecondsPerWeek;
  const double spread = (first_marks_ + kFirstsWeight * kPriorSpread) / (first_number_ + kFirstsWeight);
  return std::max(Common(Firsts(own, index, mark), weeks), Common(Firsts(own, index, 0.0), weeks) * std::exp(-mark / spread));
}

double Recurrences::Lasting(const OfSlot& slot, uint8_t index, uint64_t now_ns) const {
  constexpr uint8_t kSudden = 2 * kEvidenceGroups;
  const Excursions* sudden = index >= kSudden ? Find(slot, static_cast<uint8_t>(index - kSudden)) : nullptr;
  if (sudden == nullptr || sudden->number == 0.0) return 0.0;
  const bool goes_on = sudden->since_ns != 0;
  if (!goes_on && sudden->ended_ns + kSlowNs <= now_ns) return 0.0;
  double lasts = goes_on ? static_cast<double>(now_ns - std::min(sudden->since_ns, now_ns)) * 1e-9 : sudden->newest_lasted;
  // The fast models may flicker, or have accepted it, while the slow ones still hold it.
  const Excursions* held = Find(slot, index);
  if (held != nullptr && held->since_ns != 0) lasts = std::max(lasts, static_cast<double>(now_ns - std::min(held->since_ns, now_ns)) * 1e-9);
  const double lasted = (sudden->number * sudden->lasted + kPriorLasts) / (sudden->number + 1.0);
  return Common(Faded(sudden->number, sudden->ended_ns, now_ns), slot.Weeks(now_ns)) * std::exp(-lasts / lasted);
}

double Recurrences::Law(const OfSlot& slot, uint8_t index, double mark, uint64_t now_ns) const {
  const double watched = slot.Weeks(now_ns);
  const double exceeds = workloads_ * kKinds / (std::min(watched, kMostWeeks) + kYoungWeeks);
  const double first = exceeds * std::exp(-mark / kPriorSpread);
  const Excursions* kind = Find(slot, index);
  const bool known = slot.Known(now_ns);
  if (kind == nullptr || kind->number == 0.0 || !known) {
    return std::max(first, known ? 0.0 : New(kind, index, mark)) * (kind == nullptr ? 1.0 : kind->offset);
  }
  const double since = static_cast<double>(now_ns - std::min(kind->ended_ns, now_ns)) / kNsPerWeek;
  const double strongest = std::max(kind->strongest - kFades * since, 0.0);
  const double spread = std::sqrt(std::max(kind->square - kind->mean * kind->mean, 0.0));
  const double shrunk = (kind->number * spread + kPriorWeight * kPriorSpread) / (kind->number + kPriorWeight);
  const double beyond = exceeds * std::exp(-std::max(mark - strongest, 0.0) / std::max(shrunk, kPriorSpread));
  const double own = Faded(mark > strongest - kAlike ? kind->peers : kind->number, kind->ended_ns, now_ns);
  const double seen = std::max(Common(own, watched), Common(Repeats(mark), seconds_ / kSecondsPerWeek));
  return std::max(first, std::min(beyond, seen)) * kind->offset;
}

double Recurrences::PerWeek(size_t slot, const GroupStrengths& now, const std::array<bool, 2 * kEvidenceGroups>& counts, uint64_t now_ns) const {
  double rarest = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 2 * kEvidenceGroups; ++i) {
    if (now.strength[i] < kLeastStrength || !counts[i]) continue;
    const uint8_t index = IndexOf({i, now.up[i]});
    const double law = std::max(Law(slots_[slot], index, Mark(Led(now, i)), now_ns), Lasting(slots_[slot], index, now_ns));
    rarest = std::min(rarest, Correction() * law);
  }
  return rarest;
}

void Recurrences::EndTick(double rarest_per_week, size_t workloads, double seconds) {
  workloads_ = std::max<double>(static_cast<double>(workloads), 1.0);
  const double fade = std::exp2(-seconds / (kMemoryWeeks * kSecondsPerWeek));
  for (double& repeats : repeats_) repeats *= fade;
  for (auto& of_kind : firsts_) {
    for (double& firsts : of_kind) firsts *= fade;
  }
  everyday_ *= fade;
  first_marks_ *= fade;
  first_number_ *= fade;
  seconds_ = seconds_ * fade + seconds;
  // As issued: before the correction.
  const double issued = rarest_per_week / Correction();
  if (std::isfinite(issued)) window_rarest_ = window_rarest_ == 0.0 ? issued : std::min(window_rarest_, issued);
  window_seconds_ += seconds;
  if (window_seconds_ < kWindowSeconds) return;
  everyday_ += window_rarest_ > kEverydayFrom && window_rarest_ <= kEverydayTo;
  window_seconds_ = window_rarest_ = 0.0;
}

double Recurrences::Excess() const {
  const double expected = (kEverydayTo - kEverydayFrom) * seconds_ / kSecondsPerWeek;
  return (everyday_ + kControlWeight) / (expected + kControlWeight);
}

double Recurrences::Correction() const { return std::clamp(Excess(), 1.0, kMostCorrection); }

Recurrences::Account Recurrences::account() const {
  const double weeks = seconds_ / kSecondsPerWeek;
  return {weeks, Excess(), Correction(), (kEverydayTo - kEverydayFrom) * weeks < kControlWeight};
}

double Recurrences::FeedbackFactor(size_t slot) const {
  double factor = 1.0;
  for (const Excursions& kind : slots_[slot].kinds) {
    if (kind.since_ns != 0) factor = std::max(factor, kind.offset);
  }
  return factor;
}

void Recurrences::MakeRarer(size_t slot, std::span<const EvidenceKind> kinds) {
  for (const EvidenceKind& kind : kinds) {
    double& offset = FindOrMake(&slots_[slot], IndexOf(kind))->offset;
    offset = std::min(offset * kFalseAlarm, kMostOffset);
  }
}

void Recurrences::TakeBack(size_t slot, std::span<const EvidenceKind> kinds) {
  for (const EvidenceKind& kind : kinds) FindOrMake(&slots_[slot], IndexOf(kind))->offset = 1.0;
}

}  // namespace outlier
