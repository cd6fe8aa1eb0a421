// silence: a series that is active in nearly every tick, or at learned intervals, and stops.
//
// A tick is quiet when x is at most a tenth of the typical active rate. Quiet spells are geometric with the seen mean
// length m; nothing is said before a spell is three times the longest one seen (bursty and periodic series are quiet for
// a living). For g seconds beyond that, p = q exp(-g / m), q = share of ticks in which a spell begins; z = -g over the
// longest spell (at least one second): for a series that never paused, minus the seconds of silence. Where deviations have a memory of T seconds
// (from the correlation of successive ticks, as of an AR(1)), one that is u standard deviations away, as quiet is, lasts about 2 T / u^2 (its excess
// is about 1 / u and goes back at u / T: Leadbetter, Lindgren & Rootzen 1983); the longest spell and m are at least that. p is that of a series that stops; of
// one that goes on P(p <= a) is next to nothing, since spells of thrice the longest hardly come.
// width 1; x >= 0; z in [-1000, 0]; ready after warm_up_seconds when active often enough (at least half of the ticks at a
// rate whose spread is at most three tenths of its mean, or three spells ended). A silence held for relearn_seconds is accepted: the series starts afresh. Masked ticks count for
// nothing: a workload without processes is not silent but gone.
#pragma once
#include <memory>

#include "models/model.h"

namespace outlier::models::silence {
std::unique_ptr<Model> Make(const Options& options);
}  // namespace outlier::models::silence
