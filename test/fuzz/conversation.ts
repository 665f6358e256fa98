/**
 * Inputs that are changes to a conversation: the two sides speak honestly, and what one of them says arrives changed. So signatures, keys and
 * confirmations stay within reach of the mutation, and inputs stay small: the empty input is the honest conversation.
 *
 * ```text
 * input = n x ( u8 message | u8 operation | u16 position | u8 value )
 * ```
 */
const CHANGE_BYTES = 5
const MAX_CHANGES = 12

interface Change {
  readonly message: number
  readonly operation: number
  readonly position: number
  readonly value: number
}

/** What arrives instead of message number `index` (all directions together, or however the target counts). */
export type Changes = (index: number, message: Uint8Array) => Uint8Array[]

export function parseChanges(input: Uint8Array): { readonly apply: Changes; readonly honest: boolean } {
  const changes: Change[] = []
  for (let at = 0; at + CHANGE_BYTES <= input.length && changes.length < MAX_CHANGES; at += CHANGE_BYTES) {
    const [message, operation, high, low, value] = input.subarray(at, at + CHANGE_BYTES) as unknown as [number, number, number, number, number]
    changes.push({ message: message % 8, operation: operation % 9, position: (high << 8) | low, value })
  }
  let last: Uint8Array = Uint8Array.of(0)
  return {
    honest: changes.length === 0,
    apply(index, message) {
      let out: Buffer[] = [Buffer.from(message)]
      for (const change of changes) if (change.message === index) out = applied(out, change, last)
      last = message
      return out
    },
  }
}

function applied(messages: readonly Buffer[], { operation, position, value }: Change, last: Uint8Array): Buffer[] {
  const first = messages[0]
  if (first === undefined) return []
  const rest = messages.slice(1)
  const at = first.length === 0 ? 0 : position % (first.length + 1)
  switch (operation) {
    case 0: {
      const changed = Buffer.from(first)
      if (at < changed.length) changed[at] = (changed[at] as number) ^ (value || 1)
      return [changed, ...rest]
    }
    case 1: {
      const changed = Buffer.from(first)
      if (at < changed.length) changed[at] = value
      return [changed, ...rest]
    }
    case 2:
      return [first.subarray(0, at), ...rest]
    case 3:
      return [Buffer.concat([first.subarray(0, at), Buffer.alloc(value, value), first.subarray(at)]), ...rest]
    case 4:
      return [Buffer.concat([first.subarray(0, at), first.subarray(at + value)]), ...rest]
    case 5:
      return [first, first, ...rest]
    case 6:
      return rest
    case 7:
      return [Buffer.from(last), ...rest]
    default:
      return [first.subarray(0, at), first.subarray(at), ...rest]
  }
}

/** One change, for seeds and single cases. */
export function change(message: number, operation: number, position = 0, value = 0): Uint8Array {
  return Uint8Array.of(message, operation, position >> 8, position & 0xff, value)
}

/** Inputs that are a list of messages: `u16 length | bytes`, the last one whatever is left. */
export function parseMessages(input: Uint8Array, most = 64): Uint8Array[] {
  const messages: Uint8Array[] = []
  let at = 0
  while (at + 2 <= input.length && messages.length < most) {
    const length = ((input[at] as number) << 8) | (input[at + 1] as number)
    messages.push(input.slice(at + 2, at + 2 + length))
    at += 2 + length
  }
  return messages
}

export function joinMessages(...messages: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(messages.flatMap((message) => [Uint8Array.of(message.length >> 8, message.length & 0xff), message]))
}

/** Lets everything that is ready run. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => setImmediate(resolve))
}

/** Whether a promise has settled after at most so many turns of the loop. */
export async function settledWithin(promise: Promise<unknown>, count: number): Promise<boolean> {
  let settled = false
  const mark = (): void => {
    settled = true
  }
  promise.then(mark, mark)
  for (let i = 0; i < count && !settled; i++) await turns(1)
  return settled
}
