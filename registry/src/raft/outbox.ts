/** What a core has decided since the last Ready, until it is handed out. */
import type { Envelope, Message, RaftEvent, ReadState, ServerId } from './message.ts'

type AppendReply = Extract<Message, { type: 'appendReply' }>

export class Outbox {
  reads: ReadState[] = []
  events: RaftEvent[] = []
  #messages: Envelope[] = []
  #afterSave: Envelope[] = []

  send(...envelopes: Envelope[]): void {
    for (const envelope of envelopes) this.#messages.push(envelope)
  }

  /** To leave when everything decided so far is on disk. */
  sendAfterSave(to: ServerId, message: Message): void {
    this.#afterSave.push({ to, message })
  }

  /** As `sendAfterSave`; of several acknowledgements in one turn the last says it all. */
  acknowledgeAfterSave(to: ServerId, message: AppendReply): void {
    const last = this.#afterSave.at(-1)
    if (last?.to === to && last.message.type === 'appendReply' && last.message.success) {
      message = { ...message, round: Math.max(message.round, last.message.round) }
      message.match = Math.max(message.match, last.message.match)
      message.hintIndex = Math.max(message.hintIndex, last.message.hintIndex)
      this.#afterSave.pop()
    }
    this.sendAfterSave(to, message)
  }

  /** A later term has begun: what was to tell an older leader of our log need not stay true. */
  dropAcknowledgements(): void {
    this.#afterSave = this.#afterSave.filter(({ message }) => message.type !== 'appendReply')
  }

  /**
   * Everything that may leave now. `saves`: something is to be saved, and what waits goes with it. Otherwise that rests on
   * earlier saves: when all are done (`idle`) it may leave at once, and if not it stays here.
   */
  take({ saves, idle }: { saves: boolean; idle: boolean }): {
    messages: Envelope[]
    afterSave: Envelope[]
    reads: ReadState[]
    events: RaftEvent[]
  } {
    const waiting = this.#afterSave
    if (saves || idle) this.#afterSave = []
    const taken = {
      messages: !saves && idle ? [...this.#messages, ...waiting] : this.#messages,
      afterSave: saves ? waiting : [],
      reads: this.reads,
      events: this.events,
    }
    this.#messages = []
    this.reads = []
    this.events = []
    return taken
  }
}
