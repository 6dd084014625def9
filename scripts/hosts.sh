#!/usr/bin/env bash
# Three Docker hosts on this one machine, each a real Docker engine with its own network, host name and processes.
#
#   scripts/hosts.sh up [--no-install]      host1 10.0.77.22, host2 10.0.77.16, host3 10.0.77.17, one switch
#   scripts/hosts.sh run HOST -- COMMAND    COMMAND on that host, with HOSTNAME and DOCKER_HOST set
#   scripts/hosts.sh cut HOST               pulls its network cable;      heal HOST  plugs it in again
#   scripts/hosts.sh kill HOST              pulls its power plug: every process of it dies at once, nothing is told
#   scripts/hosts.sh start HOST             powers it on again; what has a restart policy comes back by itself,
#                                           what has none stays stopped, as on any machine
#   scripts/hosts.sh down                   everything gone, disks included
#   scripts/hosts.sh status                 one line per host:  host1 10.0.77.22 running|cut|off|absent DOCKER_HOST
#
# Every verb returns when its state is reached, and reaching it again is no error. Needs root.
#
#   ROLLCALL_HOSTS       name of this set of hosts (default: rollcall); two sets live side by side
#   ROLLCALL_HOSTS_DIR   where the disks of the hosts are kept (default: /var/tmp/rollcall-hosts)
#
# How it works. A host is a network namespace with a cable (veth) into a switch, plus one process tree in its own
# process, mount and name namespaces: an init whose death is the power failure, for the kernel then ends the engine,
# its shims and its containers in one blow, and the mounts go with the last of them.
#  - The switch is a bridge in a namespace of its own: in the machine's namespace its frames would pass the
#    machine's own firewall, which Docker sets to drop.
#  - /run is the host's own, so /var/run/docker.sock inside is that host's engine and never the machine's.
#  - nsenter rather than `ip netns exec`: the latter mounts /sys anew, and the engine then finds no cgroups.
#  - No engine is ever started in the machine's own network namespace.
set -euo pipefail
# Hosts have many users, whatever this shell's umask is.
umask 022

set_name=${ROLLCALL_HOSTS:-rollcall}
folder=${ROLLCALL_HOSTS_DIR:-/var/tmp/rollcall-hosts}/$set_name
switch=$set_name-switch
hosts=(host1 host2 host3)
declare -A addresses=([host1]=10.0.77.22 [host2]=10.0.77.16 [host3]=10.0.77.17)
gateway=10.0.77.1
interface=ens160
ready_seconds=60

say() { echo "hosts: $*" >&2; }
fail() {
  echo "scripts/hosts.sh: $*" >&2
  exit 1
}

usage() {
  sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
}

expect_host() {
  [[ -n ${1:-} && -n ${addresses[$1]:-} ]] || fail "expected one of ${hosts[*]}, received \"${1:-}\""
}

namespace() { printf '%s-%s' "$set_name" "$1"; }
has_namespace() { [[ -e /run/netns/$1 ]]; }
docker_host() { printf 'unix://%s/%s/run/docker.sock' "$folder" "$1"; }

# The init of a host as this machine numbers it; fails when the host is off. A number alone could by now be
# another process's, so it must also live in the host's network namespace.
init_of() {
  local pid
  pid=$(cat "$folder/$1/init" 2>/dev/null) || return 1
  [[ -n $pid && /proc/$pid/ns/net -ef /run/netns/$(namespace "$1") ]] || return 1
  printf '%s\n' "$pid"
}

wait_until() { # SECONDS WHAT COMMAND...
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "$what did not happen in time"
    sleep 0.1
  done
}

# Installs what is missing, unless told not to.
need() { # INSTALL(yes|no)
  local install=$1 entry command missing=()
  local needed=(dockerd:docker.io docker:docker.io containerd:containerd runc:runc iptables:iptables ip:iproute2
    nsenter:util-linux unshare:util-linux setpriv:util-linux ifconfig:net-tools dig:bind9-dnsutils awk:mawk)
  local PATH=$PATH:/usr/sbin:/sbin
  for entry in "${needed[@]}"; do
    command=${entry%%:*}
    command -v "$command" >/dev/null || missing+=("${entry##*:}")
  done
  ((${#missing[@]} == 0)) && return 0
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  # Newer Debian releases have the docker command in a package of its own.
  if ! command -v docker >/dev/null && apt-cache show docker-cli >/dev/null 2>&1; then missing+=(docker-cli); fi
  [[ $install == yes ]] || fail "missing and not to be installed: ${missing[*]}"
  command -v apt-get >/dev/null || fail "missing: ${missing[*]}; install them (there is no apt-get here)"
  say "installing ${missing[*]}"
  if ! (
    export DEBIAN_FRONTEND=noninteractive
    # A fresh engine must not start in the machine's own namespace just because its package was unpacked.
    if [[ ! -e /usr/sbin/policy-rc.d ]]; then
      trap 'rm -f /usr/sbin/policy-rc.d' EXIT
      printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
      chmod +x /usr/sbin/policy-rc.d
    fi
    apt-get install -y --no-install-recommends "${missing[@]}" ||
      { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; }
  ) >"$folder/install.log" 2>&1; then
    tail -n 5 "$folder/install.log" >&2
    fail "could not install ${missing[*]}; see $folder/install.log"
  fi
}

make_switch() {
  has_namespace "$switch" || ip netns add "$switch"
  ip -n "$switch" link set lo up
  ip -n "$switch" link show br0 >/dev/null 2>&1 || ip -n "$switch" link add br0 type bridge forward_delay 0
  ip -n "$switch" address replace "$gateway/24" dev br0
  ip -n "$switch" link set br0 up
}

make_network() { # HOST
  local net
  net=$(namespace "$1")
  has_namespace "$net" || ip netns add "$net"
  ip -n "$net" link set lo up
  if ! ip -n "$net" link show "$interface" >/dev/null 2>&1; then
    ip link add "$interface" netns "$net" type veth peer name "$1" netns "$switch"
  fi
  ip -n "$switch" link set "$1" master br0 up
  ip -n "$net" address replace "${addresses[$1]}/24" dev "$interface"
  ip -n "$net" link set "$interface" up
  ip -n "$net" route replace default via "$gateway"
  wait_until 5 "carrier on $1's $interface" link_is_up "$1"
}

link_is_up() { ip -n "$(namespace "$1")" link show "$interface" | grep -q 'state UP'; }
link_is_down() { ! link_is_up "$1"; }

# Runs as process 1 of the host. Bash takes in orphans, which an engine as process 1 would leave as zombies.
boot_script='
  read -r outer _ </proc/self/stat         # /proc is still the machine'"'"'s: our number as seen from outside
  host=$1 folder=$2
  mount -t proc proc /proc
  hostname "$host"
  mount --bind "$folder/run" /run
  mkdir -p /run/lock /etc/docker
  mount --bind "$folder/etc-docker" /etc/docker
  resolv=$(readlink -m /etc/resolv.conf)
  mkdir -p "$(dirname "$resolv")"; [ -e "$resolv" ] || : >"$resolv"
  mount --bind "$folder/resolv.conf" "$resolv"
  export PATH=$PATH:/usr/sbin:/sbin HOSTNAME=$host
  unset DOCKER_HOST NOTIFY_SOCKET
  dockerd --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/dockerd.pid" \
    --config-file "$folder/etc-docker/daemon.json" -H unix:///run/docker.sock \
    --cgroup-parent "/$3" --exec-opt native.cgroupdriver=cgroupfs \
    --containerd-namespace "$host" --containerd-plugins-namespace "$host-plugins" >>"$folder/dockerd.log" 2>&1 </dev/null &
  engine=$!
  trap "kill -TERM $engine" TERM
  echo "$outer" >"$folder/init"
  while kill -0 "$engine" 2>/dev/null; do wait "$engine"; done
'

boot() { # HOST
  local host=$1 disk=$folder/$1 net
  net=$(namespace "$1")
  mkdir -p "$disk"/{data,etc-docker}
  # What a power cycle clears: the run-time state, /run, and the network's rules and devices.
  rm -rf "$disk/exec" "$disk/run" "$disk/dockerd.pid" "$disk/init"
  mkdir -p "$disk"/{exec,run}
  [[ -e $disk/etc-docker/daemon.json ]] || echo '{}' >"$disk/etc-docker/daemon.json"
  printf 'nameserver %s\n' "$gateway" >"$disk/resolv.conf"
  make_network "$host"
  (
    # Nothing of the caller's stays open in it: neither our lock nor a pipe that somebody reads to its end.
    exec </dev/null >>"$disk/init.log" 2>&1
    for descriptor in /proc/"$BASHPID"/fd/*; do
      descriptor=${descriptor##*/}
      ((descriptor <= 2)) || eval "exec $descriptor>&-"
    done
    # A session of its own: what a terminal sends to its programs is not for the host.
    exec setsid nsenter --net="/run/netns/$net" unshare --mount --uts --pid --fork \
      bash -c "$boot_script" init "$host" "$disk" "$net"
  ) &
  disown
  local deadline=$((SECONDS + ready_seconds))
  until docker -H "$(docker_host "$host")" version >/dev/null 2>&1; do
    if ((SECONDS >= deadline)) || { [[ -s $disk/init ]] && ! init_of "$host" >/dev/null; }; then
      tail -n 5 "$disk/init.log" "$disk/dockerd.log" >&2 2>/dev/null || true
      fail "the engine of $host did not start; see $disk/dockerd.log"
    fi
    sleep 0.1
  done
}

# The running containers that the engine itself starts again when the machine does.
restartable() { # HOST
  local d=(timeout 5 docker -H "$(docker_host "$1")") ids
  ids=$("${d[@]}" ps -q) || return 0
  [[ -z $ids ]] || "${d[@]}" inspect --format '{{.Id}} {{.HostConfig.RestartPolicy.Name}}' $ids 2>/dev/null |
    awk '$2 == "always" || $2 == "unless-stopped" || $2 == "on-failure" { print $1 }'
}

# Those that ran when the power went and have a restart policy: run again, or at least were tried.
came_back() { # HOST
  local d=(docker -H "$(docker_host "$1")") id state
  while read -r id; do
    state=$("${d[@]}" inspect --format '{{.State.Status}} {{.RestartCount}}' "$id" 2>/dev/null) || continue
    case $state in
      "running "* | "restarting "* | "exited "[1-9]*) ;;
      *) return 1 ;;
    esac
  done <"$folder/$1/restartable"
}

power_off() { # HOST
  local pid net
  net=$(namespace "$1")
  if pid=$(init_of "$1"); then
    restartable "$1" >"$folder/$1/restartable" || true
    # The cable first: a machine without power answers nothing, not even a refusal.
    ip -n "$switch" link set "$1" down 2>/dev/null || true
    kill -KILL "$pid"
    wait_until 20 "the end of $1's processes" no_process_left "$1" "$pid"
  fi
  rm -f "$folder/$1/init"
  if has_namespace "$net"; then
    ip netns delete "$net"
    wait_until 10 "the end of $1's cable" cable_is_gone "$1"
  fi
  remove_cgroups "$net"
}

no_process_left() { [[ ! -e /proc/$2 ]]; }
cable_is_gone() { ! ip -n "$switch" link show "$1" 2>/dev/null; }

remove_cgroups() { # NAME
  find /sys/fs/cgroup -mindepth 1 -depth -type d \( -path "*/$1" -o -path "*/$1/*" \) -exec rmdir {} + 2>/dev/null || true
}

up() {
  local install=yes host pids=() pid
  case ${1:-} in
    '') ;;
    --no-install) install=no ;;
    *) fail "unknown argument \"$1\"; expected up [--no-install]" ;;
  esac
  mkdir -p "$folder"
  need "$install"
  make_switch
  for host in "${hosts[@]}"; do
    if init_of "$host" >/dev/null; then
      heal "$host"
      continue
    fi
    (power_off "$host" && boot "$host") &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || fail 'not every host came up'; done
  for host in "${hosts[@]}"; do say "$host ${addresses[$host]} runs; DOCKER_HOST=$(docker_host "$host")"; done
}

down() {
  local host
  for host in "${hosts[@]}"; do power_off "$host"; done
  if has_namespace "$switch"; then ip netns delete "$switch"; fi
  rm -rf --one-file-system "$folder"
  rmdir "$(dirname "$folder")" 2>/dev/null || true
  say 'down; nothing is left'
}

cut() {
  init_of "$1" >/dev/null || fail "$1 is not running"
  ip -n "$switch" link set "$1" down
  wait_until 5 "loss of carrier on $1" link_is_down "$1"
}

heal() {
  init_of "$1" >/dev/null || fail "$1 is not running"
  ip -n "$switch" link set "$1" up
  wait_until 5 "carrier on $1" link_is_up "$1"
}

start() {
  if init_of "$1" >/dev/null; then return 0; fi
  has_namespace "$switch" || fail 'there is no switch; scripts/hosts.sh up first'
  power_off "$1"
  boot "$1"
  [[ -e $folder/$1/restartable ]] || return 0
  wait_until "$ready_seconds" "restart of $1's containers" came_back "$1"
}

run() {
  local host=$1 pid
  shift
  [[ ${1:-} == -- ]] && shift
  (($# > 0)) || fail 'expected a command after --'
  pid=$(init_of "$host") || fail "$host is not running"
  # A command outlives neither its caller (pdeathsig) nor its host (it is in the host's process namespace).
  exec nsenter --target "$pid" --net --uts --mount --pid -- setpriv --pdeathsig TERM \
    env -C "$PWD" -u SSH_CONNECTION "HOSTNAME=$host" DOCKER_HOST=unix:///run/docker.sock "PATH=$PATH:/usr/sbin:/sbin" "$@"
}

status() {
  local host state
  for host in "${hosts[@]}"; do
    if init_of "$host" >/dev/null; then
      if link_is_up "$host"; then state=running; else state=cut; fi
    elif [[ -d $folder/$host ]]; then
      state=off
    else
      state=absent
    fi
    echo "$host ${addresses[$host]} $state $(docker_host "$host")"
  done
}

verb=${1:-}
[[ -n $verb ]] || {
  usage >&2
  exit 2
}
shift
case $verb in
  -h | --help | help)
    usage
    exit 0
    ;;
  up | down | cut | heal | kill | start | run | status) ;;
  *) fail "unknown verb \"$verb\"; expected up, down, run, cut, heal, kill, start or status" ;;
esac
((EUID == 0)) || fail "$verb needs root: it makes network namespaces and starts engines"
[[ $set_name =~ ^[a-z][a-z0-9-]{0,30}$ ]] || fail "ROLLCALL_HOSTS: expected up to 31 of a-z, 0-9 and -, received \"$set_name\""

# One change at a time; `run` and `status` change nothing here.
if [[ $verb != run && $verb != status ]]; then
  mkdir -p "$(dirname "$folder")"
  exec {lock}>"$folder.lock"
  flock "$lock"
fi

case $verb in
  up) up "$@" ;;
  down) down && rm -f "$folder.lock" && rmdir "$(dirname "$folder")" 2>/dev/null || true ;;
  status) status ;;
  kill)
    expect_host "${1:-}"
    power_off "$1"
    ;;
  *)
    expect_host "${1:-}"
    "$verb" "$@"
    ;;
esac
