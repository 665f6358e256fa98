import assert from 'node:assert/strict'
import type { Did } from '../../src/identity/did.ts'
import type { PeerClass } from '../../src/mesh/types.ts'
import type { SimNode } from '../../src/testing/node.ts'
import type { Simulation } from '../../src/testing/simulation.ts'
import { type Edge, randomRegular, ring } from '../../src/testing/topology.ts'
import { Liar, type LiarKind } from './liar.ts'
import { allLinked, scenario } from './support.ts'

const MINUTE_MS = 60_000
const TYPE = 0x8001
const TOPIC = 'room:town'
const TOPICS = [TOPIC, 'identity:updates', 'trust:attestations', 'trust:evidence']
const CLASSES: readonly PeerClass[] = ['known', 'partner', 'federated']
const KINDS: readonly LiarKind[] = ['quiet', 'quiet', 'loud', 'loud', 'twofaced']

interface Statement {
  readonly from: SimNode
  readonly about: SimNode
  readonly weight: number
}

/** What everybody honest sends, decides and gets. */
class Town {
  readonly sim: Simulation
  readonly honest: SimNode[] = []
  readonly liars: Liar[] = []
  readonly edges: Edge[] = []
  /** The last word of each honest node about each peer. */
  readonly said: Map<string, Statement> = new Map()
  readonly published: Set<string> = new Set()
  readonly #entries = new Map<SimNode, string[]>()
  readonly #lives = new Map<SimNode, string[]>()
  readonly #sent = new Map<SimNode, string[]>()
  readonly #told = new Map<SimNode, string[]>()
  #count = 0

  constructor(sim: Simulation) {
    this.sim = sim
  }

  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.sim.random.unit() * items.length)] as T
  }

  async build(size: number): Promise<void> {
    const { sim } = this
    const lying = Math.floor(size / 3)
    const nodes: SimNode[] = []
    for (let at = 0; at < size; at++) {
      const isLiar = at % 3 === 2 && at / 3 < lying
      nodes.push(await sim.node(`${isLiar ? 'liar' : 'n'}${String(at).padStart(2, '0')}`, { onStart: (node) => this.#start(node) }))
    }
    const bad = nodes.filter(({ name }) => name.startsWith('liar'))
    this.honest.push(...nodes.filter((node) => !bad.includes(node)))
    this.liars.push(
      ...bad.map((node, at) => new Liar(sim, node, KINDS[at % KINDS.length] as LiarKind, { honest: this.honest, liars: bad, topics: TOPICS, type: TYPE })),
    )
    for (const liar of this.liars) liar.listen()
    // Whatever the liars do, there is a way among the honest that needs none of them.
    const all = [
      ...ring(this.honest.map(({ name }) => name)),
      ...randomRegular(
        nodes.map(({ name }) => name),
        6,
        sim.random,
      ),
    ]
    const seen = new Set<string>()
    for (const [a, b] of all) {
      const key = [a, b].sort().join()
      if (seen.has(key)) continue
      seen.add(key)
      this.edges.push([a, b])
      sim.link(a, b, { latencyMs: 20, jitterMs: 10, class: this.pick(CLASSES) })
    }
    await sim.until(() => allLinked(sim, this.edges), { everyMs: 100 })
  }

  honestNeighbours(node: SimNode): SimNode[] {
    return this.neighbours(node).filter((other) => this.honest.includes(other))
  }

  neighbours(node: SimNode): SimNode[] {
    return this.edges.flatMap(([a, b]) => (a === node.name ? [this.sim.get(b)] : b === node.name ? [this.sim.get(a)] : []))
  }

  /** Says how far it trusts somebody; liars get their share of it. */
  async say(from: SimNode, about: SimNode, weight: number): Promise<void> {
    await this.sim.settle(from.assembly.trust.attest(about.did, weight))
    this.said.set(`${from.name} ${about.name}`, { from, about, weight })
  }

  publish(from: SimNode): void {
    const text = `${from.name} ${this.#count++}`
    this.published.add(text)
    from.assembly.gossip.publish(TOPIC, Buffer.from(text)).catch((error: unknown) => assert.fail(`${from.name} could not publish: ${error}`))
  }

  send(from: SimNode, to: SimNode): void {
    const text = `${from.name} ${this.#count++}`
    from.assembly.messages.send(to.did, TYPE, Buffer.from(text)).then(
      () => note(this.#sent, to, text),
      (error: unknown) => assert.fail(`${from.name} could not send to ${to.name}: ${error}`),
    )
  }

  tell(from: SimNode, to: SimNode): void {
    const text = `${from.name} ${this.#count++}`
    from.assembly.mail.tell(to.did, text, { waitMs: 0 }).then(
      () => note(this.#told, to, text),
      (error: unknown) => assert.fail(`${from.name} could not tell ${to.name}: ${error}`),
    )
  }

  /** What honest nodes said to each other has all come, once. */
  async checkDelivered(): Promise<void> {
    for (const node of this.honest) {
      const honest = (this.#entries.get(node) ?? []).filter((text) => this.published.has(text))
      assert.equal(new Set(honest).size, honest.length, `${node.name} was given an entry twice`)
      assert.equal(honest.length, this.published.size, `${node.name} lacks ${this.published.size - honest.length} of ${this.published.size} honest entries`)
      const lives = (this.#lives.get(node) ?? []).filter((text) => text.startsWith('n'))
      assert.deepEqual(lives.toSorted(), (this.#sent.get(node) ?? []).toSorted(), `live messages of ${node.name}`)
      const inbox = await this.sim.settle(node.assembly.mail.inbox({ limit: 1_000 }))
      const mail = inbox.flatMap(({ from, text }) => (this.honest.some(({ did }) => did === from) ? [text ?? ''] : []))
      assert.deepEqual(mail.toSorted(), (this.#told.get(node) ?? []).toSorted(), `mail of ${node.name}`)
    }
  }

  #start(node: SimNode): Promise<void> {
    const { gossip, messages } = node.assembly
    return gossip.define({ name: TOPIC, access: { kind: 'open' } }).then(() => {
      if (node.name.startsWith('liar')) return
      gossip.listen(TOPIC, ({ data }) => note(this.#entries, node, Buffer.from(data).toString()))
      messages.handle(TYPE, ({ payload }) => note(this.#lives, node, Buffer.from(payload).toString()))
    })
  }
}

function note(of: Map<SimNode, string[]>, node: SimNode, text: string): void {
  const texts = of.get(node) ?? []
  of.set(node, texts)
  texts.push(text)
}

/** PN-11 written down once more, from the statements of honest nodes alone. */
function honestScore(town: Town, me: SimNode, target: SimNode): number {
  const weight = (from: SimNode, about: SimNode): number => town.said.get(`${from.name} ${about.name}`)?.weight ?? 0
  const introducers = town.honest
    .filter((node) => node !== me && node !== target && weight(me, node) > 0 && weight(node, target) > 0)
    .sort((a, b) => Buffer.compare(a.device.didKey, b.device.didKey))
  const S = 2n ** 20n
  let q = S
  let best = 0
  for (const via of introducers) {
    const c = (BigInt(weight(me, via)) * BigInt(weight(via, target)) * S) / 100_000_000n
    q = (q * (S - c)) / S
    best = Math.max(best, weight(me, via))
  }
  const transitive = Math.min(best, Number(((S - q) * 10_000n) / S))
  const direct = weight(me, target)
  const score = Math.floor((direct * 7_000 + transitive * 3_000) / 10_000)
  return direct === 0 ? Math.min(score, 3_999) : score
}

/** At no honest node is anything held against anybody honest. */
function checkStanding(town: Town): void {
  const honest = new Map<Did, SimNode>(town.honest.map((node) => [node.did, node]))
  for (const node of town.honest) {
    const { trust } = node.assembly
    for (const { did, state, devices } of trust.standings()) {
      const accused = honest.get(did)
      assert.equal(accused, undefined, `${node.name} holds something against ${accused?.name}: ${state}, ${devices.length} banned devices`)
    }
    for (const other of town.honest) if (other !== node) assert.equal(trust.explain(other.did).reputation, 10_000)
  }
}

async function bansOf(town: Town, node: SimNode): Promise<Set<string>> {
  const rows = await town.sim.settle(node.assembly.audit.list({ limit: 1_000 }))
  return new Set(rows.filter(({ action }) => action === 'ban').map(({ subject }) => subject))
}

async function lyingThird(sim: Simulation, size: number): Promise<string> {
  const town = new Town(sim)
  await town.build(size)
  const { honest, liars } = town
  const random = (low: number, high: number): number => low + Math.floor(sim.random.unit() * (high - low))

  // Random trust, honest and liars alike; who has none of its own is reached through others. Some of it is said again later, higher or lower.
  for (const node of honest) {
    for (const other of town.neighbours(node)) await town.say(node, other, random(1_500, 10_000))
    for (let more = 0; more < 3; more++) {
      const other = town.pick(honest)
      if (other !== node && !town.neighbours(node).includes(other)) await town.say(node, other, random(1_500, 10_000))
    }
  }
  // Some keep their mail at a liar.
  for (const { node } of liars) {
    for (const owner of town
      .neighbours(node)
      .filter((other) => honest.includes(other))
      .slice(0, 2)) {
      await sim.settle(node.assembly.mail.host(owner.did))
      await sim.settle(owner.assembly.mail.useHosts([node.did]))
    }
  }
  await sim.run({ forMs: MINUTE_MS })

  const end = sim.now + 4 * MINUTE_MS
  const lie = (liar: Liar): void => {
    if (sim.now >= end) return
    liar.act()
    sim.after(300 + 1_000 * sim.random.unit(), () => lie(liar))
  }
  for (const liar of liars) lie(liar)
  while (sim.now < end) {
    const from = town.pick(honest)
    town.publish(from)
    town.send(from, town.pick(town.honestNeighbours(from)))
    for (const { node } of liars) {
      const friend = town.pick(town.honestNeighbours(node))
      if (friend.linked().includes(node.name)) friend.assembly.messages.send(node.did, TYPE, Buffer.from(`${friend.name} to a liar`)).catch(() => undefined)
    }
    if (sim.random.unit() < 0.5) town.tell(from, town.pick(town.honestNeighbours(from)))
    if (sim.random.unit() < 0.2) await town.say(from, town.pick(town.neighbours(from)), random(1_500, 10_000))
    await sim.run({ forMs: 1_000 })
  }
  await sim.run({ forMs: 2 * MINUTE_MS })

  checkStanding(town)
  const among = town.edges.filter(([a, b]) => a.startsWith('n') && b.startsWith('n'))
  assert.ok(allLinked(sim, among), 'a link between two honest nodes is gone')
  await town.checkDelivered()
  let pairs = 0
  for (const me of honest) {
    assert.ok(![...(await bansOf(town, me))].some((did) => honest.some((node) => node.did === did)), `${me.name} banned somebody honest`)
    for (const other of honest) {
      if (other === me) continue
      const [score, least] = [me.assembly.trust.explain(other.did).score, honestScore(town, me, other)]
      assert.ok(score >= least, `${other.name} has ${score} at ${me.name}, and ${least} by what honest nodes said`)
      pairs++
    }
  }
  // Who broke rules is banned where it did; who signed two things under one number everywhere; who only talks nowhere.
  let bans = 0
  for (const { node, kind, breaches } of liars) {
    for (const me of honest) {
      const banned = (await bansOf(town, me)).has(node.did)
      if (banned) bans++
      if (kind === 'quiet') assert.ok(!banned, `${me.name} banned ${node.name} for what it said`)
      if (kind === 'twofaced') assert.ok(banned, `${me.name} did not ban ${node.name}, which signed two things under one number`)
      if (kind === 'loud' && (breaches.get(me.name) ?? 0) >= 8) assert.ok(banned, `${me.name} did not ban ${node.name} after ${breaches.get(me.name)} breaches`)
    }
  }
  const acts = new Map<string, number>()
  for (const { did } of liars) for (const [name, count] of did) acts.set(name, (acts.get(name) ?? 0) + count)
  const lies = [...acts.values()].reduce((sum, count) => sum + count, 0)
  return `${liars.length} liars told ${lies} lies of ${acts.size} kinds, ${bans} bans of them and none of ${honest.length} honest nodes, ${pairs} scores not below the honest ones`
}

scenario('a third of 45 peers lie, nobody honest is banned or loses standing', (sim) => lyingThird(sim, 45))
