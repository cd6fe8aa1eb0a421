// Archives: one `template <class A> void Serialize(A& a)` a type serves both directions, so that what is saved and what
// is read cannot drift apart. Little-endian, no alignment, lengths before sequences. The reader never trusts a length: it is checked against what is left before
// anything is allocated, and a first failure makes all later reads yield zeros.
#pragma once
#include <Eigen/Core>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace outlier {

static_assert(std::endian::native == std::endian::little, "archives are written in the byte order of x86-64 and arm64");

template <class Derived>
class ArchiveBase {
 public:
  template <class... Ts>
  void operator()(Ts&... values) {
    (self().Value(values), ...);
  }

 protected:
  Derived& self() { return static_cast<Derived&>(*this); }
};

class ArchiveWriter : public ArchiveBase<ArchiveWriter> {
 public:
  static constexpr bool kReading = false;
  explicit ArchiveWriter(std::string* out) : out_(out) {}

  template <class T>
  void Value(const T& v) {
    if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
      out_->append(reinterpret_cast<const char*>(&v), sizeof v);
    } else {
      const_cast<T&>(v).Serialize(*this);
    }
  }
  void Value(const std::string& v) {
    Length(v.size());
    out_->append(v);
  }
  template <class T>
  void Value(const std::vector<T>& v) {
    Sequence(v);
  }
  template <class T>
  void Value(const std::deque<T>& v) {
    Sequence(v);
  }
  template <class T, size_t N>
  void Value(const std::array<T, N>& v) {
    for (const T& item : v) Value(item);
  }
  template <class K, class V>
  void Value(const std::map<K, V>& v) {
    Length(v.size());
    for (const auto& [key, item] : v) {
      Value(key);
      Value(item);
    }
  }
  template <class T>
  void Value(const std::optional<T>& v) {
    Value(v.has_value());
    if (v) Value(*v);
  }
  template <class S, int R, int C, int O, int MR, int MC>
  void Value(const Eigen::Array<S, R, C, O, MR, MC>& v) {
    Value(static_cast<int64_t>(v.rows()));
    Value(static_cast<int64_t>(v.cols()));
    out_->append(reinterpret_cast<const char*>(v.data()), v.size() * sizeof(S));
  }

 private:
  void Length(uint64_t n) { Value(n); }
  template <class Container>
  void Sequence(const Container& v) {
    Length(v.size());
    for (size_t i = 0; i < v.size(); ++i) Value(static_cast<const typename Container::value_type&>(v[i]));
  }
  std::string* out_;
};

class ArchiveReader : public ArchiveBase<ArchiveReader> {
 public:
  static constexpr bool kReading = true;
  // `layout`: of what is read, where its writer numbers them; UINT32_MAX = the one of this build.
  explicit ArchiveReader(std::string_view in, uint32_t layout = UINT32_MAX) : in_(in), layout_(layout) {}
  uint32_t layout() const { return layout_; }
  bool ok() const { return ok_; }
  bool done() const { return ok_ && in_.empty(); }
  void Fail() { ok_ = false; }

  template <class T>
  void Value(T& v) {
    if constexpr (std::is_same_v<T, bool>) {
      uint8_t byte = 0;
      Take(&byte, 1);
      v = byte != 0;
    } else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
      v = T{};
      Take(&v, sizeof v);
    } else {
      v.Serialize(*this);
    }
  }
  void Value(std::string& v) {
    const uint64_t n = Length(1);
    v.assign(in_.substr(0, n));
    in_.remove_prefix(n);
  }
  template <class T>
  void Value(std::vector<T>& v) {
    Sequence(v);
  }
  template <class T>
  void Value(std::deque<T>& v) {
    Sequence(v);
  }
  template <class T, size_t N>
  void Value(std::array<T, N>& v) {
    for (T& item : v) Value(item);
  }
  template <class K, class V>
  void Value(std::map<K, V>& v) {
    v.clear();
    for (uint64_t n = Length(1); n > 0 && ok_; --n) {
      K key{};
      V item{};
      Value(key);
      Value(item);
      if (ok_) v.emplace(std::move(key), std::move(item));
    }
  }
  template <class T>
  void Value(std::optional<T>& v) {
    bool has = false;
    Value(has);
    v.reset();
    if (has) Value(v.emplace());
  }
  template <class S, int R, int C, int O, int MR, int MC>
  void Value(Eigen::Array<S, R, C, O, MR, MC>& v) {
    int64_t rows = 0, cols = 0;
    Value(rows);
    Value(cols);
    const bool fits = rows >= 0 && cols >= 0 && (R == Eigen::Dynamic || rows == R) && (C == Eigen::Dynamic || cols == C) &&
                      (cols == 0 || static_cast<uint64_t>(rows) <= in_.size() / sizeof(S) / static_cast<uint64_t>(cols));
    if (!ok_ || !fits) {
      ok_ = false;
      return;
    }
    v.resize(rows, cols);
    Take(v.data(), v.size() * sizeof(S));
  }

 private:
  void Take(void* to, size_t n) {
    if (!ok_ || n > in_.size()) {
      ok_ = false;
      return;
    }
    if (n > 0) std::memcpy(to, in_.data(), n);
    in_.remove_prefix(n);
  }
  // A count of items that take at least `least` bytes each.
  uint64_t Length(uint64_t least) {
    uint64_t n = 0;
    Value(n);
    if (n > in_.size() / least) {
      ok_ = false;
      n = 0;
    }
    return ok_ ? n : 0;
  }
  template <class Container>
  void Sequence(Container& v) {
    v.clear();
    for (uint64_t n = Length(1); n > 0 && ok_; --n) {
      typename Container::value_type item{};
      Value(item);
      if (ok_) v.push_back(std::move(item));
    }
  }
  std::string_view in_;
  uint32_t layout_;
  bool ok_ = true;
};

}  // namespace outlier
