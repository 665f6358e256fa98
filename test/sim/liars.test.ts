import assert from 'node:assert/strict'
import { utf8 } from '../../src/core/bytes.ts'
import { type Did, didPublicKey } from '../../src/identity/did.ts'
import { signEnvelope } from '../../src/mesh/messages/envelope.ts'
import { MESSAGE_TYPE, type RecordMessage } from '../../src/mesh/messages/types.ts'
import type { SimNode } from '../../src/testing/node.ts'
import type { Simulation } from '../../src/testing/simulation.ts'
import { EVIDENCE_TOPIC, encodeEvidence } from '../../src/trust/evidence.ts'
import { GossipWorld, TOPIC } from './gossip-support.ts'
import { linkedNodes, scenario } from './support.ts'

const MINUTE_MS = 60_000

/** What a liar does instead of what its node would: with its own keys, over its own links, at will. */
class Liar {
  readonly node: SimNode
  readonly #sim: Simulation

  constructor(sim: Simulation, node: SimNode) {
    this.#sim = sim
    this.node = node
  }

  /** Sends something that is not what its author signed, or that somebody else said long ago. */
  async spoil(victim: SimNode): Promise<void> {
    const { gossip, messages } = this.node.assembly
    const { signRecord } = messages
    const said = await this.#sim.settle(gossip.entries(TOPIC.name, { limit: 50 }))
    const of = said.filter(({ author }) => author === victim.did)
    const lies: ((honest: RecordMessage) => Uint8Array)[] = [
      // Changed on the way: a bit of the payload, of the signature, of the victim's name.
      ({ bytes }) => flipped(bytes, bytes.length - 70),
      ({ bytes }) => flipped(bytes, bytes.length - 1),
      // The same once more.
      ({ bytes }) => bytes,
      // The victim's name over the liar's own signature.
      ({ type, payload, epoch, seq }) => this.#sign(victim.did, TOPIC.name, type, payload, epoch, seq + 1),
    ]
    for (const lie of lies) {
      messages.signRecord = (options) => {
        const own = signRecord.call(messages, options)
        const honest = of[0]?.record ?? own
        return messages.restoreRecord(lie(honest))
      }
      await this.#sim.settle(gossip.publish(TOPIC.name, utf8(`a lie of ${this.node.name}`))).catch(() => undefined)
    }
    messages.signRecord = signRecord
  }

  /** Claims to prove that the victim contradicts itself: with its true papers, true things that it said, and false ones. */
  async accuse(victim: SimNode): Promise<void> {
    const { gossip, messages } = this.node.assembly
    const papers = await this.#sim.settle(messages.directory.papers(victim.did, victim.device.linkSigner.publicKey))
    if (papers === undefined) return
    const said = (await this.#sim.settle(gossip.entries(TOPIC.name))).filter(({ author }) => author === victim.did).map(({ record }) => record.bytes)
    const [one = new Uint8Array(200), other = one] = said
    const claimed = (text: string): Uint8Array => this.#sign(victim.did, TOPIC.name, MESSAGE_TYPE.gossip, utf8(text), 1, 1)
    const pairs: (readonly [Uint8Array, Uint8Array])[] = [
      [one, other],
      [one, one],
      [one, flipped(one, one.length - 70)],
      [claimed('yes'), claimed('no')],
    ]
    for (const [first, second] of pairs.flatMap(([a, b]) => [[a, b] as const, [b, a] as const])) {
      const payload = encodeEvidence({ kind: 'equivocation', binding: papers.binding, chain: papers.chain, first, second })
      await this.#sim.settle(gossip.publish(EVIDENCE_TOPIC, payload, { type: MESSAGE_TYPE.evidence })).catch(() => undefined)
    }
  }

  /** Rubbish on streams of a neighbour's protocols. */
  async babble(neighbour: SimNode): Promise<void> {
    for (const protocol of ['icn/msg/1', 'icn/gossip/1', 'icn/ping/1', 'icn/papers/1']) {
      const stream = await this.#sim.settle(this.node.mesh.openLean(neighbour.did, protocol)).catch(() => undefined)
      stream?.write(Uint8Array.from({ length: 300 }, (_, i) => (i * 7 + 0xff) & 0xff))
      stream?.end()
    }
  }

  #sign(from: Did, topic: string, type: number, payload: Uint8Array, epoch: number, seq: number): Uint8Array {
    const { device, clock } = this.node
    const fields = {
      class: 'record',
      suite: 'ed25519',
      from: didPublicKey(from),
      device: device.linkSigner.publicKey,
      topic,
      type,
      payload,
      epoch,
      seq,
      timeMs: clock.now(),
    } as const
    return signEnvelope(fields, { ed25519: device.linkSigner, mldsa: undefined })
  }
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(bytes)
  copy[at] = (copy[at] as number) ^ 0x10
  return copy
}

/** What honest nodes hold against whom. */
function held(honest: readonly SimNode[]): readonly { readonly by: string; readonly did: Did; readonly reputation: number; readonly state: string }[] {
  return honest.flatMap(({ name, assembly }) => assembly.trust.standings().map(({ did, reputation, state }) => ({ by: name, did, reputation, state })))
}

scenario('a third of the nodes lie, accuse, replay, corrupt and babble: no honest node is held to anything by any other', async (sim) => {
  const world = new GossipWorld(sim)
  const edges = await linkedNodes(sim, 18, 6, { latencyMs: 20, jitterMs: 10 }, world.options)
  const nodes = sim.all()
  const liars = nodes.filter((_, index) => index % 3 === 0)
  const honest = nodes.filter((node) => !liars.includes(node))
  const neighboursOf = (node: SimNode): SimNode[] => edges.flatMap(([a, b]) => (a === node.name ? [sim.get(b)] : b === node.name ? [sim.get(a)] : []))
  for (const node of honest) await world.publish(node)
  await sim.run({ forMs: MINUTE_MS })
  for (let round = 0; round < 3; round++) {
    for (const [index, node] of liars.entries()) {
      const liar = new Liar(sim, node)
      const victim = honest[(index * 3 + round) % honest.length] as SimNode
      await liar.spoil(victim)
      await liar.accuse(victim)
      for (const neighbour of neighboursOf(node).filter((other) => honest.includes(other))) await liar.babble(neighbour)
    }
    for (const node of honest) await world.publish(node)
    await sim.run({ forMs: 5 * MINUTE_MS })
  }
  // An honest node loses its home and is put back from an old copy; another one crashes.
  const [unlucky, shaken] = honest as [SimNode, SimNode]
  const copy = await sim.settle(unlucky.disk.copy())
  await unlucky.stop()
  await unlucky.restart()
  await world.publish(unlucky)
  await sim.run({ forMs: MINUTE_MS })
  await unlucky.stop()
  await unlucky.restart({ from: copy })
  shaken.crash({ of: 'machine' })
  await shaken.restart()
  await sim.run({ forMs: 10 * MINUTE_MS })

  const trueNames = new Set<Did>(honest.map(({ did }) => did))
  const all = held(honest)
  assert.deepEqual(
    all.filter(({ did }) => trueNames.has(did)),
    [],
  )
  const caught = new Set(all.map(({ did }) => did))
  assert.equal(caught.size, liars.length, 'every liar was seen through by somebody')
  sim.note(...all.map(({ by, did, reputation, state }) => `${by} ${did} ${reputation} ${state}`))
  const banned = new Set(all.filter(({ state }) => state === 'banned').map(({ did }) => did))
  return `${liars.length} liars among ${nodes.length}, ${banned.size} banned by somebody, nobody else held to anything`
})
