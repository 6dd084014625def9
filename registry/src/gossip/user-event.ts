/** The bytes of user events, alone in a message or together in a state. */
import type { UserEvent } from '../model.ts'
import { byteLength, isName, Malformed, type Reader, textLengthMax, Writer } from './fields.ts'

/** A user event, encoded: no more than Serf's limit on its own encoding, which is the longer one. */
export const userEventLengthMax = 512
/** As for incarnations: a clock that a forger moves on still has room to count. */
export const lamportMax = 2 ** 48
const userEventsMax = 4_096

/** User events a member remembers, and the Lamport time of the next one it would fire. */
export interface UserEventState {
  clock: number
  events: UserEvent[]
}

export function writeUserEvent(event: UserEvent, out: Writer): void {
  out.number(event.ltime).text(event.id).text(event.name).blob(event.payload)
  out.text(event.nodeFilter).text(event.serviceFilter).text(event.tagFilter)
}

/** @throws Malformed */
export function readUserEvent(reader: Reader): UserEvent {
  const begin = reader.position
  const event = {
    ltime: reader.number(lamportMax),
    id: reader.name(),
    name: reader.text(textLengthMax),
    payload: reader.blob(userEventLengthMax),
    nodeFilter: reader.text(textLengthMax),
    serviceFilter: reader.text(textLengthMax),
    tagFilter: reader.text(textLengthMax),
  }
  if (!isName(event.name)) throw new Malformed(`name of the user event at byte ${begin} is none`)
  const length = reader.position - begin
  if (length > userEventLengthMax) throw new Malformed(`user event of ${length} bytes, at most ${userEventLengthMax}`)
  return event
}

/** A clock of 0 stands for none. */
export function writeUserEvents(state: UserEventState | undefined, out: Writer): void {
  out.number(state?.clock ?? 0)
  if (state === undefined) return
  out.number(state.events.length)
  for (const event of state.events) {
    const begin = out.open()
    writeUserEvent(event, out)
    out.close(begin)
  }
}

/** Undefined: the sender is of a release that had none, or this is not the first part of its state. @throws Malformed */
export function readUserEvents(reader: Reader): UserEventState | undefined {
  const clock = reader.done ? 0 : reader.number(lamportMax + 1)
  if (clock === 0) return undefined
  const count = reader.number(userEventsMax)
  const events: UserEvent[] = []
  for (let read = 0; read < count; read++) events.push(readUserEvent(reader.part()))
  return { clock, events }
}

/** Why this event cannot be gossiped, or undefined when it can. */
export function unfitEventReason(event: UserEvent): string | undefined {
  if (!isName(event.name)) return 'its name is empty or has control characters'
  const texts = [event.name, event.nodeFilter, event.serviceFilter, event.tagFilter]
  if (texts.some((text) => byteLength(text) > textLengthMax)) {
    return `its name or a filter is longer than ${textLengthMax} bytes`
  }
  const out = new Writer()
  writeUserEvent({ ...event, ltime: lamportMax }, out)
  const { length } = out.bytes()
  return length > userEventLengthMax ? `it takes ${length} bytes, at most ${userEventLengthMax}` : undefined
}
