import assert from 'node:assert/strict'
import type { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { connect, type TLSSocket } from 'node:tls'
import { createNode } from '../../src/index.ts'
import { pebbleMissing, startPebble } from '../support/pebble.ts'

const skip = pebbleMissing() ?? false
const LIMIT_MS = 20_000

async function site(port: number): Promise<{ readonly certificate: X509Certificate; readonly answer: string }> {
  const socket: TLSSocket = connect({ port, host: '127.0.0.1', servername: 'node.example.test', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const certificate = socket.getPeerX509Certificate() as X509Certificate
  socket.write('GET / HTTP/1.1\r\nHost: node.example.test\r\nConnection: close\r\n\r\n')
  return { certificate, answer: await text(socket) }
}

test('a node that says yes to the terms, gets a certificate at its own front door and serves it, and again after a restart without asking', {
  skip,
  timeout: 55_000,
}, async (t) => {
  const pebble = await startPebble(t)
  const folder = await mkdtemp(join(tmpdir(), 'kith-front-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const home = join(folder, 'home')
  await mkdir(home, { mode: 0o700 })
  await writeFile(join(folder, 'ca.pem'), pebble.ca)
  const config = `front.listen = "127.0.0.1:${pebble.tlsPort}"
[acme]
names = ["node.example.test", "127.0.0.1"]
agree = true
contact = "owner@example.test"
directory = "${pebble.directory}"
ca_file = "${join(folder, 'ca.pem')}"
account_key = "file"
`
  await writeFile(join(home, 'config.toml'), config)
  const open = () => createNode({ home, listen: ['tcp://127.0.0.1:0'], env: { ...process.env, XDG_STATE_HOME: join(folder, 'state') } })
  const first = await open()
  let shown: string
  try {
    assert.ok(['self-signed', 'acme'].includes(first.status().certificate?.source ?? ''))
    const until = Date.now() + LIMIT_MS
    while (first.status().certificate?.source !== 'acme') {
      assert.ok(Date.now() < until, JSON.stringify(first.status().degraded))
      await new Promise(setImmediate)
    }
    const { certificate, answer } = await site(pebble.tlsPort)
    assert.match(certificate.issuer, /Pebble/)
    assert.equal(certificate.checkHost('node.example.test'), 'node.example.test')
    assert.equal(certificate.checkIP('127.0.0.1'), '127.0.0.1')
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/)
    shown = certificate.fingerprint256
    assert.deepEqual(first.status().degraded, [])
    const noted = async (): Promise<boolean> =>
      (await first.audit.list()).some(({ action, subject }) => action === 'certificate.issued' && subject === 'node.example.test')
    while (!(await noted())) {
      assert.ok(Date.now() < until, 'the audit log does not say that a certificate was issued')
      await new Promise(setImmediate)
    }
  } finally {
    await first.close()
  }
  assert.deepEqual((await readdir(join(home, 'certificates'))).sort(), ['account.pem', 'acme.json', 'acme.pem'])
  await using second = await open()
  assert.equal(second.status().certificate?.source, 'acme')
  assert.equal((await site(pebble.tlsPort)).certificate.fingerprint256, shown)
  assert.equal(pebble.issued(), 1)
})
