import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { toHex } from '../../src/core/bytes.ts'
import { type Clock, manualClock, systemClock } from '../../src/core/clock.ts'
import { KithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMetrics } from '../../src/core/observe/metrics.ts'
import { openConfig } from '../../src/daemon/config/holder.ts'
import { checkKeyAge } from '../../src/daemon/doctor/key-age.ts'
import type { DoctorCheck } from '../../src/daemon/doctor/types.ts'
import { describeDevice, saveSummary } from '../../src/daemon/identity/describe.ts'
import { daysSince, isDue, keyAges } from '../../src/daemon/identity/key-age.ts'
import { RotationSchedule, type RotationScheduleOptions } from '../../src/daemon/identity/schedule.ts'
import { openRuntime, type Runtime } from '../../src/daemon/runtime.ts'
import { adoptChain } from '../../src/identity/chain.ts'
import type { LocalDevice } from '../../src/identity/device.ts'
import { NOW, rotateIdentity, type TestIdentity, testDevice, testIdentity } from '../mesh/fixtures.ts'

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000
const LIFE = { rotateAfterDays: 365, rotateUnattended: true, linkKeyDays: 30 }

interface Made {
  readonly schedule: RotationSchedule
  readonly clock: ReturnType<typeof manualClock>
  readonly done: string[]
  readonly metrics: ReturnType<typeof createMetrics>
}

/** Keys from now, and a node that only counts what it is told to replace. */
function make(given: { settings?: Partial<typeof LIFE>; unattended?: boolean; hardware?: string; busy?: () => boolean; fail?: boolean } = {}): Made {
  const clock = manualClock(NOW)
  const metrics = createMetrics()
  const done: string[] = []
  const identity: TestIdentity = testIdentity('ann', { now: NOW })
  let linkSinceMs = NOW
  const options: RotationScheduleOptions = {
    identity: {
      get device() {
        return { chain: identity.chain, content: { createdMs: linkSinceMs } } as LocalDevice
      },
      unattended: given.unattended ?? true,
      hardware: given.hardware ?? null,
      rotate: async () => {
        if (given.fail === true) throw new KithError('IDENTITY_LOCKED')
        done.push('link')
        linkSinceMs = clock.now()
      },
      rotateIdentity: async (_, reason) => {
        done.push(reason)
        rotateIdentity(identity, { now: clock.now() })
      },
    },
    settings: () => ({ ...LIFE, ...given.settings }),
    isBusy: given.busy ?? (() => false),
    note: async (action, { age_days }) => void done.push(`${action} ${age_days}`),
    clock,
    logger: silentLogger,
    metrics,
  }
  return { schedule: new RotationSchedule(options), clock, done, metrics }
}

test('keys, before their time, are left alone; at their time the link key is replaced, once', async () => {
  const { schedule, clock, done } = make()
  clock.advance(30 * DAY_MS - 1)
  assert.equal(await schedule.look(), undefined)
  clock.advance(1)
  assert.equal(await schedule.look(), 'link')
  assert.equal(await schedule.look(), undefined)
  assert.deepEqual(done, ['link', 'device.rotate 30'])
})

test('identity keys, at their time, are asked for by status and replaced only where the owner switched that on', async () => {
  const asked = make({ settings: { rotateUnattended: false, linkKeyDays: 0 } })
  asked.clock.advance(365 * DAY_MS - 1)
  assert.deepEqual(asked.schedule.health(), [])
  asked.clock.advance(1)
  assert.deepEqual(
    asked.schedule.health().map(({ code, next }) => [code, next]),
    [['KEYS_OLD', 'kith id rotate --reason scheduled']],
  )
  assert.equal(await asked.schedule.look(), undefined)
  assert.deepEqual(asked.done, [])

  const alone = make({ settings: { linkKeyDays: 0 } })
  alone.clock.advance(365 * DAY_MS)
  assert.equal(await alone.schedule.look(), 'identity')
  assert.deepEqual(alone.schedule.health(), [])
  assert.deepEqual(alone.done, ['scheduled', 'identity.rotate 365'])
  const never = make({ settings: { rotateAfterDays: 0, linkKeyDays: 0 } })
  never.clock.advance(3_650 * DAY_MS)
  assert.deepEqual([never.schedule.health(), await never.schedule.look()], [[], undefined])
})

test('identity that signs in a token, is not led out of it by the schedule; its machine’s link key is replaced all the same', async () => {
  const { schedule, clock, done } = make({ hardware: 'pkcs11:token=home' })
  clock.advance(366 * DAY_MS)
  assert.equal(await schedule.look(), 'link')
  assert.deepEqual(done, ['link', 'device.rotate 366'])
  assert.match(schedule.health()[0]?.next ?? '', /^kith id hardware commit/)
})

test('identity that cannot be opened unattended, is never touched', async () => {
  const { schedule, clock, done } = make({ unattended: false })
  clock.advance(400 * DAY_MS)
  assert.equal(await schedule.look(), undefined)
  assert.deepEqual(done, [])
  assert.equal(schedule.health().length, 1)
})

test('link key that is due while connections carry something, waits for a quiet moment, a week at most', async () => {
  let busy = true
  const waits = make({ busy: () => busy })
  waits.clock.advance(36 * DAY_MS)
  assert.equal(await waits.schedule.look(), undefined)
  busy = false
  assert.equal(await waits.schedule.look(), 'link')
  const never = make({ busy: () => true })
  never.clock.advance(37 * DAY_MS)
  assert.equal(await never.schedule.look(), 'link')
})

test('clock that was set back, makes nothing due; a change that fails is tried at the next look', async () => {
  assert.deepEqual([isDue(NOW, NOW - 400 * DAY_MS, 30), daysSince(NOW, NOW - 400 * DAY_MS)], [false, 0])
  const failing = make({ fail: true })
  failing.clock.advance(31 * DAY_MS)
  assert.equal(await failing.schedule.look(), undefined)
  assert.equal(await failing.schedule.look(), undefined)
  assert.deepEqual(failing.done, [])
})

test('schedule, looks every hour while it runs, and no more after its stop', async () => {
  const { schedule, clock, done, metrics } = make()
  await schedule.start()
  clock.advance(30 * DAY_MS - HOUR_MS)
  await clock.run(HOUR_MS)
  assert.deepEqual(done.slice(0, 1), ['link'])
  await schedule.stop()
  await clock.run(60 * DAY_MS)
  assert.equal(done.filter((what) => what === 'link').length, 1)
  assert.match(metrics.render(), /kith_identity_key_age_seconds \d+/)
  assert.match(metrics.render(), /kith_link_key_age_seconds \d+/)
})

test('first keys, whose entry has no date, are as old as this machine’s copy of them', () => {
  const { state } = adoptChain(undefined, testIdentity('ann', { now: 0 }).chain.entries, { now: NOW })
  assert.equal(keyAges({ chain: state, content: { createdMs: NOW + 5 } as LocalDevice['content'] }).identitySinceMs, NOW)
})

/** Runs in a folder of its own, on a clock that the test moves. */
async function node(t: TestContext, name: string, clock: Clock): Promise<Runtime> {
  const folder = await mkdtemp(join(tmpdir(), 'kith-keys-'))
  const runtime = await openRuntime({
    home: join(folder, name),
    control: false,
    clock,
    create: { name },
    env: { XDG_STATE_HOME: join(folder, 'state'), KITH_IDENTITY_LINK_KEY_DAYS: '1', KITH_DISCOVERY_MDNS: 'false' },
    flags: { listen: ['tcp://127.0.0.1:0'] },
  })
  t.after(async () => {
    await runtime.close()
    await rm(folder, { recursive: true, force: true })
  })
  return runtime
}

test('real nodes, one link key grown old, is replaced without anybody asked and the link comes back by itself', async (t) => {
  let ahead = 0
  const clock: Clock = { now: () => systemClock.now() + ahead, monotonic: () => systemClock.monotonic(), after: (...given) => systemClock.after(...given) }
  const [ann, ben] = [await node(t, 'ann', clock), await node(t, 'ben', clock)]
  const { ticket } = await ann.mesh.invites.create()
  await ben.mesh.join(ticket)
  const before = toHex(ann.identity.device.linkSigner.publicKey)
  assert.equal(await ann.keys.look(), undefined)
  ahead = 1.5 * DAY_MS
  const again = new Promise<string>((resolve) => {
    ben.mesh.onEvent((event) => {
      if (event.type === 'up' && event.linkKey !== before) resolve(event.linkKey)
    })
  })
  assert.equal(await ann.keys.look(), 'link')
  ben.mesh.wake()
  const after = toHex(ann.identity.device.linkSigner.publicKey)
  assert.notEqual(after, before)
  assert.equal(await again, after)
  assert.equal((await ben.mesh.ping('ann')).length, 1)
  assert.equal(ben.mesh.chainOf(ann.mesh.did)?.status, 'anchored')
  const rows = await ann.assembly.audit.list({ limit: 5 })
  assert.ok(rows.some(({ actor, action }) => actor === 'node' && action === 'device.rotate'))
})

test('doctor, says how old the keys are and what to do from the day on', async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'kith-keys-'))
  t.after(() => rm(home, { recursive: true, force: true }))
  const { current } = await openConfig({ home, env: {} })
  const look = (now: number): ReturnType<typeof checkKeyAge> =>
    checkKeyAge({ home, clock: manualClock(now), config: current, daemon: undefined, signal: new AbortController().signal })
  assert.deepEqual(await look(NOW), { name: 'key age', ok: true, detail: 'not noted yet', next: null })
  const device = Object.assign(testDevice(testIdentity('ann', { now: NOW }), 'ann'), { serial: 1 })
  await saveSummary(home, describeDevice(device, 'passphrase'))
  assert.equal(((await look(NOW + 364 * DAY_MS)) as DoctorCheck).ok, true)
  const due = (await look(NOW + 365 * DAY_MS)) as DoctorCheck
  assert.deepEqual([due.ok, due.next], [false, 'kith id rotate --reason scheduled'])
})
