import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { openSite, siteCertificate } from '../site/support.ts'
import { tlsSide } from '../transport/setups/tls.ts'
import { within } from '../transport/support.ts'
import { linkPem, listenTls } from '../transport/tls-support.ts'

const missing = spawnSync('openssl', ['version']).error !== undefined ? 'openssl is not installed' : false

test('OpenSSL as a dialer that changes its keys in mid-connection, read on; without the hybrid group', { skip: missing, timeout: 50_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-openssl-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const { cert, key } = linkPem(Date.now())
  writeFileSync(join(folder, 'cert.pem'), cert)
  writeFileSync(join(folder, 'key.pem'), key, { mode: 0o600 })
  const door = await listenTls(t, tlsSide())
  const options = [
    '-connect',
    `127.0.0.1:${door.port}`,
    '-alpn',
    'icn/1',
    '-cert',
    join(folder, 'cert.pem'),
    '-key',
    join(folder, 'key.pem'),
    '-groups',
    'X25519',
  ]
  const child = spawn('openssl', ['s_client', ...options], { stdio: ['pipe', 'pipe', 'pipe'] })
  t.after(() => child.kill())
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      said += chunk
    })
  const until = async (what: string, seen: () => boolean): Promise<void> =>
    within(
      `${what}: ${said}`,
      (async () => {
        while (!seen()) await new Promise(setImmediate)
      })(),
    )
  await until('the handshake', () => door.channels.length === 1 && said.includes('Server Temp Key'))
  const [channel] = door.channels
  assert.ok(channel !== undefined)
  assert.equal(channel.postQuantum, false)
  assert.match(said, /ALPN protocol: icn\/1/)
  for (const message of ['one!', 'two!', 'six!']) {
    // A line that is one letter is a command: change the keys of both directions.
    child.stdin.write('K\n')
    await until('the change of keys', () => said.includes('KEYUPDATE'))
    said = ''
    child.stdin.write(Buffer.concat([Buffer.of(5), Buffer.from(`${message}\n`)]))
    assert.equal(Buffer.from(await within('the message', channel.receive())).toString(), `${message}\n`)
  }
  channel.send(Buffer.from('answer'))
  await until('the answer', () => said.includes('answer'))
  child.stdin.write('Q\n')
  await once(child, 'exit')
})

/** Runs `openssl s_client` to its end and gives back everything it said. */
async function client(t: TestContext, args: readonly string[], input: string, seen: RegExp): Promise<string> {
  const child = spawn('openssl', ['s_client', ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
  t.after(() => child.kill())
  child.stdin.on('error', () => {})
  let said = ''
  const over = once(child, 'close')
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      said += chunk
      if (seen.test(said)) child.stdin.end()
    })
  child.stdin.write(input)
  await within(`the end of s_client: ${args.join(' ')}`, over)
  return said
}

test('TLS 1.2 at the site, no renegotiation; older ones, refused', { skip: missing, timeout: 50_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-openssl-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const { port } = await openSite(t, await siteCertificate(folder))
  const at = ['-connect', `127.0.0.1:${port}`]
  assert.match(await client(t, [...at, '-tls1_2'], 'R\n', /no renegotiation/), /RENEGOTIATING[\s\S]*no renegotiation/)
  assert.match(await client(t, [...at, '-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'], '', /alert/), /alert protocol version/)
})
