import type { Duplex } from 'node:stream'
import type { Clock } from '../core/clock.ts'
import { bytes, bytesN, type Codec, constant, decode, encode, list, struct, u32, uint53 } from '../core/codec.ts'
import { parsePublicKey } from '../core/crypto/ed25519.ts'
import { MAX_DOCUMENT_BYTES } from '../identity/device-document.ts'
import { type DeviceRoster, documentsOf } from '../identity/device-roster.ts'
import { type Did, didPublicKey, formatDid } from '../identity/did.ts'
import { CHAIN_DEADLINE_MS } from './chain-protocol.ts'
import { bounded, endWith, readAll } from './conversation.ts'

/**
 * # `icn/devices/1`: which machines has this identity, and which no more?
 *
 * ```text
 * request  01 | did 32 | u32 chain_index | u64 version          45 bytes, then the asker's end; of the list it has, zeros for none
 * answer   01 | list<bytes document>(<= 4)                      empty: nothing to add, or nothing to show
 * ```
 *
 * Documents prove themselves. They are shown to whom papers of the same identity are shown (`messages/papers-protocol.ts`), and asked for together with these.
 */
export const DEVICES_PROTOCOL = 'icn/devices/1'
const REQUEST_BYTES = 45
const MAX_DOCUMENTS = 4

interface Request {
  readonly _version: undefined
  readonly did: Uint8Array
  readonly chainIndex: number
  readonly version: number
}

interface Answer {
  readonly _version: undefined
  readonly documents: readonly Uint8Array[]
}

export const devicesRequest: Codec<Request> = struct<Request>({ _version: constant(1), did: bytesN(32), chainIndex: u32, version: uint53 })
export const devicesAnswer: Codec<Answer> = struct<Answer>({ _version: constant(1), documents: list(bytes(MAX_DOCUMENT_BYTES), MAX_DOCUMENTS) })

export interface ServeDevicesOptions {
  /** What may be shown to this asker; undefined for everything else. */
  readonly rosterOf: (did: Did) => Promise<DeviceRoster | undefined>
  readonly clock: Clock
  readonly signal?: AbortSignal
}

/** Answers one question on a stream and ends it. @throws KithError `WIRE_MALFORMED`, `KEY_INVALID`, `TIMEOUT`, `LINK_LOST`, `ABORTED`, `STORE_FAILED`. */
export async function serveDevices(stream: Duplex, options: ServeDevicesOptions): Promise<void> {
  await bounded(stream, CHAIN_DEADLINE_MS, options, async () => {
    const asked = decode(devicesRequest, await readAll(stream, REQUEST_BYTES))
    const roster = await options.rosterOf(formatDid(parsePublicKey(asked.did)))
    const same = roster?.latest.chainIndex === asked.chainIndex && roster.latest.version === asked.version && roster.others.length === 0
    await endWith(stream, encode(devicesAnswer, { _version: undefined, documents: roster === undefined || same ? [] : documentsOf(roster) }))
  })
}

export interface AskDevicesOptions {
  readonly did: Did
  readonly have: DeviceRoster | undefined
  readonly clock: Clock
  readonly signal?: AbortSignal
}

/** Asks; nothing of the answer is verified. @throws KithError `WIRE_MALFORMED`, `TIMEOUT`, `LINK_LOST`, `ABORTED`. */
export async function askDevices(stream: Duplex, { did, have, clock, signal }: AskDevicesOptions): Promise<readonly Uint8Array[]> {
  return await bounded(stream, CHAIN_DEADLINE_MS, { clock, ...(signal === undefined ? {} : { signal }) }, async () => {
    const { chainIndex = 0, version = 0 } = have?.latest ?? {}
    stream.end(encode(devicesRequest, { _version: undefined, did: didPublicKey(did), chainIndex, version }))
    return decode(devicesAnswer, await readAll(stream, devicesAnswer.max)).documents
  })
}
