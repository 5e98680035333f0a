#!/bin/sh
# install.sh [packages|python|fuzz|numa]: installs what is missing to build Samovar, and only that. Without an argument: the first two.
#
#   packages   the Debian packages of debian-packages.txt; apt-get (with sudo, unless root) runs only if one is missing
#   fuzz       those, and the packages of debian-packages-fuzz.txt
#   numa       those, and the packages of debian-packages-numa.txt; and a kernel, unpacked to build/numa-kernel
#   python     .venv with the packages of requirements.txt; pip runs only if that list is not the one installed last
#
# SAMOVAR_SKIP_APT=1              trust that the packages are there (systems other than Debian)
# SAMOVAR_BOOTSTRAP_PYTHON=PATH   the CPython (>= 3.11, with headers) to make .venv from; default /usr/bin/python3, since a
#                                 python3 found first in PATH (pyenv, conda) is often not the one python3-dev has headers for
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=$root/.venv
package_lists=debian-packages.txt
requirements=$here/requirements.txt
installed=$venv/samovar-requirements.txt # a copy of the list that pip finished last
bootstrap_python=${SAMOVAR_BOOTSTRAP_PYTHON:-/usr/bin/python3}

say() { printf 'setup: %s\n' "$*"; }

fail() { # each argument is a line: what, why, what to do next
  printf 'setup: error: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '       %s\n' "$line" >&2; done
  exit 1
}

# shellcheck disable=SC2086  # one word a list
wanted_packages() { (cd "$here" && sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' $package_lists); }

missing_packages() { # a package that was removed but not purged is known to dpkg, too: only "installed" counts
  # shellcheck disable=SC2046  # one word a package
  there=$(dpkg-query -W -f='${Package}=${db:Status-Status} ' $(wanted_packages) 2>/dev/null || true)
  for package in $(wanted_packages); do
    case " $there" in
      *" $package=installed "*) ;;
      *) printf '%s ' "$package" ;;
    esac
  done
}

run_apt() { # its output goes to a log, since it says hundreds of lines; the end of it is shown on failure
  # shellcheck disable=SC2086  # $as_root is a command of one or no words
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@" \
    >>"$log" 2>&1 </dev/null && return 0
  tail -n 15 "$log" >&2
  return 1
}

install_packages() {
  if [ "${SAMOVAR_SKIP_APT:-0}" = 1 ]; then
    say "SAMOVAR_SKIP_APT=1: not looking at Debian packages."
    return 0
  fi
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    fail "this is not a Debian system (no apt-get), so packages cannot be installed here." \
      "Install by hand what these Debian 12 packages hold:" \
      "  $(wanted_packages | tr '\n' ' ')" \
      "and go on with SAMOVAR_SKIP_APT=1 make ..."
  fi

  missing=$(missing_packages)
  if [ -z "$missing" ]; then
    say "Debian packages: all there."
    return 0
  fi
  as_root=
  if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
    if ! command -v sudo >/dev/null; then
      fail "Debian packages are missing, and installing them needs root or sudo; neither is here." \
        "As root: apt-get update && apt-get install --no-install-recommends $missing" \
        "then run make again."
    fi
  fi

  mkdir -p "$root/build"
  log=$root/build/setup-apt.log
  : >"$log"
  say "Debian packages to install${as_root:+ (with sudo)}: $missing"
  say "fetching the package lists (apt-get update) ..."
  run_apt update || say "apt-get update failed (see above); trying with the package lists that are there."
  say "installing; takes a minute or so, see build/setup-apt.log ..."
  # shellcheck disable=SC2086  # one word a package
  run_apt install --no-install-recommends $missing || fail "apt-get install failed; the lines above are the end of $log." \
    "Still missing: $(missing_packages)" \
    "Mend apt or install them by hand, then run make again; or SAMOVAR_SKIP_APT=1 make ... to go on without them."
  say "Debian packages: done."
}

fetch_kernel() { # into build/numa-kernel: nothing of it is installed, and this machine boots as before
  kernel=$root/build/numa-kernel
  if ls "$kernel"/boot/vmlinuz-* >/dev/null 2>&1; then
    say "kernel for tests/numa: there."
    return 0
  fi
  meta=linux-image-cloud-$(dpkg --print-architecture)
  package=$(apt-cache depends --important "$meta" 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
  [ -n "$package" ] || fail "apt knows no kernel of the package $meta." \
    "tests/numa boots one with two NUMA nodes. Mend apt's lists (apt-get update), then run make soak again."
  say "fetching $package for tests/numa; it is unpacked, not installed ..."
  rm -rf "$kernel"
  mkdir -p "$kernel"
  # shellcheck disable=SC2015  # not an if-then-else: each step that fails ends here
  (cd "$kernel" && apt-get -q download "$package" && dpkg-deb --fsys-tarfile ./*.deb | tar -x --wildcards './boot/vmlinuz-*') \
    >>"$root/build/setup-apt.log" 2>&1 && ls "$kernel"/boot/vmlinuz-* >/dev/null 2>&1 ||
    fail "$package could not be fetched and unpacked; see the end of build/setup-apt.log." \
      "If the package archive was out of reach, run make soak again."
  rm -f "$kernel"/*.deb
}

check_bootstrap_python() {
  [ -x "$bootstrap_python" ] || fail "no Python at $bootstrap_python." \
    "On Debian: apt-get install python3-venv python3-dev." \
    "Or name another one, CPython >= 3.11 with its headers: SAMOVAR_BOOTSTRAP_PYTHON=/path/to/python3 make setup"
  "$bootstrap_python" - <<'PYTHON' || fail "$bootstrap_python will not do: CPython >= 3.11 with the venv module is needed." \
    "Name another one: SAMOVAR_BOOTSTRAP_PYTHON=/path/to/python3 make setup"
import sys, ensurepip, venv
sys.exit(sys.implementation.name != "cpython" or sys.version_info < (3, 11))
PYTHON
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

install_python() {
  if "$venv/bin/python" -c '' 2>/dev/null && cmp -s "$requirements" "$installed"; then
    touch "$installed" # newer than the list, for make
    say "Python packages in .venv: all there."
    return 0
  fi
  if ! pip --version >/dev/null 2>&1; then
    check_bootstrap_python
    if [ -e "$venv" ]; then
      say ".venv does not work; making it anew from $bootstrap_python ..."
    else
      say "making .venv from $bootstrap_python ..."
    fi
    "$bootstrap_python" -m venv --clear "$venv" || fail "$bootstrap_python -m venv failed, see above." \
      "On Debian: apt-get install python3-venv, then run make again."
  fi
  say "installing pinned Python packages into .venv (pip, takes a while) ..."
  rm -f "$installed"
  pip install --quiet --no-deps --only-binary :all: -r "$requirements" ||
    fail "pip could not install tools/setup/requirements.txt, see above." \
      "If the package index was out of reach, run make again." \
      "If a wheel is missing for your Python, name another one: rm -r .venv; SAMOVAR_BOOTSTRAP_PYTHON=/path/to/python3 make setup"
  pip check >/dev/null || fail "the pins of tools/setup/requirements.txt do not fit together:" "$(pip check)"
  cp "$requirements" "$installed"
  say "Python packages: done."
}

case ${1:-all} in
  packages) install_packages ;;
  python) install_python ;;
  fuzz)
    package_lists="$package_lists debian-packages-fuzz.txt"
    install_packages
    ;;
  numa)
    package_lists="$package_lists debian-packages-numa.txt"
    install_packages
    fetch_kernel
    ;;
  all)
    install_packages
    install_python
    ;;
  *) fail "unknown argument '$1'." "Usage: tools/setup/install.sh [packages|python|fuzz|numa]" ;;
esac
