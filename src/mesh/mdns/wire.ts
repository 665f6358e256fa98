import dnsPacket, { type DnsRecord, type Packet, type Question } from 'dns-packet'

/**
 * # Discovery on the local network
 *
 * Multicast DNS (RFC 6762) and DNS-SD (RFC 6763) over IPv4, so that avahi and Bonjour list a node as they list a printer.
 *
 * ```text
 * _icn._udp.local                PTR    INSTANCE._icn._udp.local
 * INSTANCE._icn._udp.local       SRV    0 0 PORT HOST.local
 *                                TXT    version=1  did=did:icn:z...  key=BASE58  name=TEXT  u0=URL u1=URL ...     (network marked home)
 *                                       version=1  id=HEX16                                 u0=URL u1=URL ...     (any other network)
 * HOST.local                     A, AAAA
 * ```
 *
 * `id` is SHA-256(identity key || u32 day)[0..8], where day counts from the Unix epoch: whoever knows the DID recognises it, everyone else sees a name
 * that changes every day. INSTANCE and HOST say no more than the TXT record does.
 *
 * Provided: announcements with goodbye, probing, known-answer suppression, peers that leave by goodbye or by time to live. Nothing heard is believed:
 * it only suggests where to dial. Not provided: IPv6 transport of the messages themselves, tie-breaking between simultaneous probes (instance names
 * come from keys), records longer than one packet.
 */
export const MDNS_PORT = 5353
export const MDNS_GROUP = '224.0.0.251'

/** Largest packet of RFC 6762, 17. */
const MAX_PACKET_BYTES = 9_000
const HEADER_BYTES = 12
const MAX_QUESTIONS = 32
const MAX_RECORDS = 128
/** Opcode and response code must be 0 (RFC 6762, 18). */
const REFUSED_FLAGS = 0x780f

export interface Message {
  readonly id: number
  readonly response: boolean
  readonly questions: readonly Question[]
  readonly answers: readonly DnsRecord[]
  readonly authorities: readonly DnsRecord[]
  readonly additionals: readonly DnsRecord[]
}

/** What a packet says; `undefined` for anything malformed, foreign or larger than an honest responder sends. Counts are checked before anything is decoded. */
export function decodeMessage(packet: Buffer): Message | undefined {
  if (packet.length < HEADER_BYTES || packet.length > MAX_PACKET_BYTES) return undefined
  const flags = packet.readUInt16BE(2)
  if ((flags & REFUSED_FLAGS) !== 0 || packet.readUInt16BE(4) > MAX_QUESTIONS) return undefined
  if (packet.readUInt16BE(6) + packet.readUInt16BE(8) + packet.readUInt16BE(10) > MAX_RECORDS) return undefined
  let decoded: Packet
  try {
    decoded = dnsPacket.decode(packet)
  } catch {
    return undefined
  }
  return {
    id: packet.readUInt16BE(0),
    response: (flags & 0x8000) !== 0,
    questions: (decoded.questions ?? []).filter(({ name }) => isWritable(name)),
    answers: (decoded.answers ?? []).filter(named),
    authorities: (decoded.authorities ?? []).filter(named),
    additionals: (decoded.additionals ?? []).filter(named),
  }
}

/** Names are asked for again: one that has no wire form (empty labels, bytes that are no text) would make our own packet malformed. */
function isWritable(name: string): boolean {
  return Buffer.byteLength(name) <= 253 && name.split('.').every((label) => label.length > 0 && Buffer.byteLength(label) <= 63 && !label.includes('\ufffd'))
}

function named(record: DnsRecord): boolean {
  return isWritable(record.name) && (record.type !== 'PTR' || (typeof record.data === 'string' && isWritable(record.data)))
}

export function encodeQuery(questions: readonly Question[], known: readonly DnsRecord[] = [], authorities: readonly DnsRecord[] = []): Buffer {
  return dnsPacket.encode({ type: 'query', id: 0, questions: [...questions], answers: [...known], authorities: [...authorities] })
}

export function encodeResponse(answers: readonly DnsRecord[], additionals: readonly DnsRecord[]): Buffer {
  return dnsPacket.encode({ type: 'response', id: 0, flags: dnsPacket.AUTHORITATIVE_ANSWER, answers: [...answers], additionals: [...additionals] })
}

/** An answer to one who is no multicast DNS responder itself: question repeated, short lives, no cache-flush (RFC 6762, 6.7). */
export function encodeLegacyResponse(to: Message, answers: readonly DnsRecord[], additionals: readonly DnsRecord[]): Buffer {
  const plain = (record: DnsRecord): DnsRecord => ({ ...record, flush: false, ttl: Math.min(record.ttl ?? 0, 10) })
  return dnsPacket.encode({
    type: 'response',
    id: to.id,
    flags: dnsPacket.AUTHORITATIVE_ANSWER,
    questions: [...to.questions],
    answers: answers.map(plain),
    additionals: additionals.map(plain),
  })
}

/** Names are compared without regard to case. */
export function sameName(a: string, b: string): boolean {
  return a.length === b.length && a.toLowerCase() === b.toLowerCase()
}
