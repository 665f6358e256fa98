import type { Clock } from '../core/clock.ts'
import { isKithError } from '../core/errors.ts'
import type { Audit } from '../core/observe/audit.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Store } from '../core/store/types.ts'
import type { Gossip, GossipEntry } from '../gossip/types.ts'
import type { Did } from '../identity/did.ts'
import type { ChainState } from '../identity/types.ts'
import type { Mesh } from '../mesh/mesh-types.ts'
import { MESSAGE_TYPE, type Messages } from '../mesh/messages/types.ts'
import { RecoveryDesk } from '../recovery/desk.ts'
import { RecoveryLinks } from '../recovery/protocol.ts'
import type { RecoveryNews } from '../recovery/types.ts'
import type { Background } from './background.ts'
import { TopicIntake } from './topic-intake.ts'

export const RECOVERY_TOPIC = 'identity:recovery'

export interface RecoveryBridgeParts {
  readonly did: Did
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
  readonly audit: Audit
  readonly gossip: Pick<Gossip, 'publish' | 'listen' | 'entries'>
  readonly mesh: Mesh
  readonly messages: Messages
  readonly background: Background
}

/** Recoveries between the desk, links, the topic `identity:recovery` and the audit log. Who brought a word does not matter: each proves itself. */
export class RecoveryBridge {
  readonly desk: RecoveryDesk
  readonly #links: RecoveryLinks
  readonly #intake: TopicIntake
  readonly #listeners: Set<(news: RecoveryNews) => void>

  private constructor(
    desk: RecoveryDesk,
    listeners: Set<(news: RecoveryNews) => void>,
    { gossip, clock, logger, background, mesh, messages }: RecoveryBridgeParts,
  ) {
    this.desk = desk
    this.#listeners = listeners
    this.#links = new RecoveryLinks({ desk, directory: messages.directory, mesh, clock, logger })
    this.#intake = new TopicIntake({
      gossip,
      topic: RECOVERY_TOPIC,
      clock,
      background,
      failure: 'a recovery was not looked at',
      take: (entry) => this.#take(entry, logger),
    })
  }

  /** @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
  static async open(parts: RecoveryBridgeParts): Promise<RecoveryBridge> {
    const { did, store, clock, logger, gossip, mesh, messages } = parts
    const listeners = new Set<(news: RecoveryNews) => void>()
    const desk = await RecoveryDesk.open({
      did,
      store,
      clock,
      logger,
      directory: messages.directory,
      keeps: (peer) => mesh.book.get(peer) !== undefined,
      publish: async (message) => {
        await gossip.publish(RECOVERY_TOPIC, message, { type: MESSAGE_TYPE.recovery })
      },
      onNews: (news) => {
        heed(news, parts)
        for (const listener of listeners) listener(news)
      },
    })
    return new RecoveryBridge(desk, listeners, parts)
  }

  start(): void {
    this.#intake.start()
    this.#links.start()
    this.desk.start()
  }

  close(): void {
    this.#intake.close()
    this.#links.close()
    this.desk.close()
  }

  /** What was signed or asked for just now goes to those it concerns at once. */
  async tell(): Promise<void> {
    await this.#links.tellAll()
  }

  onNews(listener: (news: RecoveryNews) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** What somebody brought by hand. @throws as `RecoveryDesk.take`. */
  async take(message: Uint8Array): Promise<void> {
    await this.#links.take(message, { kind: 'file' })
  }

  /** @throws KithError `RECOVERY_CHAIN`. */
  async learnHistory(did: Did): Promise<ChainState> {
    return await this.#links.learnHistory(did)
  }

  async #take({ type, data }: GossipEntry, logger: Logger): Promise<'done' | 'later'> {
    if (type !== MESSAGE_TYPE.recovery) return 'done'
    try {
      return (await this.desk.take(data, { kind: 'topic' })) === 'later' ? 'later' : 'done'
    } catch (error) {
      // Whoever signed it is free to write what it likes; it counts for nothing.
      if (!isKithError(error) || error.code === 'STORE_FAILED') throw error
      logger.debug('a recovery was not taken', { code: error.code })
      return 'done'
    }
  }
}

/** The owner must see it wherever it looks; everybody else finds it in the audit log. */
function heed({ status, before }: RecoveryNews, { audit, logger, background }: RecoveryBridgeParts): void {
  const { did, id, stage, role } = status
  const fields = { did, id, stage, role, attested: status.attestedBy.length }
  if (role === 'owner' && stage !== 'cancelled' && stage !== 'overtaken') logger.warn('somebody asks to give this identity new keys', fields)
  else logger.info('recovery', fields)
  const reason = `${stage}, attested by ${status.attestedBy.length} of ${status.threshold}`
  background.run('a recovery was not noted', async () => {
    await audit.append({ actor: 'node', action: `recovery.${stage}`, subject: did, reason, details: { id, role, ...(before === undefined ? {} : { before }) } })
  })
}
