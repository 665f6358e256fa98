import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { manualClock } from '../../src/core/clock.ts'
import { DEFAULT_SSH_LIMITS } from '../../src/ssh/limits.ts'
import { callerOf, closed, login, testDoor, userKey } from './support.ts'

test('a known key, logs in and is shown among the sessions', async () => {
  const { door, identity, dial, lines } = testDoor()
  const key = userKey()
  identity.allow(key)
  const client = await login(dial(), { key })
  assert.deepEqual(
    door.sessions().map(({ caller, user, remote_address, channels }) => ({ caller, user, remote_address, channels })),
    [{ caller: `ssh:${key.fingerprint}`, user: 'alice', remote_address: '192.0.2.1', channels: 0 }],
  )
  const accepted = lines.filter(({ event, fields }) => event === 'auth attempt' && fields.result === 'accept')
  assert.deepEqual(
    accepted.map(({ fields }) => fields.key),
    [key.fingerprint],
  )
  client.end()
  await once(client, 'close')
  door.close()
})

test('an unknown key, is refused without ending the connection, and the next one may log in', async () => {
  const { door, identity, dial, lines } = testDoor()
  const [unknown, known] = [userKey(), userKey()]
  identity.allow(known)
  const sock = dial()
  const client = await login(sock, {
    key: known,
    authHandler: [
      { type: 'none', username: 'alice' },
      { type: 'publickey', username: 'alice', key: unknown.privateKey },
      { type: 'publickey', username: 'alice', key: known.privateKey },
    ],
  })
  assert.equal(door.sessions().length, 1)
  assert.deepEqual(
    lines.filter(({ event }) => event === 'auth attempt').map(({ fields }) => fields.result),
    ['reject', 'accept'],
  )
  client.end()
  door.close()
})

test('passwords and prompts, are refused and never asked of anybody', async () => {
  const { door, identity, dial } = testDoor()
  const key = userKey()
  await assert.rejects(login(dial(), { key, password: 'secret', authHandler: ['password'] }), /authentication methods failed/)
  await assert.rejects(login(dial(), { key, tryKeyboard: true, authHandler: ['keyboard-interactive'] }), /authentication methods failed/)
  await assert.rejects(login(dial(), { key, authHandler: ['none'] }), /authentication methods failed/)
  assert.deepEqual(identity.asked, [])
  door.close()
})

test('a user name with other characters, is refused and not written to the log', async () => {
  const { door, identity, dial, lines } = testDoor()
  const key = userKey()
  identity.allow(key)
  for (const username of ['a b', 'x","result":"accept', 'new\nline', 'ö', '-l', 'a'.repeat(65)]) {
    await assert.rejects(login(dial(), { key, username }))
  }
  assert.deepEqual(identity.asked, [])
  assert.deepEqual([...new Set(lines.filter(({ event }) => event === 'auth attempt').map(({ fields }) => fields.user))], ['-'])
  door.close()
})

test('the fifth refused key of a connection, ends it', async () => {
  const { door, dial, lines } = testDoor()
  const keys = Array.from({ length: 7 }, userKey)
  const sock = dial()
  await assert.rejects(
    login(sock, {
      key: keys[0] as never,
      authHandler: keys.map(({ privateKey }) => ({ type: 'publickey' as const, username: 'alice', key: privateKey })),
    }),
  )
  await closed(sock)
  assert.equal(lines.filter(({ event }) => event === 'auth attempt').length, 5)
  door.close()
})

test('an address with too many refused keys, is not taken until the window has passed', async () => {
  const clock = manualClock()
  const { door, identity, dial } = testDoor({ clock, limits: () => ({ ...DEFAULT_SSH_LIMITS, failuresPerAddress: 2 }) })
  const [bad, good] = [userKey(), userKey()]
  identity.allow(good)
  for (let i = 0; i < 2; i++) await assert.rejects(login(dial(), { key: bad }))
  const refused = dial()
  await closed(refused)
  const elsewhere = await login(dial('198.51.100.7'), { key: good })
  assert.equal(door.sessions().length, 1)
  elsewhere.end()
  clock.advance(DEFAULT_SSH_LIMITS.failureWindowMs)
  const again = await login(dial(), { key: good })
  again.end()
  door.close()
})

test('a caller whose key is revoked, loses the connection', async () => {
  const { door, identity, dial } = testDoor()
  const key = userKey()
  const revoked = new AbortController()
  identity.allow(key, { revoked: revoked.signal })
  const client = await login(dial(), { key })
  const gone = once(client, 'close')
  revoked.abort()
  await gone
  assert.deepEqual(door.sessions(), [])
  await assert.rejects(login(dial(), { key }))
  door.close()
})

test('an identity provider that fails, lets nobody in', async () => {
  const { door, dial, lines } = testDoor({
    identity: {
      resolve: async () => {
        throw new Error('the store is gone')
      },
    },
  })
  await assert.rejects(login(dial(), { key: userKey() }))
  assert.ok(lines.some(({ level, event }) => level === 'error' && event.startsWith('identity')))
  door.close()
})

test('a signature by another key, is refused', async () => {
  const { door, identity, dial } = testDoor()
  const [victim, thief] = [userKey(), userKey()]
  identity.allow(victim)
  // The thief shows the victim's public key and signs with its own.
  const { library } = await import('./support.ts')
  const parsed = library.utils.parseKey(thief.privateKey) as never as { getPublicSSH(): Buffer; sign(data: Buffer): Buffer; type: string }
  const forged = Object.assign(Object.create(Object.getPrototypeOf(parsed)), parsed, { getPublicSSH: () => victim.blob })
  await assert.rejects(login(dial(), { key: thief, authHandler: [{ type: 'publickey', username: 'alice', key: forged }] }))
  assert.deepEqual(door.sessions(), [])
  door.close()
})

test('a session of another caller, is ended by its number', async () => {
  const { door, identity, dial } = testDoor()
  const key = userKey()
  identity.callers.set(key.fingerprint, callerOf('somebody'))
  const client = await login(dial(), { key })
  const gone = once(client, 'close')
  assert.equal(door.end(door.sessions()[0]?.id ?? 0), true)
  assert.equal(door.end(99), false)
  await gone
  door.close()
})
