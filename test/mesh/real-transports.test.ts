import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { test } from 'node:test'
import type { Clock } from '../../src/core/clock.ts'
import { systemClock } from '../../src/core/clock.ts'
import { isKithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { createMesh } from '../../src/mesh/mesh.ts'
import type { Mesh } from '../../src/mesh/mesh-types.ts'
import { createQuicTransport, quicAvailability } from '../../src/transport/quic/index.ts'
import { createTcpTransport } from '../../src/transport/tcp.ts'
import type { Transport } from '../../src/transport/types.ts'
import { NOW, testDevice, testIdentity } from './fixtures.ts'
import { readAll } from './mesh-support.ts'

/** The tests' identities are valid around NOW; timers are the system's. */
const clock: Clock = {
  now: () => NOW + Math.floor(performance.now()),
  monotonic: () => performance.now(),
  after: (ms, run, options) => systemClock.after(ms, run, options),
}
const QUIC = quicAvailability().ok

async function node(name: string, schemes: readonly string[]): Promise<Mesh> {
  const device = testDevice(testIdentity(name), name)
  device.name = name
  const parts = { clock, random: systemRandom, logger: silentLogger }
  const transports: Transport[] = schemes.map((scheme) =>
    scheme === 'tcp'
      ? createTcpTransport({ signer: device.linkSigner, ...parts })
      : createQuicTransport({ seed: Secret.take(createHash('sha256').update(`mesh ed25519 device ${name}`).digest()), ...parts }),
  )
  const mesh = await createMesh({ device, store: createMemoryStore(), transports, ...parts, interfaces: () => ['127.0.0.1'] })
  for (const scheme of schemes) await mesh.listen(`${scheme}://127.0.0.1:0`)
  await mesh.start()
  mesh.handle('test/echo/1', async (stream) => {
    stream.end(`${name}:${await readAll(stream)}`)
  })
  return mesh
}

async function echo(from: Mesh, to: Mesh, text: string): Promise<string> {
  const stream = await from.open(to.did, 'test/echo/1')
  stream.end(text)
  return await readAll(stream)
}

/** Waits for events of the mesh until the condition holds; the test's timeout bounds it. */
async function until(meshes: readonly Mesh[], condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, 50)
      const stops = meshes.map((mesh) => mesh.onEvent(done))
      function done(): void {
        clearTimeout(timer)
        for (const stop of stops) stop()
        resolve()
      }
    })
  }
}

for (const scheme of ['tcp', ...(QUIC ? ['quic'] : [])]) {
  test(`two nodes over ${scheme}, pair, dial each other at once and keep one connection`, { timeout: 60_000 }, async () => {
    const [ann, ben] = [await node('ann', [scheme]), await node('ben', [scheme])]
    const { ticket } = await ann.invites.create({})
    const joined = await ben.join(ticket)
    assert.equal(joined.did, ann.did)
    const [annUrl, benUrl] = [ann.addresses[0] as string, ben.addresses[0] as string]
    for (let round = 0; round < 15; round++) {
      const dial = async (from: Mesh, to: Mesh, url: string): Promise<void> => {
        await from
          .dial(to.did, { url })
          .catch((error: unknown) => assert.ok(isKithError(error, 'DUPLICATE') || isKithError(error, 'PEER_UNREACHABLE'), String(error)))
      }
      const [, , a, b] = await Promise.all([dial(ann, ben, benUrl), dial(ben, ann, annUrl), echo(ann, ben, `${round}`), echo(ben, ann, `${round}`)])
      assert.deepEqual([a, b], [`ben:${round}`, `ann:${round}`])
    }
    await until([ann, ben], () => [ann, ben].every((mesh) => mesh.network().stats.connections === 1))
    assert.equal((await ann.ping(ben.did, { count: 3 })).length, 3)
    assert.equal(ann.links()[0]?.path?.scheme, scheme)
    assert.equal(ann.links()[0]?.path?.postQuantum, scheme === 'tcp')
    await Promise.all([ann.close(), ben.close()])
  })
}

test('a link over quic to a node without tcp, is explained on both sides', { timeout: 60_000, skip: !QUIC }, async () => {
  const [ann, ben] = [await node('ann', ['quic', 'tcp']), await node('ben', ['quic'])]
  ann.reload({ prefer: ['quic', 'tcp'] })
  const { ticket } = await ann.invites.create({})
  await ben.join(ticket)
  assert.equal(ben.links()[0]?.path?.scheme, 'quic')
  assert.ok(ann.why(ben.did).candidates.some(({ url, result }) => url.startsWith('quic://') && result === 'active'))
  assert.ok(ben.why(ann.did).candidates.some(({ url, result }) => url.startsWith('tcp:') && result === 'SCHEME_UNAVAILABLE'))
  await Promise.all([ann.close(), ben.close()])
})

test('a peer that vanishes without a word, ends its streams in an error that can be retried', { timeout: 60_000 }, async () => {
  const [ann, ben] = [await node('ann', ['tcp']), await node('ben', ['tcp'])]
  await ben.join((await ann.invites.create({})).ticket)
  ann.handle('test/hold/1', (stream) => void stream.resume())
  const stream = await ben.open(ann.did, 'test/hold/1')
  stream.resume()
  const failed = once(stream, 'error')
  await ann.close()
  const [error] = await failed
  assert.ok(isKithError(error) && error.retryable, String(error))
  await ben.close()
})

test('two nodes over tcp, with polling set, poll while words go to and fro, and not after it is unset', { timeout: 60_000 }, async (t) => {
  const [ann, ben] = [await node('ann', ['tcp']), await node('ben', ['tcp'])]
  const { ticket } = await ann.invites.create({})
  await ben.join(ticket)
  for (const mesh of [ann, ben]) {
    mesh.handleLean('test/pong/1', (stream) => {
      stream.onData = (data, start, end) => {
        stream.write(Buffer.from(data.subarray(start, end)))
        stream.consume(end - start)
      }
    })
  }
  const stream = await ben.openLean(ann.did, 'test/pong/1')
  let answered: () => void = () => undefined
  stream.onData = (_data, start, end) => {
    stream.consume(end - start)
    answered()
  }
  const polls = async (): Promise<number> => {
    let count = 0
    const { setImmediate: real } = globalThis
    const counting = t.mock.method(globalThis, 'setImmediate', (run: () => void) => {
      if (run.name === '#turn') count++
      return real(run)
    })
    for (let i = 0; i < 300; i++) {
      await new Promise<void>((resolve) => {
        answered = resolve
        stream.write(Buffer.from('ping'))
      })
    }
    counting.mock.restore()
    return count
  }
  assert.equal(await polls(), 0)
  for (const mesh of [ann, ben]) mesh.reload({ pollUs: 1_000 })
  assert.ok((await polls()) > 0)
  for (const mesh of [ann, ben]) mesh.reload({ pollUs: 0 })
  assert.equal(await polls(), 0)
  assert.throws(() => ann.reload({ pollUs: 1_001 }), TypeError)
  await ann.close()
  await ben.close()
})
