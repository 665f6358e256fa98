import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KithError } from '../../src/core/errors.ts'
import { seededRandom } from '../../src/core/random.ts'
import { type FetchChainOptions, fetchChainFrom } from '../../src/mesh/fetch-chain.ts'
import { createLocateAnswerer } from '../../src/mesh/locate.ts'
import { certify, NOW, rotateIdentity, type TestNode, testIdentity, testNode } from './fixtures.ts'
import { asError, assertRefused } from './meeting.ts'

/** Addresses `tcp://NAME:1` where these nodes answer. */
function asking(identity: TestNode, nodes: Readonly<Record<string, TestNode>>, more: Partial<FetchChainOptions> = {}): FetchChainOptions {
  const answerers = new Map(Object.entries(nodes).map(([name, { device, clock }]) => [`tcp://${name}:1`, createLocateAnswerer({ device, clock })]))
  return {
    did: identity.device.did,
    urls: [...answerers.keys()],
    transports: [
      {
        scheme: 'tcp',
        locate: async (url, request) => {
          const answer = answerers.get(url)?.(request, { scheme: 'tcp', host: '192.0.2.1', port: 1 })
          if (answer === undefined) throw new KithError('LOCATE_FAILED')
          return answer
        },
      },
    ],
    clock: identity.clock,
    random: seededRandom('fetch'),
    ...more,
  }
}

test('chain of an identity, asked of several machines of it, the longest one', async () => {
  const identity = testIdentity('ann')
  const old = await testNode('ann/old', { identity })
  for (let at = 1; at <= 3; at++) rotateIdentity(identity, { now: NOW - 3_600_000 + at })
  const young = await testNode('ann/young', { identity, notBefore: NOW - 60_000 })
  const { chain, answers } = await fetchChainFrom(asking(old, { old, young, away: await testNode('bob') }))
  assert.equal(chain.index, 3)
  assert.deepEqual(
    answers.map(({ error }) => error?.code),
    [undefined, undefined, 'LOCATE_FAILED'],
  )
})

test('chain beyond one answer, from a machine whose binding has run out, whole', async () => {
  const identity = testIdentity('ann', { mldsa: true })
  for (let at = 1; at <= 9; at++) rotateIdentity(identity, { now: NOW - 3_600_000 + at })
  const ann = await testNode('ann', { identity, notBefore: NOW - 60_000, notAfter: NOW - 30_000 })
  assert.equal((await fetchChainFrom(asking(ann, { ann }))).chain.index, 9)
})

test('machine that is behind its identity, shows what it has', async () => {
  const identity = testIdentity('ann')
  const ann = await testNode('ann', { identity })
  rotateIdentity(identity)
  ann.device.chain = identity.chain
  assert.equal((await fetchChainFrom(asking(ann, { ann }))).chain.index, 1)
})

test('two machines that show contradicting histories, CHAIN_FORKED', async () => {
  const one = await testNode('ann')
  const other = { ...one.identity }
  rotateIdentity(one.identity)
  one.device.chain = one.identity.chain
  one.device.binding = certify(one.identity, 'ann', { serial: 2 })
  rotateIdentity(other, { branch: 'other ' })
  const two = await testNode('ann/other', { identity: other })
  assertRefused((await fetchChainFrom(asking(one, { one, two })).catch(asError)) as KithError, 'CHAIN_FORKED')
})

test('nobody who answers for the identity, PEER_UNREACHABLE with what each address said; a scheme without transport is one of them', async () => {
  const [ann, bob] = [await testNode('ann'), await testNode('bob')]
  const error = await fetchChainFrom(asking(ann, { bob }, { urls: ['tcp://bob:1', 'quic://bob:1'] })).catch(asError)
  assertRefused(error as KithError, 'PEER_UNREACHABLE')
  assert.deepEqual(
    ((error as KithError).details.candidates as { result: string }[]).map(({ result }) => result),
    ['LOCATE_FAILED', 'SCHEME_UNAVAILABLE'],
  )
  await assert.rejects(fetchChainFrom(asking(ann, {})), TypeError)
})

test('caller that gives up, ABORTED', async () => {
  const ann = await testNode('ann')
  const error = await fetchChainFrom(asking(ann, { ann }, { signal: AbortSignal.abort() })).catch(asError)
  assertRefused(error as KithError, 'ABORTED')
})
