#!/usr/bin/env bash
# Makes stand-in base images where no image registry can be reached, for the demo's and the tests' own engines.
#
#   scripts/base-image.sh            into the engine that DOCKER_HOST names:
#                                      node:24-bookworm-slim   what compose/Dockerfile is built from
#   scripts/base-image.sh --files    only the files, and prints their folder
#
# The files come from this machine's Debian packages (through apt; nothing is installed) and from the Node that
# scripts/node.sh brings, so that images and tests run the very same Node. They are kept in .cache/, which git
# ignores. It refuses to tag a stand-in in an engine whose DOCKER_HOST is not set: on your own engine the real
# node:24-bookworm-slim belongs there, and docker pulls it by itself.
set -euo pipefail
# What is made here is for others to read: the programs in the images are not root's.
umask 022

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/scripts/debian.sh"
cache=${ROLLCALL_CACHE:-$root/.cache}/base
image=${NODE_IMAGE:-node:24-bookworm-slim}

# A shell with the usual commands, the C++ runtime Node is linked with, names of services and users.
packages=(base-files base-passwd coreutils dash grep sed mawk netbase libstdc++6 libatomic1)
# What compose/redis adds to that.
redis_packages=(redis-server)

fail() {
  echo "scripts/base-image.sh: $*" >&2
  exit 1
}

# A key of everything the files are made of: another Node or another list makes them anew.
node_folder=$(ROLLCALL_NODE_IGNORE_SYSTEM=1 "$root/scripts/node.sh")
key=$(printf '%s\n' "$("$node_folder/node" --version)" "${packages[@]}" "${redis_packages[@]}" "$(sha256sum <"$root/scripts/debian.sh")" "$(sha256sum <"${BASH_SOURCE[0]}")" | sha256sum | cut -c1-12)
files=$cache/$key

make_files() {
  ((EUID == 0)) || fail "run it as root: the files of a root file system belong to root"
  mkdir -p "$cache"
  local stage
  stage=$(mktemp -d "$cache/stage.XXXXXX")
  # The name as it is now: when the script fails, this function's variables are gone.
  trap "rm -rf '$stage'" EXIT
  echo "making a Debian root file system with Node $("$node_folder/node" --version) (once; kept in ${cache#"$root/"})" >&2
  debian_rootfs "$stage/base" "$cache" "${packages[@]}" || fail "found no way to download Debian's packages"
  ln -sf dash "$stage/base/usr/bin/sh"
  ln -sf mawk "$stage/base/usr/bin/awk"
  cp "$stage/base/usr/share/base-passwd/passwd.master" "$stage/base/etc/passwd"
  cp "$stage/base/usr/share/base-passwd/group.master" "$stage/base/etc/group"
  mkdir -p "$stage/base"/{tmp,root,run,proc,sys,dev,usr/local/bin}
  chmod 1777 "$stage/base/tmp"
  cp "$node_folder/node" "$stage/base/usr/local/bin/node"
  chroot "$stage/base" /usr/local/bin/node --version >/dev/null || fail "the Node in the new root file system does not run"

  # Redis: only what the base has not. Its command is a link into another package, so take whole packages.
  debian_rootfs "$stage/redis-full" "$cache" "${redis_packages[@]}" || fail "found no way to download Debian's packages"
  mkdir -p "$stage/redis/usr/bin" "$stage/redis/usr/lib"
  cp -L "$stage/redis-full/usr/bin/redis-server" "$stage/redis-full/usr/bin/redis-cli" "$stage/redis/usr/bin/"
  chroot_libraries "$stage/redis-full" /usr/bin/redis-server | while read -r library; do
    [[ -e $stage/base$library ]] || install -D "$stage/redis-full$library" "$stage/redis$library"
  done

  tar -C "$stage/base" --numeric-owner -cf "$stage/base.tar" .
  tar -C "$stage/redis" --numeric-owner --owner=0 --group=0 -czf "$stage/redis.tar.gz" .
  rm -rf "$stage/base" "$stage/redis" "$stage/redis-full"
  mv -T "$stage" "$files" 2>/dev/null || true
  # What earlier lists or another Node made is of no use any more.
  find "$cache" -mindepth 1 -maxdepth 1 -type d ! -name apt ! -name 'stage.*' ! -name "$key" -exec rm -rf {} +
  trap - EXIT
  rm -rf "$stage"
}

# The libraries a program of another root file system loads, as paths inside it.  Always below /usr: a folder /lib
# in the archive would take the place of the link /lib.
chroot_libraries() {
  local loader
  loader=$(cd "$1" && find usr/lib -name 'ld-linux*.so.*' | head -n 1)
  chroot "$1" "/$loader" --list "$2" | awk '$2 == "=>" && $3 ~ /^\// { path = $3; if (path !~ /^\/usr\//) path = "/usr" path; print path }'
}

[[ -f $files/base.tar && -f $files/redis.tar.gz ]] || make_files
if [[ ${1:-} == --files ]]; then
  printf '%s\n' "$files"
  exit 0
fi
[[ $# == 0 ]] || fail "unknown argument \"$1\"; expected nothing or --files"
[[ -n ${DOCKER_HOST:-} ]] || fail "set DOCKER_HOST to the engine that is to have the stand-in; your own engine pulls the real $image"
if [[ $(docker image inspect --format '{{index .Config.Labels "rollcall.base"}}' "$image" 2>/dev/null || true) != "$key" ]]; then
  docker import --change "LABEL rollcall.base=$key" --change 'CMD ["node"]' "$files/base.tar" "$image" >/dev/null
fi
printf '%s\n' "$image"
