// Runs outlierctl in-process and keeps what it said.
#pragma once
#include <mutex>
#include <sstream>
#include <streambuf>
#include <string>
#include <thread>
#include <vector>

#include "outlier/v1/feed.pb.h"
#include "userspace/outlierctl/context.h"

namespace outlier::ctl {

struct Outcome {
  int status = 0;
  std::string out;
  std::string err;
  std::vector<std::string> lines() const;  // of out
};

// 2026-11-22 14:05:00 UTC: "now" of every run.
absl::Time TestNow();

Outcome RunCtl(const std::string& address, std::vector<std::string> arguments);

// An incident with something in every field: opened 14:02:15, onset 14:02:11.
v1::Incident SampleIncident(const std::string& id, const std::string& workload);
v1::IncidentChange SampleChange(v1::IncidentChange::Kind kind, const v1::Incident& incident);

// A run in the background, ended by Interrupt(); out and err may be looked at meanwhile.
class BackgroundRun {
 public:
  BackgroundRun(const std::string& address, std::vector<std::string> arguments);
  ~BackgroundRun();
  // True once `out()` (or err) holds `text`; false after 20 s.
  bool WaitForOut(const std::string& text);
  bool WaitForErr(const std::string& text);
  Outcome End();

 private:
  class SharedBuffer : public std::streambuf {
   public:
    std::string text() const;

   protected:
    int_type overflow(int_type c) override;
    std::streamsize xsputn(const char* bytes, std::streamsize n) override;

   private:
    mutable std::mutex mutex_;
    std::string text_;
  };
  static bool WaitFor(const SharedBuffer& buffer, const std::string& text);

  SharedBuffer out_buffer_, err_buffer_;
  std::ostream out_{&out_buffer_}, err_{&err_buffer_};
  Interrupt interrupt_;
  int status_ = -1;
  std::thread thread_;
};

}  // namespace outlier::ctl
