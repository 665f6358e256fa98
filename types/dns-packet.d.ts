/** The part of dns-packet that `src/mesh/mdns` uses. */
declare module 'dns-packet' {
  export interface Question {
    name: string
    type: string
    class?: string
  }
  export interface DnsRecord {
    name: string
    type: string
    class?: string
    ttl?: number
    /** Cache-flush bit (RFC 6762, 10.2). */
    flush?: boolean
    data: unknown
  }
  export interface Packet {
    id?: number
    type?: 'query' | 'response'
    flags?: number
    questions?: Question[]
    answers?: DnsRecord[]
    authorities?: DnsRecord[]
    additionals?: DnsRecord[]
  }
  const packet: {
    readonly AUTHORITATIVE_ANSWER: number
    encode(packet: Packet): Buffer
    decode(bytes: Buffer): Packet
  }
  export default packet
}
