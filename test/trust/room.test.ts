import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Did } from '../../src/identity/did.ts'
import { SlotHeap } from '../../src/trust/slot-heap.ts'
import { generator } from '../fuzz/mutate.ts'
import { DAY, did, edgeGraph, me, NOW, plainDids, put, world } from './support.ts'

const friends = plainDids('friend', 5) as [Did, ...Did[]]
const subjects = plainDids('subject', 60)

test('room, edges of strangers, go first and silent ones before others', () => {
  const graph = edgeGraph({ edges: 30 })
  const [early, late, newest] = plainDids('stranger', 3) as [Did, Did, Did]
  friends.forEach((friend) => {
    put(graph, me, friend, 5_000)
  })
  for (let at = 0; at < 10; at++) put(graph, early, subjects[at] as Did, 1_000)
  for (let at = 0; at < 10; at++) put(graph, late, subjects[at] as Did, 1_000)
  for (let at = 0; at < 5; at++) put(graph, friends[0], subjects[at] as Did, 1_000)
  put(graph, early, subjects[0] as Did, 2_000, { sequence: 2 })
  assert.equal(graph.size, 30)
  assert.equal(put(graph, newest, subjects[0] as Did, 1_000), 'applied')
  assert.deepEqual(new Set(graph.gone.map(({ source }) => source)), new Set([late]), 'the one that was silent longest')
  assert.equal(graph.gone.length, 10)
})

test('room, a flood of strangers, never pushes out what trusted people say, nor lets scores fall', () => {
  const graph = edgeGraph({ edges: 200, issuers: 50 })
  for (const friend of friends) put(graph, me, friend, 5_000)
  for (const friend of friends) for (let at = 0; at < 20; at++) put(graph, friend, subjects[at] as Did, 8_000)
  const before = subjects.map((subject) => graph.standing(subject, 'social', undefined, NOW).transitive)
  for (const [at, stranger] of plainDids('flood', 2_000).entries()) put(graph, stranger, subjects[at % 60] as Did, 10_000)
  assert.ok(graph.size <= 200)
  assert.ok(graph.issuers <= 50)
  assert.deepEqual(
    subjects.map((subject) => graph.standing(subject, 'social', undefined, NOW).transitive),
    before,
  )
  assert.ok(graph.gone.every(({ source }) => !friends.includes(source)))
  assert.equal(put(graph, friends[0], subjects[40] as Did, 1_000), 'applied', 'a friend finds room')
})

test('room, one issuer, trusted or not, has its share and no more; what it takes back still finds its place', () => {
  const graph = edgeGraph({ issuerEdges: 10, issuerLayers: 2 })
  const friend = friends[0]
  put(graph, me, friend, 5_000)
  for (let at = 0; at < 10; at++) assert.equal(put(graph, friend, subjects[at] as Did, 1_000), 'applied')
  assert.equal(put(graph, friend, subjects[10] as Did, 1_000), 'full')
  assert.equal(put(graph, friend, subjects[3] as Did, 0, { sequence: 2 }), 'applied')
  assert.equal(put(graph, friend, subjects[10] as Did, 1_000), 'full', 'a revocation is remembered in the place of what it revoked')
  const other = friends[1] as Did
  assert.equal(put(graph, other, subjects[0] as Did, 1_000, { scope: 'a' }), 'applied')
  assert.equal(put(graph, other, subjects[0] as Did, 1_000, { scope: 'b' }), 'applied')
  assert.equal(put(graph, other, subjects[0] as Did, 1_000, { scope: 'c' }), 'full')
  assert.equal(put(graph, other, subjects[1] as Did, 1_000, { scope: 'b' }), 'applied')
})

test('room, all of it taken by trusted people, is refused to strangers and further statements, never to own edges', () => {
  const graph = edgeGraph({ edges: 10 })
  const friend = friends[0]
  put(graph, me, friend, 5_000)
  for (let at = 0; at < 9; at++) put(graph, friend, subjects[at] as Did, 1_000)
  assert.equal(put(graph, subjects[50] as Did, subjects[0] as Did, 1_000), 'full')
  assert.equal(put(graph, friend, subjects[20] as Did, 1_000), 'full')
  assert.equal(put(graph, me, subjects[20] as Did, 1_000), 'applied')
  assert.deepEqual(graph.gone, [])
})

test('room, scopes that strangers invent, are bounded and make way for a friend’s', () => {
  const graph = edgeGraph({ layers: 8 })
  const friend = friends[0]
  put(graph, me, friend, 5_000)
  for (const [at, stranger] of plainDids('inventor', 40).entries()) put(graph, stranger, subjects[0] as Did, 1_000, { scope: `scope${at}` })
  assert.equal(graph.size, 8, 'seven scopes beside the own one')
  assert.equal(put(graph, friend, subjects[0] as Did, 1_000, { scope: 'bakery' }), 'applied')
})

test('room, a friend no longer trusted, becomes one of the others', () => {
  const graph = edgeGraph({ edges: 12 })
  const [friend, other] = friends as [Did, Did]
  put(graph, me, friend, 5_000, { expiresMs: NOW + DAY })
  put(graph, me, other, 5_000)
  for (let at = 0; at < 10; at++) put(graph, friend, subjects[at] as Did, 1_000)
  assert.equal(put(graph, other, subjects[0] as Did, 1_000), 'full')
  graph.expire(NOW + DAY, 100)
  assert.equal(put(graph, other, subjects[0] as Did, 1_000, {}, NOW + DAY), 'applied')
  assert.equal(graph.gone.filter(({ source }) => source === other).length, 0)
  put(graph, me, friend, 5_000, {}, NOW + DAY)
  for (let at = 0; at < 9; at++) put(graph, friend, subjects[at] as Did, 1_000, { sequence: 2 }, NOW + DAY)
  assert.equal(put(graph, subjects[50] as Did, subjects[1] as Did, 1_000, {}, NOW + DAY), 'full', 'trusted again, it is safe again')
})

test('set, more own edges than there is room for, is refused with a code', async () => {
  const { graph } = await world({ limits: { ownEdges: 2 } })
  await using _ = graph
  await graph.set(did('one'), 1_000)
  await graph.set(did('two'), 1_000)
  await assert.rejects(graph.set(did('three'), 1_000), { code: 'TRUST_FULL' })
  await graph.set(did('one'), 2_000)
})

test('limits, none or not whole, are refused', async () => {
  await assert.rejects(world({ limits: { edges: 0 } }), TypeError)
  await assert.rejects(world({ limits: { issuers: 1.5 } }), TypeError)
  await assert.rejects(world({ statementsPerHour: 0 }), TypeError)
})

test('heap of expiries, random sets, changes and removals, always has the earliest on top', () => {
  const pick = generator(11)
  const heap = new SlotHeap()
  const model = new Map<number, number>()
  for (let step = 0; step < 20_000; step++) {
    const item = pick(300)
    if (pick(3) === 0) {
      heap.delete(item)
      model.delete(item)
    } else {
      const timeMs = pick(1_000)
      heap.set(item, timeMs)
      model.set(item, timeMs)
    }
    const top = heap.peek()
    assert.equal(heap.size, model.size)
    assert.equal(top?.timeMs, model.size === 0 ? undefined : Math.min(...model.values()))
    if (top !== undefined) assert.equal(model.get(top.item), top.timeMs)
  }
})
