import assert from 'node:assert/strict'
import { link, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import type ssh2 from 'ssh2'
import { silentLogger } from '../../src/core/observe/log.ts'
import { OpenHandles } from '../../src/ssh/sftp/open-handles.ts'
import { componentsOf, Places } from '../../src/ssh/sftp/places.ts'
import { SftpSession, serveSftp } from '../../src/ssh/sftp/server.ts'
import { login, testDoor, userKey } from './support.ts'

const skip = process.platform === 'linux' ? false : 'folders are kept closed by means of Linux'

interface At {
  readonly sftp: ssh2.SFTPWrapper
  readonly inside: string
  readonly outside: string
}

/** A folder with a file, a directory, and links that lead out; beside it something to be reached by none of them. */
async function folder(context: TestContext, writable = true): Promise<At> {
  const root = await mkdtemp(join(tmpdir(), 'kith-sftp-'))
  const [inside, outside] = [join(root, 'inside'), join(root, 'outside')]
  await mkdir(join(inside, 'dir'), { recursive: true })
  await mkdir(outside)
  await writeFile(join(outside, 'secret'), 'secret')
  await writeFile(join(inside, 'file'), 'hello')
  await symlink('../outside/secret', join(inside, 'link'))
  await symlink('../outside', join(inside, 'way'))
  await symlink('file', join(inside, 'own'))
  const at = testDoor({
    sftp: (channel, caller, signal) =>
      serveSftp(channel, caller, signal, { folders: () => [{ name: 'f', path: inside, writable }], handles: new OpenHandles(), logger: silentLogger }),
  })
  const key = userKey()
  at.identity.allow(key)
  const client = await login(at.dial(), { key })
  const sftp = await new Promise<ssh2.SFTPWrapper>((resolve, reject) => client.sftp((error, opened) => (error === undefined ? resolve(opened) : reject(error))))
  context.after(async () => {
    client.end()
    at.door.close()
    await rm(root, { recursive: true })
  })
  return { sftp, inside, outside }
}

function ask<T>(run: (done: (error: Error | null | undefined, value: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => run((error, value) => (error === null || error === undefined ? resolve(value) : reject(error))))
}

const code = (wanted: number) => (error: Error & { code?: number }) => error.code === wanted

test('files, are read, written, listed, renamed and removed', { skip }, async (context) => {
  const { sftp, inside } = await folder(context)
  assert.equal((await ask<Buffer>((done) => sftp.readFile('/f/file', done))).toString(), 'hello')
  await ask((done) => sftp.writeFile('new', Buffer.alloc(300_000, 1), done as ssh2.Callback))
  assert.equal((await readFile(join(inside, 'new'))).length, 300_000)
  await ask((done) => sftp.rename('/f/new', '/f/dir/moved', done as never))
  await ask((done) => sftp.mkdir('/f/dir/sub', done as never))
  const names = (await ask<ssh2.FileEntryWithStats[]>((done) => sftp.readdir('/f/dir', done))).map(({ filename }) => filename).sort()
  assert.deepEqual(names, ['moved', 'sub'])
  await ask((done) => sftp.unlink('/f/dir/moved', done as never))
  await ask((done) => sftp.rmdir('/f/dir/sub', done as never))
  await ask((done) => sftp.appendFile('/f/file', Buffer.from(' world'), done as ssh2.Callback))
  assert.equal(await readFile(join(inside, 'file'), 'utf8'), 'hello world')
  await ask((done) => sftp.chmod('/f/file', 0o4600, done as never))
  assert.equal((await ask<ssh2.Stats>((done) => sftp.stat('/f/file', done))).mode & 0o7777, 0o600)
})

test('whoever sees one folder, begins in it, and / lists the folders', { skip }, async (context) => {
  const { sftp } = await folder(context)
  assert.equal(await ask<string>((done) => sftp.realpath('.', done)), '/f')
  assert.equal(await ask<string>((done) => sftp.realpath('../../..', done)), '/')
  assert.deepEqual(
    (await ask<ssh2.FileEntryWithStats[]>((done) => sftp.readdir('/', done))).map(({ filename }) => filename),
    ['f'],
  )
  await assert.rejects(
    ask((done) => sftp.mkdir('/g', done as never)),
    code(2),
  )
  await assert.rejects(
    ask((done) => sftp.rmdir('/f', done as never)),
    code(3),
  )
})

test('links, are shown as links and never followed, read, or made', { skip }, async (context) => {
  const { sftp, outside } = await folder(context)
  assert.equal((await ask<ssh2.Stats>((done) => sftp.lstat('/f/link', done))).isSymbolicLink(), true)
  assert.equal((await ask<ssh2.Stats>((done) => sftp.stat('/f/link', done))).isSymbolicLink(), true)
  for (const path of ['/f/link', '/f/own', '/f/way/secret', '/f/way', '/f/dir/../way/secret']) {
    await assert.rejects(
      ask((done) => sftp.readFile(path, done)),
      path,
    )
    await assert.rejects(
      ask((done) => sftp.writeFile(path, 'x', done as never)),
      path,
    )
    await assert.rejects(
      ask((done) => sftp.chmod(path, 0o777, done as never)),
      path,
    )
  }
  await assert.rejects(ask((done) => sftp.readdir('/f/way', done)))
  await assert.rejects(ask((done) => sftp.mkdir('/f/way/new', done as never)))
  await assert.rejects(ask((done) => sftp.unlink('/f/way/secret', done as never)))
  await assert.rejects(ask((done) => sftp.rename('/f/file', '/f/way/file', done as never)))
  await assert.rejects(
    ask((done) => sftp.rename('/f/link', '/f/other', done as never)),
    code(3),
  )
  await assert.rejects(
    ask((done) => sftp.symlink('/etc/passwd', '/f/made', done as never)),
    code(3),
  )
  await assert.rejects(
    ask((done) => sftp.readlink('/f/link', done)),
    code(3),
  )
  assert.equal(await readFile(join(outside, 'secret'), 'utf8'), 'secret')
})

test('a folder to be read only, is not written to', { skip }, async (context) => {
  const { sftp, inside } = await folder(context, false)
  assert.equal((await ask<Buffer>((done) => sftp.readFile('/f/file', done))).toString(), 'hello')
  for (const attempt of [
    ask((done) => sftp.writeFile('/f/file', 'x', done as never)),
    ask((done) => sftp.open('/f/new', 'w', done)),
    ask((done) => sftp.open('/f/file', 'r+', done)),
    ask((done) => sftp.mkdir('/f/new', done as never)),
    ask((done) => sftp.unlink('/f/file', done as never)),
    ask((done) => sftp.rename('/f/file', '/f/g', done as never)),
    ask((done) => sftp.chmod('/f/file', 0o777, done as never)),
    ask((done) => sftp.utimes('/f/file', 1, 1, done as never)),
  ])
    await assert.rejects(attempt, code(3))
  assert.equal(await readFile(join(inside, 'file'), 'utf8'), 'hello')
})

test('a directory exchanged for a link, while files in it are opened, lets nobody out', { skip }, async (context) => {
  const { sftp, inside } = await folder(context)
  await writeFile(join(inside, 'dir', 'secret'), 'harmless')
  let over = false
  const exchange = (async () => {
    while (!over) {
      await rename(join(inside, 'dir'), join(inside, 'away'))
      await symlink('../outside', join(inside, 'dir'))
      await rm(join(inside, 'dir'))
      await rename(join(inside, 'away'), join(inside, 'dir'))
    }
  })()
  for (let i = 0; i < 300; i++) {
    const read = await ask<Buffer>((done) => sftp.readFile('/f/dir/secret', done)).catch(() => undefined)
    if (read !== undefined) assert.equal(read.toString(), 'harmless')
  }
  over = true
  await exchange
})

test('a rename, does not replace what is there unless the client says so', { skip }, async (context) => {
  const { sftp, inside } = await folder(context)
  await writeFile(join(inside, 'other'), 'other')
  await assert.rejects(
    ask((done) => sftp.rename('/f/file', '/f/other', done as never)),
    code(4),
  )
  await ask((done) => sftp.ext_openssh_rename('/f/file', '/f/other', done as never))
  assert.equal(await readFile(join(inside, 'other'), 'utf8'), 'hello')
})

test('handles, are no more than their limit', { skip }, async (context) => {
  const { sftp } = await folder(context)
  const handles = await Promise.all(Array.from({ length: 64 }, () => ask<Buffer>((done) => sftp.open('/f/file', 'r', done))))
  await assert.rejects(
    ask((done) => sftp.open('/f/file', 'r', done)),
    code(4),
  )
  await ask((done) => sftp.close(handles[0] as Buffer, done as never))
  await ask((done) => sftp.open('/f/file', 'r', done))
})

test('hard links from outside, are the one thing that is not kept out', { skip }, async (context) => {
  const { sftp, inside, outside } = await folder(context)
  await link(join(outside, 'secret'), join(inside, 'hard'))
  assert.equal((await ask<Buffer>((done) => sftp.readFile('/f/hard', done))).toString(), 'secret')
})

test('paths, have no components that lead up, whatever they are', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constantFrom('..', '.', '', 'a', '...', '..a'), fc.string())), fc.boolean(), (parts, absolute) => {
      try {
        const found = componentsOf((absolute ? '/' : '') + parts.join('/'), ['home'])
        assert.ok(found.every((part) => part !== '..' && part !== '.' && part !== '' && !part.includes('/') && !part.includes('\0')))
      } catch (error) {
        assert.notEqual((error as Error).name, 'AssertionError')
      }
    }),
    { numRuns: 500 },
  )
})

test('any packet, is answered or ends the session, and touches nothing', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ minLength: 1, maxLength: 64 }), { maxLength: 4 }), async (packets) => {
      const session = new SftpSession(new Places(() => []), { take: () => true, give: () => {} })
      await session.answer(Buffer.from([1, 0, 0, 0, 3]))
      for (const packet of packets) {
        if (packet.length < 5) continue
        const answer = await session.answer(Buffer.from(packet))
        assert.ok(answer.length >= 5)
      }
      await session.close()
    }),
    { numRuns: 200 },
  )
})
