// Protobuf messages inside archives.
#pragma once
#include <string>

#include "userspace/base/archive.h"

namespace outlier {

template <class Archive, class Message>
void SerializeMessage(Archive& archive, Message& message) {
  std::string bytes;
  if constexpr (Archive::kReading) {
    archive(bytes);
    if (!message.ParseFromString(bytes)) archive.Fail();
  } else {
    bytes = message.SerializeAsString();
    archive(bytes);
  }
}

}  // namespace outlier
