// The 95 % interval of a Poisson mean, given how many events there were (Garwood 1936): lower is the mean under which as many or
// more have probability 0.025, upper that under which as many or fewer have. Exact to 1e-9 of the mean.
#pragma once
#include <cstdint>

namespace outlier {

struct PoissonInterval {
  double lower, upper;
};
PoissonInterval PoissonIntervalOf(uint64_t events);

}  // namespace outlier
