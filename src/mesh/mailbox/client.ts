import { toHex } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { malformed } from '../../core/codec.ts'
import { type Did, didPublicKey } from '../../identity/did.ts'
import type { Mesh } from '../mesh-types.ts'
import { ask } from '../request-stream.ts'
import {
  decodeDeleteAnswer,
  decodeGetAnswer,
  decodeListAnswer,
  decodePutAnswer,
  decodeRecordAnswer,
  encodeRecordRequest,
  encodeRequest,
  type ListAnswer,
  MAILBOX_PROTOCOL,
  MAX_DELETE_ANSWER,
  MAX_GET_ANSWER,
  MAX_LIST_ANSWER,
  MAX_PUT_ANSWER,
  MAX_RECORD_ANSWER,
  type MailboxRequest,
  type PutAnswer,
  RECORD_PROTOCOL,
} from './wire.ts'

/** Whom to ask: any machine of a peer, dialled if none is linked, or exactly one that is linked. */
export interface Asked {
  readonly did: Did
  readonly device?: Uint8Array | undefined
}

/**
 * The asking side of `icn/mailbox/1` and `icn/record/1`. Every method throws what the other side refused with, and as `Mesh.open`.
 */
export class MailboxClient {
  readonly #mesh: Pick<Mesh, 'openLean'>
  readonly #clock: Clock
  readonly #signal: AbortSignal

  constructor(mesh: Pick<Mesh, 'openLean'>, clock: Clock, signal: AbortSignal) {
    this.#mesh = mesh
    this.#clock = clock
    this.#signal = signal
  }

  async put(asked: Asked, sealed: Uint8Array): Promise<PutAnswer> {
    return decodePutAnswer(await this.#mailbox(asked, { op: 'put', sealed }, MAX_PUT_ANSWER))
  }

  async list(asked: Asked, after: Uint8Array | undefined, limit: number): Promise<ListAnswer> {
    const answer = decodeListAnswer(await this.#mailbox(asked, { op: 'list', after, limit }, MAX_LIST_ANSWER))
    const { messages, more } = answer
    // A host that says there is more and shows nothing, or goes backwards, would be asked for ever.
    let last = after === undefined ? '' : toHex(after)
    for (const { msgId } of messages) {
      if (toHex(msgId) <= last) throw malformed('order of the list')
      last = toHex(msgId)
    }
    if (messages.length > limit || (more && messages.length === 0)) throw malformed('length of the list', { length: messages.length, limit })
    return answer
  }

  async get(asked: Asked, msgId: Uint8Array): Promise<Uint8Array> {
    return decodeGetAnswer(await this.#mailbox(asked, { op: 'get', msgId }, MAX_GET_ANSWER))
  }

  async delete(asked: Asked, msgIds: readonly Uint8Array[]): Promise<number> {
    return decodeDeleteAnswer(await this.#mailbox(asked, { op: 'delete', msgIds }, MAX_DELETE_ANSWER))
  }

  /** The record envelopes of an identity, as this peer has them; unverified. */
  async records(asked: Asked, about: Did): Promise<readonly Uint8Array[]> {
    return decodeRecordAnswer(await this.#exchange(asked, RECORD_PROTOCOL, encodeRecordRequest(didPublicKey(about)), MAX_RECORD_ANSWER))
  }

  #mailbox(asked: Asked, request: MailboxRequest, limit: number): Promise<Uint8Array> {
    return this.#exchange(asked, MAILBOX_PROTOCOL, encodeRequest(request), limit)
  }

  async #exchange({ did, device }: Asked, protocol: string, request: Uint8Array, limit: number): Promise<Uint8Array> {
    const signal = this.#signal
    const stream = await this.#mesh.openLean(did, protocol, device === undefined ? { signal } : { signal, linkKey: toHex(device) })
    return await ask(stream.toDuplex(), request, limit, { clock: this.#clock, signal })
  }
}
