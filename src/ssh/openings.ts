import { type ChannelOpening, OPEN_FAILURE, type Protocol } from './library.ts'

/**
 * Says why a channel is refused. The library's `reject` always answers "connect failed" without a word; here the number and the words can be chosen while it
 * keeps its own books.
 */
export interface Openings {
  /** The opening that is being handled; only valid during the event in which the library tells of it. */
  current(): number
  refuse(sender: number, reject: () => void, reason: number, words: string): void
}

export function watchOpenings(protocol: Protocol): Openings {
  let opening = -1
  const words = new Map<number, { readonly reason: number; readonly words: string }>()
  const handler = protocol._handlers.CHANNEL_OPEN
  protocol._handlers.CHANNEL_OPEN = (self, ...args) => {
    opening = (args as unknown as [ChannelOpening])[0].sender
    handler?.(self, ...args)
  }
  const fail = protocol.channelOpenFail
  protocol.channelOpenFail = (recipient, reason, description) => {
    const chosen = words.get(recipient)
    fail.call(protocol, recipient, chosen?.reason ?? reason, chosen?.words ?? description)
  }
  return {
    current: () => opening,
    refuse(sender, reject, reason, text) {
      words.set(sender, { reason, words: text })
      reject()
      words.delete(sender)
    },
  }
}

/** What an error says to the other side: a number of RFC 4254 and the sentence of its code, never which rule decided. */
export function failureReason(code: string): number {
  return code.endsWith('_DENIED') || code === 'BIND_REFUSED' ? OPEN_FAILURE.prohibited : OPEN_FAILURE.connectFailed
}
