/** What the Raft core tells, as log lines in Consul's words: people and scripts look for them. */
import type { Log } from '../io/io.ts'
import type { Configuration, RaftEvent, ServerId } from '../raft/message.ts'

export interface Self {
  id: ServerId
  address: string
  addressOf(id: ServerId): string
  configuration(): Configuration
}

export function logEvent(log: Log, self: Self, event: RaftEvent): void {
  switch (event.type) {
    case 'role':
      if (event.role === 'leader') log('info', 'raft', `Node at ${self.address} [Leader] entering Leader state`)
      if (event.role === 'follower') {
        if (event.leader === '') logFollower(log, self.address)
        else log('debug', 'raft', `Following the leader at ${self.addressOf(event.leader)} in term ${event.term}`)
      }
      if (event.role === 'candidate') {
        log('info', 'raft', `Node at ${self.address} [Candidate] entering Candidate state`)
        const voters = self.configuration().servers.filter(({ voter }) => voter).length
        log('debug', 'raft', `Votes needed: ${Math.floor(voters / 2) + 1}`)
      }
      return
    case 'electionTimeout':
      log('warn', 'raft', 'Heartbeat timeout reached, starting election')
      return
    case 'voteGranted':
      log('debug', 'raft', `Vote granted from ${self.addressOf(event.from)}. Tally: ${event.tally}`)
      return
    case 'electionWon':
      log('info', 'raft', `Election won. Tally: ${event.tally}`)
      return
    case 'configuration': {
      const servers = event.configuration.servers.map(({ address, voter }) =>
        voter ? address : `${address} (no vote)`,
      )
      log('debug', 'raft', `Configuration ${event.committed ? 'committed' : 'appended'}: ${servers.join(', ')}`, {
        index: event.index,
      })
      return
    }
    case 'pipelining':
      log('info', 'raft', `pipelining replication to peer ${self.addressOf(event.to)}`)
      return
    case 'stepDown':
      log('warn', 'raft', `Node at ${self.address} [Leader] stepping down: ${event.reason}`, { term: event.term })
      return
    case 'lostEntries':
      log('error', 'raft', `${self.addressOf(event.follower)} lost entries it had acknowledged; sending them again`, {
        acknowledged: event.acknowledged,
      })
      return
    default:
      event satisfies never
  }
}

export function logFollower(log: Log, address: string): void {
  log('info', 'raft', `Node at ${address} [Follower] entering Follower state`)
}
