/**
 * # The first message of TLS, read without answering it
 *
 * One port serves links, certificates' challenges and a site, each with a TLS setup of its own. Which one a connection wants stands in the protocol names
 * (ALPN, RFC 7301) of the ClientHello, so that is read first and then given back to the socket whole.
 *
 * ```text
 * record     16 | 03 xx | u16 length | fragment                         RFC 8446, 5.1; a message may lie in several
 * message    01 | u24 length | u16 version | random 32 | session id <0..32> | suites <2..> | compression <1..> | extensions u16 <..>
 * extension  u16 type | u16 length | data          0 server name, 10 groups, 16 protocol names, 43 versions
 * ```
 *
 * Nothing is decided here about what is allowed: a message that cannot be read goes to the TLS library, which knows the fitting alert.
 */
export interface ClientHello {
  /** In the client's order. */
  readonly alpn: readonly string[]
  readonly serverName: string | undefined
  /** Code points of `supported_groups`. */
  readonly groups: readonly number[]
}

/** IANA's number of the hybrid group X25519MLKEM768. */
export const X25519MLKEM768 = 0x11ec

/** More than any client sends, post-quantum keys included. */
export const MAX_HELLO_BYTES = 16_384

const EMPTY: ClientHello = { alpn: [], serverName: undefined, groups: [] }

/** What a ClientHello says, `'incomplete'` while bytes are missing, `undefined` for what is none or is longer than `MAX_HELLO_BYTES`. */
export function readClientHello(bytes: Uint8Array): ClientHello | 'incomplete' | undefined {
  return new ClientHelloReader().read(bytes)
}

/**
 * Reads one ClientHello that arrives in pieces. What was looked at is not looked at again: a client may send a byte at a time, each byte of the message in a record
 * of its own, and would otherwise cost a look at thousands of records with every byte.
 */
export class ClientHelloReader {
  /** Where the next record begins. */
  #at = 0
  /** Where the fragments of whole records lie, as start and end. */
  readonly #fragments: number[] = []
  #joined = 0
  /** Length of the whole message; 0 while it is not known. */
  #wanted = 0

  /** `bytes`: everything that has arrived so far, from the first byte on. */
  read(bytes: Uint8Array): ClientHello | 'incomplete' | undefined {
    for (;;) {
      const at = this.#at
      if (bytes.length > at && bytes[at] !== 0x16) return undefined
      if (bytes.length > at + 1 && bytes[at + 1] !== 3) return undefined
      if (bytes.length < at + 5) return 'incomplete'
      const length = ((bytes[at + 3] as number) << 8) | (bytes[at + 4] as number)
      if (length === 0 || length > MAX_HELLO_BYTES) return undefined
      const end = Math.min(at + 5 + length, bytes.length)
      if (this.#joined === 0 && end > at + 5 && bytes[at + 5] !== 1) return undefined
      const joined = this.#joined + end - at - 5
      if (this.#wanted === 0 && joined >= 4) this.#wanted = 4 + this.#join(bytes, at + 5, end, 4).readUIntBE(1, 3)
      if (this.#wanted > MAX_HELLO_BYTES) return undefined
      if (this.#wanted > 0 && joined >= this.#wanted) return readMessage(this.#join(bytes, at + 5, end, this.#wanted))
      if (end < at + 5 + length) return 'incomplete'
      this.#fragments.push(at + 5, end)
      this.#joined = joined
      this.#at = end
    }
  }

  /** The first `length` bytes of the message: of the fragments known, and of the one from `start` to `end`. */
  #join(bytes: Uint8Array, start: number, end: number, length: number): Buffer {
    const message = Buffer.alloc(length)
    let filled = 0
    const take = (from: number, to: number): void => {
      const part = bytes.subarray(from, Math.min(to, from + length - filled))
      message.set(part, filled)
      filled += part.length
    }
    for (let index = 0; index < this.#fragments.length && filled < length; index += 2)
      take(this.#fragments[index] as number, this.#fragments[index + 1] as number)
    take(start, end)
    return message
  }
}

function readMessage(message: Uint8Array): ClientHello | undefined {
  const reader = new Reader(message.subarray(4))
  reader.take(34)
  reader.vector(1)
  reader.vector(2)
  reader.vector(1)
  if (reader.failed) return undefined
  return reader.left === 0 ? EMPTY : readExtensions(reader)
}

function readExtensions(reader: Reader): ClientHello | undefined {
  const extensions = new Reader(reader.vector(2))
  let alpn: readonly string[] = []
  let serverName: string | undefined
  let groups: readonly number[] = []
  while (!extensions.failed && extensions.left > 0) {
    const type = extensions.number(2)
    const data = new Reader(extensions.vector(2))
    if (type === 0) serverName = readServerName(data)
    else if (type === 10) groups = readGroups(data)
    else if (type === 16) alpn = readNames(data)
    if (data.failed) return undefined
  }
  return reader.failed || extensions.failed ? undefined : { alpn, serverName, groups }
}

function readServerName(data: Reader): string | undefined {
  const list = new Reader(data.vector(2))
  const type = list.number(1)
  const name = Buffer.from(list.vector(2)).toString('latin1')
  return !list.failed && type === 0 && /^[\x21-\x7e]{1,253}$/.test(name) ? name : undefined
}

function readGroups(data: Reader): readonly number[] {
  const list = new Reader(data.vector(2))
  const groups: number[] = []
  while (!list.failed && list.left > 0) groups.push(list.number(2))
  return groups
}

function readNames(data: Reader): readonly string[] {
  const list = new Reader(data.vector(2))
  const names: string[] = []
  while (!list.failed && list.left > 0) names.push(Buffer.from(list.vector(1)).toString('latin1'))
  return names
}

/** Reads on and notes when the bytes were not enough; what it then gives is empty. */
class Reader {
  failed = false
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  take(length: number): Uint8Array {
    if (length > this.left) {
      this.failed = true
      return new Uint8Array(0)
    }
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  number(width: number): number {
    return this.take(width).reduce((value, byte) => value * 256 + byte, 0)
  }

  /** A length of `width` bytes and that many bytes. */
  vector(width: number): Uint8Array {
    return this.take(this.number(width))
  }
}
