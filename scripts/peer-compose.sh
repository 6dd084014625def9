#!/usr/bin/env bash
# Prints the absolute path of a Docker Compose, for the tests that run the project under both.
#
#   scripts/peer-compose.sh 2     2.26, unpacked into .peers/ from the package of the Debian release after this one
#   scripts/peer-compose.sh 1     1.29, this release's docker-compose; installed when it is missing, unless
#                                 ROLLCALL_NO_INSTALL is set
#
# To have the second as `docker compose`, link it as ~/.docker/cli-plugins/docker-compose (DOCKER_CONFIG names another
# folder than ~/.docker).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/scripts/debian.sh"

one() {
  if ! command -v docker-compose >/dev/null; then
    [[ -z ${ROLLCALL_NO_INSTALL:-} ]] || {
      echo 'scripts/peer-compose.sh: docker-compose is missing and not to be installed; on Debian 12: apt-get install -y docker-compose' >&2
      return 1
    }
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends docker-compose >&2
  fi
  local version
  version=$(docker-compose version --short)
  [[ $version == 1.29.* ]] || {
    echo "scripts/peer-compose.sh: expected docker-compose 1.29, found $version" >&2
    return 1
  }
  command -v docker-compose
}

two() {
  local folder=${ROLLCALL_PEERS:-$root/.peers}/compose-2 binary
  binary=$(find_binary "$folder")
  if [[ -z $binary ]]; then
    debian_unpack docker-compose trixie "$folder" >&2
    binary=$(find_binary "$folder")
  fi
  "$binary" version >/dev/null
  printf '%s\n' "$binary"
}
find_binary() { [[ ! -d $1 ]] || find "$1" -type f -name docker-compose -perm -u+x -print -quit; }

case ${1:-} in
  1) one ;;
  2) two ;;
  *)
    echo "scripts/peer-compose.sh: expected 1 or 2, received \"${1:-}\"" >&2
    exit 2
    ;;
esac
