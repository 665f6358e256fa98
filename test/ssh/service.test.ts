import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { isKithError, KithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { silentMetrics } from '../../src/core/observe/metrics.ts'
import { Secret } from '../../src/core/secret.ts'
import type { ConfigHolder } from '../../src/daemon/config/holder.ts'
import { type Config, SETTINGS } from '../../src/daemon/config/settings.ts'
import { foldersFor, SshService, type SshServiceOptions } from '../../src/daemon/services/ssh.ts'
import { callerOf, FakeProvider } from './support.ts'

function configured(values: Partial<Config>): ConfigHolder {
  const fallbacks = Object.fromEntries(Object.entries(SETTINGS).map(([name, { fallback }]) => [name, fallback]))
  return { current: { ...fallbacks, ...values } } as unknown as ConfigHolder
}

interface FakeVault {
  unlocked: boolean
  locks: number
}

function service(values: Partial<Config>, vault: FakeVault = { unlocked: true, locks: 0 }, canUnlock = true): { service: SshService; handlers: () => number } {
  let handlers = 0
  const fake = {
    id: 'default',
    get unlocked() {
      return vault.unlocked
    },
    derive: () => ({ privateKey: Secret.take(new Uint8Array(32).fill(3)) }),
    lock: () => {
      vault.unlocked = false
      vault.locks += 1
    },
  }
  const options = {
    config: configured(values),
    vaults: {
      get: () => fake,
      unlock: async () => {
        if (!canUnlock) throw new KithError('PASSPHRASE_REQUIRED')
        vault.unlocked = true
      },
    },
    identities: () => new FakeProvider(),
    callee: () => ({}),
    tunnels: () => ({ exit: { onRules: () => () => {} } }),
    front: {
      onSsh: () => {
        handlers += 1
        return () => {
          handlers -= 1
        }
      },
    },
    clock: systemClock,
    logger: silentLogger,
    metrics: silentMetrics,
  } as unknown as SshServiceOptions
  return { service: new SshService(options), handlers: () => handlers }
}

test('the door, is closed unless it has a place', async () => {
  const { service: ssh, handlers } = service({})
  await ssh.start()
  assert.deepEqual([ssh.status, handlers()], [null, 0])
  await ssh.stop()
})

test('the door, listens where it is told, says its host key, and closes', async () => {
  const { service: ssh, handlers } = service({ 'ssh.listen': '127.0.0.1:0' })
  await ssh.start()
  const { status } = ssh
  assert.match(status?.listen ?? '', /^127\.0\.0\.1:\d+$/)
  assert.match(status?.known_hosts ?? '', /^\[127\.0\.0\.1\]:\d+ ssh-ed25519 AAAA/)
  assert.equal(handlers(), 1)
  await ssh.stop()
  assert.deepEqual([ssh.status, handlers()], [null, 0])
})

test('a place beyond loopback, needs a setting that says so', async () => {
  const { service: ssh } = service({ 'ssh.listen': '0.0.0.0:0' })
  await assert.rejects(ssh.start(), (error) => isKithError(error, 'BIND_REFUSED'))
  await ssh.stop()
})

test('a vault that is locked, and that the node cannot open, keeps the door closed and says so', async () => {
  const { service: ssh } = service({ 'ssh.listen': '127.0.0.1:0' }, { unlocked: false, locks: 0 }, false)
  await assert.rejects(ssh.start(), (error) => isKithError(error, 'VAULT_LOCKED') && error.next === 'kith vault unlock')
  await ssh.stop()
})

test('a vault that the node opens for the host key, is locked again', async () => {
  const vault = { unlocked: false, locks: 0 }
  const { service: ssh } = service({ 'ssh.listen': '127.0.0.1:0' }, vault)
  await ssh.start()
  assert.deepEqual([vault.unlocked, vault.locks], [false, 1])
  await ssh.stop()
})

test('a folder that is not there, is told and opens the door all the same', async () => {
  const { service: ssh } = service({ 'ssh.listen': '127.0.0.1:0', 'ssh.sftp': [{ name: 'f', path: '/nowhere/at/all', read: ['*'], write: [] }] })
  await ssh.start()
  assert.deepEqual(
    ssh.health().map(({ code }) => code),
    ['SFTP_FOLDER_INVALID'],
  )
  await ssh.stop()
})

test('folders, are seen by whom they name: by key, scope, user of a certificate, or everybody', () => {
  const config = configured({
    'ssh.sftp': [
      { name: 'all', path: '/a', read: ['*'], write: [] },
      { name: 'key', path: '/k', read: [], write: ['ssh:SHA256:x'] },
      { name: 'scope', path: '/s', read: ['scope:files'], write: ['scope:files-rw'] },
      { name: 'user', path: '/u', read: ['ssh-user:alice'], write: [] },
    ],
  })
  const seen = (caller: Parameters<typeof foldersFor>[0]): string =>
    foldersFor(caller, config)
      .map(({ name, writable }) => `${name}${writable ? '+' : ''}`)
      .join(' ')
  assert.equal(seen(callerOf('ssh:SHA256:y')), 'all')
  assert.equal(seen(callerOf('ssh:SHA256:x')), 'all key+')
  assert.equal(seen(callerOf('ssh:SHA256:y', { scopes: new Set(['files']) })), 'all scope')
  assert.equal(seen(callerOf('ssh:SHA256:y', { scopes: new Set(['files-rw']), principals: ['alice'] })), 'all scope+ user')
})
