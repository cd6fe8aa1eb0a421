// outlierctl record: a recording out of the daemon's flight recorder.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include <fmt/format.h>

#include "userspace/base/file.h"
#include "userspace/base/text.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/feed_connection.h"
#include "userspace/outlierctl/filter_options.h"

namespace outlier::ctl {
namespace {

struct RecordOptions {
  std::string since;
  std::string output;
};

// A file that has its name only once it is whole: `path` never holds part of a recording.
class WholeFile {
 public:
  explicit WholeFile(std::string path) : path_(std::move(path)), partial_(fmt::format("{}.partial-{}", path_, getpid())) {}
  WholeFile(const WholeFile&) = delete;
  WholeFile& operator=(const WholeFile&) = delete;
  ~WholeFile() {
    if (descriptor_ >= 0) close(descriptor_);
    if (made_) unlink(partial_.c_str());
  }
  // Recordings hold names of processes and paths: for the owner's eyes.
  absl::Status Open() {
    descriptor_ = open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    made_ = descriptor_ >= 0;
    return made_ ? absl::OkStatus() : ErrnoStatus("create", path_, errno);
  }
  absl::Status Write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = write(descriptor_, bytes.data(), bytes.size());
      if (n < 0 && errno != EINTR) return ErrnoStatus("write", path_, errno);
      if (n > 0) bytes.remove_prefix(n);
      if (n > 0) size_ += n;
    }
    return absl::OkStatus();
  }
  absl::Status Finish() {
    if (fsync(descriptor_) != 0 && errno != EINVAL) return ErrnoStatus("write", path_, errno);
    if (rename(partial_.c_str(), path_.c_str()) != 0) return ErrnoStatus("create", path_, errno);
    made_ = false;
    return absl::OkStatus();
  }
  int64_t size() const { return size_; }

 private:
  std::string path_;
  std::string partial_;
  int descriptor_ = -1;
  bool made_ = false;
  int64_t size_ = 0;
};

absl::Status Record(Context& context, const RecordOptions& options) {
  auto since = DurationOption("--since", options.since);
  if (!since.ok()) return since.status();
  auto feed = FeedConnection::Open(context.address);
  if (!feed.ok()) return feed.status();
  WholeFile file(options.output);
  if (absl::Status s = file.Open(); !s.ok()) return s;
  v1::ExportRecordingRequest request;
  *request.mutable_since() = ToProto(*since);
  grpc::ClientContext call;
  const auto stream = feed->stub().ExportRecording(&call, request);
  v1::ExportRecordingResponse response;
  absl::Status written;
  while (written.ok() && stream->Read(&response)) written = file.Write(response.chunk());
  if (!written.ok()) call.TryCancel();
  const grpc::Status ended = stream->Finish();
  if (!written.ok()) return written;
  if (absl::Status s = feed->Describe(ended, "export a recording"); !s.ok()) return s;
  if (file.size() == 0) return absl::NotFoundError(fmt::format("cannot record to {}: the daemon holds no recording of that time", options.output));
  if (absl::Status s = file.Finish(); !s.ok()) return s;
  if (!context.json) {
    context.out << fmt::format("{}: {}; `outlierctl replay` reads it\n", Printable(options.output), HumanValue(static_cast<double>(file.size()), "By"));
  }
  return absl::OkStatus();
}

}  // namespace

void AddRecord(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("record", "A recording out of the flight recorder");
  auto options = std::make_shared<RecordOptions>();
  command->add_option("--since", options->since, "how far back, such as 10m; all that is held where absent");
  command->add_option("--output", options->output, "the file to write")->required();
  command->callback([&context, options] { context.action = [&context, options] { return Record(context, *options); }; });
}

}  // namespace outlier::ctl
