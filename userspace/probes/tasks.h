// The user half of probe `tasks`: records of the scan as ProcessSamples.
#pragma once
#include <array>
#include <span>
#include <vector>

#include "bpf/abi.h"
#include "userspace/stream/tick_input.h"

namespace outlier {

// By key, each process once: of two records the later stays (the scan's second pass).
void OrderRecords(std::vector<outlier_process>* records);

// Completes brief records (OUTLIER_PROCESS_BRIEF) with what was told of the same process last. Records ordered by key.
class RecordCompleter {
 public:
  void Complete(std::vector<outlier_process>* records);

 private:
  struct Told {
    ProcessKey key;
    uint32_t user_id = 0;
    int64_t rss_file_pages = 0, rss_anonymous_pages = 0, rss_shared_pages = 0, swap_pages = 0;
    std::array<char, OUTLIER_COMM_BYTES> comm{};
  };
  std::vector<Told> told_, next_;  // ordered by key
};

// One sample a record, in the same order.
std::vector<ProcessSample> ProcessSamples(std::span<const outlier_process> records, uint64_t page_bytes);

// The fixed-size name of a task: up to the first NUL, any bytes.
std::string CommText(const char (&comm)[OUTLIER_COMM_BYTES]);

}  // namespace outlier
