import { KithError } from '../core/errors.ts'
import type { Audit } from '../core/observe/audit.ts'
import type { Gossip, TopicAccess } from '../gossip/types.ts'
import { auditText } from './audit-text.ts'
import { OWN_TOPICS } from './topics.ts'

const OWN: ReadonlySet<string> = new Set(OWN_TOPICS.map(({ name }) => name))

/** Topics as their owner meets them: making and removing one is noted, and those of the node itself stay as they are. */
export function auditedGossip(gossip: Gossip, audit: Audit): Gossip {
  const note = async (action: string, name: string, details: Readonly<Record<string, string | number>> = {}): Promise<void> => {
    await audit.append({ actor: 'owner', action, subject: auditText(name, 512), reason: '', details })
  }
  const has = (name: string): boolean => gossip.topics().some((topic) => topic.name === name)
  return {
    define: async (options) => {
      if (OWN.has(options.name)) throw ownTopic(options.name)
      const known = has(options.name)
      await gossip.define(options)
      if (!known) await note('topic.create', options.name, accessDetails(options.access))
    },
    remove: async (name) => {
      if (OWN.has(name)) throw ownTopic(name)
      await gossip.remove(name)
      await note('topic.remove', name)
    },
    topics: () => gossip.topics(),
    publish: (topic, data, options) => gossip.publish(topic, data, options),
    subscribe: (topic, options) => gossip.subscribe(topic, options),
    listen: (topic, listener, options) => gossip.listen(topic, listener, options),
    entries: (topic, options) => gossip.entries(topic, options),
    get refusals() {
      return gossip.refusals
    },
    start: () => gossip.start(),
    close: () => gossip.close(),
    [Symbol.asyncDispose]: () => gossip.close(),
  }
}

function accessDetails(access: TopicAccess): Readonly<Record<string, string | number>> {
  switch (access.kind) {
    case 'list':
      return { access: 'list', members: access.members.length }
    case 'score':
      return { access: 'score', min: access.min }
    default:
      return { access: access.kind }
  }
}

/** Without them peers are not found again, and nobody's word about anybody arrives. */
function ownTopic(name: string): KithError {
  return new KithError('TOPIC_RESERVED', `The topic ${name} belongs to the node itself.`, { details: { topic: name }, next: 'kith topics' })
}
