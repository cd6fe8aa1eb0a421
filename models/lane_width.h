// How many series the families of models/lane_model.h take at once. They are compiled twice: for any machine, four lanes wide, and for those with
// AVX2, eight; models.def says which, model.cc takes the wider one that the machine has. Both give equal bits (tests/models/lane_width_test.cc).
//
// All of such a family lies between OUTLIER_LANES_BEGIN and OUTLIER_LANES_END: in a namespace of its width, and compiled for its
// instructions, while what it includes is compiled for any machine, so that the linker may take any of two copies.
#pragma once
#ifdef OUTLIER_EIGHT_LANES
#include <immintrin.h>
#endif

#include "models/lanes.h"

#ifdef OUTLIER_EIGHT_LANES
#define OUTLIER_LANES_BEGIN _Pragma("GCC push_options") _Pragma("GCC target(\"avx2\")") namespace outlier::models::eight {
#define OUTLIER_LANES_END } _Pragma("GCC pop_options")

OUTLIER_LANES_BEGIN
#define OUTLIER_WIDTH 8
#include "models/lane_operations.inc"
#undef OUTLIER_WIDTH
OUTLIER_LANES_END
#else
#define OUTLIER_LANES_BEGIN namespace outlier::models::four {
#define OUTLIER_LANES_END }
#endif
