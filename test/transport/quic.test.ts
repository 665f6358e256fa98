import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KithError } from '../../src/core/errors.ts'
import { channels, connections, nextStream, readAll, side } from './quic-support.ts'

const code = (expected: string) => (error: unknown) => error instanceof KithError && error.code === expected

test('quic: a channel carries messages both ways, in order and whole', async () => {
  const { dialer, listener, close } = await channels()
  const large = Buffer.alloc(64 * 1024, 7)
  dialer.send(Buffer.from('one'))
  dialer.send(large)
  dialer.send(Buffer.alloc(0))
  assert.equal(Buffer.from(await listener.receive()).toString(), 'one')
  assert.deepEqual(Buffer.from(await listener.receive()), large)
  assert.equal((await listener.receive()).length, 0)
  listener.send(Buffer.from('two'))
  assert.equal(Buffer.from(await dialer.receive()).toString(), 'two')
  assert.deepEqual(dialer.channelBinding, { kind: 'quic' })
  assert.equal(dialer.postQuantum, false)
  assert.throws(() => dialer.send(Buffer.alloc(64 * 1024 + 1)), code('MESSAGE_TOO_LARGE'))
  dialer.close()
  await close()
})

test('quic: a message sent right before close arrives', async () => {
  const { dialer, listener, close } = await channels()
  dialer.send(Buffer.from('hello'))
  await listener.receive()
  listener.send(Buffer.alloc(60_000, 1))
  listener.send(Buffer.from('refused'))
  listener.close()
  assert.equal((await dialer.receive()).length, 60_000)
  assert.equal(Buffer.from(await dialer.receive()).toString(), 'refused')
  await assert.rejects(dialer.receive(), code('LINK_LOST'))
  await close()
})

test('quic: another key than expected is refused before a stream is opened', async () => {
  const a = side()
  const b = side()
  const c = side()
  let handed = 0
  const server = await b.transport.listen('quic://127.0.0.1:0', (channel) => {
    handed++
    channel.receive().then(
      () => assert.fail('a byte was written'),
      () => {},
    )
  })
  await assert.rejects(a.transport.dial(server.addresses[0] as string, { expect: c.key, signal: AbortSignal.timeout(5_000) }), code('WRONG_KEY'))
  assert.ok(handed <= 1)
  await server.close()
})

test('quic: streams both ways, half-close, bulk', async () => {
  const { dialer, listener, close } = await connections()
  const arrived = nextStream(listener)
  const stream = await dialer.open()
  const duplex = stream.toDuplex()
  const payload = Buffer.alloc(3_000_000, 5)
  duplex.end(payload)
  const back = await arrived
  assert.equal(back.inbound, true)
  assert.equal(back.id, stream.id)
  assert.deepEqual(await readAll(back), payload)
  back.toDuplex().end('thanks')
  const parts: Buffer[] = []
  for await (const part of duplex) parts.push(part as Buffer)
  assert.equal(Buffer.concat(parts).toString(), 'thanks')
  const inbound = nextStream(dialer)
  const other = await listener.open()
  other.write(Buffer.from('x'))
  assert.notEqual(other.id, stream.id)
  assert.equal((await inbound).id, other.id)
  await close()
})
