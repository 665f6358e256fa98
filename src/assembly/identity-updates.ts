import { equal, type PublicKey, utf8 } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { bytes, bytesN, type Codec, constant, decode, encode, struct } from '../core/codec.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { asKithError, isKithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Store } from '../core/store/types.ts'
import type { Gossip, GossipEntry } from '../gossip/types.ts'
import { MAX_BINDING_BYTES } from '../identity/binding.ts'
import { type Did, didPublicKey } from '../identity/did.ts'
import type { ChainState } from '../identity/types.ts'
import { encodeLastEntries } from '../mesh/hello-chain.ts'
import type { Mail } from '../mesh/mailbox/types.ts'
import { type DevicePapers, MESSAGE_TYPE, type Messages } from '../mesh/messages/types.ts'
import type { Background } from './background.ts'
import { TopicIntake } from './topic-intake.ts'

/**
 * # What machines say of themselves on `identity:updates`
 *
 * ```text
 * type peerRecord   data = record envelope of the machine (PN-9): prekey, mailbox hosts, expiry
 * type chain        data = u8 1 || bytes32 did || bytes binding (PN-4) || bytes chain (PN-6, the whole of it, or its last entries, <= 64 KiB)
 * ```
 *
 * Both prove themselves. An entry counts only when its author speaks of itself: what others carry is fetched where it is needed. A machine says again only
 * what has changed since the last time, also after a restart.
 */
export const UPDATES_TOPIC = 'identity:updates'
const MAX_CHAIN_BYTES = 65_536
const NAMESPACE = 'assembly/said'

interface PapersFields {
  readonly _version: undefined
  readonly did: Uint8Array
  readonly binding: Uint8Array
  readonly chain: Uint8Array
}

export const papersCodec: Codec<PapersFields> = struct<PapersFields>({
  _version: constant(1),
  did: bytesN(32),
  binding: bytes(MAX_BINDING_BYTES),
  chain: bytes(MAX_CHAIN_BYTES),
})

export interface IdentityUpdatesParts {
  readonly gossip: Pick<Gossip, 'publish' | 'listen' | 'entries'>
  readonly mail: Pick<Mail, 'learnRecord'>
  readonly messages: Pick<Messages, 'directory' | 'readRecord'>
  /** Link key of this machine. */
  readonly device: () => PublicKey
  /** The history of this identity, whole. */
  readonly chain: () => ChainState
  /** Asks linked peers for what is missing of a history; true when something was learned. */
  readonly fetchChain: (did: Did) => Promise<boolean>
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
  readonly background: Background
}

/** Peer records and histories of keys, both ways. */
export class IdentityUpdates {
  readonly #parts: IdentityUpdatesParts
  readonly #intake: TopicIntake

  constructor(parts: IdentityUpdatesParts) {
    const { gossip, clock, background } = parts
    this.#parts = parts
    this.#intake = new TopicIntake({
      gossip,
      topic: UPDATES_TOPIC,
      clock,
      background,
      failure: 'what a machine says of itself was not taken',
      take: async (entry) => {
        await this.#learn(entry)
        return 'done'
      },
    })
  }

  start(): void {
    this.#intake.start()
    this.papersChanged()
  }

  close(): void {
    this.#intake.close()
  }

  async publishRecord(record: Uint8Array): Promise<void> {
    await this.#say('record', MESSAGE_TYPE.peerRecord, record, record)
  }

  /** The binding was renewed, the keys rotated, or the machine has another key. */
  papersChanged(): void {
    this.#parts.background.run('the own papers were not published', async () => {
      const { directory } = this.#parts.messages
      const papers = directory.own()
      const chain = this.#parts.chain()
      await this.#say('papers', MESSAGE_TYPE.chain, encodePapers({ ...papers, chain: shownOf(chain) }), papers.binding)
    })
  }

  /** Says it unless the same was said last. */
  async #say(what: string, type: number, data: Uint8Array, about: Uint8Array): Promise<void> {
    const { gossip, store } = this.#parts
    const digest = sha256(about)
    const last = await store.get(NAMESPACE, utf8(what))
    if (last !== undefined && equal(last, digest)) return
    await gossip.publish(UPDATES_TOPIC, data, { type })
    await store.put(NAMESPACE, utf8(what), digest)
  }

  async #learnPapers(papers: DevicePapers): Promise<void> {
    const { messages, fetchChain } = this.#parts
    try {
      await messages.directory.learn(papers)
    } catch (error) {
      if (!isKithError(error, 'CHAIN_STALE') || !(await fetchChain(papers.did))) throw error
      await messages.directory.learn(papers)
    }
  }

  async #learn({ author, device, type, data }: GossipEntry): Promise<void> {
    const { mail, messages, logger } = this.#parts
    if (equal(device, this.#parts.device())) return
    try {
      if (type === MESSAGE_TYPE.peerRecord) {
        if (messages.readRecord(data).from === author) await mail.learnRecord(data)
      } else if (type === MESSAGE_TYPE.chain) {
        const { did, binding, chain } = decode(papersCodec, data)
        if (!equal(did, didPublicKey(author))) return
        await this.#learnPapers({ did: author, binding, chain })
      }
    } catch (error) {
      // Whoever signed it is free to write what it likes; it counts for nothing. A history that contradicts the known one has proved itself by now.
      logger.debug('an identity update was not taken', { peer: author, code: asKithError(error, 'INTERNAL').code })
    }
  }
}

/** The whole history, or the last entries of a long one: whoever is further behind asks for the rest. */
function shownOf(chain: ChainState): Uint8Array {
  return encodeLastEntries(chain.entries, MAX_CHAIN_BYTES) ?? new Uint8Array(0)
}

function encodePapers({ did, binding, chain }: DevicePapers): Uint8Array {
  return encode(papersCodec, { _version: undefined, did: didPublicKey(did), binding, chain })
}
