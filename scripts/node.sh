#!/usr/bin/env bash
# Brings a Node new enough to run TypeScript directly (22.18 or newer), and puts it first on PATH.
#
#   source scripts/node.sh     PATH of this shell then has it
#   scripts/node.sh CMD ARGS   runs CMD with it;   scripts/node.sh  alone prints the folder
#
# When the system's Node is new enough nothing is done. Otherwise the npm package of that exact version is
# unpacked into .node/ in this repository, which git ignores; no install script runs and the system stays as it is.
# Where no npm is installed at all, it says which Debian packages bring one.

rollcall_node_version=24.21.0

rollcall_node_is_new_enough() {
  "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 18) ? 0 : 1)' 2>/dev/null
}

rollcall_node() {
  local root architecture package folder system stage
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || return 1
  if [[ -z ${ROLLCALL_NODE_IGNORE_SYSTEM:-} ]]; then
    system=$(command -v node || true)
    if [[ -n $system ]] && rollcall_node_is_new_enough "$system"; then
      dirname "$system"
      return 0
    fi
  fi
  case $(uname -m) in
    x86_64) architecture=x64 ;;
    aarch64 | arm64) architecture=arm64 ;;
    *)
      echo "scripts/node.sh: no Node is packaged for $(uname -m); install Node 22.18 or newer yourself and run this again" >&2
      return 1
      ;;
  esac
  package=node-linux-$architecture
  folder=$root/.node/$rollcall_node_version-$architecture
  if [[ ! -x $folder/bin/node ]]; then
    if ! command -v npm >/dev/null; then
      echo "scripts/node.sh: found neither Node 22.18 or newer nor npm to bring one; on Debian: apt-get install -y nodejs npm" >&2
      return 1
    fi
    echo "scripts/node.sh: bringing Node $rollcall_node_version into .node/ (the system's is older or absent)" >&2
    mkdir -p "$root/.node" || return 1
    stage=$(mktemp -d "$root/.node/stage.XXXXXX") || return 1
    (cd "$stage" && npm pack --silent "$package@$rollcall_node_version" >/dev/null && tar -xzf "$package-$rollcall_node_version.tgz") || {
      rm -rf "$stage"
      echo "scripts/node.sh: could not bring $package@$rollcall_node_version through npm; install Node 22.18 or newer yourself and run this again" >&2
      return 1
    }
    # Another run may have been quicker; then its folder serves.
    mv -T "$stage/package" "$folder" 2>/dev/null || true
    rm -rf "$stage"
  fi
  rollcall_node_is_new_enough "$folder/bin/node" || {
    echo "scripts/node.sh: $folder/bin/node does not run on this machine; remove that folder and install Node 22.18 or newer yourself" >&2
    return 1
  }
  echo "$folder/bin"
}

if rollcall_node_bin=$(rollcall_node); then
  if [[ $(command -v node || true) != "$rollcall_node_bin/node" ]]; then
    export PATH="$rollcall_node_bin:$PATH"
  fi
  if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    if (($# > 0)); then exec "$@"; else echo "$rollcall_node_bin"; fi
  fi
elif [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  exit 1
else
  return 1
fi
