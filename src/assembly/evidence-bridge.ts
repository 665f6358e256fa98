import type { PublicKey } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Metrics } from '../core/observe/metrics.ts'
import type { Gossip } from '../gossip/types.ts'
import type { Did } from '../identity/did.ts'
import type { ChainState } from '../identity/types.ts'
import { TokenBucket } from '../mesh/admission-rate.ts'
import { branchesOf } from '../mesh/chain-desk.ts'
import { type Equivocation, MESSAGE_TYPE, type Messages } from '../mesh/messages/types.ts'
import { EVIDENCE_TOPIC } from '../trust/evidence.ts'
import { EvidenceDesk, type EvidenceOutcome } from '../trust/evidence-desk.ts'
import type { Standing } from '../trust/standing-types.ts'
import type { Background } from './background.ts'
import { TopicIntake } from './topic-intake.ts'

export interface EvidenceBridgeParts {
  readonly gossip: Gossip
  readonly messages: Messages
  readonly standing: Standing
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics?: Metrics
  readonly background: Background
  /** In the address book, or trusted. */
  readonly keeps: (did: Did) => boolean
}

/** Forks of strangers that are made evidence, per second and at once. */
const STRANGER_FORKS_PER_SECOND = 1 / 60
const STRANGER_FORKS_AT_ONCE = 10

const AGAIN: ReadonlySet<EvidenceOutcome> = new Set(['proved', 'known'])

/** Evidence between those who find it, gossip and standing: found here it goes out, told by others it comes in; who told it does not matter. */
export class EvidenceBridge {
  readonly #parts: EvidenceBridgeParts
  readonly #desk: EvidenceDesk
  readonly #intake: TopicIntake
  readonly #strangers: TokenBucket
  #stop: (() => void) | undefined

  constructor(parts: EvidenceBridgeParts) {
    const { gossip, messages, background, standing, clock, logger, metrics } = parts
    this.#parts = parts
    this.#strangers = new TokenBucket(clock, STRANGER_FORKS_PER_SECOND, STRANGER_FORKS_AT_ONCE)
    this.#desk = new EvidenceDesk({
      standing,
      clock,
      logger,
      ...(metrics === undefined ? {} : { metrics }),
      papers: (did, device) => messages.directory.papers(did, device as PublicKey),
      revoked: async (did, device) => messages.directory.isRevoked(did, device as PublicKey),
      history: (did) => messages.directory.chainOf(did),
      chainOf: (did) => messages.directory.chainOf(did),
      publish: async (evidence) => {
        await gossip.publish(EVIDENCE_TOPIC, evidence, { type: MESSAGE_TYPE.evidence })
      },
    })
    this.#intake = new TopicIntake({
      gossip,
      topic: EVIDENCE_TOPIC,
      clock,
      background,
      failure: 'evidence was not looked at',
      // What holds is looked at again: the history of whoever it accuses may show that a thief signed it.
      take: async ({ data }) => {
        const outcome = await this.#desk.take(data)
        return outcome === 'busy' ? 'busy' : AGAIN.has(outcome) ? 'later' : 'done'
      },
    })
  }

  start(): void {
    this.#intake.start()
    this.#stop = this.#parts.messages.onEquivocation((found) => this.found(found))
  }

  /** Two things of one number that reached this node. */
  found(found: Equivocation): void {
    this.#parts.background.run('evidence was not looked at', () => this.#desk.found(found))
  }

  /** An identity that showed two contradicting histories of its keys. */
  forked(chain: ChainState): void {
    // Who makes identities can make contradictions of them without end.
    if (!this.#parts.keeps(chain.did) && !this.#strangers.take()) return
    this.#parts.background.run('evidence was not looked at', async () => {
      const [here, ...others] = branchesOf(chain)
      for (const { entries } of others) if (here !== undefined) await this.#desk.foundFork(here.entries, entries)
    })
  }

  close(): void {
    this.#intake.close()
    this.#stop?.()
  }
}
