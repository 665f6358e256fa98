import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { keyedUpgrade } from '../../src/transport/wss/accept.ts'
import { keyedPath, parseWssAddress } from '../../src/transport/wss/address.ts'
import { connectWebSocket } from '../../src/transport/wss/connect.ts'
import { openSite, siteCertificate } from '../site/support.ts'
import { keygen, type RealDoor, realDoor, realSshd, run, workplace } from './ssh-support.ts'

/** Clients of OpenSSH that come in where a website is, and what they find behind it. */
const missing = ['ssh', 'openssl'].find((command) => spawnSync(command, ['-V']).error !== undefined)
const skip = missing === undefined ? false : `no ${missing} here`
const noSshd = skip === false && spawnSync('test', ['-x', '/usr/sbin/sshd']).status === 0 && process.getuid?.() === 0 ? false : 'no sshd here, or not as root'

interface Front extends RealDoor {
  readonly frontPort: number
  readonly wss: string
  readonly transports: string[]
  /** Of the front door, as a client's ProxyCommand: TLS without a protocol name. */
  readonly proxy: string
}

async function frontDoor(context: TestContext): Promise<Front> {
  const directory = await workplace(context)
  await keygen('-t', 'ed25519', '-N', '', '-f', join(directory, 'key'))
  const door = await realDoor(context, { directory, authorized: await readFile(join(directory, 'key.pub'), 'utf8') })
  const certificate = await siteCertificate(directory)
  const { front, port } = await openSite(context, certificate)
  const transports: string[] = []
  front.onSsh((stream, origin) => {
    transports.push(origin.transport)
    door.door.accept(stream, origin)
  })
  const token = randomBytes(24)
  const upgrade = keyedUpgrade(keyedPath(token, 'ssh'), systemClock, (stream, { host, port: remotePort }) => {
    transports.push('wss')
    door.door.accept(stream, { remoteAddress: host, remotePort, transport: 'wss' })
  })
  front.onUpgrade('ssh', upgrade)
  const der = execFileSync('openssl', ['x509', '-in', certificate.certFile, '-outform', 'der'])
  const pin = createHash('sha256').update(der).digest('base64url')
  return {
    ...door,
    ...{ frontPort: port, wss: `wss://127.0.0.1:${port}/${token.toString('base64url')}?pin=${pin}`, transports },
    proxy: `openssl s_client -quiet -verify_return_error -CAfile ${certificate.certFile} -servername localhost -connect 127.0.0.1:${port}`,
  }
}

test('ssh through openssl s_client, finds the door inside the TLS of the website', { skip, timeout: 30_000 }, async (context) => {
  const at = await frontDoor(context)
  const proxied = [...at.options('key'), '-o', `ProxyCommand=${at.proxy} 2>/dev/null`, '-p', String(at.port), 'alice@127.0.0.1']
  const { status, out, err } = await run('ssh', [...proxied, 'help'])
  assert.equal(status, 0, err)
  assert.match(out, /^commands/i)
  assert.deepEqual(at.transports, ['tls'])
  const page = await run('curl', ['-s', '-k', '-o', '/dev/null', '-w', '%{http_code}', `https://127.0.0.1:${at.frontPort}/`])
  assert.match(page.out, /^[24]\d\d$/, 'who asks for a page is answered as by a website')
})

test('ssh through a WebSocket at the keyed path, finds the door', { skip, timeout: 30_000 }, async (context) => {
  const at = await frontDoor(context)
  const address = parseWssAddress(at.wss)
  const bridge = createServer({ allowHalfOpen: true }, async (socket) => {
    const options = { purpose: 'ssh', signal: AbortSignal.timeout(10_000), clock: systemClock } as const
    const stream = await connectWebSocket(connect(at.frontPort, '127.0.0.1'), address, options)
    for (const side of [socket, stream]) side.on('error', () => {})
    socket.pipe(stream).pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(bridge, 'listening')
  context.after(() => bridge.close())
  const { port } = bridge.address() as AddressInfo
  // The name it is known by is that of the door, whatever leads there.
  const alias = ['-o', `HostKeyAlias=[127.0.0.1]:${at.port}`]
  const { status, out, err } = await run('ssh', [...at.options('key', alias), '-p', String(port), 'alice@127.0.0.1', 'help'])
  assert.equal(status, 0, err)
  assert.match(out, /^commands/i)
  assert.deepEqual(at.transports, ['wss'])
})

test('ssh -J by the front door, logs in at a server of OpenSSH behind it', { skip: noSshd, timeout: 30_000 }, async (context) => {
  const at = await frontDoor(context)
  const file = (name: string): string => join(at.directory, name)
  await keygen('-t', 'ed25519', '-N', '', '-f', file('host'))
  await writeFile(file('authorized'), await readFile(file('key.pub')))
  const inner = await realSshd(context, at.directory, [])
  const known = await readFile(file(`known_hosts_${at.port}`), 'utf8')
  const innerKey = (await readFile(file('host.pub'), 'utf8')).trim()
  await writeFile(file('known'), `${known.trim()}\n[127.0.0.1]:${inner} ${innerKey}\n`)
  await writeFile(
    file('config'),
    [
      ...['Host door', 'HostName 127.0.0.1', `Port ${at.port}`, 'User alice', `ProxyCommand ${at.proxy} 2>/dev/null`],
      ...['Host inner', 'HostName 127.0.0.1', `Port ${inner}`, 'User root'],
      ...['Host *', `IdentityFile ${file('key')}`, 'IdentitiesOnly yes', 'IdentityAgent none', 'BatchMode yes', 'StrictHostKeyChecking yes'],
      ...[`UserKnownHostsFile ${file('known')}`, 'GlobalKnownHostsFile /dev/null', 'ConnectTimeout 10', ''],
    ].join('\n'),
    { mode: 0o600 },
  )
  const { status, out, err } = await run('ssh', ['-F', file('config'), '-J', 'door', 'inner', 'echo from the inside; exit 7'])
  assert.deepEqual([status, out], [7, 'from the inside\n'], err)
  assert.deepEqual(at.transports, ['tls'])
})
