// Text from outside made safe for people: process names, paths and arguments may hold any byte.
#pragma once
#include <string>
#include <string_view>

namespace outlier {

// Valid UTF-8 without control characters: escape sequences, newlines and invalid bytes become \xNN, a backslash stays.
// At most `max_bytes` of output (cut between characters, marked with an ellipsis). Idempotent on its own output.
std::string Printable(std::string_view bytes, size_t max_bytes = 4096);

// Shell-style match of the whole text: * and ? and [a-z]; * also matches '/'. An empty glob matches everything.
bool GlobMatch(std::string_view glob, std::string_view text);

// "412 MiB", "5.1 MiB/s", "250 ms", "0.93": a value with its UCUM unit as people write it.
std::string HumanValue(double value, std::string_view unit);
// "2 s", "9 min", "3 h 20 min".
std::string HumanDuration(double seconds);

}  // namespace outlier
