import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { publicKeyOfSeed } from '../../src/core/crypto/ed25519.ts'
import { isKithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { Secret } from '../../src/core/secret.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { type Did, formatDid } from '../../src/identity/did.ts'
import { constraintTable } from '../../src/mesh/constraints.ts'
import { type LocalPolicy, openLocalPolicy } from '../../src/mesh/policy.ts'
import type { LeanHandler, StreamContext } from '../../src/mesh/types.ts'
import { createTunnels, type Tunnels } from '../../src/tunnel/tunnels.ts'
import { type ConnectedPair, connectedPair } from '../support/links.ts'

/** A peer that is allowed little or nothing asks the exit of forwards for more. */
const MALLORY = formatDid(publicKeyOfSeed(Secret.take(new Uint8Array(32).fill(7))))
const FAR = 'did:icn:far' as Did

let links: ConnectedPair
let near: Tunnels
let far: Tunnels
let rules: LocalPolicy
let looked: string[] = []
let resolved: readonly string[] = []

beforeEach(async () => {
  links = await connectedPair()
  looked = []
  resolved = ['10.1.2.3']
  const table = constraintTable()
  rules = await openLocalPolicy({ clock: systemClock, store: createMemoryStore(), classOf: () => 'isolated', constraints: (held) => table[held] })
  const resolve = async (host: string): Promise<readonly string[]> => {
    looked.push(host)
    return resolved
  }
  const base = { policy: rules, clock: systemClock, logger: silentLogger, resolve }
  near = createTunnels({ ...base, mesh: { did: MALLORY, openLean: () => links.near.open(), handleLean: () => {} } })
  const serve = (protocol: string, handler: LeanHandler): void => {
    if (protocol !== 'icn/forward/1') return
    links.far.onStream = (stream) => handler(stream, { peer: MALLORY, signal: new AbortController().signal } as StreamContext)
  }
  far = createTunnels({ ...base, mesh: { did: FAR, openLean: () => links.far.open(), handleLean: serve } })
})
afterEach(async () => {
  await near.close()
  await far.close()
  await links.close()
})

async function denied(target: string): Promise<void> {
  await assert.rejects(near.forward({ peer: FAR, target, local: '127.0.0.1:0' }), (error) => isKithError(error, 'FORWARD_DENIED'), target)
}

test('a stranger asks for names, none of them is ever looked up', async () => {
  await denied('stolen-secret.attacker.example:53')
  await denied('wiki.corp.internal:443')
  assert.deepEqual(looked, [])
})

test('a peer that is allowed one name, cannot have others looked up', async () => {
  await rules.allow(MALLORY, 'forward', 'db.internal:5432')
  await denied('db.internal:5433')
  await denied('exfiltrated.attacker.example:5432')
  assert.deepEqual(looked, [])
})

test('a name whose answers mix an allowed address with this machine, is denied as a whole', async () => {
  await rules.allow(MALLORY, 'forward', '10.0.0.0/8:*')
  for (const mixed of [
    ['10.1.2.3', '127.0.0.1'],
    ['127.0.0.1', '10.1.2.3'],
    ['10.1.2.3', '::1'],
    ['10.1.2.3', '169.254.169.254'],
    ['10.1.2.3', '::ffff:127.0.0.1'],
    ['10.1.2.3', '0.0.0.0'],
    ['10.1.2.3', 'fe80::1%eth0'],
    ['10.1.2.3', '127.1'],
    ['10.1.2.3', ''],
  ]) {
    resolved = mixed
    await denied('rebind.example:22')
  }
  assert.equal(looked.length, 9)
  resolved = []
  await assert.rejects(near.forward({ peer: FAR, target: 'rebind.example:22', local: '127.0.0.1:0' }), (error) => isKithError(error, 'FORWARD_DENIED'))
  resolved = ['10.1.2.3', '10.255.0.1']
  assert.equal((await near.forward({ peer: FAR, target: 'rebind.example:22', local: '127.0.0.1:0' })).target, 'rebind.example:22')
})
