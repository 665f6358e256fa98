import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createSocket, type Socket as Datagrams } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { promisify } from 'node:util'

/** UDP between two daemons: a resolver (c-ares, in this process) asks a name server that only the other machine reaches, by UDP ASSOCIATE of `kith socks`. */
const run = promisify(execFile)
const LAUNCHER = join(import.meta.dirname, '..', '..', 'bin', 'kith.mjs')
const SOCAT = '/usr/bin/socat'
let folder = ''
let proxy = ''
let near = ''

async function kith(home: string, ...args: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await run(process.execPath, [LAUNCHER, '--home', join(folder, home), '--json', ...args], {
    env: { ...process.env, XDG_STATE_HOME: join(folder, 'state') },
  })
  return JSON.parse(stdout.trim().split('\n').at(-1) as string) as Record<string, unknown>
}

before(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-datagrams-')))
  for (const home of ['near', 'far']) {
    await kith(home, 'init', '--name', home, '--no-passphrase')
    await kith(home, 'up', '--detach', '--listen', 'tcp://127.0.0.1:0')
  }
  await kith('near', 'join', String((await kith('far', 'invite')).ticket))
  near = String((await kith('near', 'status')).did)
  proxy = String((await kith('near', 'socks', 'far', '--local', '127.0.0.1:0')).local)
})
after(async () => {
  for (const home of ['near', 'far']) await kith(home, 'down').catch(() => undefined)
  await rm(folder, { recursive: true, force: true })
})

/** Exactly so many bytes. */
async function read(socket: Socket, length: number): Promise<Buffer> {
  for (;;) {
    const chunk = socket.read(length) as Buffer | null
    if (chunk !== null) return chunk
    await once(socket, 'readable')
  }
}

async function bound(context: TestContext): Promise<Datagrams> {
  const socket = createSocket('udp4')
  context.after(() => socket.close())
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return socket
}

interface Association {
  readonly control: Socket
  readonly socket: Datagrams
  send(payload: Buffer, port: number): void
  /** Called with each datagram that came back. */
  onAnswer: (payload: Buffer, port: number) => void
}

/** RFC 1928, sections 3, 4 and 7. */
async function associate(context: TestContext): Promise<Association> {
  const control = connect(Number(proxy.split(':')[1]), '127.0.0.1')
  context.after(() => void control.destroy())
  control.write(Buffer.from([5, 1, 0]))
  assert.deepEqual(await read(control, 2), Buffer.from([5, 0]))
  control.write(Buffer.from([5, 3, 0, 1, 0, 0, 0, 0, 0, 0]))
  const reply = await read(control, 10)
  assert.deepEqual(reply.subarray(0, 4), Buffer.from([5, 0, 0, 1]))
  const relay = { address: reply.subarray(4, 8).join('.'), port: reply.readUInt16BE(8) }
  const socket = await bound(context)
  const association: Association = {
    ...{ control, socket, onAnswer: () => undefined },
    send(payload, port) {
      socket.send(Buffer.concat([Buffer.from([0, 0, 0, 1, 127, 0, 0, 1, port >> 8, port & 0xff]), payload]), relay.port, relay.address)
    },
  }
  socket.on('message', (data) => association.onAnswer(data.subarray(10), data.readUInt16BE(8)))
  return association
}

async function printing(context: TestContext, command: string, args: readonly string[], wanted: RegExp): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  context.after(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  return await new Promise((resolve, reject) => {
    let said = ''
    const hear = (chunk: Buffer): void => {
      said += String(chunk)
      const match = wanted.exec(said)
      if (match !== null) resolve(match[1] ?? '')
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    child.once('exit', () => reject(new Error(`${command} ended: ${said}`)))
    child.once('error', reject)
  })
}

test('a resolver, asks a name server behind another machine by UDP, and gets each answer to its question', { timeout: 40_000 }, async (context) => {
  const port = Number(await printing(context, process.execPath, [join(import.meta.dirname, 'dns-server.mjs')], /^(\d+)\n/))
  await kith('far', 'allow', near, 'datagram', `127.0.0.1:${port}`)
  const association = await associate(context)
  // What the resolver believes to be the name server: it wraps questions and unwraps answers, as any program that uses such a proxy does.
  const front = await bound(context)
  const asking = new Map<number, number>()
  front.on('message', (question, from) => {
    asking.set(question.readUInt16BE(0), from.port)
    association.send(question, port)
  })
  const sources = new Set<number>()
  association.onAnswer = (answer, from) => {
    sources.add(from)
    front.send(answer, asking.get(answer.readUInt16BE(0)) as number, '127.0.0.1')
  }
  const resolver = new Resolver({ timeout: 2_000, tries: 5 })
  resolver.setServers([`127.0.0.1:${(front.address() as AddressInfo).port}`])
  const numbers = Array.from({ length: 40 }, (_, i) => i + 1)
  const answers = await Promise.all(numbers.map((number) => resolver.resolve4(`a${number}.example`)))
  assert.deepEqual(
    answers,
    numbers.map((number) => [`192.0.2.${number}`]),
  )
  await assert.rejects(resolver.resolve4('nobody.example'), { code: 'ENOTFOUND' })
  assert.deepEqual([...sources], [port], 'an answer says where it comes from')
})

test('a server that no rule for UDP names, hears nothing, though one for TCP does; what is allowed goes on', { timeout: 40_000 }, async (context) => {
  const [open, closed] = [await bound(context), await bound(context)]
  const [to, not] = [open, closed].map((socket) => (socket.address() as AddressInfo).port) as [number, number]
  await kith('far', 'allow', near, 'datagram', `127.0.0.1:${to}`)
  await kith('far', 'allow', near, 'forward', `127.0.0.1:${not}`)
  closed.on('message', () => assert.fail('it was reached'))
  open.on('message', (data, from) => open.send(data, from.port, from.address))
  const association = await associate(context)
  const heard = new Promise<string>((resolve) => {
    association.onAnswer = (payload) => resolve(String(payload))
  })
  association.send(Buffer.from('closed'), not)
  // UDP may lose one; the refused one came first in any case.
  const again = setInterval(() => association.send(Buffer.from('open'), to), 200)
  context.after(() => clearInterval(again))
  assert.equal(await heard, 'open')
})

test('socat, echoes datagrams of all sizes, and the end of the connection ends the association', {
  skip: !existsSync(SOCAT) && `${SOCAT} is not installed`,
  timeout: 40_000,
}, async (context) => {
  const free = createSocket('udp4').bind(0, '127.0.0.1')
  await once(free, 'listening')
  const { port } = free.address() as AddressInfo
  free.close()
  await once(free, 'close')
  await printing(context, SOCAT, ['-d', '-d', '-d', '-b', '65536', `UDP4-RECVFROM:${port},bind=127.0.0.1,fork`, 'PIPE'], /(waiting|starting|recv)/i)
  await kith('far', 'allow', near, 'datagram', `127.0.0.1:${port}`)
  const association = await associate(context)
  for (const length of [1, 512, 1_472, 8_000]) {
    const sent = randomBytes(length)
    const back = new Promise<void>((resolve) => {
      association.onAnswer = (payload) => payload.equals(sent) && resolve()
    })
    association.send(sent, port)
    const again = setInterval(() => association.send(sent, port), 500)
    context.after(() => clearInterval(again))
    await back
    clearInterval(again)
  }
  association.control.end()
  await once(association.control, 'close')
  let open = 1
  for (let i = 0; i < 20 && open > 0; i++) {
    const { tunnels } = (await kith('near', 'tunnels')) as { tunnels: { connections: number }[] }
    open = tunnels.reduce((sum, { connections }) => sum + connections, 0)
  }
  assert.equal(open, 0)
})
