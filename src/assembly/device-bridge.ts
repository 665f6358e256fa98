import { equal, type PublicKey, toHex, utf8 } from '../core/bytes.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { bytesN, type Codec, decode, encode, struct, uint53 } from '../core/codec.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { asKithError, isKithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Store } from '../core/store/types.ts'
import type { Gossip, GossipEntry } from '../gossip/types.ts'
import { decodeDeviceDocument } from '../identity/device-document.ts'
import { type DeviceRoster, documentsOf } from '../identity/device-roster.ts'
import type { Did } from '../identity/did.ts'
import type { Mail } from '../mesh/mailbox/types.ts'
import { MESSAGE_TYPE, type Messages } from '../mesh/messages/types.ts'
import type { Standing } from '../trust/standing-types.ts'
import type { Background } from './background.ts'
import { UPDATES_TOPIC } from './identity-updates.ts'
import { TopicIntake } from './topic-intake.ts'

/**
 * # Device documents on `identity:updates`
 *
 * ```text
 * type devices   data = document (`identity/device-document.ts`), at most 34 KiB
 * said           key of the identity's own documents -> bytes32 SHA-256 of all || u64 ms
 * ```
 *
 * A document proves itself, so every machine of an identity says what it knows, the one that signed it or another: one of them is near those who must hear it. It is
 * said again before the topic forgets it. What a document revokes reaches, once it is in force here, everything that held on to the machine: links and papers (the
 * mesh does that itself), prekeys, and what evidence against the machine had cost its identity (PN-10, rule 3).
 */
const NAMESPACE = 'assembly/devices'
const SAID = utf8('said')
/** The topic keeps entries for 30 days. */
const AGAIN_MS = 20 * 86_400_000
const LOOK_MS = 86_400_000

const saidCodec: Codec<{ hash: Uint8Array; timeMs: number }> = struct<{ hash: Uint8Array; timeMs: number }>({ hash: bytesN(32), timeMs: uint53 })

export interface DeviceBridgeParts {
  readonly own: Did
  readonly gossip: Pick<Gossip, 'publish' | 'listen' | 'entries'>
  readonly messages: Pick<Messages, 'directory'>
  readonly mail: Pick<Mail, 'forgetDevice'>
  readonly standing: Pick<Standing, 'deviceRevoked'>
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
  readonly background: Background
}

/** The machines of identities, as the owner's programs see them. */
export interface Devices {
  /** What is known of the machines of an identity. @throws KithError `STORE_FAILED`. */
  roster(did: Did): Promise<DeviceRoster | undefined>
  isRevoked(did: Did, device: PublicKey): boolean
  /** Takes in a document of the own identity and says it to everybody. @throws KithError `DEVICE_DOCUMENT_INVALID`, `STORE_FAILED`. */
  publish(document: Uint8Array): Promise<void>
  /** Told when something new is known of the own identity's machines. Returns the way to stop. */
  onOwn(listener: (roster: DeviceRoster) => void): () => void
}

export class DeviceBridge implements Devices {
  readonly #parts: DeviceBridgeParts
  readonly #intake: TopicIntake
  readonly #listeners: Set<(roster: DeviceRoster) => void> = new Set()
  #saying: Promise<void> = Promise.resolve()
  #stop: (() => void) | undefined
  #timer: Timer | undefined

  constructor(parts: DeviceBridgeParts) {
    const { gossip, clock, background } = parts
    this.#parts = parts
    this.#intake = new TopicIntake({
      gossip,
      topic: UPDATES_TOPIC,
      clock,
      background,
      failure: 'a device document was not taken',
      take: (entry) => this.#take(entry),
    })
  }

  start(): void {
    const { messages } = this.#parts
    this.#stop = messages.directory.onRevoked((did, device) => this.#revoked(did, device))
    this.#intake.start()
    this.#arm()
    this.#say()
  }

  close(): void {
    this.#stop?.()
    this.#intake.close()
    this.#timer?.cancel()
    this.#listeners.clear()
  }

  roster(did: Did): Promise<DeviceRoster | undefined> {
    return this.#parts.messages.directory.roster(did)
  }

  isRevoked(did: Did, device: PublicKey): boolean {
    return this.#parts.messages.directory.isRevoked(did, device)
  }

  async publish(document: Uint8Array): Promise<void> {
    await this.#learn(document)
    await this.#saidNow()
  }

  onOwn(listener: (roster: DeviceRoster) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  async #learn(document: Uint8Array): Promise<void> {
    const { roster, changed } = await this.#parts.messages.directory.learnDevices(document)
    if (!changed || roster.did !== this.#parts.own) return
    for (const listener of [...this.#listeners]) listener(roster)
  }

  /** Only about its author's own identity: what others carry is asked for with the papers. */
  async #take({ author, type, data }: GossipEntry): Promise<'done' | 'later'> {
    if (type !== MESSAGE_TYPE.devices) return 'done'
    const { logger, own } = this.#parts
    try {
      if (decodeDeviceDocument(data).did !== author) return 'done'
      await this.#learn(data)
      // Those who hear only this machine hear it too.
      if (author === own) this.#say()
      return 'done'
    } catch (error) {
      logger.debug('a device document was not taken', { peer: author, code: asKithError(error, 'INTERNAL').code })
      // The chain it needs may come; the disk may have room again.
      return isKithError(error, 'CHAIN_STALE') || isKithError(error, 'STORE_FAILED') ? 'later' : 'done'
    }
  }

  #revoked(did: Did, device: PublicKey): void {
    const { standing, mail, background, logger } = this.#parts
    logger.info('a machine was revoked by its identity', { peer: did, device: toHex(device) })
    standing.deviceRevoked(did, device)
    background.run('the prekey of a revoked machine was not dropped', () => mail.forgetDevice(did, device))
  }

  #arm(): void {
    this.#timer = this.#parts.clock.after(LOOK_MS, () => {
      this.#arm()
      this.#say()
    })
  }

  #say(): void {
    this.#parts.background.run('the own device documents were not published', () => this.#saidNow())
  }

  /** One after the other, so that nothing is said twice. */
  #saidNow(): Promise<void> {
    const done = this.#saying.then(() => this.#sayNews())
    this.#saying = done.catch(() => undefined)
    return done
  }

  async #sayNews(): Promise<void> {
    const { own, gossip, store, clock } = this.#parts
    const roster = await this.roster(own)
    if (roster === undefined) return
    const hash = sha256(roster.latest.hash, ...roster.others.map((other) => other.hash))
    const stored = await store.get(NAMESPACE, SAID)
    const last = stored === undefined ? undefined : decode(saidCodec, stored)
    if (last !== undefined && equal(last.hash, hash) && Math.abs(clock.now() - last.timeMs) < AGAIN_MS) return
    for (const document of documentsOf(roster)) await gossip.publish(UPDATES_TOPIC, document, { type: MESSAGE_TYPE.devices })
    await store.put(NAMESPACE, SAID, encode(saidCodec, { hash, timeMs: clock.now() }))
  }
}
