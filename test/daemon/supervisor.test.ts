import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KithError } from '../../src/core/errors.ts'
import { manualClock } from '../../src/core/manual-clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import type { Service } from '../../src/daemon/service.ts'
import { Supervisor } from '../../src/daemon/supervisor.ts'

interface Probe {
  readonly service: Service
  fail: (error: KithError) => void
  startError: KithError | undefined
}

function setup(): { supervisor: Supervisor; log: string[]; clock: ReturnType<typeof manualClock>; probe: (name: string, needs?: string[]) => Probe } {
  const clock = manualClock()
  const log: string[] = []
  const supervisor = new Supervisor({ clock, random: systemRandom, logger: silentLogger, stopMs: 1_000 })
  const probe = (name: string, needs: string[] = []): Probe => {
    const made: Probe = {
      fail: () => {},
      startError: undefined,
      service: {
        name,
        needs,
        async start(_signal, failed) {
          log.push(`start ${name}`)
          made.fail = failed
          if (made.startError !== undefined) throw made.startError
        },
        async stop() {
          log.push(`stop ${name}`)
        },
        health: () => [],
      },
    }
    supervisor.add(made.service)
    return made
  }
  return { supervisor, log, clock, probe }
}

test('supervisor, start and stop, runs in order and back', async () => {
  const { supervisor, log, probe } = setup()
  probe('a')
  probe('b', ['a'])
  probe('c', ['b'])
  await supervisor.start()
  await supervisor.stop()
  await supervisor.stop()
  assert.deepEqual(log, ['start a', 'start b', 'start c', 'stop c', 'stop b', 'stop a'])
})

test('supervisor, needed service missing, is a mistake of the caller', () => {
  const { supervisor } = setup()
  assert.throws(() => supervisor.add({ name: 'x', needs: ['y'], start: async () => {}, stop: async () => {}, health: () => [] }), TypeError)
})

test('supervisor, service fails for good, others run, dependants wait, retry brings all up', async () => {
  const { supervisor, probe } = setup()
  const identity = probe('identity')
  probe('mesh', ['identity'])
  probe('other')
  identity.startError = new KithError('IDENTITY_MISSING', 'There is no identity.', { next: 'kith init' })
  await supervisor.start()
  assert.deepEqual(
    supervisor.services().map(({ name, state }) => `${name} ${state}`),
    ['identity failed', 'mesh waiting', 'other running'],
  )
  assert.deepEqual(supervisor.troubles(), [{ service: 'identity', code: 'IDENTITY_MISSING', message: 'There is no identity.', next: 'kith init' }])
  assert.equal(supervisor.errorOf('mesh')?.code, 'IDENTITY_MISSING')
  identity.startError = undefined
  await supervisor.retry('identity')
  assert.ok(supervisor.isRunning('mesh'))
  assert.deepEqual(supervisor.troubles(), [])
  await supervisor.stop()
})

test('supervisor, retryable failure, is tried again after a pause', async () => {
  const { supervisor, log, clock, probe } = setup()
  const service = probe('net')
  service.startError = new KithError('ADDRESS_UNREACHABLE')
  await supervisor.start()
  service.startError = undefined
  const running = new Promise<void>((resolve) => supervisor.onChange(() => supervisor.isRunning('net') && resolve()))
  clock.advance(1_000)
  await running
  assert.deepEqual(log, ['start net', 'stop net', 'start net'])
  await supervisor.stop()
})

test('supervisor, running service gives up, it and its dependants are stopped and started again', async () => {
  const { supervisor, log, clock, probe } = setup()
  const base = probe('base')
  probe('top', ['base'])
  await supervisor.start()
  const failed = new Promise<void>((resolve) => supervisor.onChange(() => supervisor.services()[0]?.state === 'failed' && resolve()))
  base.fail(new KithError('LINK_LOST'))
  await failed
  const again = new Promise<void>((resolve) => supervisor.onChange(() => supervisor.isRunning('top') && resolve()))
  clock.advance(1_000)
  await again
  assert.deepEqual(log, ['start base', 'start top', 'stop top', 'stop base', 'start base', 'start top'])
  await supervisor.stop()
})

test('supervisor, service hangs while stopping, the others stop all the same', async () => {
  const { supervisor, log, clock, probe } = setup()
  probe('first')
  const stopping = new Promise<void>((resolve) => {
    supervisor.add({
      name: 'stuck',
      start: async () => {},
      stop: () => {
        resolve()
        return new Promise(() => {})
      },
      health: () => [],
    })
  })
  await supervisor.start()
  const stopped = supervisor.stop()
  await stopping
  clock.advance(1_000)
  await stopped
  assert.deepEqual(log, ['start first', 'stop first'])
})

test('supervisor, stopped during a start, aborts it', async () => {
  const { supervisor } = setup()
  const started = new Promise<void>((resolve) => {
    supervisor.add({
      name: 'slow',
      start: (signal) =>
        new Promise((_done, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason))
          resolve()
        }),
      stop: async () => {},
      health: () => [],
    })
  })
  const starting = supervisor.start()
  await started
  await supervisor.stop()
  await starting
  assert.equal(supervisor.services()[0]?.state, 'stopped')
})
