#!/usr/bin/env bash
# Builds our images in the engine that DOCKER_HOST names (yours, when it is not set).
#
#   scripts/images.sh [--stand-in] [--redis] [NAME...]
#
#   NAME         registry, registrator, distributed_app, distributed_client; all four without a name
#   --redis      also rollcall/redis, from Debian's package
#   --stand-in   the base image is made here instead of pulled (scripts/base-image.sh); for engines of the demo
#                and the tests, where no image registry can be reached
#
# The bundles are made first, with the Node of scripts/node.sh; building then needs no network but for pulling
# node:24-bookworm-slim, if the engine has none (NODE_IMAGE names another base).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
image=${NODE_IMAGE:-node:24-bookworm-slim}
all=(registry registrator distributed_app distributed_client)
names=()
redis=no
stand_in=no

fail() {
  echo "scripts/images.sh: $*" >&2
  exit 1
}

for argument in "$@"; do
  case $argument in
    --redis) redis=yes ;;
    --stand-in) stand_in=yes ;;
    -h | --help)
      sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    registry | registrator | distributed_app | distributed_client) names+=("$argument") ;;
    *) fail "expected --stand-in, --redis or any of ${all[*]}, received \"$argument\"" ;;
  esac
done
((${#names[@]} > 0)) || names=("${all[@]}")

command -v docker >/dev/null || fail 'found no docker command; on Debian: apt-get install -y docker.io'
docker version >/dev/null 2>&1 || fail "cannot reach the Docker engine at ${DOCKER_HOST:-/var/run/docker.sock}; is it running, and may you use it?"
if [[ ! -d node_modules/esbuild ]]; then
  echo 'images: installing the development dependencies (npm ci)'
  scripts/node.sh npm ci --silent || fail 'npm ci failed; the bundles need esbuild'
fi
# All four even for one image: the classic builder walks through the stages before the one asked for.
scripts/node.sh node scripts/bundle.ts | sed 's/^/images: /'
if [[ $stand_in == yes ]]; then scripts/base-image.sh >/dev/null; fi

# What `docker build` prints is of interest only when it fails.
build() { # NAME ARGUMENTS...
  local name=$1 output
  shift
  if ! output=$(DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} docker build --build-arg "NODE_IMAGE=$image" -t "rollcall/$name" "$@" 2>&1); then
    printf '%s\n' "$output" >&2
    fail "could not build rollcall/$name"
  fi
  echo "images: rollcall/$name"
}

for name in "${names[@]}"; do
  # Readable for the images' user, whatever this shell's umask was when the files were made.
  tar -c --mode=a+rX,go-w --exclude compose/.env dist compose/Dockerfile compose/image | build "$name" -f compose/Dockerfile --target "$name" -
done
if [[ $redis == yes ]]; then
  files=$(scripts/base-image.sh --files)
  tar -c -C compose/redis Dockerfile -C "$files" redis.tar.gz | build redis -
fi
