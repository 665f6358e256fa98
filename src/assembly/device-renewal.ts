import type { PublicKey } from '../core/bytes.ts'
import { equal, toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { bytes, type Codec, constant, decode, encode, list, struct, text } from '../core/codec.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import { MAX_GRANT_BYTES } from '../identity/device-grant.ts'
import { type DeviceRequest, MAX_REQUEST_BYTES, readDeviceRequest } from '../identity/device-request.ts'
import type { Did } from '../identity/did.ts'
import type { Mesh } from '../mesh/mesh-types.ts'
import { ask, serve } from '../mesh/request-stream.ts'

/**
 * # `icn/device/1`: a machine asks the one that holds the identity for a new binding
 *
 * ```text
 * question  01 | bytes request (`identity/device-request.ts`) | list<text url>(<= 8)       the request names the DID; the addresses are the asker's own
 * answer    01 | bytes grant (`identity/device-grant.ts`)                                  or a reset: RENEWAL_WAITING, DEVICE_REVOKED, DEVICE_NOT_ALLOWED, ...
 * ```
 *
 * Only machines of the same identity are answered, each for its own link key alone, which the link has proved. Whether the grant is signed at once or waits for the
 * owner is decided by whoever holds the identity.
 */
export const DEVICE_PROTOCOL = 'icn/device/1'
const MAX_URLS = 8
const MAX_URL_BYTES = 256
/** Bytes that are read before anything is looked at. */
const HEAD_BYTES = 1

interface Question {
  readonly _version: undefined
  readonly request: Uint8Array
  readonly urls: readonly string[]
}

interface Answer {
  readonly _version: undefined
  readonly grant: Uint8Array
}

export const deviceQuestion: Codec<Question> = struct<Question>({
  _version: constant(1),
  request: bytes(MAX_REQUEST_BYTES),
  urls: list(text(MAX_URL_BYTES), MAX_URLS),
})
export const deviceAnswer: Codec<Answer> = struct<Answer>({ _version: constant(1), grant: bytes(MAX_GRANT_BYTES) })

export interface RenewalServer {
  readonly mesh: Pick<Mesh, 'handle' | 'did'>
  readonly clock: Clock
  readonly logger: Logger
  readonly isRevoked: (linkKey: PublicKey) => boolean
  /** Signs the grant now. @throws KithError `RENEWAL_WAITING`, `DEVICE_NOT_ALLOWED`, `IDENTITY_MISSING`. */
  readonly grant: (request: DeviceRequest, encoded: Uint8Array, urls: readonly string[]) => Promise<Uint8Array>
}

/** Serves machines of the own identity; the returned function ends that. */
export function serveRenewals({ mesh, clock, logger, isRevoked, grant }: RenewalServer): () => void {
  return mesh.handle(
    DEVICE_PROTOCOL,
    async (stream, { peer, linkKey, signal }) => {
      const begin = () => {
        // Said before anything is read: strangers cost nothing.
        if (peer !== mesh.did) throw new KithError('DEVICE_NOT_ALLOWED')
        if (isRevoked(linkKey)) throw new KithError('DEVICE_REVOKED')
        return { limit: deviceQuestion.max, run: (question: Uint8Array) => answer(decode(deviceQuestion, question), linkKey) }
      }
      await serve(stream, HEAD_BYTES, { clock, signal }, begin).catch((error: unknown) => {
        logger.debug('no binding given', { device: toHex(linkKey), code: asKithError(error, 'INTERNAL').code })
      })
    },
    { access: 'everyone' },
  )

  async function answer({ request, urls }: Question, linkKey: PublicKey): Promise<Uint8Array> {
    const asked = readDeviceRequest(request, clock.now())
    if (!equal(asked.linkKey, linkKey)) throw new KithError('DEVICE_REQUEST_INVALID', 'a machine asks for itself only')
    if (asked.did !== mesh.did) throw new KithError('DEVICE_REQUEST_INVALID', 'the request is for another identity')
    return encode(deviceAnswer, { _version: undefined, grant: await grant(asked, request, urls) })
  }
}

export interface AskRenewalOptions {
  readonly mesh: Pick<Mesh, 'openLean'>
  readonly did: Did
  /** The machine that may hold the identity, linked now. */
  readonly linkKey: PublicKey
  readonly request: Uint8Array
  readonly urls: readonly string[]
  readonly clock: Clock
  readonly signal?: AbortSignal
}

/** @returns the grant, unverified. @throws KithError what the other machine refused with; `PEER_UNREACHABLE`, `TIMEOUT`, `LINK_LOST`, `ABORTED`. */
export async function askRenewal({ mesh, did, linkKey, request, urls, clock, signal }: AskRenewalOptions): Promise<Uint8Array> {
  const waiting = signal === undefined ? {} : { signal }
  const stream = (await mesh.openLean(did, DEVICE_PROTOCOL, { ...waiting, linkKey: toHex(linkKey) })).toDuplex()
  const short = urls.filter((url) => Buffer.byteLength(url) <= MAX_URL_BYTES).slice(0, MAX_URLS)
  const bytesOfAnswer = await ask(stream, encode(deviceQuestion, { _version: undefined, request, urls: short }), deviceAnswer.max, { clock, signal })
  return decode(deviceAnswer, bytesOfAnswer).grant
}
