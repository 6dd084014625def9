# Sourced by scripts/demo.sh: the demo as plain processes. Every "host" is an address of its own on loopback, with
# the standard ports on it, so nothing but the addresses differs from three machines.

declare -A loopback_addresses=([host1]=127.0.77.22 [host2]=127.0.77.16 [host3]=127.0.77.17)
loopback_state=${ROLLCALL_CACHE:-$root/.cache}/demo-loopback

# A process is remembered with the time it was started: its number alone may be somebody else's by now.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '{ print $20 }'; }
still_runs() { [[ -n $2 && $(started_at "$1") == "$2" ]]; }

launch() { # NAME COMMAND...
  local name=$1 pid
  shift
  setsid "$@" >"$folder/$name.log" 2>&1 </dev/null {told}>&- &
  pid=$!
  disown
  printf '%s %s %s\n' "$name" "$pid" "$(started_at "$pid")" >>"$loopback_state"
}

loopback_down() {
  local name pid start found=no folder deadline
  [[ -e $loopback_state ]] || return 0
  read -r _ folder <"$loopback_state"
  # Programs first, so that they deregister; then the agents.
  for round in programs agents; do
    while read -r name pid start; do
      [[ $name != folder ]] && still_runs "$pid" "$start" || continue
      case $round:$name in programs:host*_agent) continue ;; esac
      found=yes
      kill -TERM "$pid" 2>/dev/null || true
    done <"$loopback_state"
    deadline=$((SECONDS + 5))
    while read -r name pid start; do
      case $round:$name in programs:host*_agent | *:folder) continue ;; esac
      while still_runs "$pid" "$start"; do
        if ((SECONDS >= deadline)); then kill -KILL "$pid" 2>/dev/null || true; fi
        sleep 0.05
      done
    done <"$loopback_state"
  done
  case $folder in */rollcall-demo.*) rm -rf "$folder" ;; esac
  rm -f "$loopback_state"
  if [[ $found == yes ]]; then say 'The processes of the loopback demo have ended and their data is removed.'; fi
}

loopback_stop() {
  local code=$?
  trap - EXIT INT TERM
  # Whatever happens, nothing is left behind, unless all went well and it is to stay.
  if [[ $code != 0 || $once == yes ]]; then loopback_down; fi
  exit "$code"
}

# The agents that did not survive their start say why in their log.
expect_running() {
  local name pid start
  while read -r name pid start; do
    [[ $name == folder ]] && continue
    if ! still_runs "$pid" "$start"; then
      sed "s/^/  | /" "$folder/$name.log" >&$told
      fail "$name ended; its last words are above"
    fi
  done <"$loopback_state"
}

get() { node -e 'fetch(process.argv[1], { signal: AbortSignal.timeout(2000) }).then(async (r) => { console.log(await r.text()); process.exit(r.ok ? 0 : 1) }, () => process.exit(1))' "$1"; }
three_members() {
  expect_running
  [[ $(get 'http://127.0.77.22:8500/v1/agent/members' | node -e 'let t = ""; process.stdin.on("data", (d) => (t += d)).on("end", () => console.log(JSON.parse(t).filter((m) => m.Status === 1).length))') == 3 ]]
}
has_leader() { [[ $(get 'http://127.0.77.17:8500/v1/status/leader') == *:8300* ]]; }
loopback_report() {
  expect_running
  report_is_complete "$folder/host3_client.log" 127.0.77.22 127.0.77.16
}

demo_loopback() {
  local host address dns_port=8600 dns
  loopback_down
  mkdir -p "$(dirname "$loopback_state")"
  folder=$(mktemp -d "${TMPDIR:-/tmp}/rollcall-demo.XXXXXX")
  echo "folder $folder" >"$loopback_state"
  trap loopback_stop EXIT
  trap 'exit 130' INT TERM

  title 'Three agents'
  # Port 53 where this user may have it and nobody else has.
  if node -e 'const s = require("node:dgram").createSocket("udp4"); s.on("error", () => process.exit(1)); s.bind(53, "127.0.77.22", () => process.exit(0))'; then
    dns_port=53
    dns='dig'
  else
    dns="dig -p $dns_port"
    say "DNS is on port $dns_port: port 53 needs root, or somebody has it."
  fi
  for host in host1 host2 host3; do
    address=${loopback_addresses[$host]}
    local words=(registry/bin/registry agent -server "-node=$host" "-bind=$address" "-client=$address"
      "-advertise=$address" "-data-dir=$folder/$host" "-dns-port=$dns_port")
    if [[ $host == host1 ]]; then words+=(-bootstrap-expect=3); else words+=(-retry-join=127.0.77.22); fi
    say "$host\$ ${words[*]}"
    launch "${host}_agent" "${words[@]}"
  done
  until_so 20 'three agents that know one another' three_members
  until_so 20 'a leader, elected once the third was there' has_leader
  note "leader: $(get 'http://127.0.77.17:8500/v1/status/leader')"

  title 'The application on host1 and host2, the client on host3'
  for host in host1 host2; do
    address=${loopback_addresses[$host]}
    local words=(node distributed_app/src/main.ts --registry "http://$address:8500" --dns "$address:$dns_port" --bind "$address")
    say "$host\$ ${words[*]}"
    launch "${host}_distributed" "${words[@]}"
  done
  address=${loopback_addresses[host3]}
  local words=(node distributed_client/src/main.ts --registry "http://$address:8500" --dns "$address:$dns_port")
  say "host3\$ ${words[*]}"
  launch host3_client "${words[@]}"
  until_so 30 'a report of four instances' loopback_report

  title 'What the client on host3 reports'
  report_of "$folder/host3_client.log"

  if [[ $once == yes ]]; then
    title 'Done'
    return
  fi
  title 'It goes on running. Try next'
  cat <<WORDS
  tail -f $folder/host3_client.log
  $dns @127.0.77.17 distributed_app.service.consul SRV
  curl http://127.0.77.16:8500/v1/catalog/service/distributed_app
  curl http://127.0.77.22:2001/
  curl -X PUT -d 'Hello from the key-value store!' http://127.0.77.17:8500/v1/kv/distributed_app/config/greeting
  registry/bin/registry members -http-addr=127.0.77.16:8500
  kill -9 $(awk '$1 == "host1_agent" { print $2 }' "$loopback_state")                    # host1's agent; watch the others go on
  logs and data: $folder
  scripts/demo.sh --down                    # when you have seen enough
WORDS
}
