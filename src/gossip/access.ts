import type { Clock } from '../core/clock.ts'
import type { Did } from '../identity/did.ts'
import type { MeshPolicy, PeerRequest } from '../mesh/mesh-types.ts'
import type { Topic } from './topic.ts'
import type { TopicAccess } from './types.ts'

export type TopicAction = 'publish' | 'subscribe'
/** What gossip needs of the policy. */
export type TopicPolicy = Pick<MeshPolicy, 'decide' | 'constraints' | 'classOf' | 'scoreOf' | 'provide' | 'onChange'>

/** A decision is asked for again after this, so that trust that fell counts soon. */
const REMEMBER_MS = 1_000
/** Authors are named by bytes that nobody has verified yet. */
const MAX_REMEMBERED = 10_000

/** Who may publish to a topic here, and who may read it: the owner's rules first, then the topic's own access. */
export class Access {
  readonly #policy: TopicPolicy
  readonly #own: Did
  readonly #clock: Clock
  readonly #topics: (name: string) => Topic | undefined
  readonly #ends: (() => void)[] = []
  #remembered: Map<string, boolean> = new Map()
  #until = 0

  constructor(policy: TopicPolicy, own: Did, clock: Clock, topics: (name: string) => Topic | undefined) {
    this.#policy = policy
    this.#own = own
    this.#clock = clock
    this.#topics = topics
    for (const action of ['publish', 'subscribe']) this.#ends.push(policy.provide(action, (request) => this.#standard(request)))
    const end = policy.onChange?.(() => this.forget())
    if (end !== undefined) this.#ends.push(end)
  }

  may(peer: Did, action: TopicAction, topic: Topic): boolean {
    if (peer === this.#own) return action === 'subscribe' || this.ownMayPublish(topic)
    const now = this.#clock.monotonic()
    if (now >= this.#until || this.#remembered.size >= MAX_REMEMBERED) this.forget(now)
    const key = `${action} ${topic.handle} ${peer}`
    const known = this.#remembered.get(key)
    if (known !== undefined) return known
    const { allowed } = this.#policy.decide({ peer, action, target: topic.name })
    this.#remembered.set(key, allowed)
    return allowed
  }

  /** Everybody else would refuse an entry of ours that is not on the list. */
  ownMayPublish({ rules: { access } }: Topic): boolean {
    return access.kind !== 'list' || access.members.includes(this.#own)
  }

  /** Decisions are taken anew. */
  forget(now: number = this.#clock.monotonic()): void {
    this.#remembered = new Map()
    this.#until = now + REMEMBER_MS
  }

  close(): void {
    for (const end of this.#ends) end()
  }

  /** What a topic says about itself, where the owner has no rule. */
  #standard({ peer, target }: PeerRequest): { allowed: boolean; rule: string } {
    const topic = target === undefined ? undefined : this.#topics(target)
    if (topic === undefined) return { allowed: false, rule: 'this node has no such topic' }
    const { access } = topic.rules
    const allowed = this.#admits(access, peer)
    return { allowed, rule: ruleOf(topic, allowed) }
  }

  #admits(access: TopicAccess, peer: Did): boolean {
    if (access.kind === 'open') return true
    return access.kind === 'list' ? access.members.includes(peer) : this.#policy.scoreOf(peer) >= access.min
  }
}

function ruleOf({ name, broken, rules: { access } }: Topic, allowed: boolean): string {
  if (broken) return `the definition of the topic ${name} could not be read, so it admits nobody`
  if (access.kind === 'open') return `the topic ${name} is open to everybody`
  if (access.kind === 'list') return `the peer is ${allowed ? '' : 'not '}on the list of the topic ${name}`
  return `the topic ${name} asks for a standing of ${access.min / 10_000}, which the peer ${allowed ? 'has' : 'does not have'}`
}
