// The signals a rule's `ignore` may name: those of features.def, each once per feature.
#pragma once
#include <array>
#include <string_view>

namespace outlier {

inline constexpr auto kSignalNames = std::to_array<std::string_view>({
#define FEATURE(signal, unit, key, value, kind, syscall_class, owner, expression) signal,
#include "userspace/stream/features.def"
#undef FEATURE
});

}  // namespace outlier
