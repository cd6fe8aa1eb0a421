// Whoever sits at the keyboard, behind sudo too: the author of acknowledgements, feedback and silences.
#pragma once
#include <string>

namespace outlier::ctl {

std::string Author();

}  // namespace outlier::ctl
