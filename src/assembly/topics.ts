import { isKithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import { FOUNDING_TOPICS } from '../gossip/founding-topics.ts'
import type { Gossip, TopicOptions } from '../gossip/types.ts'
import { ATTESTATION_RETAIN_MS, ATTESTATION_TOPIC } from '../trust/attestations.ts'

/** The topics of the founding texts with what this node knows about each. */
export const OWN_TOPICS: readonly TopicOptions[] = FOUNDING_TOPICS.map((topic) =>
  topic.name === ATTESTATION_TOPIC ? { ...topic, retainMs: ATTESTATION_RETAIN_MS } : topic,
)

/** Defines them; one that an older version kept under other rules begins anew. @throws KithError `STORE_FAILED`. */
export async function defineOwnTopics(gossip: Gossip, logger: Logger): Promise<void> {
  for (const topic of OWN_TOPICS) {
    try {
      await gossip.define(topic)
    } catch (error) {
      if (!isKithError(error, 'TOPIC_EXISTS')) throw error
      logger.warn('a topic of the node had other rules and begins anew', { topic: topic.name })
      await gossip.remove(topic.name)
      await gossip.define(topic)
    }
  }
}
