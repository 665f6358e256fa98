import type { Clock } from '../core/clock.ts'
import type { Gossip } from '../gossip/types.ts'
import { MESSAGE_TYPE } from '../mesh/messages/types.ts'
import type { AttestationOutcome, TrustGraph } from '../trust/api.ts'
import { ATTESTATION_TOPIC } from '../trust/attestations.ts'
import type { Background } from './background.ts'
import { TopicIntake } from './topic-intake.ts'

/** Statements that may be taken at another time; nothing is held against whoever brought them. */
const LATER: ReadonlySet<AttestationOutcome> = new Set(['future', 'rate', 'full', 'unsupported'])

export interface AttestationBridgeParts {
  readonly gossip: Gossip
  readonly graph: Pick<TrustGraph, 'apply'>
  readonly clock: Clock
  readonly background: Background
}

/** Trust statements between gossip and the graph: own ones go out, those of others come in. */
export class AttestationBridge {
  readonly #gossip: Gossip
  readonly #intake: TopicIntake

  constructor({ gossip, graph, clock, background }: AttestationBridgeParts) {
    this.#gossip = gossip
    this.#intake = new TopicIntake({
      gossip,
      topic: ATTESTATION_TOPIC,
      clock,
      background,
      failure: 'a trust statement was not taken',
      take: async ({ record, data }) => (LATER.has(await graph.apply(record, data)) ? 'later' : 'done'),
    })
  }

  start(): void {
    this.#intake.start()
  }

  close(): void {
    this.#intake.close()
  }

  async publish(payload: Uint8Array): Promise<void> {
    await this.#gossip.publish(ATTESTATION_TOPIC, payload, { type: MESSAGE_TYPE.trust })
  }
}
