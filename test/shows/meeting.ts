import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { Runtime } from '../../src/daemon/runtime.ts'
import { createNodes, pair, until } from './node.ts'
import { serveEcho, startTraffic } from './traffic.ts'

const SCHEMES = ['tcp', 'quic'] as const

/** Two nodes that are linked and busy dial each other at once, again and again, over every pair of kinds of paths. */
export async function meetAtOnce(t: TestContext, rounds: number): Promise<void> {
  const nodes = await createNodes(t)
  const listen = SCHEMES.map((scheme) => `${scheme}://127.0.0.1:0`)
  const pairOf = await Promise.all([nodes.open('left', { listen }), nodes.open('right', { listen })])
  const [left, right] = pairOf
  for (const node of pairOf) serveEcho(node)
  await pair(left, right)
  const traffic = [startTraffic(left, 'right'), startTraffic(right, 'left')]
  const addressOf = (node: Runtime, index: number): string => node.mesh.addresses.find((url) => url.startsWith(`${SCHEMES[index % SCHEMES.length]}:`)) as string
  for (let round = 0; round < rounds; round++) {
    await Promise.all([
      left.mesh.dial('right', { url: addressOf(right, round) }),
      right.mesh.dial('left', { url: addressOf(left, round >> 1) }),
      ...traffic.map((each) => each.more(2)),
    ])
    await until(pairOf, () => pairOf.every(({ mesh }) => mesh.network().stats.connections === 1))
    const paths = pairOf.map(({ mesh }) => mesh.links().map(({ state, path }) => `${state} ${path?.scheme}`))
    assert.deepEqual(paths, [['connected tcp'], ['connected tcp']], `round ${round}`)
    for (const [node, peer] of [
      [left, 'right'],
      [right, 'left'],
    ] as const) {
      assert.equal(node.mesh.why(peer).candidates.filter(({ result }) => result === 'active').length, 1)
    }
  }
  await Promise.all(traffic.map((each) => each.stop()))
}
