# Sourced by ./run and ./test, from the root of the tree: installs what is missing, configures, builds.

say() { printf '%s\n' "$*" >&2; }
fail() { say "$0: $*"; exit 1; }

# Installs the packages of deploy/packages.txt of these kinds that are not there. Nothing is fetched when nothing is missing.
install_packages() {
  local wanted missing=() package as_root=()
  mapfile -t wanted < <(awk -v kinds=" $* " '!/^#/ && NF && index(kinds, " " $2 " ") {print $1}' deploy/packages.txt)
  command -v dpkg-query >/dev/null || fail "this is not Debian: install the equivalents of deploy/packages.txt, then build with cmake"
  local installed
  # What an installed package provides is there too: some builds of nodejs bring npm and conflict with the package of that name.
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' 2>/dev/null |
    awk '$1 == "installed" {for (i = 2; i <= NF; i++) {sub(/,$/, "", $i); print $i}}')
  for package in "${wanted[@]}"; do
    grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
      as_root=(sudo)
    else
      fail "packages are missing and installing them takes root; have somebody run: apt-get install ${missing[*]}"
    fi
  fi
  say "installing ${#missing[@]} packages: ${missing[*]}"
  # Servers among them are for tests, which start their own: the packages' must not start. In a shell of its own, so that however it ends the
  # host's services may start again.
  (
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
      trap '"${as_root[@]}" rm -f $policy' EXIT
      trap 'exit 1' INT TERM HUP
      printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 755 /dev/stdin $policy
    fi
    install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 -qq install -y --no-install-recommends "${missing[@]}")
    "${install[@]}" </dev/null >/dev/null 2>&1 && exit
    "${as_root[@]}" apt-get -qq update </dev/null || fail "apt-get update failed; see its message above"
    "${install[@]}" </dev/null >/dev/null || fail "apt-get could not install: ${missing[*]}"
  ) || exit 1
}

# Configures when the set of build files has changed (ninja itself sees changes within them), then builds the given targets, or all.
build() {
  export HOME=${HOME:-/root}  # ccache keeps its cache there
  export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1  # another checkout of the same tree finds it warm
  local files program
  if [ -e build/build.ninja ] && [ ! -w build/build.ninja ]; then  # another user built here
    [ $# -gt 0 ] || fail "build/ belongs to another user: remove it, or work in a tree of your own"
    for program in "$@"; do
      [ -x "build/bin/$program" ] || fail "build/ belongs to another user and holds no $program: remove it, or work in a tree of your own"
    done
    say "build/ belongs to another user: used as it is, not brought up to date"
    return
  fi
  files=$(find . -path './build*' -prune -o \( -name CMakeLists.txt -o -name '*.cmake' \) -print | sort | cksum)
  if [ ! -f build/build.ninja ] || [ "$(cat build/.configured 2>/dev/null)" != "$files" ]; then
    say "configuring"
    mkdir -p build
    cmake -B build -G Ninja -S . -DCMAKE_BUILD_TYPE=RelWithDebInfo >build/configure.log 2>&1 || { tail -20 build/configure.log >&2; fail "cmake failed"; }
    printf '%s\n' "$files" >build/.configured
  fi
  ninja -C build -j "$(build_jobs)" "$@" >&2 || fail "the build failed; see the messages above"
}

# As many compilers as there are processors, and no more than memory bears: one on gRPC's headers takes about a GiB.
build_jobs() {
  local by_memory processors
  by_memory=$(awk '/MemAvailable/ {print int($2 / 1048576 / 1.2)}' /proc/meminfo)
  processors=$(nproc)
  [ "$by_memory" -lt "$processors" ] && processors=$by_memory
  [ "$processors" -lt 1 ] && processors=1
  echo "$processors"
}
