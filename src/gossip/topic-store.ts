import { parseUtf8, utf8 } from '../core/bytes.ts'
import type { Store } from '../core/store/types.ts'
import { isTopicName, type TopicRules } from './topic.ts'
import { encodeTopic, restoreTopic } from './topic-codec.ts'

const NAMESPACE = 'gossip/topics'

/** Definitions of topics, by name. What this node defined it takes part in, so these are its own subscriptions too. */
export class TopicStore {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  async save(rules: TopicRules): Promise<void> {
    await this.#store.put(NAMESPACE, utf8(rules.name), encodeTopic(rules), { durable: true })
  }

  async delete(name: string): Promise<void> {
    await this.#store.delete(NAMESPACE, utf8(name), { durable: true })
  }

  async *load(): AsyncGenerator<{ readonly rules: TopicRules; readonly broken: boolean }> {
    for await (const { key, value } of this.#store.scan(NAMESPACE)) {
      const name = parseUtf8(key)
      if (name !== undefined && isTopicName(name)) yield restoreTopic(name, value)
    }
  }
}
