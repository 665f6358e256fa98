import { isIPv4 } from 'node:net'
import { base58Decode } from '../../core/base58.ts'
import { concat, type PublicKey } from '../../core/bytes.ts'
import { parsePublicKey, publicKeyOfSeed } from '../../core/crypto/ed25519.ts'
import { scrubStack } from '../../core/crypto/forget-keys.ts'
import { KithError } from '../../core/errors.ts'
import type { Secret } from '../../core/secret.ts'

/** libp2p's protobuf of an Ed25519 private key: type 1, then 64 bytes of seed and public key. */
const PRIVATE_KEY = Uint8Array.of(0x08, 0x01, 0x12, 0x40)
/** libp2p's peer id of an Ed25519 key: identity multihash of 36 bytes, the protobuf of type 1 and 32 bytes of key. */
const PEER_ID = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20)
const PEER_ID_BYTES = PEER_ID.length + 32

/** Lends the key in the library's form to `use` and wipes it before returning. */
export function withPrivateKeyProto<T>(seed: Secret, use: (proto: Uint8Array) => T): T {
  return seed.use((bytes) => {
    const proto = concat(PRIVATE_KEY, bytes, publicKeyOfSeed(seed))
    try {
      return use(proto)
    } finally {
      proto.fill(0)
      scrubStack()
    }
  })
}

export interface Remote {
  readonly host: string
  readonly port: number
  readonly key: PublicKey
}

/**
 * Who is at the other end, from `/ip4/HOST/udp/PORT/quic-v1/p2p/PEERID`. The peer id must be exactly an Ed25519 identity multihash
 * (protocol.md, further rules): RSA and secp256k1 identities, hashed ids and anything longer are refused.
 * @throws KithError `HANDSHAKE_FAILED`, `KEY_INVALID`.
 */
export function parseRemote(multiaddr: string): Remote {
  const [empty, family, host, udp, port, quic, p2p, id, ...rest] = multiaddr.split('/')
  const shape = empty === '' && (family === 'ip4' || family === 'ip6') && udp === 'udp' && quic === 'quic-v1' && p2p === 'p2p' && rest.length === 0
  const number = Number(port)
  if (!shape || host === undefined || id === undefined || !Number.isInteger(number) || number < 1 || number > 65_535) throw refused('address')
  const bytes = base58Decode(id, PEER_ID_BYTES)
  if (bytes?.length !== PEER_ID_BYTES || !PEER_ID.every((byte, at) => bytes[at] === byte)) throw refused('key')
  // A socket for both families shows IPv4 in its mapped form.
  return { host: host.startsWith('::ffff:') && isIPv4(host.slice(7)) ? host.slice(7) : host, port: number, key: parsePublicKey(bytes.subarray(PEER_ID.length)) }
}

function refused(part: string): KithError {
  return new KithError('HANDSHAKE_FAILED', 'the other side did not show an Ed25519 key', { details: { part } })
}
