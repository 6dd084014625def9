#!/usr/bin/env bash
# Prints the absolute path of a real Consul 1.8.7: the peer that tests and measurements compare with.
#
#   consul=$(scripts/peer-consul.sh)
#
# It is the package of an older Debian release (bullseye), downloaded by apt from the mirror this machine
# already uses and unpacked into .peers/, which git ignores. Nothing is installed and no system file changes.
# ROLLCALL_PEERS names another folder to keep it in.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/scripts/debian.sh"
folder=${ROLLCALL_PEERS:-$root/.peers}/consul-1.8.7
binary=$folder/usr/bin/consul

if [[ ! -x $binary ]]; then
  debian_unpack consul bullseye "$folder" >&2
fi
# Not through a pipe to head: closing it early would now and then end consul, and with it this script.
version=$("$binary" version)
version=${version%%$'\n'*}
if [[ $version != 'Consul v1.8.7' ]]; then
  echo "scripts/peer-consul.sh: expected Consul v1.8.7 in $binary, found \"$version\"; remove $folder and run this again" >&2
  exit 1
fi
printf '%s\n' "$binary"
