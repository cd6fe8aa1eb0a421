// A file system of one file, `file`, whose reads take as long as the last line on stdin says (milliseconds, 0 at first).
//
//   slow_fs MOUNT_POINT
//
// Direct I/O: without it the page cache would answer and nobody would see the delay. Ends, and unmounts, with its stdin.
#define FUSE_USE_VERSION 35
#include <errno.h>
#include <fuse3/fuse_lowlevel.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

namespace {

constexpr fuse_ino_t kFile = 2;
constexpr size_t kFileSize = 1 << 20;
std::atomic<int> delay_ms{0};

struct stat Attributes(fuse_ino_t node) {
  struct stat result = {};
  result.st_ino = node;
  result.st_mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0444;
  result.st_nlink = 1;
  result.st_size = node == kFile ? kFileSize : 0;
  return result;
}

void Lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  if (parent != FUSE_ROOT_ID || strcmp(name, "file") != 0) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  fuse_entry_param entry = {};
  entry.ino = kFile;
  entry.attr = Attributes(kFile);
  entry.attr_timeout = entry.entry_timeout = 3600;
  fuse_reply_entry(request, &entry);
}

void GetAttributes(fuse_req_t request, fuse_ino_t node, fuse_file_info*) {
  const struct stat attributes = Attributes(node);
  fuse_reply_attr(request, &attributes, 3600);
}

void Open(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  if (node != kFile) {
    fuse_reply_err(request, EISDIR);
    return;
  }
  info->direct_io = 1;
  fuse_reply_open(request, info);
}

void Read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info*) {
  usleep(1000 * delay_ms);
  const size_t left = static_cast<size_t>(offset) < kFileSize ? kFileSize - offset : 0;
  const std::string content(std::min(size, left), 'x');
  fuse_reply_buf(request, content.data(), content.size());
}

void ObeyUntilEndOfInput(const char* mount_point) {
  char line[64];
  while (fgets(line, sizeof line, stdin) != nullptr) delay_ms = atoi(line);
  // A lazy unmount ends the session's read from /dev/fuse with ENODEV, even while someone holds the file open.
  const pid_t child = fork();
  if (child == 0) {
    execlp("umount", "umount", "--lazy", mount_point, nullptr);
    _exit(127);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s MOUNT_POINT\n", argv[0]);
    return 2;
  }
  fuse_lowlevel_ops operations = {};
  operations.lookup = Lookup;
  operations.getattr = GetAttributes;
  operations.open = Open;
  operations.read = Read;
  const char* arguments[] = {argv[0], "-o", "fsname=outlier-live-slow-fs"};
  fuse_args fuse_arguments = FUSE_ARGS_INIT(3, const_cast<char**>(arguments));
  fuse_session* session = fuse_session_new(&fuse_arguments, &operations, sizeof operations, nullptr);
  if (session == nullptr || fuse_session_mount(session, argv[1]) != 0) return 1;
  std::thread(ObeyUntilEndOfInput, argv[1]).detach();
  fuse_session_loop(session);
  fuse_session_unmount(session);
  return 0;
}
