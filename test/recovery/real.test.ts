import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Clock, sleep, systemClock } from '../../src/core/clock.ts'
import { isKithError } from '../../src/core/errors.ts'
import { controlRoutes } from '../../src/daemon/control/routes/index.ts'
import type { RecoverySetup, RecoveryShown } from '../../src/daemon/control/routes/recovery-api.ts'
import { openRuntime, type Runtime } from '../../src/daemon/runtime.ts'
import type { Did } from '../../src/identity/did.ts'

const DAY = 86_400_000
const WITHIN_MS = 30_000

/** Real sockets, files and processes' work; a calendar that can be turned. */
interface World {
  readonly folder: string
  readonly clock: Clock
  pass(ms: number): void
  node(name: string): Promise<Runtime>
  close(): Promise<void>
}

function world(): World {
  const folder = mkdtempSync(join(tmpdir(), 'kith-recovery-'))
  const nodes = new Set<Runtime>()
  let ahead = 0
  const clock: Clock = { ...systemClock, now: () => systemClock.now() + ahead }
  return {
    folder,
    clock,
    pass(ms) {
      ahead += ms
    },
    async node(name) {
      const env = { ...process.env, XDG_STATE_HOME: join(folder, `state-${name}`) }
      const flags = { listen: ['tcp://127.0.0.1:0'] }
      const node = await openRuntime({ home: join(folder, name), env, flags, create: { name }, clock, control: false })
      nodes.add(node)
      return node
    },
    async close() {
      await Promise.all([...nodes].map((node) => node.close()))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + WITHIN_MS
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`did not happen within ${WITHIN_MS} ms: ${what}`)
    await sleep(systemClock, 20)
  }
}

const call = { signal: new AbortController().signal }
const pair = async (inviter: Runtime, joiner: Runtime): Promise<void> => {
  const { ticket } = await inviter.mesh.invites.create({})
  await joiner.mesh.join(ticket)
}
const list = async (node: Runtime): Promise<readonly RecoveryShown[]> =>
  ((await controlRoutes['GET /v1/recovery'].run(node, {}, call)) as { recoveries: readonly RecoveryShown[] }).recoveries
const stageAt = async (node: Runtime, id: string): Promise<string | undefined> => (await list(node)).find((one) => one.id === id)?.stage
const linked = (node: Runtime, did: Did): boolean => node.mesh.links().some((link) => link.did === did && link.state === 'connected')
const attest = async (node: Runtime, id: string, words: string): Promise<RecoveryShown> =>
  (await controlRoutes['POST /v1/recovery/attest'].run(node, { id, words }, undefined, call)) as RecoveryShown
const finalize = async (node: Runtime): Promise<unknown> => await controlRoutes['POST /v1/recovery/finalize'].run(node, {}, undefined, call)

test('five real nodes, one of them lost, give its identity back: the new home links, the old one is refused, grants stay', { timeout: 120_000 }, async () => {
  const all = world()
  try {
    const [ann, tia, tom, tea] = [await all.node('ann'), await all.node('tia'), await all.node('tom'), await all.node('tea')]
    const did = ann.mesh.did
    const trustees = [tia, tom, tea]
    for (const trustee of trustees) await pair(trustee, ann)
    await tia.assembly.trust.set(did, 6_000)
    await tia.mesh.policy.allow(did, 'forward', 'localhost:80')
    const given = { trustees: trustees.map(({ mesh }) => mesh.did).join(','), threshold: 2, override: 0, delay_s: DAY / 1_000 }
    const setup = (await controlRoutes['POST /v1/recovery/setup'].run(ann, given, undefined, call)) as RecoverySetup
    assert.deepEqual([setup.in_force?.threshold, setup.in_force?.trustees.length, setup.later], [2, 3, null])
    await until('all trustees know her policy', async () => {
      const chains = await Promise.all(trustees.map(({ assembly }) => assembly.messages.directory.chainOf(did)))
      return chains.every((chain) => chain?.index === 1)
    })
    await ann.close()

    const home = await all.node('new')
    const throwAway = home.mesh.did
    await assert.rejects(
      async () => controlRoutes['POST /v1/recovery/initiate'].run(home, { did }, undefined, call),
      (error) => isKithError(error, 'RECOVERY_CHAIN'),
    )
    for (const trustee of trustees) await pair(trustee, home)
    const asked = (await controlRoutes['POST /v1/recovery/initiate'].run(home, { did }, undefined, call)) as RecoveryShown
    assert.deepEqual([asked.role, asked.stage], ['requester', 'collecting'])
    const again = (await controlRoutes['POST /v1/recovery/initiate'].run(home, { did }, undefined, call)) as RecoveryShown
    assert.equal(again.id, asked.id, 'asked twice, it is one request')
    const words = asked.words as string
    await until('the trustees were asked', async () =>
      (await Promise.all(trustees.map((node) => stageAt(node, asked.id)))).every((stage) => stage === 'collecting'),
    )
    await assert.rejects(attest(tia, asked.id, 'abandon abandon abandon abandon'), (error) => isKithError(error, 'RECOVERY_WORDS'))
    assert.equal((await attest(tia, asked.id, ` ${words.toUpperCase()} `)).attested_here, true)
    await assert.rejects(finalize(home), (error) => isKithError(error, 'RECOVERY_WAITING') && error.details.stage === 'collecting')
    await attest(tom, asked.id, words)
    await until('it waits everywhere', async () =>
      (await Promise.all([...trustees, home].map((node) => stageAt(node, asked.id)))).every((stage) => stage === 'waiting'),
    )
    all.pass(DAY - 600_000)
    await assert.rejects(finalize(home), (error) => isKithError(error, 'RECOVERY_WAITING') && error.details.stage === 'waiting')
    all.pass(1_200_000)
    await finalize(home)
    assert.equal(home.status().did, did)
    assert.equal(home.mesh.did, did)
    await until('the new home is linked with everybody', () => trustees.every((node) => linked(home, node.mesh.did) && linked(node, did)))
    assert.equal(tia.mesh.policy.decide({ peer: did, action: 'forward', target: 'localhost:80' }).allowed, true)
    assert.ok(tia.assembly.trust.explain(did).direct === 6_000)
    assert.notEqual(throwAway, did)
    await assert.rejects(finalize(home), (error) => isKithError(error, 'RECOVERY_UNKNOWN'))

    const thief = await all.node('ann')
    assert.equal(thief.mesh.did, did)
    for (const trustee of trustees) {
      await assert.rejects(thief.mesh.dial(trustee.mesh.did), (error) => isKithError(error) && /^(BINDING_|CHAIN_|HELLO_|PEER_UNREACHABLE)/.test(error.code))
    }
    await until(
      'the old machine is told',
      () =>
        thief.status().degraded.some(({ code }) => code === 'RECOVERY_OVER' || code === 'RECOVERY_PENDING') ||
        trustees.every((node) => !linked(thief, node.mesh.did)),
    )
    await home.close()
    const restarted = await all.node('new')
    assert.equal(restarted.mesh.did, did, 'and it stays so')
  } finally {
    await all.close()
  }
})

test('owner whose node runs, while others ask for its identity, is warned in the status, and cancels with a word', { timeout: 120_000 }, async () => {
  const all = world()
  try {
    const [ann, tia, tom] = [await all.node('ann'), await all.node('tia'), await all.node('tom')]
    const did = ann.mesh.did
    for (const trustee of [tia, tom]) await pair(trustee, ann)
    const given = { trustees: `${tia.mesh.did},${tom.mesh.did}`, threshold: 2, override: 0, delay_s: DAY / 1_000 }
    await controlRoutes['POST /v1/recovery/setup'].run(ann, given, undefined, call)
    await until(
      'the policy is known',
      async () => (await tia.assembly.messages.directory.chainOf(did))?.index === 1 && (await tom.assembly.messages.directory.chainOf(did))?.index === 1,
    )
    const thief = await all.node('thief')
    const heard: string[] = []
    for (const [name, node] of Object.entries({ ann, tia })) {
      node.events.on((event) => {
        if (event.type === 'warning' && event.error.code === 'RECOVERY_PENDING') heard.push(`${name}: ${event.error.next}`)
      })
    }
    for (const trustee of [tia, tom]) await pair(trustee, thief)
    const asked = (await controlRoutes['POST /v1/recovery/initiate'].run(thief, { did }, undefined, call)) as RecoveryShown
    const warned = (): string | undefined => ann.status().degraded.find(({ code }) => code === 'RECOVERY_PENDING')?.message
    await until('the owner is warned before anybody attested', () => /0 of 2 trustees/.test(warned() ?? ''))
    for (const trustee of [tia, tom]) {
      await until('the trustee was asked', async () => (await stageAt(trustee, asked.id)) !== undefined)
      await attest(trustee, asked.id, asked.words as string)
    }
    await until('the owner sees until when', () => /takes effect on \d{4}-\d\d-\d\dT.* unless you stop it/.test(warned() ?? ''))
    assert.equal(ann.status().degraded.find(({ code }) => code === 'RECOVERY_PENDING')?.next, 'kith recovery cancel')
    assert.deepEqual(new Set(heard), new Set(['ann: kith recovery cancel', `tia: kith recovery attest ${asked.id.slice(0, 8)}`]), 'both are told at once')
    await ann.identity.rotateIdentity(undefined, 'scheduled')
    await until('it is over everywhere', async () =>
      (await Promise.all([ann, tia, tom].map((node) => stageAt(node, asked.id)))).every((stage) => stage === 'overtaken'),
    )
    assert.equal(warned(), undefined)
    all.pass(2 * DAY)
    await assert.rejects(finalize(thief), (error) => isKithError(error, 'RECOVERY_OVER') || isKithError(error, 'RECOVERY_WAITING'))
    assert.equal(thief.mesh.did === did, false)
  } finally {
    await all.close()
  }
})
