// outlierctl record: a recording out of the daemon's flight recorder.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include <fmt/format.h>
#include <google/protobuf/struct.pb.h>

#include "userspace/base/file.h"
#include "userspace/base/text.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/feed_connection.h"
#include "userspace/outlierctl/filter_options.h"
#include "userspace/outlierctl/text_output.h"

namespace outlier::ctl {
namespace {

constexpr std::string_view kOutput = "-";

struct RecordOptions {
  std::string since;
  std::string output;
};

// A file that has its name only once it is whole: `path` never holds part of a recording. What is there and is no file (a pipe, a device) is
// written to as it comes; of a symbolic link, the file that it leads to.
class WholeFile {
 public:
  explicit WholeFile(std::string path) : path_(std::move(path)) {}
  WholeFile(const WholeFile&) = delete;
  WholeFile& operator=(const WholeFile&) = delete;
  ~WholeFile() {
    if (descriptor_ >= 0) close(descriptor_);
    if (made_) unlink(partial_.c_str());
  }
  // Recordings hold names of processes and paths: for the owner's eyes.
  absl::Status Open() {
    if (path_ == kOutput) {
      is_file_ = false;
      descriptor_ = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
      return descriptor_ >= 0 ? absl::OkStatus() : ErrnoStatus("write to", "the standard output", errno);
    }
    struct stat there;
    const bool exists = stat(path_.c_str(), &there) == 0;
    if (!exists && errno != ENOENT) return ErrnoStatus("create", path_, errno);
    is_file_ = !exists || S_ISREG(there.st_mode);
    if (!is_file_) {
      descriptor_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
      return descriptor_ >= 0 ? absl::OkStatus() : ErrnoStatus("open", path_, errno);
    }
    std::error_code error;  // stat() said that the links end
    for (std::filesystem::path path = path_; std::filesystem::is_symlink(path, error); path_ = path.string()) {
      path = path.parent_path() / std::filesystem::read_symlink(path, error);
      if (error) return ErrnoStatus("create", path_, error.value());
    }
    partial_ = fmt::format("{}.partial-{}", path_, getpid());
    descriptor_ = open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    made_ = descriptor_ >= 0;
    return made_ ? absl::OkStatus() : ErrnoStatus("create", path_, errno);
  }
  absl::Status Write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = write(descriptor_, bytes.data(), bytes.size());
      pollfd ready{.fd = descriptor_, .events = POLLOUT, .revents = 0};
      if (n < 0 && errno == EAGAIN && poll(&ready, 1, -1) >= 0) continue;
      if (n < 0 && errno != EINTR) return ErrnoStatus("write", path_, errno);
      if (n > 0) bytes.remove_prefix(n);
      if (n > 0) size_ += n;
    }
    return absl::OkStatus();
  }
  absl::Status Finish() {
    if (!is_file_) return absl::OkStatus();
    if (fsync(descriptor_) != 0 && errno != EINVAL) return ErrnoStatus("write", path_, errno);
    if (rename(partial_.c_str(), path_.c_str()) != 0) return ErrnoStatus("create", path_, errno);
    made_ = false;
    return absl::OkStatus();
  }
  int64_t size() const { return size_; }

 private:
  std::string path_;
  std::string partial_;
  bool is_file_ = true;
  int descriptor_ = -1;
  bool made_ = false;
  int64_t size_ = 0;
};

absl::Status Record(Context& context, const RecordOptions& options) {
  auto since = DurationOption("--since", options.since);
  if (!since.ok()) return since.status();
  auto feed = FeedConnection::Open(context.address);
  if (!feed.ok()) return feed.status();
  const bool to_output = options.output == kOutput;
  if (to_output && context.terminal) return absl::InvalidArgumentError("cannot record to the terminal: a recording is no text; name a file with --output");
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
  if (to_output) return absl::OkStatus();
  if (context.json) {
    google::protobuf::Struct written_file;
    (*written_file.mutable_fields())["file"].set_string_value(Printable(options.output));
    (*written_file.mutable_fields())["bytes"].set_number_value(static_cast<double>(file.size()));
    PrintJson(context, written_file);
  } else {
    context.out << fmt::format("{}: {}; `outlierctl replay` reads it\n", Printable(options.output), HumanValue(static_cast<double>(file.size()), "By"));
  }
  return absl::OkStatus();
}

}  // namespace

void AddRecord(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("record", "A recording out of the flight recorder");
  auto options = std::make_shared<RecordOptions>();
  command->add_option("--since", options->since, "how far back at least, such as 10m: it begins with the snapshot before that; all that is held where absent");
  command->add_option("--output", options->output, "the file to write; - for the standard output")->required();
  command->callback([&context, options] { context.action = [&context, options] { return Record(context, *options); }; });
}

}  // namespace outlier::ctl
