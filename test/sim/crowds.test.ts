import assert from 'node:assert/strict'
import { utf8 } from '../../src/core/bytes.ts'
import { encodePayload } from '../../src/gossip/entry.ts'
import { encodeFrame, GOSSIP_PROTOCOL } from '../../src/gossip/wire.ts'
import { type Did, didPublicKey } from '../../src/identity/did.ts'
import { DEFAULT_CONSTRAINTS } from '../../src/mesh/constraints.ts'
import { type EnvelopeFields, signEnvelope } from '../../src/mesh/messages/envelope.ts'
import { framed, LIVE_PROTOCOL } from '../../src/mesh/messages/live-frames.ts'
import { SimIdentity } from '../../src/testing/identities.ts'
import type { SimNode } from '../../src/testing/node.ts'
import type { Simulation } from '../../src/testing/simulation.ts'
import { CLASSICAL, scenario } from './support.ts'

const HOUR_MS = 3_600_000
const TYPE = 0x8001
const FAST = { latencyMs: 10 }

/** What a node was sent, by sender. */
function hear(node: SimNode): Map<string, number> {
  const heard = new Map<string, number>()
  node.assembly.messages.handle(TYPE, ({ from }) => void heard.set(from, (heard.get(from) ?? 0) + 1), { access: 'everyone' })
  return heard
}

function linked(a: SimNode, b: SimNode): boolean {
  return a.linked().includes(b.name) && b.linked().includes(a.name)
}

const SENDERS = 25
const EACH = 400

/** Signed by the sender, and says that it is from the victim. */
function forge(sender: SimNode, victim: SimNode, judge: SimNode, seq: number): Uint8Array {
  const common = { suite: 'ed25519', from: victim.device.didKey, device: victim.device.linkSigner.publicKey, timeMs: sender.clock.now() } as const
  const payload = encodePayload({ references: [], data: utf8(`forged ${seq}`) })
  const live = { class: 'live', to: didPublicKey(judge.did), session: new Uint8Array(16), seq, type: TYPE, payload } as const
  const record = { class: 'record', topic: 'identity:updates', epoch: 1, seq, type: 1, payload } as const
  const fields: EnvelopeFields = seq % 2 === 0 ? { ...common, ...live } : { ...common, ...record }
  return signEnvelope(fields, { ed25519: sender.device.linkSigner, mldsa: undefined })
}

scenario(`${SENDERS * EACH} forged messages that name one victim, cost the victim nothing and their senders the link`, async (sim) => {
  const [judge, victim] = [await sim.node('judge', CLASSICAL), await sim.node('victim', CLASSICAL)]
  const senders: SimNode[] = []
  for (let at = 0; at < SENDERS; at++) senders.push(await sim.node(`sender${at}`, CLASSICAL))
  for (const node of [victim, ...senders]) sim.link(node.name, 'judge', FAST)
  await sim.until(() => [victim, ...senders].every((node) => linked(node, judge)))
  await sim.run({ forMs: 5_000 })
  const heard = hear(judge)

  for (const sender of senders) {
    const live = await sim.settle(sender.mesh.openLean(judge.did, LIVE_PROTOCOL))
    const gossip = await sim.settle(sender.mesh.openLean(judge.did, GOSSIP_PROTOCOL))
    for (let seq = 1; seq <= EACH; seq++) {
      const envelope = forge(sender, victim, judge, seq)
      if (seq % 2 === 0) live.write(framed([envelope]))
      else gossip.write(encodeFrame({ kind: 'push', envelope }))
    }
  }
  await sim.run({ forMs: 2_000 })

  const { trust, messages } = judge.assembly
  for (const sender of senders) {
    assert.ok(!linked(sender, judge), `${sender.name} is linked still`)
    assert.equal(trust.standing(sender.did).state, 'banned')
  }
  assert.deepEqual(
    trust.standings().filter(({ did }) => did === victim.did),
    [],
  )
  assert.equal(trust.explain(victim.did).reputation, 10_000)
  assert.ok(linked(victim, judge))
  assert.equal(heard.size, 0)
  assert.ok((messages.counters.refused.SIGNATURE_INVALID ?? 0) >= SENDERS, 'the forgeries were not looked at')
  // Its budget is full: a whole burst of its own is taken at once, and not one more.
  const { burst } = DEFAULT_CONSTRAINTS.known
  for (let count = 0; count < burst + 5; count++) void victim.assembly.messages.send(judge.did, TYPE, utf8('true'))
  await sim.run({ forMs: 40 })
  assert.equal(heard.get(victim.did), burst)
  assert.equal(messages.counters.refused.RATE_LIMITED, 5)
  await sim.run({ forMs: 60_000 })
  assert.ok(
    senders.every((sender) => !linked(sender, judge)),
    'a banned sender came back',
  )
  return `${messages.counters.refused.SIGNATURE_INVALID} of them looked at before ${SENDERS} links were closed, a burst of ${burst} of the victim taken whole`
})

const CROWD = 100
/** As many of them run; to be spoken for a name is enough. */
const RUNNING = 100
const WAVE = 50
const PER_HOUR = 30
const ATTACK_S = 3

/** An identity without a machine. */
function nameOnly(seed: string): Did {
  const identity = new SimIdentity(seed, { postQuantum: false, now: 0, signMldsa: undefined })
  identity.close()
  return identity.did
}

/** Attested hour by hour, no more than a node takes of one issuer. */
async function fool(sim: Simulation, friend: SimNode, crowd: readonly Did[]): Promise<void> {
  for (let at = 0; at < crowd.length; at += PER_HOUR) {
    for (const did of crowd.slice(at, at + PER_HOUR)) await sim.settle(friend.assembly.trust.attest(did, 8_000))
    await sim.run({ forMs: HOUR_MS })
  }
}

scenario(`${CROWD} identities behind one fooled friend, weigh as one and crowd nobody out`, async (sim) => {
  const [me, friend, honest] = [await sim.node('me'), await sim.node('friend'), await sim.node('honest')]
  sim.link('me', 'friend', { ...FAST, class: 'partner' })
  sim.link('me', 'honest', { ...FAST, class: 'known' })
  await sim.until(() => linked(me, friend) && linked(me, honest))
  await sim.settle(me.assembly.trust.set(friend.did, 9_000))
  const running: SimNode[] = []
  for (let at = 0; at < RUNNING; at++) {
    const node = await sim.node(`sybil${at}`, CLASSICAL)
    running.push(node)
    node.crash()
  }
  const crowd = [...running.map(({ did }) => did), ...Array.from({ length: CROWD - RUNNING }, (_, at) => nameOnly(`sybil ${at}`))]
  await fool(sim, friend, crowd)
  const { trust } = me.assembly
  const scores = crowd.map((did) => trust.explain(did).score)
  assert.equal(Math.max(...scores), 2_159)
  assert.equal(Math.min(...scores), 2_159, 'the friend spoke for all of them')

  // They come fifty at a time, each knowing where I am; as many as are let in send as fast as they can.
  const heard = hear(me)
  let most = 0
  let sent = 0
  let honestSent = 0
  for (let at = 0; at < RUNNING; at += WAVE) {
    const wave = running.slice(at, at + WAVE)
    for (const node of wave) {
      await node.restart()
      await sim.settle(node.mesh.book.add(me.did, { name: 'me', urls: [me.url] }))
    }
    await sim.run({ forMs: 2_000 })
    const inside = wave.filter((node) => linked(node, me))
    most = Math.max(most, inside.length)
    for (let second = 0; second < ATTACK_S; second++) {
      for (let count = 0; count < 600; count++) {
        const node = inside[count % inside.length]
        if (node === undefined) continue
        sent++
        node.assembly.messages.send(me.did, TYPE, utf8('noise')).catch(() => undefined)
      }
      honestSent += 5
      for (let count = 0; count < 5; count++) void honest.assembly.messages.send(me.did, TYPE, utf8('true'))
      await sim.run({ forMs: 1_000 })
    }
    for (const node of wave) node.crash()
  }
  const seconds = (RUNNING / WAVE) * (2 + ATTACK_S)
  const noise = running.reduce((sum, { did }) => sum + (heard.get(did) ?? 0), 0)
  const { messagesPerSecond, burst } = DEFAULT_CONSTRAINTS.known
  assert.ok(most > 0 && most <= 16, `${most} of them were linked at once`)
  assert.ok(sent > 2 * noise && noise > 0, `${noise} of ${sent} were taken`)
  assert.ok(noise <= 10 * (messagesPerSecond * seconds + burst), `${noise} messages of theirs in ${seconds} s`)
  assert.equal(heard.get(honest.did), honestSent, 'an honest message did not arrive')
  assert.ok(linked(me, honest) && linked(me, friend))
  return `each at 2159, ${most} links at once, ${noise} of ${sent} messages taken in ${seconds} s, all ${honestSent} of an honest peer`
})
