import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { removeStaleSocket } from '../../src/core/stale-socket.ts'

let folder = ''
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'kith-stale-'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

test('a socket file of a process that was killed, is removed', async () => {
  const path = join(folder, 'left')
  const { signal } = spawnSync(process.execPath, [
    '-e',
    `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 9))`,
  ])
  assert.equal(signal, 'SIGKILL')
  assert.ok(existsSync(path))
  assert.equal(await removeStaleSocket(path), undefined)
  assert.ok(!existsSync(path))
})

test('a socket file that somebody answers on, stays and is told', async () => {
  const path = join(folder, 'live')
  const server = createServer((socket) => socket.destroy()).listen(path)
  await once(server, 'listening')
  try {
    assert.equal(await removeStaleSocket(path), 'live')
    assert.ok(existsSync(path))
  } finally {
    server.close()
  }
})

test('a file, a folder, a link and nothing at all, are left as they are', async () => {
  const file = join(folder, 'file')
  writeFileSync(file, 'kept')
  symlinkSync(join(folder, 'nowhere'), join(folder, 'link'))
  for (const path of [file, folder, join(folder, 'link')]) assert.equal(await removeStaleSocket(path), 'other', path)
  assert.ok(existsSync(file))
  assert.equal(await removeStaleSocket(join(folder, 'none')), undefined)
})
