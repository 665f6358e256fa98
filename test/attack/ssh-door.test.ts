import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type ssh2 from 'ssh2'
import { manualClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { Rekeying } from '../../src/ssh/rekeying.ts'
import { OpenHandles } from '../../src/ssh/sftp/open-handles.ts'
import type { Folder } from '../../src/ssh/sftp/places.ts'
import { serveSftp } from '../../src/ssh/sftp/server.ts'
import { login, type TestDoor, testDoor, type UserKey, userKey } from '../ssh/support.ts'

const skip = process.platform === 'linux' ? false : 'folders are kept closed by means of Linux'

function ask<T>(run: (done: (error: Error | null | undefined, value: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => run((error, value) => (error === null || error === undefined ? resolve(value) : reject(error))))
}

const sftpOf = (client: ssh2.Client): Promise<ssh2.SFTPWrapper> => ask((done) => client.sftp(done as never))
const failure = (error: Error & { code?: number }): boolean => error.code === 4 && error.message === 'Too many open files'
const denied = (error: Error & { code?: number }): boolean => error.code === 3

interface At extends TestDoor {
  readonly key: UserKey
  readonly inside: string
  /** What callers see; to be exchanged. */
  folders: readonly Folder[]
}

async function shared(context: TestContext, handles = new OpenHandles()): Promise<At> {
  const inside = await mkdtemp(join(tmpdir(), 'kith-attack-sftp-'))
  await mkdir(join(inside, 'dir'))
  await writeFile(join(inside, 'file'), 'hello')
  const parts: { folders: readonly Folder[] } = { folders: [{ name: 'f', path: inside, writable: true }] }
  const door = testDoor({
    sftp: (channel, caller, signal) => serveSftp(channel, caller, signal, { folders: () => parts.folders, handles, logger: silentLogger }),
  })
  const key = userKey()
  door.identity.allow(key)
  context.after(async () => {
    door.door.close()
    await rm(inside, { recursive: true })
  })
  return Object.assign(parts, { ...door, key, inside })
}

test('a client that asks for new keys again and again, is cut off; one that asks now and then is not', async () => {
  const clock = manualClock()
  const { door, identity, dial, lines } = testDoor({ clock })
  const key = userKey()
  identity.allow(key)
  const client = await login(dial(), { key })
  const inside = client as unknown as { _protocol: { rekey(): void } }
  const over = once(client, 'close')
  let rekeyed = 0
  const again = (): void => {
    inside._protocol.rekey()
  }
  client.on('handshake', () => {
    rekeyed++
    if (rekeyed <= 100) again()
  })
  again()
  await over
  assert.ok(rekeyed >= 10 && rekeyed < 30, `cut off after ${rekeyed}`)
  assert.ok(lines.some(({ fields }) => fields.reason === 'keys exchanged anew too often'))
  door.close()
})

test('new keys, are allowed for time and for bytes, and no further', () => {
  const clock = manualClock()
  const rekeying = new Rekeying({ clock, limit: 1_000 })
  const times = (count: number): boolean[] => Array.from({ length: count }, () => rekeying.exchanged())
  assert.deepEqual(new Set(times(16)), new Set([true]))
  assert.equal(rekeying.exchanged(), false)
  clock.advance(60_000)
  assert.deepEqual(times(6), [true, true, true, true, true, false])
})

test('files that a caller opens, over any number of sessions and connections, are bounded, and what is closed makes room', { skip }, async (context) => {
  const at = await shared(context, new OpenHandles({ sessions: 8, handles: 10, allHandles: 12 }))
  const clients = [await login(at.dial(), { key: at.key }), await login(at.dial(), { key: at.key })]
  const sessions = await Promise.all([...clients, ...clients].map(sftpOf))
  const open = (sftp: ssh2.SFTPWrapper): Promise<Buffer> => ask((done) => sftp.open('/f/file', 'r', done))
  const first = sessions[0] as ssh2.SFTPWrapper
  const handles: Buffer[] = []
  for (let i = 0; i < 10; i++) handles.push(await open(sessions[i % 4] as ssh2.SFTPWrapper))
  for (const sftp of sessions) await assert.rejects(open(sftp), failure)
  await assert.rejects(
    ask((done) => first.opendir('/f/dir', done)),
    failure,
  )
  // Somebody else has room, until all of it is taken.
  const other = userKey()
  at.identity.allow(other)
  const theirs = await sftpOf(await login(at.dial(), { key: other }))
  await open(theirs)
  await open(theirs)
  await assert.rejects(open(theirs), failure)
  await ask((done) => first.close(handles[0] as Buffer, done as never))
  await open(first)
  await assert.rejects(open(first), failure)
  // A connection that ends gives back what it had.
  const gone = once(clients[1] as ssh2.Client, 'close')
  clients[1]?.end()
  await gone
  const retry = async (): Promise<void> => {
    for (let i = 0; ; i++) {
      try {
        await open(first)
        return
      } catch (error) {
        if (i > 1_000) throw error
      }
    }
  }
  await retry()
})

test('sessions of SFTP of one caller, are bounded over its connections', { skip }, async (context) => {
  const at = await shared(context, new OpenHandles({ sessions: 2, handles: 10, allHandles: 12 }))
  const client = await login(at.dial(), { key: at.key })
  await sftpOf(client)
  await sftpOf(await login(at.dial(), { key: at.key }))
  await assert.rejects(sftpOf(client))
})

test('a folder taken out of the configuration, is gone at once, with the files that are open in it', { skip }, async (context) => {
  const at = await shared(context)
  const sftp = await sftpOf(await login(at.dial(), { key: at.key }))
  const file: Buffer = await ask((done) => sftp.open('/f/file', 'r+', done))
  const directory: Buffer = await ask((done) => sftp.opendir('/f', done))
  const whole = at.folders
  at.folders = whole.map((folder) => ({ ...folder, writable: false }))
  const put = (): Promise<unknown> => ask((done) => sftp.write(file, Buffer.from('J'), 0, 1, 0, done as never))
  await assert.rejects(put(), denied)
  assert.equal((await ask<Buffer>((done) => sftp.readFile('/f/file', done))).toString(), 'hello')
  at.folders = []
  await assert.rejects(
    ask((done) => sftp.read(file, Buffer.alloc(5), 0, 5, 0, done as never)),
    denied,
  )
  await assert.rejects(
    ask((done) => sftp.readdir(directory, done as never)),
    denied,
  )
  await assert.rejects(
    ask((done) => sftp.stat('/f/file', done)),
    (error: Error & { code?: number }) => error.code === 2,
  )
  at.folders = whole
  await put()
  assert.equal(await readFile(join(at.inside, 'file'), 'utf8'), 'Jello')
})

test('a file that may only be read, keeps its permissions and its times, whatever is done to it once it is open', { skip }, async (context) => {
  const at = await shared(context)
  at.folders = at.folders.map((folder) => ({ ...folder, writable: false }))
  const sftp = await sftpOf(await login(at.dial(), { key: at.key }))
  const before = await stat(join(at.inside, 'file'))
  const file: Buffer = await ask((done) => sftp.open('/f/file', 'r', done))
  await assert.rejects(
    ask((done) => sftp.fchmod(file, 0o777, done as never)),
    denied,
  )
  await assert.rejects(
    ask((done) => sftp.futimes(file, 1, 1, done as never)),
    denied,
  )
  const now = await stat(join(at.inside, 'file'))
  assert.deepEqual([now.mode, now.mtimeMs], [before.mode, before.mtimeMs])
})

test('somebody who may not be connected any more, loses the session at once and comes in no more', async () => {
  let allowed = true
  const changed: (() => void)[] = []
  const { door, identity, dial } = testDoor({
    mayConnect: () => allowed,
    onRules: (listener) => {
      changed.push(listener)
      return () => {}
    },
  })
  const key = userKey()
  identity.allow(key)
  const client = await login(dial(), { key })
  for (const listener of changed) listener()
  assert.equal(door.sessions().length, 1)
  const gone = once(client, 'close')
  allowed = false
  for (const listener of changed) listener()
  await gone
  await assert.rejects(login(dial(), { key }))
  allowed = true
  client.end()
  door.close()
})

test('requests of a connection that wait for their answers, are bounded', async () => {
  const listen = Promise.withResolvers<boolean>()
  const { door, identity, dial, lines } = testDoor({ mayListen: () => listen.promise })
  const key = userKey()
  identity.allow(key)
  const client = await login(dial(), { key })
  const gone = once(client, 'close')
  for (let i = 0; i < 300; i++) client.forwardIn('127.0.0.1', 20_000 + i, () => {})
  await gone
  assert.ok(lines.some(({ fields }) => fields.reason === 'too many requests'))
  listen.resolve(false)
  door.close()
})
