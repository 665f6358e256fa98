import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startAvahi } from '../support/avahi.ts'
import { identity } from './mdns-support.ts'

const run = promisify(execFile)
const TOOLS = ['/usr/sbin/avahi-daemon', '/usr/bin/avahi-browse', '/usr/bin/avahi-publish-service', '/usr/bin/dbus-daemon', '/usr/sbin/ip', '/usr/bin/unshare']
const PREFIX = `kith${process.pid % 100_000}`
const [AVAHI, NODE] = [`${PREFIX}a`, `${PREFIX}b`]

async function skipReason(): Promise<string | false> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux for network namespaces'
  const missing = TOOLS.find((tool) => !existsSync(tool))
  if (missing !== undefined) return `${missing} is not installed`
  try {
    await run('ip', ['netns', 'add', AVAHI])
  } catch {
    return 'network namespaces are not allowed here'
  }
  await run('ip', ['netns', 'del', AVAHI])
  return false
}

/** Two namespaces joined by a cable: 192.0.2.1 for avahi, 192.0.2.2 for the node. Nothing leaves them. */
async function laboratory(
  t: TestContext,
): Promise<{ readonly directory: string; within(namespace: string, command: string, args: readonly string[]): ChildProcess }> {
  const directory = await mkdtemp(join(tmpdir(), 'kith-mdns-'))
  const children: ChildProcess[] = []
  t.after(async () => {
    for (const child of children.reverse()) child.kill('SIGKILL')
    for (const namespace of [AVAHI, NODE]) await run('ip', ['netns', 'del', namespace]).catch(() => undefined)
    await rm(directory, { recursive: true, force: true })
  })
  const ip = (...args: string[]) => run('ip', args)
  await ip('netns', 'add', AVAHI)
  await ip('netns', 'add', NODE)
  await ip('link', 'add', 'eth0', 'netns', AVAHI, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', NODE)
  for (const [namespace, address] of [
    [AVAHI, '192.0.2.1/24'],
    [NODE, '192.0.2.2/24'],
  ] as const) {
    await ip('-n', namespace, 'addr', 'add', address, 'dev', 'eth0')
    await ip('-n', namespace, 'link', 'set', 'lo', 'up')
    await ip('-n', namespace, 'link', 'set', 'eth0', 'up')
    await ip('-n', namespace, 'route', 'add', 'default', 'dev', 'eth0')
  }
  const environment = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${join(directory, 'bus')}` }
  const within = (namespace: string, command: string, args: readonly string[]): ChildProcess => {
    const child = spawn('ip', ['netns', 'exec', namespace, command, ...args], { env: environment, stdio: ['pipe', 'pipe', 'ignore'] })
    children.push(child)
    return child
  }
  return { directory, within }
}

/** Reads lines until one is accepted. */
function line(child: ChildProcess, wanted: (line: string) => boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const read = (chunk: Buffer): void => {
      text += chunk
      const found = text.split('\n').slice(0, -1).find(wanted)
      if (found === undefined) return
      child.stdout?.off('data', read)
      resolve(found)
    }
    child.stdout?.on('data', read)
    child.once('exit', () => reject(new Error(`ended without the line: ${text}`)))
  })
}

test('mdns: avahi lists the node, the node lists avahi’s service, and both see the other leave', { skip: await skipReason(), timeout: 60_000 }, async (t) => {
  const { directory, within } = await laboratory(t)
  await startAvahi(directory, (command, args) => within(AVAHI, command, args))

  const published = identity('printer', 1)
  const service = within(AVAHI, 'avahi-publish-service', ['Other node', '_icn._udp', '4400', 'version=0.1.0', `did=${published.did}`])
  const ours = identity('node', 1)
  const child = fileURLToPath(new URL('./mdns-child.ts', import.meta.url))
  const node = within(NODE, process.execPath, [...process.execArgv, child, ours.did, '192.0.2.2'])
  const found = JSON.parse(await line(node, (text) => text.includes(published.did)))
  assert.deepEqual(found, { did: published.did, urls: ['quic://192.0.2.1:4400'] })

  const browse = async (): Promise<string> => {
    const browser = within(AVAHI, 'avahi-browse', ['-rtp', '_icn._udp'])
    let listed = ''
    for await (const chunk of browser.stdout as AsyncIterable<Buffer>) listed += chunk
    return listed
  }
  const listed = await until(browse, (text) => text.includes(ours.did))
  const entry = listed.split('\n').find((text) => text.startsWith('=') && text.includes(ours.did))
  assert.match(entry ?? '', /^=;eth0;IPv4;kith-[0-9a-f]{16};_icn\._udp;local;kith-[0-9a-f]{16}\.local;192\.0\.2\.2;4433;/)
  assert.ok(entry?.includes('"version=1"') && entry.includes('"u0=quic://192.0.2.2:4433"') && entry.includes('"name=laboratory"'))

  const leaving = line(node, (text) => text.includes('"gone":true'))
  service.kill()
  assert.equal(JSON.parse(await leaving).did, published.did)
  const ended = new Promise((resolve) => node.once('exit', resolve))
  node.stdin?.end('stop\n')
  assert.equal(await ended, 0)
  await until(browse, (text) => !text.includes(ours.did))
})

async function until(read: () => Promise<string>, wanted: (text: string) => boolean): Promise<string> {
  for (;;) {
    const text = await read()
    if (wanted(text)) return text
  }
}
