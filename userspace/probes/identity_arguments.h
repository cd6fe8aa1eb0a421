// Which script an interpreter runs, from its command line: `node /srv/billing.js` is the workload billing.js, not node.
// Pure functions over hostile bytes. Arguments are looked at, never kept: only the script's path comes out.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace outlier {

// By the base name of the executable, its version aside: python3.11, ruby, node, bash, java, env ...
bool IsInterpreter(std::string_view executable);

// The script's path, absolute where `cwd` is known; for `python -m` the module, for java the main class or the jar.
// "" where there is none: code given as text (-c, -e), an interactive interpreter, no interpreter at all.
// `arguments` is the command line with argv[0].
std::string ScriptOf(std::string_view executable, std::span<const std::string> arguments, std::string_view cwd);

}  // namespace outlier
