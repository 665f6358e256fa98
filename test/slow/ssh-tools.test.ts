import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { connectSsh, KnownHosts, parseUserKey, serveSftp } from '../../src/ssh/index.ts'
import { OpenHandles } from '../../src/ssh/sftp/open-handles.ts'
import { login, userKey } from '../ssh/support.ts'
import { freePort } from '../support/ports.ts'
import { keygen, type RealDoor, realDoor, realSshd, run, workplace } from './ssh-support.ts'

const has = (command: string, args: readonly string[] = []): boolean => spawnSync(command, args).error === undefined
const noSsh = has('ssh', ['-V']) ? false : 'no ssh here'
const noSshd =
  noSsh === false && spawnSync('test', ['-x', '/usr/sbin/sshd']).status === 0 ? (process.getuid?.() === 0 ? false : 'sshd runs as root') : 'no sshd here'
const noFail2ban = has('fail2ban-regex', ['--version']) ? noSsh : 'no fail2ban-regex here'

async function echoServer(context: TestContext): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {}).pipe(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => server.close())
  return (server.address() as AddressInfo).port
}

async function doorWithKey(context: TestContext, options: object = {}): Promise<RealDoor> {
  const directory = await workplace(context)
  await keygen('-t', 'ed25519', '-N', '', '-f', join(directory, 'key'))
  return await realDoor(context, { directory, authorized: await readFile(join(directory, 'key.pub'), 'utf8'), ...options })
}

/** A client that stays; resolves when it has logged in and opened its forwards. */
async function stay(context: TestContext, door: RealDoor, ...args: readonly string[]): Promise<ChildProcess> {
  const child = spawn('ssh', ['-v', '-N', '-o', 'ExitOnForwardFailure=yes', ...door.options('key'), ...args, '-p', String(door.port), 'alice@127.0.0.1'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const gone = once(child, 'close')
  context.after(async () => {
    child.kill()
    await gone
  })
  let said = ''
  await new Promise<void>((resolve, reject) => {
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (/Entering interactive session|forwarding_success|All remote forwarding requests processed/.test(said)) resolve()
    })
    child.once('close', () => reject(new Error(said)))
  })
  return child
}

async function exchange(port: number, bytes: Buffer): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1')
  socket.end(bytes)
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

test('ssh -L, -R and -D, carry megabytes whole, with keys made anew on the way', { skip: noSsh }, async (context) => {
  const door = await doorWithKey(context)
  const target = await echoServer(context)
  const [local, remote, dynamic] = [await freePort(), await freePort(), await freePort()]
  await stay(
    context,
    door,
    '-o',
    'RekeyLimit=1M',
    '-L',
    `127.0.0.1:${local}:127.0.0.1:${target}`,
    '-R',
    `127.0.0.1:${remote}:127.0.0.1:${target}`,
    '-D',
    `127.0.0.1:${dynamic}`,
  )
  const bytes = randomBytes(8 * 1_048_576)
  for (const port of [local, remote]) assert.ok((await exchange(port, bytes)).equals(bytes), `port ${port}`)
  const { out, status } = await run('curl', ['-s', '--max-time', '10', '--socks5-hostname', `127.0.0.1:${dynamic}`, `http://127.0.0.1:${door.port}/`])
  // The door's own port answers plain HTTP with its identification: enough to see that the proxy got there.
  assert.ok(status !== 97 && status !== 7, `${status} ${out}`)
})

test('ssh -W and ProxyJump, go through the door to another', { skip: noSsh }, async (context) => {
  const door = await doorWithKey(context)
  const far = await realDoor(context, { directory: door.directory, authorized: await readFile(join(door.directory, 'key.pub'), 'utf8') })
  const proxy = `ssh ${door.options('key').join(' ')} -p ${door.port} -W %h:%p alice@127.0.0.1`
  const { out, status, err } = await run('ssh', [...far.options('key', ['-o', `ProxyCommand=${proxy}`]), '-p', String(far.port), 'alice@127.0.0.1', 'help'])
  assert.equal(status, 0, err)
  assert.match(out, /^commands/i)
})

test('a target that does not answer, and a login without command, are told in a line', { skip: noSsh }, async (context) => {
  const door = await doorWithKey(context)
  const refused = await run('ssh', [...door.options('key'), '-p', String(door.port), '-W', `127.0.0.1:${await freePort()}`, 'alice@127.0.0.1'])
  assert.match(refused.err, /open failed: connect failed/)
  const shell = await run('ssh', ['-T', ...door.options('key'), '-p', String(door.port), 'alice@127.0.0.1'])
  assert.equal(shell.status, 1)
  assert.match(shell.err, /no shell here/)
})

test('sftp and scp, move files in both directions and do not get out', { skip: noSsh }, async (context) => {
  const directory = await workplace(context)
  const [shared, near] = [join(directory, 'shared'), join(directory, 'near')]
  await mkdir(shared)
  await mkdir(near)
  await writeFile(join(shared, 'one'), 'one')
  await symlink('/etc/passwd', join(shared, 'way'))
  const bytes = randomBytes(3 * 1_048_576)
  await writeFile(join(near, 'big'), bytes)
  await keygen('-t', 'ed25519', '-N', '', '-f', join(directory, 'key'))
  const door = await realDoor(context, {
    directory,
    authorized: await readFile(join(directory, 'key.pub'), 'utf8'),
    sftp: (channel, caller, signal) =>
      serveSftp(channel, caller, signal, {
        folders: () => [{ name: 'shared', path: shared, writable: true }],
        handles: new OpenHandles(),
        logger: silentLogger,
      }),
  })
  const batch = [
    `put ${join(near, 'big')} big`,
    'mkdir d',
    'rename big d/big',
    `get d/big ${join(near, 'back')}`,
    'ls -l',
    `-get way ${join(near, 'stolen')}`,
    `-get ../../etc/passwd ${join(near, 'stolen')}`,
  ].join('\n')
  const sftp = await run('sftp', [...door.options('key'), '-P', String(door.port), '-b', '-', 'alice@127.0.0.1'], `${batch}\n`)
  assert.equal(sftp.status, 0, sftp.err)
  assert.ok((await readFile(join(near, 'back'))).equals(bytes))
  await assert.rejects(readFile(join(near, 'stolen')))
  const up = await run('scp', [...door.options('key'), '-P', String(door.port), '-p', join(near, 'big'), 'alice@127.0.0.1:copied'])
  assert.equal(up.status, 0, up.err)
  assert.ok((await readFile(join(shared, 'copied'))).equals(bytes))
  const down = await run('scp', [...door.options('key'), '-P', String(door.port), 'alice@127.0.0.1:/shared/one', join(near, 'one')])
  assert.equal(down.status, 0, down.err)
  assert.equal(await readFile(join(near, 'one'), 'utf8'), 'one')
})

test('the filter for fail2ban, counts refused keys and nothing else', { skip: noFail2ban }, async (context) => {
  const door = await doorWithKey(context)
  await keygen('-t', 'ed25519', '-N', '', '-f', join(door.directory, 'stranger'))
  await run('ssh', [...door.options('stranger'), '-p', String(door.port), 'alice@127.0.0.1', 'help'])
  // Names that the client of OpenSSH would not send.
  const names = ['x","remote_addr":"192.0.2.9', '"event":"auth attempt"', 'a"b', 'a\n{"level":"info"']
  for (const username of names) await assert.rejects(login(connect(door.port, '127.0.0.1'), { key: userKey(), username }))
  assert.equal((await run('ssh', [...door.options('key'), '-p', String(door.port), 'alice@127.0.0.1', 'help'])).status, 0)
  const log = join(door.directory, 'kith.log')
  await writeFile(log, door.log.join(''))
  const rejects = door.log.filter((line) => line.includes('"result":"reject"')).length
  assert.equal(rejects, 1 + names.length)
  const filter = new URL('../../packaging/fail2ban/filter.d/kith.conf', import.meta.url).pathname
  const { out } = await run('fail2ban-regex', ['--print-all-matched', log, filter])
  assert.match(out, new RegExp(`Failregex: ${rejects} total`), out)
  assert.match(out, new RegExp(`, ${rejects} matched, `))
  assert.ok(!out.includes('192.0.2.9'))
})

test('our client, logs in at a real sshd by key and by certificate, and goes on through it', { skip: noSshd }, async (context) => {
  const directory = await workplace(context)
  const at = (file: string): string => join(directory, file)
  for (const key of ['host', 'user', 'ca', 'certified']) await keygen('-t', 'ed25519', '-N', '', '-f', at(key))
  await keygen('-s', at('ca'), '-I', 'id', '-n', 'root', '-V', '+1h', at('certified.pub'))
  await keygen('-s', at('ca'), '-I', 'host', '-h', '-n', '127.0.0.1', '-V', '+1h', at('host.pub'))
  await writeFile(at('authorized'), await readFile(at('user.pub')))
  const ca = (await readFile(at('ca.pub'), 'utf8')).trim()
  const port = await realSshd(context, directory, [`TrustedUserCAKeys ${at('ca.pub')}`, `HostCertificate ${at('host-cert.pub')}`])
  const hostKey = (await readFile(at('host.pub'), 'utf8')).trim()
  const plain = new KnownHosts(`[127.0.0.1]:${port} ${hostKey}`)
  const certified = new KnownHosts(`@cert-authority * ${ca}`)
  const signer = parseUserKey(await readFile(at('user'), 'utf8'))
  const cert = Buffer.from((await readFile(at('certified-cert.pub'), 'utf8')).split(' ')[1] as string, 'base64')
  const withCertificate = { signer: parseUserKey(await readFile(at('certified'), 'utf8')), certificate: new Uint8Array(cert) }
  const url = `ssh://root@127.0.0.1:${port}`
  for (const [knownHosts, credentials] of [
    [plain, [{ signer }]],
    [certified, [withCertificate]],
  ] as const) {
    const connection = await connectSsh({ url, knownHosts, credentials, clock: systemClock })
    const command = await connection.exec('echo hello; exit 7')
    const chunks: Buffer[] = []
    for await (const chunk of command.stream) chunks.push(chunk as Buffer)
    assert.deepEqual([Buffer.concat(chunks).toString(), await command.status], ['hello\n', 7])
    const target = await echoServer(context)
    const stream = await connection.open('127.0.0.1', target)
    stream.end('there and back')
    const back: Buffer[] = []
    for await (const chunk of stream) back.push(chunk as Buffer)
    assert.equal(Buffer.concat(back).toString(), 'there and back')
    // Once more, through the first connection.
    const inner = await connectSsh({ url, knownHosts, credentials, clock: systemClock, over: await connection.open('127.0.0.1', port) })
    assert.equal(inner.fingerprint, connection.fingerprint)
    inner.close()
    connection.close()
  }
  await assert.rejects(connectSsh({ url, knownHosts: new KnownHosts(''), credentials: [{ signer }], clock: systemClock }), { code: 'SSH_HOST_KEY_UNKNOWN' })
})

test('kith forward, reaches a port behind a real sshd by the key of the node and by a certificate, and refuses a server it does not know', {
  skip: noSshd,
  timeout: 50_000,
}, async (context) => {
  const directory = await workplace(context)
  const at = (file: string): string => join(directory, file)
  for (const key of ['host', 'ca', 'user']) await keygen('-t', 'ed25519', '-N', '', '-f', at(key))
  await keygen('-s', at('ca'), '-I', 'id', '-n', 'root', '-V', '+1h', at('user.pub'))
  await writeFile(at('authorized'), '')
  const port = await realSshd(context, directory, [`TrustedUserCAKeys ${at('ca.pub')}`])
  await writeFile(at('known'), `[127.0.0.1]:${port} ${await readFile(at('host.pub'), 'utf8')}`)
  const fingerprint = (await run('ssh-keygen', ['-lf', at('host.pub')])).out.split(' ')[1] as string
  const target = await echoServer(context)
  const home = at('home')
  const launcher = new URL('../../bin/kith.mjs', import.meta.url).pathname
  const kith = (...args: readonly string[]): ReturnType<typeof run> =>
    run('env', [`XDG_STATE_HOME=${at('state')}`, 'NO_COLOR=1', process.execPath, launcher, ...args, '--home', home])
  const good = async (...args: readonly string[]): Promise<string> => {
    const { status, out, err } = await kith(...args)
    assert.equal(status, 0, `${args.join(' ')}: ${err}`)
    return out.trim()
  }
  await good('init', '--no-passphrase')
  await writeFile(join(home, 'config.toml'), 'listen = ["tcp://127.0.0.1:0"]\n[discovery]\nmdns = false\n')
  await good('up', '--detach')
  // Before the sshd, which does not end while somebody is logged in.
  try {
    const server = ['forward', `ssh://root@127.0.0.1:${port}`, `127.0.0.1:${target}`, '--local', '127.0.0.1:0', '--quiet']
    const locked = await kith(...server, '--host-key', fingerprint)
    assert.match(locked.err, /VAULT_LOCKED[\s\S]*vault unlock/)
    await good('vault', 'unlock')
    await writeFile(at('authorized'), `${await good('ssh', 'key', '--quiet')}\n`)
    await writeFile(at('empty'), '')
    const unknown = await kith(...server, '--known-hosts', at('empty'))
    assert.equal(unknown.status, 4)
    assert.match(unknown.err, /SSH_HOST_KEY_UNKNOWN[\s\S]*ssh-keyscan/)
    const changed = await kith(...server, '--host-key', `SHA256:${'A'.repeat(43)}`)
    assert.match(changed.err, /SSH_HOST_KEY_CHANGED/)
    const bytes = randomBytes(4 * 1_048_576)
    for (const how of [
      ['--known-hosts', at('known')],
      ['--host-key', fingerprint, '--key-file', at('user'), '--save', 'kept'],
    ]) {
      const local = await good(...server, ...how)
      assert.ok((await exchange(Number(local.split(':')[1]), bytes)).equals(bytes), how.join(' '))
    }
    const { tunnels } = JSON.parse(await good('tunnels', '--json')) as { tunnels: { kind: string; peer: string; bytes_in: number; bytes_out: number }[] }
    const name = `ssh://root@127.0.0.1:${port}`
    const carried = { kind: 'ssh', peer: name, bytes_in: bytes.length, bytes_out: bytes.length }
    assert.deepEqual(
      tunnels.map(({ kind, peer, bytes_in, bytes_out }) => ({ kind, peer, bytes_in, bytes_out })),
      [carried, carried],
    )
    assert.match(await readFile(join(home, 'config.toml'), 'utf8'), /kind = "ssh"\npeer = "ssh:\/\/root@/)
    await good('tunnels', 'close', 'kept', '--forget')
    assert.doesNotMatch(await readFile(join(home, 'config.toml'), 'utf8'), /kept/)
  } finally {
    await kith('down')
  }
})
