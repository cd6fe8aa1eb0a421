// `outlierd --probe-doctor`: what works on this kernel with these rights, found by doing it.
#pragma once
#include <vector>

#include "outlier/v1/feed.pb.h"

namespace outlier {

// Loads and attaches every probe, makes something happen that each must notice, and says for each whether it did. Takes
// well under a second and leaves nothing behind. Where eBPF is refused: what /proc can do instead.
std::vector<v1::ProbeState> DoctorProbes();

}  // namespace outlier
