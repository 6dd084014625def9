#!/usr/bin/env bash
# Prints the absolute path of a Docker Compose v2 (2.26), for the tests that run the project under both Composes.
#
#   compose=$(scripts/peer-compose.sh)      "$compose" -f compose/compose.yml up -d
#
# It is the docker-compose package of the Debian release after this one, unpacked into .peers/ like the peer
# Consul. To have it as `docker compose`, link it as ~/.docker/cli-plugins/docker-compose (DOCKER_CONFIG names
# another folder than ~/.docker).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/scripts/debian.sh"
folder=${ROLLCALL_PEERS:-$root/.peers}/compose-2
find_binary() {
  [[ ! -d $folder ]] || find "$folder" -type f -name docker-compose -perm -u+x -print -quit
}

binary=$(find_binary)
if [[ -z $binary ]]; then
  debian_unpack docker-compose trixie "$folder" >&2
  binary=$(find_binary)
fi
"$binary" version >/dev/null
printf '%s\n' "$binary"
