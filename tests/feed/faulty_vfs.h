// SQLite's file system with a switch: the n-th write, sync or truncation from now fails. Only for files opened through it.
#pragma once
#include <sqlite3.h>

#include <cstring>

namespace outlier {

class FaultyVfs {
 public:
  static inline int countdown = 0;           // 0 = off; at 1 the next call fails, and all after it while `lasting`
  static inline int code = SQLITE_FULL;
  static inline bool lasting = false;
  static inline bool fired = false;

  // Makes it the default of this process.
  static void Install() {
    static sqlite3_vfs vfs;
    if (vfs.zName != nullptr) return;
    real_ = sqlite3_vfs_find(nullptr);
    vfs = *real_;
    vfs.zName = "faulty";
    vfs.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
    vfs.xOpen = [](sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
      File* f = reinterpret_cast<File*>(file);
      std::memset(static_cast<void*>(f), 0, sizeof(File));
      const int result = real_->xOpen(real_, name, Inner(file), flags, out);
      if (Inner(file)->pMethods != nullptr) file->pMethods = Methods();
      return result;
    };
    sqlite3_vfs_register(&vfs, 1);
  }

 private:
  struct File {
    sqlite3_file base;
    long long padding;  // keeps the real file behind it aligned
  };
  static sqlite3_file* Inner(sqlite3_file* f) { return reinterpret_cast<sqlite3_file*>(reinterpret_cast<File*>(f) + 1); }
  static bool Fails() {
    if (countdown == 0) return false;
    if (countdown > 1) {
      --countdown;
      return false;
    }
    if (!lasting) countdown = 0;
    return fired = true;
  }
  static const sqlite3_io_methods* Methods() {
    static sqlite3_io_methods m;
    m.iVersion = 2;
    m.xClose = [](sqlite3_file* f) { return Inner(f)->pMethods->xClose(Inner(f)); };
    m.xRead = [](sqlite3_file* f, void* p, int n, sqlite3_int64 at) { return Inner(f)->pMethods->xRead(Inner(f), p, n, at); };
    m.xWrite = [](sqlite3_file* f, const void* p, int n, sqlite3_int64 at) {
      return Fails() ? code : Inner(f)->pMethods->xWrite(Inner(f), p, n, at);
    };
    m.xTruncate = [](sqlite3_file* f, sqlite3_int64 n) { return Fails() ? code : Inner(f)->pMethods->xTruncate(Inner(f), n); };
    m.xSync = [](sqlite3_file* f, int flags) {
      return Fails() ? (code == SQLITE_FULL ? SQLITE_IOERR_FSYNC : code) : Inner(f)->pMethods->xSync(Inner(f), flags);
    };
    m.xFileSize = [](sqlite3_file* f, sqlite3_int64* n) { return Inner(f)->pMethods->xFileSize(Inner(f), n); };
    m.xLock = [](sqlite3_file* f, int level) { return Inner(f)->pMethods->xLock(Inner(f), level); };
    m.xUnlock = [](sqlite3_file* f, int level) { return Inner(f)->pMethods->xUnlock(Inner(f), level); };
    m.xCheckReservedLock = [](sqlite3_file* f, int* out) { return Inner(f)->pMethods->xCheckReservedLock(Inner(f), out); };
    m.xFileControl = [](sqlite3_file* f, int op, void* p) { return Inner(f)->pMethods->xFileControl(Inner(f), op, p); };
    m.xSectorSize = [](sqlite3_file* f) { return Inner(f)->pMethods->xSectorSize(Inner(f)); };
    m.xDeviceCharacteristics = [](sqlite3_file* f) { return Inner(f)->pMethods->xDeviceCharacteristics(Inner(f)); };
    m.xShmMap = [](sqlite3_file* f, int a, int b, int c, void volatile** p) { return Inner(f)->pMethods->xShmMap(Inner(f), a, b, c, p); };
    m.xShmLock = [](sqlite3_file* f, int a, int b, int c) { return Inner(f)->pMethods->xShmLock(Inner(f), a, b, c); };
    m.xShmBarrier = [](sqlite3_file* f) { Inner(f)->pMethods->xShmBarrier(Inner(f)); };
    m.xShmUnmap = [](sqlite3_file* f, int d) { return Inner(f)->pMethods->xShmUnmap(Inner(f), d); };
    return &m;
  }
  static inline sqlite3_vfs* real_ = nullptr;
};

}  // namespace outlier
