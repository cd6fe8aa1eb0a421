// Where a program of the house keeps its files: the system's folders for root, the XDG base folders for an ordinary user.
#pragma once
#include <string>

namespace outlier {

struct Folders {
  std::string config;  // /etc/outlierd
  std::string state;   // /var/lib/outlierd
  std::string run;     // /run/outlierd
};

Folders FoldersOfUser();

// Of the outlierd that is meant where nobody says which: the system's; where this user may not, or none is there, and one of the user's own is, that one.
std::string LocalFeedAddress();

}  // namespace outlier
