# Sourced by scripts/demo.sh: the demo on three real Docker engines. What is typed on a host stands here as it is
# typed there, and what it shows is checked.

on() { "$root/scripts/hosts.sh" run "$1" -- "${@:2}"; }

# type_on HOST <<WORDS: shows the words as typed on that host, and runs them there in one shell.
type_on() {
  local host=$1 words
  words=$(cat)
  sed "1s/^/$host\$ /;2,\$s/^/$host> /" <<<"$words"
  on "$host" bash -c "$words"
}

docker_down() {
  ((EUID == 0)) || return 0
  [[ -d ${ROLLCALL_HOSTS_DIR:-/var/tmp/rollcall-hosts}/${ROLLCALL_HOSTS:-rollcall} ]] || return 0
  "$root/scripts/hosts.sh" down
}

followers=()
docker_stop() {
  local code=$?
  trap - EXIT INT TERM
  # Each is the process that entered the host; what it runs there ends with it.
  if ((${#followers[@]} > 0)); then kill "${followers[@]}" 2>/dev/null || true; fi
  rm -rf "$folder"
  if [[ $once == yes ]]; then
    docker_down || true
  elif [[ $code != 0 ]]; then
    say 'The hosts are left as they are, to look at: scripts/hosts.sh status. To remove them: scripts/demo.sh --down' >&2
  fi
  exit "$code"
}

# Images are built in the first engine; the other two get copies.
docker_images() {
  local host pids=() pid image wanted=() images=(registry registrator distributed_app distributed_client redis)
  images=("${images[@]/#/rollcall/}")
  DOCKER_HOST=$(docker_host host1) "$root/scripts/images.sh" --stand-in --redis
  for host in host2 host3; do
    wanted=()
    for image in "${images[@]}"; do
      [[ $(image_id "$host" "$image") == "$(image_id host1 "$image")" ]] || wanted+=("$image")
    done
    ((${#wanted[@]} > 0)) || continue
    (docker -H "$(docker_host host1)" save "${wanted[@]}" | docker -H "$(docker_host "$host")" load -q >/dev/null) &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || fail 'could not copy the images from host1'; done
  note 'the same images are on host2 and host3'
}
docker_host() { "$root/scripts/hosts.sh" status | awk -v host="$1" '$1 == host { print $4 }'; }
image_id() { docker -H "$(docker_host "$1")" image inspect --format '{{.Id}}' "$2" 2>/dev/null || echo absent; }

# follow HOST CONTAINER FILE: what the container says, as it says it, until this script ends.
follow() {
  "$root/scripts/hosts.sh" run "$1" -- docker logs -f "$2" >"$3" 2>&1 {told}>&- &
  followers+=($!)
  disown
}

remove_containers() { # HOST
  local ids
  ids=$(on "$1" docker ps -aq)
  # Volumes too: the words below are those of hosts that begin with nothing.
  [[ -z $ids ]] || on "$1" docker rm -fv $ids >/dev/null
}

one_node() {
  title '1. One node'
  type_on host1 >"$folder/one.log" 2>&1 <<'WORDS' &
docker run -p 8500:8500 -p 53:53/udp -h node1 rollcall/registry -server -bootstrap
WORDS
  local typed=$! container code
  shows 'the log of one node' "$folder/one.log" \
    'WARNING: Bootstrap mode enabled! Do not enable unless necessary' \
    'Starting Consul agent\.\.\.' \
    'Starting Consul agent RPC\.\.\.' \
    'Consul agent running!' \
    "Node name: 'node1'" \
    "Datacenter: 'dc1'" \
    'Server: true \(bootstrap: true\)' \
    'Client Addr: 0\.0\.0\.0 \(HTTP: 8500, HTTPS: -1, DNS: 53, RPC: 8400\)' \
    'Cluster Addr: 172\.17\.0\.[0-9]+ \(LAN: 8301, WAN: 8302\)' \
    'Gossip encrypt: false, RPC-TLS: false, TLS-Incoming: false' \
    'Log data will now stream in as it occurs:' \
    'raft: Node at 172\.17\.0\.[0-9]+:8300 \[Follower\] entering Follower state' \
    'serf: EventMemberJoin: node1 172\.17\.0\.[0-9]+' \
    'serf: EventMemberJoin: node1\.dc1 172\.17\.0\.[0-9]+' \
    'agent: failed to sync remote state: No cluster leader' \
    'raft: Heartbeat timeout reached, starting election' \
    'raft: Election won\. Tally: 1' \
    'raft: Node at 172\.17\.0\.[0-9]+:8300 \[Leader\] entering Leader state' \
    'consul: cluster leadership acquired' \
    'consul: New leader elected: node1' \
    "consul: member 'node1' joined, marking health alive" \
    "agent: Synced service 'consul'"
  cat "$folder/one.log"
  container=$(on host1 docker ps -lq)
  on host1 docker stop "$container" >/dev/null
  wait "$typed" || true
  code=$(on host1 docker inspect --format '{{.State.ExitCode}}' "$container")
  [[ $code == 0 ]] || fail "the agent stopped with exit code $code; expected 0"
  on host1 docker rm -v "$container" >/dev/null
  note 'stopped again: SIGTERM, exit code 0'
}

three_hosts() {
  title '2. Three hosts'
  type_on host1 >"$folder/typed" <<'WORDS'
PUBLIC_IP="$(ifconfig ens160 | awk -F ' *|:' '/inet /{print $3}')"
docker run -d -h $HOSTNAME -p 8300:8300 -p 8301:8301 -p 8301:8301/udp -p 8302:8302 -p 8302:8302/udp \
  -p 8400:8400 -p 8500:8500 -p 53:53/udp --dns=172.17.0.1 --dns=8.8.8.8 --dns-search=service.consul \
  --name host1_agent rollcall/registry -server -advertise=$PUBLIC_IP -bootstrap-expect=3
WORDS
  cat "$folder/typed"
  follow host1 host1_agent "$folder/host1_agent.log"
  shows 'host1 alone' "$folder/host1_agent.log" \
    'Cluster Addr: 10\.0\.77\.22 ' 'agent: failed to sync remote state: No cluster leader'
  type_on host2 <<'WORDS'
PUBLIC_IP="$(ifconfig ens160 | awk -F ' *|:' '/inet /{print $3}')"
JOIN_IP=10.0.77.22
docker run -d -h $HOSTNAME -p 8300:8300 -p 8301:8301 -p 8301:8301/udp -p 8302:8302 -p 8302:8302/udp \
  -p 8400:8400 -p 8500:8500 -p 53:53/udp --dns=172.17.0.1 --dns=8.8.8.8 --dns-search=service.consul \
  --name host2_agent rollcall/registry -server -advertise=$PUBLIC_IP -join=$JOIN_IP
WORDS
  shows 'host1, when host2 joins' "$folder/host1_agent.log" 'serf: EventMemberJoin: host2 10\.0\.77\.16'
  # Longer than any election takes: two of three elect nobody.
  sleep 4
  ! grep -qE 'Election won|\[Leader\]' "$folder/host1_agent.log" || fail 'a leader was elected before the third server was there'
  note 'host1 and host2 know each other, and nothing is elected: three are expected'
  type_on host3 <<'WORDS'
PUBLIC_IP="$(ifconfig ens160 | awk -F ' *|:' '/inet /{print $3}')"
JOIN_IP=10.0.77.22
docker run -d -h $HOSTNAME -p 8300:8300 -p 8301:8301 -p 8301:8301/udp -p 8302:8302 -p 8302:8302/udp \
  -p 8400:8400 -p 8500:8500 -p 53:53/udp --dns=172.17.0.1 --dns=8.8.8.8 --dns-search=service.consul \
  --name host3_agent rollcall/registry -server -advertise=$PUBLIC_IP -join=$JOIN_IP
WORDS
  shows 'host1, when the third joins' "$folder/host1_agent.log" \
    'serf: EventMemberJoin: host3 10\.0\.77\.17' \
    'consul: adding LAN server host3 \(Addr: 10\.0\.77\.17:8300\) \(DC: dc1\)' \
    'consul: Attempting bootstrap with nodes: \[10\.0\.77\.22:8300 10\.0\.77\.16:8300 10\.0\.77\.17:8300\]' \
    'raft: Heartbeat timeout reached, starting election' \
    'raft: Node at 10\.0\.77\.22:8300 \[Candidate\] entering Candidate state' \
    'raft: Remote peer 10\.0\.77\.1[67]:8300 does not have local node 10\.0\.77\.22:8300 as a peer' \
    'raft: Election won\. Tally: 2' \
    'raft: Node at 10\.0\.77\.22:8300 \[Leader\] entering Leader state' \
    'consul: New leader elected: host1'
  shows 'host1, leading' "$folder/host1_agent.log" \
    'consul: New leader elected: host1' 'pipelining replication to peer 10\.0\.77\.1[67]:8300' \
    'pipelining replication to peer 10\.0\.77\.1[67]:8300'
  local host
  for host in host1 host2 host3; do
    shows 'host1, leading' "$folder/host1_agent.log" 'consul: New leader elected: host1' \
      "consul: member '$host' joined, marking health alive"
  done
  shows 'host1, leading' "$folder/host1_agent.log" 'consul: New leader elected: host1' "agent: Synced service 'consul'"
  note "from host1's log:"
  sed -n '/EventMemberJoin: host3/,$p' "$folder/host1_agent.log" | sed 's/^/  /'
}

docker_dns() {
  title '3. DNS'
  until_so 20 'three servers in DNS' dns_has host1 consul.service.consul 10.0.77.22 10.0.77.16 10.0.77.17
  type_on host1 >"$folder/dig" <<'WORDS'
dig @172.17.0.1 consul.service.consul
WORDS
  cat "$folder/dig"
  grep -qE '^;; flags: qr aa rd ra; QUERY: 1, ANSWER: 3,' "$folder/dig" || fail 'dig: expected ";; flags: qr aa rd ra; QUERY: 1, ANSWER: 3"'
  local address
  for address in 10.0.77.22 10.0.77.16 10.0.77.17; do
    grep -qE "^consul\.service\.consul\.[[:space:]]+0[[:space:]]+IN[[:space:]]+A[[:space:]]+$address\$" "$folder/dig" ||
      fail "dig: expected \"consul.service.consul. 0 IN A $address\""
  done
}
# dns_has HOST NAME ADDRESS...: exactly these, in any order.
dns_has() {
  [[ $(on "$1" dig +short +time=2 +tries=1 @172.17.0.1 "$2" A | sort) == "$(printf '%s\n' "${@:3}" | sort)" ]]
}

docker_registrators() {
  title 'A registrator beside each agent'
  local host
  for host in host1 host2 host3; do
    type_on "$host" <<'WORDS'
PUBLIC_IP="$(ifconfig ens160 | awk -F ' *|:' '/inet /{print $3}')"
docker run -d -h $HOSTNAME --group-add $(stat -c %g /var/run/docker.sock) -v /var/run/docker.sock:/var/run/docker.sock \
  --name ${HOSTNAME}_registrator rollcall/registrator -ip=$PUBLIC_IP consul://172.17.0.1:8500
WORDS
  done
  title 'A Redis on host3, which nobody registers but the registrator'
  type_on host3 <<'WORDS'
docker run -d -p 10000:6379 --name redis.0 rollcall/redis
WORDS
  for host in host1 host2 host3; do
    until_so 20 "redis.service.consul on $host" dns_has "$host" redis.service.consul 10.0.77.17
  done
  type_on host1 <<'WORDS'
dig +short @172.17.0.1 redis.service.consul SRV
WORDS
}

docker_application() {
  title '4. The application, on host1 and host2'
  type_on host1 <<'WORDS'
docker run -h $HOSTNAME -d --dns=172.17.0.1 --dns=8.8.8.8 --dns-search=service.consul --name host1_distributed rollcall/distributed_app
WORDS
  type_on host2 <<'WORDS'
docker run -h $HOSTNAME -d --dns=172.17.0.1 --dns=8.8.8.8 --dns-search=service.consul --name host2_distributed rollcall/distributed_app
WORDS
  local host
  for host in host1 host2; do
    follow "$host" "${host}_distributed" "$folder/${host}_distributed.log"
    # Once per worker.
    shows "the application on $host" "$folder/${host}_distributed.log" \
      '^\[consul\] service distributed_app registered successfully' '^\[consul\] service distributed_app registered successfully'
    sed "s/^/  $host: /" "$folder/${host}_distributed.log"
  done
}

docker_client() {
  title '5. The client, on host3'
  type_on host3 <<'WORDS'
docker run -h $HOSTNAME -d --dns=172.17.0.1 --dns=8.8.8.8 --dns-search=service.consul --name host3_distributed rollcall/distributed_client
WORDS
  follow host3 host3_distributed "$folder/client.log"
  until_so 40 'a report of four instances' report_is_complete "$folder/client.log" 10.0.77.22 10.0.77.16
}

exactly_four() {
  [[ $(on host3 docker exec host3_agent node -e 'fetch("http://127.0.0.1:8500/v1/catalog/service/distributed_app").then((r) => r.json()).then((a) => console.log(a.map((i) => `${i.Node}/${i.ServiceID}/${i.ServicePort}`).sort().join(" ")))') == \
    'host1/server1/2001 host1/server2/2002 host2/server1/2001 host2/server2/2002' ]]
}

demo_docker() {
  local host
  ((EUID == 0)) || fail '--docker needs root: it makes network namespaces and starts three Docker engines. Without root: --loopback'
  folder=$(mktemp -d "${TMPDIR:-/tmp}/rollcall-demo.XXXXXX")
  trap docker_stop EXIT
  trap 'exit 130' INT TERM

  title 'Three Docker hosts on this machine'
  local arguments=()
  [[ $install == yes ]] || arguments+=(--no-install)
  "$root/scripts/hosts.sh" up "${arguments[@]}" || fail 'the three hosts did not come up, see above'
  for host in host1 host2 host3; do remove_containers "$host"; done
  title 'Images'
  docker_images

  one_node
  three_hosts
  docker_dns
  docker_registrators
  docker_application
  docker_client

  title 'With registrators beside: exactly four instances, also after a registrator restart'
  until_so 10 'exactly four instances of distributed_app' exactly_four
  on host1 docker restart host1_registrator >/dev/null
  until_so 20 'the restarted registrator at work' dns_has host1 redis.service.consul 10.0.77.17
  until_so 20 'exactly four instances of distributed_app after a registrator restart' exactly_four
  say 'host1/server1/2001 host1/server2/2002 host2/server1/2001 host2/server2/2002'

  title 'What the client on host3 reports'
  report_of "$folder/client.log"
  if [[ $once == yes ]]; then
    title 'Done'
    return
  fi
  title 'It goes on running. Try next'
  cat <<'WORDS'
  scripts/hosts.sh run host3 -- docker logs -f host3_distributed
  scripts/hosts.sh run host2 -- dig @172.17.0.1 distributed_app.service.consul SRV
  scripts/hosts.sh run host3 -- docker exec host3_agent registry members
  scripts/hosts.sh run host3 -- docker kill redis.0        # and redis.service.consul is gone
  scripts/hosts.sh kill host1                              # its power plug; watch the client go on
  scripts/hosts.sh start host1
  scripts/hosts.sh run host1 -- docker start host1_agent host1_registrator host1_distributed
  scripts/hosts.sh cut host2                               # its network cable;  heal host2
  scripts/demo.sh --down                                   # when you have seen enough
WORDS
}
