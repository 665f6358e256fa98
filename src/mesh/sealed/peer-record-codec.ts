import { bytes, type Codec, constant, decode, encode, list, malformed, mapped, option, struct, uint53 } from '../../core/codec.ts'
import type { Did } from '../../identity/did.ts'
import { didCodec } from '../address-book-codec.ts'
import { MAX_PREKEY_BYTES } from './prekey-codec.ts'

/**
 * # Peer record: how to reach a machine that is offline (PN-9)
 *
 * ```text
 * payload = u8 1 | option<bytes prekey> | list<host did 32>(<= 3) | u64 expires_ms
 * ```
 *
 * The payload of a record envelope (PN-7, class 3, type `peerRecord`, topic `identity:updates`): the envelope names identity and machine and carries their
 * signature. By naming a host the owner says that it fetches its messages there; whether the host keeps them is the host's own decision.
 */
export const MAX_HOSTS = 3
export const RECORD_TOPIC = 'identity:updates'
/** A whole record envelope. */
export const MAX_RECORD_BYTES = 16_384

export interface PeerRecord {
  /** Encoded and signed by itself (`verifyPrekey`). */
  readonly prekey: Uint8Array | undefined
  readonly hosts: readonly Did[]
  readonly expiresMs: number
}

const codec: Codec<PeerRecord> = struct<PeerRecord & { _version?: undefined }>({
  _version: constant(1),
  prekey: option(bytes(MAX_PREKEY_BYTES)),
  hosts: mapped(
    list(didCodec, MAX_HOSTS),
    (hosts) => {
      if (new Set(hosts).size !== hosts.length) throw malformed('one host twice')
      return hosts
    },
    (hosts) => hosts,
  ),
  expiresMs: uint53,
})

export function encodePeerRecord({ prekey, hosts, expiresMs }: PeerRecord): Uint8Array {
  return encode(codec, { prekey, hosts, expiresMs })
}

/** @throws KithError `WIRE_MALFORMED`, `KEY_INVALID`. */
export function decodePeerRecord(payload: Uint8Array): PeerRecord {
  const { prekey, hosts, expiresMs } = decode(codec, payload)
  return { prekey, hosts, expiresMs }
}
