#!/usr/bin/env bash
# Long runs of what CI runs short. Each prints its seeds, so a failure can be run again.
#
#   scripts/soak.sh raft [SEEDS]      random worlds of the Raft core alone (default 20,000)
#   scripts/soak.sh sim [SEEDS]       whole replicas on simulated disks and networks (default 5,000)
#   scripts/soak.sh agents [SEEDS]    whole agents under faults, with their clients (default 500)
#   scripts/soak.sh gossip [SEEDS]    random trouble among members (default 2,000)
#   scripts/soak.sh swarm [MINUTES]    a thousand members: crashes, what each sends, and so many minutes of loss and pauses (default 60)
#   scripts/soak.sh fuzz-gossip [N]    so many packets that nobody should send (default 10,000,000)
#   scripts/soak.sh fuzz-http [N]      so many connections with requests that nobody should send, 2.5 on each (default 400,000)
#   scripts/soak.sh idle [N]           so many idle connections to one agent, both ends in one process (default 9,900)
#   scripts/soak.sh processes [N]     the tests of whole processes, N times over (default 10)
#   scripts/soak.sh faults [SECONDS]   three processes with a fault proxy between them, their history checked (default 600)
#   scripts/soak.sh cuts [N]           one of three Docker hosts cut off and healed, N times over (default 20; as root)
#   scripts/soak.sh explore            every state of three Raft cores within bounds
#   scripts/soak.sh seeded             every seeded bug is caught, and after how many seeds
#   scripts/soak.sh properties [N]     every property on N other sets of inputs (default 20)
#   scripts/soak.sh all               one after the other
#
# What they found, on which machine and commit, goes into docs/measurements.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/node.sh

mocha() { npx mocha --no-config --timeout 0 "$@"; }

soak() {
  local name=$1 count=${2:-}
  echo "== $name at $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(nproc) cores, Node $(node --version)"
  case $name in
    raft) SEEDS=${count:-20000} mocha registry/src/raft/random.test.ts ;;
    sim) node scripts/sim.ts --seeds "${count:-5000}" ;;
    agents) node scripts/sim.ts --profile agents --seeds "${count:-500}" ;;
    gossip) SEEDS=${count:-2000} mocha registry/src/gossip/random.test.ts ;;
    swarm)
      node scripts/swarm.ts --crashes 20
      node scripts/swarm.ts --curve 10,30,100,300,1000 --minutes 3
      node scripts/swarm.ts --minutes "${count:-60}" --loss 0,0.05,0.1,0.2 --pause 2000
      ;;
    fuzz-gossip) FUZZ=${count:-10000000} mocha registry/src/gossip/fuzz.test.ts ;;
    fuzz-http) FUZZ=${count:-400000} SEED=${SEED:-$RANDOM} mocha --require ./test/setup.ts registry/test/api/fuzz-http.test.ts ;;
    idle)
      # Both ends are in one process.
      ulimit -n "$(ulimit -Hn)"
      IDLE=${count:-9900} mocha --require ./test/setup.ts registry/test/api/transport.test.ts --grep 'idle connections'
      ;;
    processes)
      for ((run = 1; run <= ${count:-10}; run++)); do
        echo "-- run $run"
        mocha --timeout 120000 'registry/test/processes/*.test.ts'
      done
      ;;
    explore) EXPLORE=whole mocha registry/test/explore/explore.test.ts ;;
    seeded) node scripts/seeded.ts ;;
    faults) DURATION=${count:-600} mocha registry/test/processes/faults.test.ts ;;
    cuts)
      CUTS=${count:-20} mocha test/docker/demo.test.ts --grep 'cut off and healed again'
      ;;
    properties)
      for ((run = 1; run <= ${count:-20}; run++)); do
        PROPERTIES=random mocha --require ./test/setup.ts --reporter dot $(git grep -l fast-check -- '*.test.ts')
      done
      ;;
    all) for each in raft sim agents gossip processes faults properties; do soak "$each"; done ;;
    *)
      echo "scripts/soak.sh: expected raft, sim, agents, gossip, swarm, fuzz-gossip, fuzz-http, idle, processes, faults, cuts, explore, seeded, properties or all, received \"$name\"" >&2
      exit 2
      ;;
  esac
}
soak "${1:-all}" "${2:-}"
