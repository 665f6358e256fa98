import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8 } from '../../src/core/bytes.ts'
import { decode, uint53 } from '../../src/core/codec.ts'
import type { SimNode } from '../../src/testing/node.ts'
import { runOnce, runTwice, type Scenario } from '../../src/testing/run-twice.ts'
import { createSimulation, type Simulation } from '../../src/testing/simulation.ts'
import { randomRegular, ring } from '../../src/testing/topology.ts'

const FAST = { postQuantum: false }

function linked(a: SimNode, b: SimNode): boolean {
  return a.linked().includes(b.name) && b.linked().includes(a.name)
}

async function pair(sim: Simulation, conditions: Parameters<Simulation['link']>[2] = { latencyMs: 20 }): Promise<readonly [SimNode, SimNode]> {
  const [a, b] = [await sim.node('a', FAST), await sim.node('b', FAST)]
  sim.link('a', 'b', conditions)
  await sim.until(() => linked(a, b))
  return [a, b]
}

/** Five nodes whose life has loss, jitter, a crash and a partition in it. */
const busy: Scenario = async (sim) => {
  const nodes = await sim.nodes(5)
  const names = nodes.map(({ name }) => name)
  sim.connect(ring(names), { latencyMs: 20, jitterMs: 10, loss: 0.1 })
  await sim.run({ forMs: 30_000 })
  sim.get('n002').crash({ of: 'machine' })
  sim.partition(names.slice(0, 2))
  await sim.run({ forMs: 60_000 })
  sim.heal()
  await sim.get('n002').restart()
  await sim.run({ forMs: 60_000 })
  sim.note('end', nodes.filter(({ running }) => running).length)
}

test('a busy scenario with real keys, played twice from one seed, has one digest', async () => {
  const { digest, records, virtualMs } = await runTwice(busy, { seed: 3 })
  assert.match(digest, /^[0-9a-f]{64}$/)
  assert.ok(records > 100, `only ${records} records`)
  assert.equal(virtualMs, 150_000)
})

test('a busy scenario, played from two seeds, has two digests', async () => {
  assert.notEqual((await runOnce(busy, { seed: 3 })).digest, (await runOnce(busy, { seed: 4 })).digest)
})

test('a whole run, with every global clock and generator broken, does not notice', async () => {
  const broken = (name: string) => (): never => {
    throw new Error(`${name} was used: it is nobody's but the machine's`)
  }
  const { now } = Date
  const { random } = Math
  const { setTimeout: timeout, setInterval: interval } = globalThis
  const monotonic = performance.now
  const expected = (await runOnce(busy, { seed: 3 })).digest
  let digest = ''
  try {
    Date.now = broken('Date.now')
    Math.random = broken('Math.random')
    performance.now = broken('performance.now')
    Object.assign(globalThis, { setTimeout: broken('setTimeout'), setInterval: broken('setInterval') })
    digest = (await runOnce(busy, { seed: 3 })).digest
  } finally {
    Date.now = now
    Math.random = random
    performance.now = monotonic
    Object.assign(globalThis, { setTimeout: timeout, setInterval: interval })
  }
  assert.equal(digest, expected)
})

test('a scenario that depends on more than its seed, is found with the place where it parts', async () => {
  let plays = 0
  const unsteady: Scenario = async (sim) => {
    plays++
    sim.note('the same each time')
    await sim.run({ forMs: 5 })
    sim.note('play', plays)
  }
  await assert.rejects(runTwice(unsteady, { seed: 11 }), (error: unknown) => {
    assert.ok(error instanceof Error)
    assert.match(error.message, /^seed 11: two runs differ\. First difference: #1 at 5 ms: \["play",3\], the other time: #1 at 5 ms: \["play",4\]$/)
    return true
  })
})

test('a scenario that fails, names the seed that replays it and the virtual time', async () => {
  const failing: Scenario = async (sim) => {
    await sim.run({ forMs: 250 })
    throw new TypeError('the point')
  }
  await assert.rejects(runTwice(failing, { seed: 12 }), { message: 'seed 12, at 250 ms: the point' })
  await assert.rejects(
    runTwice(async (sim) => void (await sim.until(() => false, { withinMs: 40 })), { seed: 13 }),
    /^Error: seed 13, at 40 ms: seed 13: the condition did not come to hold within 40 ms/,
  )
})

test('work planned for later that fails, ends the run', async () => {
  await using sim = createSimulation({ seed: 1 })
  sim.after(10, () => Promise.reject(new Error('in time')))
  await assert.rejects(sim.run({ forMs: 20 }), { message: 'in time' })
  sim.after(10, () => {
    throw new Error('at once')
  })
  await assert.rejects(sim.run({ forMs: 20 }), { message: 'at once' })
})

test('a ping over a link, takes two latencies of virtual time', async () => {
  await using sim = createSimulation({ seed: 1 })
  const [a, b] = await pair(sim, { latencyMs: 35 })
  const before = sim.now
  assert.deepEqual(await sim.settle(a.mesh.ping(b.did)), [70])
  assert.equal(sim.now - before, 70)
})

test('a megabyte through a link of 100 kB/s, takes ten seconds and little more', async () => {
  await using sim = createSimulation({ seed: 1 })
  const [a, b] = await pair(sim, { latencyMs: 20, bytesPerSecond: 100_000 })
  let end = 0
  let bytes = 0
  b.mesh.handle('test/sink/1', async (stream) => {
    for await (const chunk of stream) bytes += (chunk as Buffer).length
    end = sim.now
  })
  const start = sim.now
  const stream = await sim.settle(a.mesh.open(b.did, 'test/sink/1'))
  stream.end(Buffer.alloc(1_000_000))
  await sim.until(() => end > 0, { everyMs: 100 })
  assert.equal(bytes, 1_000_000)
  assert.ok(end - start > 10_000 && end - start < 11_000, `took ${end - start} ms`)
})

test('a process that crashes, is missed at once and linked again after its restart', async () => {
  await using sim = createSimulation({ seed: 1 })
  const [a, b] = await pair(sim)
  b.crash()
  assert.equal(b.running, false)
  assert.throws(() => b.mesh, TypeError)
  await sim.run({ forMs: 21 })
  assert.deepEqual(a.linked(), [])
  await b.restart()
  assert.equal(b.runs, 2)
  await sim.until(() => linked(a, b), { withinMs: 30_000 })
})

test('a machine that goes out, is missed by its silence alone', async () => {
  await using sim = createSimulation({ seed: 1 })
  const [a, b] = await pair(sim)
  const start = sim.now
  b.crash({ of: 'machine' })
  const took = await sim.until(() => a.linked().length === 0, { withinMs: 60_000 })
  assert.ok(took > 10_000 && took <= 46_000, `missed after ${took} ms`)
  assert.ok(sim.now > start)
  await b.restart()
  await sim.until(() => linked(a, b), { withinMs: 600_000 })
})

test('a node that stops, says goodbye', async () => {
  await using sim = createSimulation({ seed: 1 })
  const [a, b] = await pair(sim)
  await b.stop()
  await sim.run({ forMs: 50 })
  const last = a.events.at(-1)
  assert.equal(last?.type, 'down')
  assert.equal(last?.type === 'down' && last.error?.code, 'GOING_AWAY')
  await b.restart()
  await sim.until(() => linked(a, b), { withinMs: 30_000 })
})

test('a torn restart, loses the writes that were not durable and no other', async () => {
  await using sim = createSimulation({ seed: 1 })
  const a = await sim.node('a', FAST)
  const put = (name: string, durable: boolean): Promise<void> => a.store.put('test', utf8(name), utf8(name), { durable })
  await put('durable', true)
  await put('not durable', false)
  a.crash({ of: 'machine' })
  await a.restart()
  assert.deepEqual(await a.store.get('test', utf8('durable')), utf8('durable'))
  assert.equal(await a.store.get('test', utf8('not durable')), undefined)
  await put('not durable', false)
  a.crash()
  await a.restart()
  assert.deepEqual(await a.store.get('test', utf8('not durable')), utf8('not durable'), 'the process died, not the machine')
})

test('a node begun again on an old copy, has forgotten what came after, its starts too', async () => {
  await using sim = createSimulation({ seed: 1 })
  const a = await sim.node('a', FAST)
  const boot = async (): Promise<number> => decode(uint53, (await a.store.get('mesh/self', utf8('boot'))) as Uint8Array)
  const copy = await a.disk.copy()
  a.crash()
  await a.restart()
  a.crash()
  await a.restart()
  assert.equal(await boot(), 3)
  a.crash()
  await a.restart({ from: copy })
  assert.equal(await boot(), 2)
})

test('a run that crashed, does nothing any more: no timer, no byte, no answer', async () => {
  const heard: string[] = []
  await using sim = createSimulation({ seed: 1 })
  const tell = (node: SimNode): void => {
    const { mesh } = node
    mesh.handle('test/tell/1', (stream) => void stream.resume())
    const again = (): void => {
      heard.push(`${node.name} run ${node.runs}`)
      void mesh.open(b.did, 'test/tell/1').then((stream) => stream.end('x'))
    }
    sim.after(1_000, again)
  }
  const b = await sim.node('b', FAST)
  const a = await sim.node('a', { ...FAST, onStart: tell })
  sim.link('a', 'b')
  await sim.until(() => linked(a, b))
  const { bytes } = sim.traffic('a', 'b')
  a.crash({ of: 'machine' })
  await sim.run({ forMs: 60_000 })
  assert.deepEqual(heard, ['a run 1'])
  assert.equal(sim.traffic('a', 'b').bytes, bytes)
})

test('a clock off by hours, keeps two nodes apart until it is set', async () => {
  await using sim = createSimulation({ seed: 1 })
  const a = await sim.node('a', FAST)
  const b = await sim.node('b', FAST)
  b.clock.jump(-7_200_000)
  sim.link('a', 'b')
  await sim.run({ forMs: 60_000 })
  assert.equal(linked(a, b), false)
  assert.equal(b.mesh.links()[0]?.lastError?.code, 'BINDING_INVALID')
  b.clock.jump(7_200_000)
  await sim.until(() => linked(a, b), { withinMs: 300_000 })
})

test('clocks that are minutes apart and drift, do not matter', async () => {
  await using sim = createSimulation({ seed: 1 })
  const a = await sim.node('a', { ...FAST, clock: { skewMs: -120_000, drift: 0.001 } })
  const b = await sim.node('b', { ...FAST, clock: { skewMs: 120_000, drift: -0.001 } })
  sim.link('a', 'b')
  await sim.until(() => linked(a, b))
  await sim.run({ forMs: 3_600_000 })
  assert.ok(linked(a, b))
  assert.ok(Math.abs(b.clock.now() - a.clock.now() - (240_000 - 0.002 * sim.now)) < 2)
})

test('two machines of one identity, both link and are one peer', async () => {
  await using sim = createSimulation({ seed: 1 })
  const a = await sim.node('a', FAST)
  const laptop = await sim.node('b', FAST)
  const phone = await sim.node('b-phone', { ...FAST, identityOf: 'b' })
  assert.equal(phone.did, laptop.did)
  sim.link('a', 'b')
  sim.link('a', 'b-phone')
  await sim.until(() => a.mesh.links().filter(({ state }) => state === 'connected').length === 2)
  assert.deepEqual(a.linked(), ['b', 'b'])
})

test('a copied home on another machine, has the same keys, the same starts and goes its own way', async () => {
  await using sim = createSimulation({ seed: 1 })
  const a = await sim.node('a', FAST)
  await a.store.put('test', utf8('shared'), utf8('before'))
  const copy = await sim.node('copy', { ...FAST, cloneOf: 'a', from: await a.disk.copy() })
  assert.deepEqual(copy.device.linkSigner.publicKey, a.device.linkSigner.publicKey)
  assert.deepEqual(copy.device.binding, a.device.binding)
  await a.store.put('test', utf8('shared'), utf8('after'))
  assert.deepEqual(await copy.store.get('test', utf8('shared')), utf8('before'))
})

test('a link made before its nodes, takes effect when both are there', async () => {
  await using sim = createSimulation({ seed: 1 })
  sim.link('a', 'b', { latencyMs: 5 })
  const a = await sim.node('a', FAST)
  const b = await sim.node('b', FAST)
  await sim.until(() => linked(a, b))
})

test('a binding near its end, renewed, is what the next greeting shows', async () => {
  await using sim = createSimulation({ seed: 1 })
  const [a, b] = await pair(sim)
  await sim.run({ forMs: 86_400_000 })
  const before = b.device.bindingExpires
  b.device.renew(b.clock.now())
  assert.ok(b.device.bindingExpires >= before + 86_400_000)
  b.crash()
  await b.restart()
  await sim.until(() => linked(a, b))
})

test('50 nodes with six neighbours each, all link within seconds of virtual time', async () => {
  const { value } = await runOnce(
    async (sim) => {
      const nodes = await sim.nodes(50, FAST)
      const edges = randomRegular(
        nodes.map(({ name }) => name),
        6,
        sim.random,
      )
      sim.connect(edges, { latencyMs: 20, jitterMs: 10 })
      return await sim.until(() => edges.every(([a, b]) => linked(sim.get(a), sim.get(b))), { everyMs: 100 })
    },
    { seed: 5 },
  )
  assert.ok(value < 10_000, `took ${value} ms`)
})

test('names, numbers and states that do not fit, are the caller’s mistake', async () => {
  await using sim = createSimulation({ seed: 1 })
  await sim.node('a', FAST)
  await assert.rejects(sim.node('a', FAST), TypeError)
  await assert.rejects(sim.node('not a name', FAST), TypeError)
  assert.throws(() => sim.get('nobody'), TypeError)
  await assert.rejects(sim.get('a').start(), TypeError)
  await assert.rejects(sim.run({ forMs: -1 }), TypeError)
  assert.throws(() => sim.link('a', 'b', { loss: 2 }), TypeError)
})
