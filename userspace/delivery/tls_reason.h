// Why TLS with a server does not come about, in words. gRPC says "certificate verify failed" of what has expired and of what is not trusted alike.
#pragma once
#include <string>

namespace outlier {

struct TlsPeer {
  std::string address;           // host:port, [v6]:port
  std::string name;              // that its certificate is to have; "" = the host of the address
  std::string ca_file;           // "" = the system's authorities
  std::string certificate_file, key_file;  // ours; "" = none
};

// One handshake, within a second and a half. "" where nothing is wrong with it, or nobody is there.
std::string TlsReason(const TlsPeer& peer);

}  // namespace outlier
