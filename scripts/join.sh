#!/usr/bin/env bash
# Makes this host a member of the cluster. Run it on every host; run again, it changes nothing.
#
#   scripts/join.sh [JOIN_IP] [--with app|client] [--public-ip ADDRESS] [--name NAME] [--servers N]
#
#   JOIN_IP        address of any host that is already a member; none on the first host
#   --with         also run the demo's application or its client here (may be repeated)
#   --public-ip    the address of this host that others reach it at, when the choice made here is not yours
#   --name         this host's name in the cluster (default: its host name)
#   --servers      on the first host: how many servers found the cluster (default 3)
#
# It finds the host's public address, docker0's address, the Docker socket's group and the resolver for all other
# names, writes them to compose/.env, starts compose/compose.yml with `docker compose` or docker-compose, and waits
# until this host is a member. What compose/.env already says stays, unless an argument says otherwise.
#
#   COMPOSE=docker-compose    environment: which of the two commands to use, when both are there
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
env_file=$root/compose/.env
member_seconds=90

say() { echo "join: $*"; }
fail() {
  echo "scripts/join.sh: $*" >&2
  exit 1
}

# --- what was asked for

join_ip='' public_ip='' name='' servers='' with=()
is_address() {
  local part
  [[ $1 =~ ^([0-9]{1,3}\.){3}[0-9]{1,3}$ ]] || return 1
  for part in ${1//./ }; do ((10#$part <= 255)) || return 1; done
}
while (($# > 0)); do
  case $1 in
    -h | --help)
      sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    --with | --public-ip | --name | --servers)
      [[ -n ${2:-} ]] || fail "$1 needs a value"
      case $1 in
        --with)
          for profile in ${2//,/ }; do
            [[ $profile == app || $profile == client ]] || fail "--with: expected app or client, received \"$profile\""
            with+=("$profile")
          done
          ;;
        --public-ip) public_ip=$2 ;;
        --name) name=$2 ;;
        --servers) servers=$2 ;;
      esac
      shift 2
      ;;
    -*) fail "unknown option \"$1\"; see scripts/join.sh --help" ;;
    *)
      [[ -z $join_ip ]] || fail "expected one address to join, received \"$join_ip\" and \"$1\"; the members tell it of the others"
      is_address "$1" || fail "expected the IPv4 address of a host to join, received \"$1\""
      join_ip=$1
      shift
      ;;
  esac
done
[[ -z $public_ip ]] || is_address "$public_ip" || fail "--public-ip: expected an IPv4 address, received \"$public_ip\""
[[ -z $servers || $servers =~ ^[1-9][0-9]*$ ]] || fail "--servers: expected a number from 1, received \"$servers\""

# --- what must be there

command -v docker >/dev/null || fail 'found no docker command; on Debian: apt-get install -y docker.io'
command -v ip >/dev/null || PATH=$PATH:/usr/sbin:/sbin
command -v ip >/dev/null || fail 'found no ip command; on Debian: apt-get install -y iproute2'
docker_error=$(docker version 2>&1 >/dev/null) ||
  fail "cannot use the Docker engine at ${DOCKER_HOST:-/var/run/docker.sock}: $(tail -n 1 <<<"$docker_error")"
if [[ -n ${COMPOSE:-} ]]; then
  read -ra compose <<<"$COMPOSE"
  "${compose[@]}" version >/dev/null 2>&1 || fail "COMPOSE=\"$COMPOSE\" does not run"
elif docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
elif command -v docker-compose >/dev/null; then
  compose=(docker-compose)
else
  fail 'found neither "docker compose" nor docker-compose; on Debian: apt-get install -y docker-compose'
fi

# --- what compose/.env says already

declare -A was=()
keys=(NODE_NAME PUBLIC_IP JOIN_IP SERVERS DNS_BIND RECURSOR HTTP_BIND DOCKER_GID DOCKER_SOCKET COMPOSE_PROFILES)
if [[ -e $env_file ]]; then
  while IFS='=' read -r key value || [[ -n $key ]]; do
    case $key in '' | '#'*) continue ;; esac
    was[$key]=$value
  done <"$env_file"
fi
says() { [[ -n ${was[$1]+set} ]]; }

# --- this host

name=${name:-${was[NODE_NAME]:-$(hostname -s 2>/dev/null || hostname)}}
[[ $name =~ ^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$ ]] ||
  fail "the host name \"$name\" cannot be a node's name (letters, digits, dashes); choose one with --name"

# Addresses of this machine that may be public: not loopback, not link-local, not Docker's own bridges.
mapfile -t candidates < <(ip -4 -o addr show up scope global |
  awk '$2 !~ /^(docker|br-|veth|virbr|cni|flannel)/ { sub(/\/.*/, "", $4); print $4, $2 }')
all_addresses=$(ip -4 -o addr show | awk '{ sub(/\/.*/, "", $4); print $4 }')
join_ip=${join_ip:-${was[JOIN_IP]:-}}
if [[ -n $public_ip ]]; then
  why="you chose it"
elif [[ -n ${was[PUBLIC_IP]:-} ]]; then
  public_ip=${was[PUBLIC_IP]}
  why="compose/.env says so"
else
  ((${#candidates[@]} > 0)) || fail 'this host has no address but loopback; give it one, or say which with --public-ip'
  if [[ -n $join_ip ]]; then
    public_ip=$(ip -4 -o route get "${join_ip%% *}" 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p')
    why="it is the one that leads to ${join_ip%% *}"
  else
    device=$(ip -4 -o route show default | sed -n '1s/.* dev \([^ ]*\).*/\1/p')
    public_ip=$(printf '%s\n' "${candidates[@]}" | awk -v device="$device" '$2 == device { print $1; exit }')
    why="it is on $device, where the default route goes"
  fi
  if ! printf '%s\n' "${candidates[@]}" | grep -q "^$public_ip "; then
    public_ip=${candidates[0]%% *}
    why="it is the first, and no route prefers another"
  fi
  ((${#candidates[@]} > 1)) || why="it is the only one"
fi
grep -qxF "$public_ip" <<<"$all_addresses" ||
  fail "$public_ip ($why) is no address of this host, which has: ${candidates[*]/ / on }. Behind address translation, give the address that is on this host and reachable from the others; see --public-ip, or remove PUBLIC_IP from compose/.env"
others=$(printf '%s\n' "${candidates[@]}" | awk -v mine="$public_ip" '$1 != mine { printf "%s%s on %s", separator, $1, $2; separator = ", " }')
if [[ -n $others ]]; then
  say "public address $public_ip: $why. Also here: $others. To choose another: --public-ip ADDRESS"
else
  say "public address $public_ip: $why"
fi
for address in $join_ip; do
  [[ $address != "$public_ip" ]] || fail "$address is this host itself; give the address of another member, or none on the first host"
done

if says DNS_BIND; then
  dns_bind=${was[DNS_BIND]}
else
  dns_bind=$(ip -4 -o addr show docker0 2>/dev/null | awk 'NR == 1 { sub(/\/.*/, "", $4); print $4 }')
  [[ -n $dns_bind ]] ||
    fail 'this host has no docker0 with an IPv4 address, which containers ask for names at; put DNS_BIND=ADDRESS into compose/.env, an address of this host that its containers reach'
fi
grep -qxF "$dns_bind" <<<"$all_addresses" || fail "DNS_BIND=$dns_bind in compose/.env is no address of this host"
say "containers ask for names at $dns_bind"

socket=${was[DOCKER_SOCKET]:-/var/run/docker.sock}
if ! says DOCKER_SOCKET && [[ ${DOCKER_HOST:-} == unix://* ]]; then socket=${DOCKER_HOST#unix://}; fi
[[ -S $socket ]] || fail "found no Docker socket at $socket, which registrator listens at; put DOCKER_SOCKET=PATH into compose/.env"
gid=${was[DOCKER_GID]:-$(stat -L -c %g "$socket")}

# Who answers for all other names: this host's own resolver, unless that is a stub on loopback or ourselves.
upstream() {
  awk -v mine="$dns_bind" '$1 == "nameserver" && $2 ~ /^[0-9.]+$/ && $2 !~ /^127\./ && $2 != mine { print $2; exit }' \
    /etc/resolv.conf /run/systemd/resolve/resolv.conf 2>/dev/null || true
}
if says RECURSOR; then recursor=${was[RECURSOR]}; else recursor=$(upstream); fi

if ((${#with[@]} > 0)); then
  profiles=$(printf '%s\n' "${with[@]}" | sort -u | paste -sd, -)
else
  profiles=${was[COMPOSE_PROFILES]:-}
fi

# --- compose/.env: our keys in one order, then whatever else was there; untouched when nothing is new

declare -A now=(
  [NODE_NAME]=$name [PUBLIC_IP]=$public_ip [JOIN_IP]=$join_ip [SERVERS]=${servers:-${was[SERVERS]:-}} [DNS_BIND]=$dns_bind
  [RECURSOR]=$recursor [HTTP_BIND]=${was[HTTP_BIND]:-} [DOCKER_GID]=$gid [COMPOSE_PROFILES]=$profiles
  [DOCKER_SOCKET]=$([[ $socket == /var/run/docker.sock || $socket == /run/docker.sock ]] && echo "${was[DOCKER_SOCKET]:-}" || echo "$socket")
)
same=yes
[[ -e $env_file ]] || same=no
for key in "${keys[@]}"; do
  # Not said and empty mean the same.
  [[ ${was[$key]:-} == "${now[$key]}" ]] || same=no
done
if [[ $same == no ]]; then
  new=$(mktemp "$env_file.XXXXXX")
  trap 'rm -f "$new"' EXIT
  {
    for key in "${keys[@]}"; do
      if [[ $key == JOIN_IP || -n ${now[$key]} ]]; then printf '%s=%s\n' "$key" "${now[$key]}"; fi
    done
    if [[ -e $env_file ]]; then
      grep -vE "^($(IFS='|'; echo "${keys[*]}"))=" "$env_file" || true
    fi
  } >"$new"
  chmod 644 "$new"
  mv "$new" "$env_file"
  trap - EXIT
  say "wrote compose/.env: $(paste -sd' ' - < <(grep -E '^[A-Z]' "$env_file"))"
else
  say 'compose/.env stays as it is'
fi

# --- the images

needed=(registry registrator)
[[ ,$profiles, == *,app,* ]] && needed+=(distributed_app)
[[ ,$profiles, == *,client,* ]] && needed+=(distributed_client)
missing=()
for image in "${needed[@]}"; do
  docker image inspect "rollcall/$image" >/dev/null 2>&1 || missing+=("$image")
done
if ((${#missing[@]} > 0)); then
  [[ -x $root/scripts/images.sh ]] || fail "this engine has no image rollcall/${missing[0]}; build it with scripts/images.sh, or docker load it"
  say "building ${missing[*]} (once per host)"
  "$root/scripts/images.sh" "${missing[@]}"
fi

# --- start, and wait

cd "$root/compose"
# Only .env speaks: a value of this shell would win over it and be lost with the next shell.
for key in "${keys[@]}"; do unset "$key"; done
say "starting: ${compose[*]} -f compose/compose.yml up -d"
if ! output=$("${compose[@]}" -f compose.yml up -d 2>&1); then
  printf '%s\n' "$output" >&2
  case $output in
    *'address already in use'* | *'port is already allocated'*)
      fail 'a port is taken, see above. Port 53: another resolver listens on this address, choose another DNS_BIND in compose/.env; 8500: perhaps another agent runs here' ;;
    *) fail 'starting did not succeed, see above' ;;
  esac
fi
container=$("${compose[@]}" -f compose.yml ps -q registry)
[[ -n $container ]] || fail "\"${compose[*]} up -d\" started no registry; see \"${compose[*]} -f compose/compose.yml ps\""

# A program that is no longer asked for here goes; Compose leaves it alone when its profile is not named.
project=$(docker inspect --format '{{index .Config.Labels "com.docker.compose.project"}}' "$container")
for profile in app client; do
  if [[ ,$profiles, != *,$profile,* ]]; then
    mapfile -t unwanted < <(docker ps -aq --filter "label=com.docker.compose.project=$project" \
      --filter "label=com.docker.compose.service=distributed_$profile")
    if ((${#unwanted[@]} > 0)); then
      say "removing distributed_$profile, which is not asked for here any more"
      docker stop "${unwanted[@]}" >/dev/null
      docker rm -v "${unwanted[@]}" >/dev/null
    fi
  fi
done

members() { docker exec "$container" registry members 2>/dev/null; }
is_member() {
  local table address
  table=$(members) || return 1
  awk -v name="$name" '$1 == name && $3 == "alive" { found = 1 } END { exit !found }' <<<"$table" || return 1
  [[ -n $join_ip ]] || return 0
  # Joined means that somebody else is there too; which of the addresses answered does not matter.
  awk -v name="$name" '$1 != name && $3 == "alive" { found = 1 } END { exit !found }' <<<"$table"
}
deadline=$((SECONDS + member_seconds))
until is_member; do
  # Restarted again and again: it will not get better by waiting, and its log says why.
  if (($(docker inspect --format '{{.RestartCount}}' "$container") >= 3)); then
    docker logs --tail 20 "$container" >&2 || true
    fail "the registry of $name ends as soon as it is started; its last lines are above"
  fi
  if ((SECONDS >= deadline)); then
    docker logs --tail 20 "$container" >&2 || true
    if [[ -n $join_ip ]]; then
      fail "$name is not a member after $member_seconds s; its last lines are above. It keeps trying $join_ip. Can this host reach $join_ip on 8301 (tcp and udp) and 8300, and that host $public_ip?"
    fi
    fail "$name does not answer after $member_seconds s; its last lines are above"
  fi
  sleep 0.3
done

# --- what now

table=$(members)
alive=$(awk '$3 == "alive" && $4 == "server"' <<<"$table" | wc -l)
say "$name is a member:"
printf '%s\n' "$table" | sed 's/^/  /'
expected=${now[SERVERS]:-3}
if [[ -z $join_ip ]] && ((alive < expected)); then
  say "$alive of $expected servers are here; the cluster begins with the last of them"
fi
say 'on another host, from its own copy of this repository:'
echo "  scripts/join.sh $public_ip            (--with app or --with client runs the demo's programs there)"
say 'on this one:'
echo "  dig @$dns_bind consul.service.consul"
echo "  docker exec $(docker inspect --format '{{.Name}}' "$container" | sed 's|^/||') registry members"
if [[ ,$profiles, == *,client,* ]]; then
  echo "  docker logs -f $(docker inspect --format '{{.Name}}' "$("${compose[@]}" -f compose.yml ps -q distributed_client)" | sed 's|^/||')"
fi
