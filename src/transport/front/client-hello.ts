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
  const message = joinFragments(bytes)
  if (message === undefined || message === 'incomplete') return message
  const reader = new Reader(message.subarray(4))
  reader.take(34)
  reader.vector(1)
  reader.vector(2)
  reader.vector(1)
  if (reader.failed) return undefined
  return reader.left === 0 ? EMPTY : readExtensions(reader)
}

/** The handshake message out of its records. */
function joinFragments(bytes: Uint8Array): Buffer | 'incomplete' | undefined {
  const parts: Uint8Array[] = []
  let joined = 0
  let wanted = 4
  for (let at = 0; ; ) {
    if (bytes.length > at && bytes[at] !== 0x16) return undefined
    if (bytes.length > at + 1 && bytes[at + 1] !== 3) return undefined
    if (bytes.length < at + 5) return 'incomplete'
    const length = ((bytes[at + 3] as number) << 8) | (bytes[at + 4] as number)
    if (length === 0 || length > MAX_HELLO_BYTES) return undefined
    const part = bytes.subarray(at + 5, at + 5 + length)
    if (joined === 0 && part.length > 0 && part[0] !== 1) return undefined
    parts.push(part)
    joined += part.length
    at += 5 + length
    if (joined >= 4 && wanted === 4) {
      const head = Buffer.concat(parts)
      wanted = 4 + head.readUIntBE(1, 3)
      if (wanted > MAX_HELLO_BYTES) return undefined
    }
    if (joined >= wanted && wanted > 4) return Buffer.concat(parts).subarray(0, wanted)
    if (part.length < length || at >= bytes.length) return at > MAX_HELLO_BYTES * 2 ? undefined : 'incomplete'
  }
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
