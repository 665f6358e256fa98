import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { writeAtomic } from '../../src/identity/atomic-file.ts'
import { openHome, readPrivateFile } from '../../src/identity/home.ts'
import { temporaryDirectory } from './temp.ts'

const HOLDER = fileURLToPath(new URL('./home-holder.ts', import.meta.url))

/** A process that holds the home until it is told or killed. Resolves once it has it, or with the code it failed with. */
async function holder(path: string): Promise<{ pid: number; answer: string; kill(signal?: NodeJS.Signals): Promise<void> }> {
  const child = fork(HOLDER, [path], { execArgv: process.execArgv })
  const exited = once(child, 'exit')
  const [answer] = (await once(child, 'message')) as [string]
  return {
    pid: child.pid as number,
    answer,
    async kill(signal = 'SIGKILL') {
      child.kill(signal)
      await exited
    },
  }
}

test('home, opened for the first time, is made private and named; opened again it has the same name', async (t) => {
  const path = join(temporaryDirectory(t), 'a', 'b', 'home')
  const home = await openHome(path)
  assert.equal(statSync(path).mode & 0o777, 0o700)
  assert.match(home.id, /^[0-9a-f]{32}$/)
  const { id } = home
  await home.close()
  await home.close()
  const again = await openHome(path)
  assert.equal(again.id, id)
  await again.close()
  const other = await openHome(join(path, '..', 'other'))
  assert.notEqual(other.id, id)
  await other.close()
})

test('home, missing and not to be made, is IDENTITY_MISSING', async (t) => {
  const path = join(temporaryDirectory(t), 'none')
  await assert.rejects(openHome(path, { create: false }), { code: 'IDENTITY_MISSING' })
  assert.equal(existsSync(path), false)
})

test('home, held by this process, refused to a second owner inside it and free again after closing', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  const home = await openHome(path)
  await assert.rejects(openHome(path), { code: 'HOME_IN_USE', details: { path, pid: process.pid } })
  // A refused attempt must not have loosened the lock.
  await assert.rejects(openHome(path), { code: 'HOME_IN_USE' })
  const child = await holder(path)
  assert.equal(child.answer, `HOME_IN_USE ${process.pid}`)
  await child.kill()
  await home.close()
  await (await openHome(path)).close()
})

test('home, held by another process, refused with its number; killed, the next one takes over', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  for (let round = 0; round < 3; round++) {
    const child = await holder(path)
    assert.equal(child.answer, 'held')
    await assert.rejects(openHome(path), { code: 'HOME_IN_USE', details: { path, pid: child.pid } })
    await child.kill()
    const home = await openHome(path)
    assert.equal(readFileSync(home.paths.pid, 'latin1'), `${process.pid}\n`)
    await home.close()
    assert.equal(existsSync(home.paths.pid), false)
  }
})

test('home, wanted by several processes at once, is held by exactly one', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  const children = await Promise.all([1, 2, 3, 4].map(() => holder(path)))
  assert.equal(children.filter((child) => child.answer === 'held').length, 1)
  assert.equal(children.filter((child) => child.answer.startsWith('HOME_IN_USE')).length, 3)
  await Promise.all(children.map((child) => child.kill()))
})

test('home, with a number in it that belongs to nobody, is not in use', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  mkdirSync(path, { mode: 0o700 })
  writeFileSync(join(path, 'kith.pid'), '1\n')
  writeFileSync(join(path, 'kith.lock'), '')
  await (await openHome(path)).close()
})

test('home, open to others, a link, or a file, is HOME_UNSAFE and left as it is', async (t) => {
  const base = temporaryDirectory(t)
  const path = join(base, 'home')
  await (await openHome(path)).close()
  for (const mode of [0o755, 0o750, 0o701, 0o770, 0o777]) {
    chmodSync(path, mode)
    await assert.rejects(openHome(path), { code: 'HOME_UNSAFE', next: `chmod 700 ${path}` })
    assert.equal(statSync(path).mode & 0o777, mode)
  }
  chmodSync(path, 0o700)
  symlinkSync(path, join(base, 'link'))
  await assert.rejects(openHome(join(base, 'link')), /not a directory of its own/)
  writeFileSync(join(base, 'file'), '')
  await assert.rejects(openHome(join(base, 'file')), /HOME_UNSAFE|EEXIST/)
})

test('home, in a directory where anybody can replace it, is HOME_UNSAFE', async (t) => {
  const base = join(temporaryDirectory(t), 'shared')
  mkdirSync(base)
  chmodSync(base, 0o777)
  await assert.rejects(openHome(join(base, 'home')), { code: 'HOME_UNSAFE', next: `chmod o-w ${base}` })
  chmodSync(base, 0o1777)
  await (await openHome(join(base, 'home'))).close()
})

test('key file, open to others, a link or a directory, is HOME_UNSAFE', async (t) => {
  const base = temporaryDirectory(t)
  const file = join(base, 'key')
  assert.equal(await readPrivateFile(file, 10), undefined)
  writeFileSync(file, 'secret', { mode: 0o600 })
  assert.equal(Buffer.from((await readPrivateFile(file, 10)) as Uint8Array).toString(), 'secret')
  await assert.rejects(readPrivateFile(file, 5), { code: 'KEYSTORE_DAMAGED' })
  for (const mode of [0o640, 0o604, 0o666]) {
    chmodSync(file, mode)
    await assert.rejects(readPrivateFile(file, 10), { code: 'HOME_UNSAFE', next: `chmod 600 ${file}` })
  }
  chmodSync(file, 0o600)
  symlinkSync(file, join(base, 'link'))
  await assert.rejects(readPrivateFile(join(base, 'link'), 10), { code: 'HOME_UNSAFE' })
  await assert.rejects(readPrivateFile(base, 10), { code: 'HOME_UNSAFE' })
})

test('home of another user, opened, is HOME_UNSAFE', { skip: process.getuid?.() !== 0 && 'needs to give a directory away' }, async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  await (await openHome(path)).close()
  const { chownSync } = await import('node:fs')
  chownSync(path, 65534, 65534)
  await assert.rejects(openHome(path), { code: 'HOME_UNSAFE' })
})

test('leftovers of a killed save, found when the home is taken, are removed and nothing else', async (t) => {
  const path = join(temporaryDirectory(t), 'home')
  mkdirSync(path, { mode: 0o700 })
  for (const name of ['.identity.age.123.4.tmp', '.boot.1.1.tmp', '.hidden', 'notes.tmp', '.x.tmp']) writeFileSync(join(path, name), '')
  await (await openHome(path)).close()
  assert.deepEqual(
    ['.identity.age.123.4.tmp', '.boot.1.1.tmp', '.hidden', 'notes.tmp', '.x.tmp'].map((name) => existsSync(join(path, name))),
    [false, false, true, true, true],
  )
})

test('atomic write, over an existing file, replaces it privately; where it cannot, it leaves nothing behind', async (t) => {
  const base = temporaryDirectory(t)
  const file = join(base, 'file')
  writeFileSync(file, 'old', { mode: 0o644 })
  await writeAtomic(file, Buffer.from('new'))
  assert.equal(readFileSync(file, 'utf8'), 'new')
  assert.equal(statSync(file).mode & 0o777, 0o600)
  const directory = join(base, 'directory')
  mkdirSync(join(directory, 'full'), { recursive: true })
  await assert.rejects(writeAtomic(join(directory, 'full'), Buffer.from('x')))
  const { readdirSync } = await import('node:fs')
  assert.deepEqual(readdirSync(directory), ['full'])
})
