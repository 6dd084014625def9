#!/usr/bin/env bash
# Every test, with all of its own set-up.
#
#   scripts/test.sh                 installs what is missing (Node, npm packages, and as root Debian packages), then tests
#   scripts/test.sh --no-install    leaves the system alone: what is missing is skipped, and says so
#   scripts/test.sh --quick         without the Docker tests
#
# Where CI is set, a missing part is a failure. Ends with one line alone: `N passed, N failed` (`, N skipped`).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

install=yes
docker=yes
for word in "$@"; do
  case $word in
    --no-install) install=no ;;
    --quick) docker=no ;;
    *)
      echo "scripts/test.sh: unknown option $word; expected --no-install or --quick" >&2
      exit 2
      ;;
  esac
done

passed=0 failed=0 skipped=0
counts=$(mktemp) || exit 1
trap 'rm -f "$counts"' EXIT
export ROLLCALL_COUNTS=$counts

finish() {
  while read -r p f s; do
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  done <"$counts"
  local line="$passed passed, $failed failed"
  if ((skipped > 0)); then line="$line, $skipped skipped"; fi
  echo "$line"
  if ((failed > 0)); then exit 1; else exit 0; fi
}

# Runs one thing that is a single pass or fail.
step() {
  local name=$1
  shift
  echo "== $name"
  if "$@"; then passed=$((passed + 1)); else
    echo "FAILED: $name" >&2
    failed=$((failed + 1))
    return 1
  fi
}

# Parts of the machine that tests need: command and Debian package.
need() {
  command -v "$1" >/dev/null && return 0
  if [[ $install == yes && $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "== installing $2"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "$2" >/dev/null 2>&1 ||
      { apt-get update -qq >/dev/null 2>&1 && apt-get install -y -qq --no-install-recommends "$2" >/dev/null 2>&1; }
  fi
  command -v "$1" >/dev/null && return 0
  echo "missing: $1 (Debian package $2); tests that need it are skipped" >&2
  return 1
}

# Brings Node, where the system's is older or absent, and the packages.
[[ -d node_modules ]] || need npm npm
source scripts/node.sh || { failed=1 && finish; }
if [[ ! -d node_modules || package-lock.json -nt node_modules/.package-lock.json ]]; then
  if [[ $install == no && ! -d node_modules ]]; then
    echo "scripts/test.sh: node_modules is missing and --no-install was given; run: scripts/node.sh npm ci" >&2
    failed=1
    finish
  fi
  echo "== npm ci"
  npm ci --silent || { failed=1 && finish; }
fi

PATH=$PWD/node_modules/.bin:$PATH
need dig dnsutils
need redis-server redis-server

step 'types' tsc
step 'lint and format' biome check --error-on-warnings .

# mocha reports its own counts; a run that dies before it can is one failure.
mocha() {
  local before
  before=$(wc -l <"$counts")
  command mocha --reporter scripts/counting-reporter.cjs "$@"
  if (($(wc -l <"$counts") == before)); then
    echo "FAILED: mocha ended without a result: $*" >&2
    failed=$((failed + 1))
  fi
}

echo '== unit, scenario, simulation, api and house tests'
mocha

if [[ $docker == yes ]]; then
  echo '== Docker tests'
  if [[ $(id -u) != 0 ]]; then
    echo 'skipped: the Docker tests make network namespaces and engines, and need root' >&2
    if [[ -n ${CI:-} ]]; then failed=$((failed + 1)); else skipped=$((skipped + 1)); fi
  elif [[ $install == no ]] && ! command -v dockerd >/dev/null; then
    echo 'skipped: no dockerd, and --no-install was given' >&2
    skipped=$((skipped + 1))
  else
    mocha --config test/docker/mocharc.json
  fi
fi
finish
