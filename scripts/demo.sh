#!/usr/bin/env bash
# Shows the whole thing on this one machine: three hosts, an application on two of them, a client on the third.
#
#   scripts/demo.sh [--docker | --loopback] [--once] [--no-install]
#
#   --docker       three real Docker engines, with everything typed as on three real hosts (root; Debian's docker.io
#                  is installed when it is missing)
#   --loopback     three agents, the application and the client as plain processes on 127.0.77.22, .16 and .17
#                  (neither given: it chooses, and says why)
#   --once         tear everything down again at the end
#   --no-install   install nothing on this machine; fail and name what is missing
#
#   scripts/demo.sh --down        tear down what an earlier run left running
#
# It checks what it shows: exit 0 means that every step did what it should, anything else comes with the reason.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
mode='' once=no install=yes down=no

if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
title() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
say() { printf '%s\n' "$*"; }
note() { printf '%s%s%s\n' "$dim" "$*" "$plain"; }
# Conditions are waited for with their output thrown away; a reason to give up is said all the same.
exec {told}>&2
fail() {
  printf '\nscripts/demo.sh: %s\n' "$*" >&$told
  exit 1
}

for argument in "$@"; do
  case $argument in
    --docker | --loopback)
      [[ -z $mode || $mode == "${argument#--}" ]] || fail '--docker or --loopback, not both'
      mode=${argument#--}
      ;;
    --once) once=yes ;;
    --no-install) install=no ;;
    --down) down=yes ;;
    -h | --help)
      sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    *) fail "unknown option \"$argument\"; see scripts/demo.sh --help" ;;
  esac
done

# until_so SECONDS WHAT COMMAND...: waits for a state; fails naming what never came true.
until_so() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "$what: not so in time"
    sleep 0.2
  done
}

# in_order FILE PATTERN...: every extended pattern matches, each on a later line than the one before. On failure
# names the first that does not, in $missing_pattern.
in_order() {
  local file=$1 line=0 found pattern
  shift
  for pattern in "$@"; do
    found=$(tail -n "+$((line + 1))" "$file" | grep -nE -m1 -e "$pattern" | head -n1) || true
    if [[ -z $found ]]; then
      missing_pattern=$pattern
      return 1
    fi
    line=$((line + ${found%%:*}))
  done
}

# shows WHAT FILE PATTERN...: waits until the file shows the patterns in that order.
shows() {
  local what=$1 file=$2 deadline=$((SECONDS + 40))
  shift 2
  until in_order "$file" "$@"; do
    if ((SECONDS >= deadline)); then
      sed 's/^/  | /' "$file" >&$told
      fail "$what: expected, in order, a line like /$missing_pattern/; what it said is above"
    fi
    sleep 0.2
  done
}

# report_of FILE: the newest report of the client: four instances, two lines each.
report_of() { tail -n 200 "$1" | awk '/^Application /{ held = $0; next } /^We can also/ && held { print held; print; held = "" }' | tail -n 8; }

# report_is_complete FILE ADDRESS1 ADDRESS2: both hosts, both ports, and DNS with both addresses on every line.
report_is_complete() {
  report_of "$1" | awk -v one="$2" -v two="$3" '
    /^Application distributed_app with element server[12] on port 200[12] found on node host[12] \(/ {
      if (!seen[$0]++) instances++
      ports[$8] = 1; nodes[$12 $13] = 1 }
    /^We can also resolve DNS - distributed_app resolves to / && index($0, one) && index($0, two) { resolved++ }
    END { exit !(instances == 4 && resolved == 4 && ports["2001"] && ports["2002"] &&
      nodes["host1(" one ")."] && nodes["host2(" two ")."]) }'
}

source "$root/scripts/demo/loopback.sh"
source "$root/scripts/demo/docker.sh"

if [[ $down == yes ]]; then
  loopback_down
  docker_down
  exit 0
fi

if [[ -z $mode ]]; then
  if ((EUID != 0)); then
    mode=loopback
    say 'Choosing --loopback: three Docker engines on one machine need root.'
  elif ! PATH=$PATH:/usr/sbin:/sbin command -v dockerd >/dev/null; then
    mode=loopback
    say 'Choosing --loopback: no Docker engine is installed here (--docker would install one).'
  else
    mode=docker
    say 'Choosing --docker: you are root and a Docker engine is installed.'
  fi
fi

# Brings Node and the packages; both modes need them. A Node the system has stays as it is.
if [[ ! -d node_modules && $install == yes ]] && ((EUID == 0)) && ! command -v npm >/dev/null && command -v apt-get >/dev/null; then
  say 'Installing npm (apt-get install npm) …'
  export DEBIAN_FRONTEND=noninteractive
  npm_packages() { apt-get install -y --no-install-recommends nodejs npm >/dev/null 2>&1; }
  # Without it, what follows says what is missing.
  npm_packages || { apt-get update >/dev/null 2>&1 && npm_packages; } || true
fi
source "$root/scripts/node.sh" || fail 'there is no Node to run this with, see above'
if [[ ! -e node_modules/.package-lock.json || package-lock.json -nt node_modules/.package-lock.json ]]; then
  say 'Installing the npm packages (npm ci) …'
  npm ci --silent || fail 'npm ci failed; the packages come from the npm registry that npm is configured with'
  touch node_modules/.package-lock.json
fi

"demo_$mode"
