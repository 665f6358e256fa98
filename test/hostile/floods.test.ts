/** Floods against a real node on TCP, in small: limits are lowered instead of machines multiplied. The long forms are in test/slow. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemRandom } from '../../src/core/random.ts'
import type { AdmissionStatus } from '../../src/mesh/admission.ts'
import { encodeLocateRequest, locateTag, NO_INDEX } from '../../src/mesh/locate-codec.ts'
import { createTcpTransport } from '../../src/transport/tcp.ts'
import { within } from '../transport/support.ts'
import { flood } from './flood.ts'
import { assertServes, attacker, fixtureClock, startGood, startNode } from './support.ts'

const MIB = 2 ** 20

for (const manner of ['silent', 'byte'] as const) {
  test(`half-open connections (${manner}) beyond the limit, the oldest give way, a newcomer gets in, memory bounded`, { timeout: 60_000 }, async (t) => {
    const node = await startNode(t, 'node', { config: { admission: { halfOpen: 64, graceMs: 200, totalPerSecond: 2_000, totalBurst: 4_000 } } })
    const good = await startGood(t, node)
    const before = process.memoryUsage().rss
    const attack = flood(t, node.port, 600, manner)
    let flooding = true
    const up = attack.up.finally(() => {
      flooding = false
    })
    while (flooding) {
      await assertServes(node, good)
      await pause(5)
    }
    assert.equal((await up).failed, 0)
    await assertServes(node, good)
    const admission = (): AdmissionStatus => node.mesh.network().stats.admission
    await within(
      'the rest of the flood',
      (async () => {
        for (let at = admission(); at.halfOpen + at.refused + at.evicted < 600; at = admission()) await pause(5)
      })(),
    )
    assert.ok(admission().halfOpen <= 64, `${admission().halfOpen} half-open`)
    assert.ok(admission().refused + admission().evicted >= 536)
    const late = await startNode(t, 'late')
    await late.mesh.book.add(node.mesh.did, { urls: [node.url] })
    await node.mesh.book.add(late.mesh.did)
    await within(
      'a newcomer',
      persist(() => late.mesh.dial(node.mesh.did)),
    )
    await assertServes(node, late)
    assert.ok(process.memoryUsage().rss - before < 96 * MIB)
    await attack.stop()
  })
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Tries as a person would: again, while it is a matter of luck. */
async function persist<T>(run: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run()
    } catch (error) {
      if (attempt === 40) throw error
      await pause(50)
    }
  }
}

test('locate without end, answered ten times a second and source, silence beyond', { timeout: 60_000 }, async (t) => {
  const node = await startNode(t, 'node')
  const good = await startGood(t, node)
  const { device } = await attacker('asker')
  const transport = createTcpTransport({ signer: device.linkSigner, clock: fixtureClock(), random: systemRandom })
  let [answered, silent] = [0, 0]
  for (let i = 0; i < 60; i++) {
    const nonce = systemRandom.bytes(16)
    const request = encodeLocateRequest({ nonce, tag: locateTag(node.device.didKey, nonce), haveIndex: NO_INDEX })
    await within('an answer', (transport.locate as NonNullable<typeof transport.locate>)(node.url, request, { signal: AbortSignal.timeout(5_000) })).then(
      () => answered++,
      () => silent++,
    )
  }
  assert.ok(answered >= 9 && silent >= 10, `${answered} answers, ${silent} silent`)
  await assertServes(node, good)
})
