import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { describe, type TestContext, test } from 'node:test'
import { KithError } from '../../src/core/errors.ts'
import type { Connection, LinkStream } from '../../src/transport/types.ts'
import { muxAndDuplex } from './mux-support.ts'
import { closing, echo, failure, hasCode, nextStream, readAll, within } from './support.ts'
import { type YamuxMuxer, type YamuxStream, yamuxOver } from './yamux-peer.mjs'

for (const role of ['dialer', 'listener'] as const) describe(`mux as ${role} against @chainsafe/libp2p-yamux`, () => interop(role))

function interop(role: 'dialer' | 'listener'): void {
  const pair = (t: TestContext): { ours: Connection; theirs: YamuxMuxer; duplex: Duplex } => {
    const { mux, duplex } = muxAndDuplex(t, role)
    return { ours: mux, duplex, theirs: yamuxOver(duplex, role === 'dialer' ? 'listener' : 'dialer') }
  }

  test('100 streams opened by us at once, all echoed whole', async (t) => {
    const { ours, theirs } = pair(t)
    theirs.addEventListener('stream', ({ detail }) => void echoBack(detail))
    const one = async (index: number): Promise<void> => {
      const stream = await ours.open()
      const sent = randomBytes(1000 + index * 997)
      const answer = readAll(stream)
      stream.write(sent)
      stream.end()
      assert.ok((await answer).equals(sent))
    }
    await within('all streams', Promise.all(Array.from({ length: 100 }, (_, index) => one(index))))
    assert.equal(ours.streamCount, 0)
  })

  test('100 streams opened by the peer at once, all echoed whole', async (t) => {
    const { ours, theirs } = pair(t)
    ours.onStream = echo
    const one = async (index: number): Promise<void> => {
      const stream = await theirs.createStream()
      const sent = randomBytes(1000 + index * 997)
      const answer = readBack(stream)
      stream.send(sent)
      await stream.close()
      assert.ok((await answer).equals(sent))
    }
    await within('all streams', Promise.all(Array.from({ length: 100 }, (_, index) => one(index))))
    assert.equal(ours.streamCount, 0)
  })

  test('3 MiB both ways on one stream, through both windows', async (t) => {
    const { ours, theirs } = pair(t)
    theirs.addEventListener('stream', ({ detail }) => void echoBack(detail))
    const stream = (await ours.open()).toDuplex()
    const sent = randomBytes(3 * 1024 * 1024)
    stream.end(sent)
    const parts: Buffer[] = []
    for await (const part of stream) parts.push(part)
    assert.ok(Buffer.concat(parts).equals(sent))
  })

  test('our half-close, seen as the end while the peer writes on', async (t) => {
    const { ours, theirs } = pair(t)
    theirs.addEventListener('stream', async ({ detail }) => {
      const question = await readBack(detail)
      detail.send(Buffer.from(`${question}, answered`))
      await detail.close()
    })
    const stream = await ours.open()
    const answer = readAll(stream)
    stream.write(Buffer.from('question'))
    stream.end()
    assert.equal((await answer).toString(), 'question, answered')
  })

  test('the peer’s half-close, seen as the end while we write on', async (t) => {
    const { ours, theirs } = pair(t)
    const inbound = nextStream(ours)
    const peer = await theirs.createStream()
    peer.send(Buffer.from('question'))
    await peer.close()
    const stream = await inbound
    assert.equal((await readAll(stream)).toString(), 'question')
    const answer = readBack(peer)
    stream.write(Buffer.from('answer'))
    stream.end()
    assert.equal((await within('the answer', answer)).toString(), 'answer')
  })

  test('our reset with a number, ends the peer’s stream and nothing else', async (t) => {
    const { ours, theirs } = pair(t)
    const inbound = new Promise<YamuxStream>((resolve) => theirs.addEventListener('stream', ({ detail }) => resolve(detail)))
    const stream = await ours.open()
    stream.write(Buffer.from('x'))
    const peer = await within('the peer’s stream', inbound)
    const ended = new Promise<Error | undefined>((resolve) => peer.addEventListener('close', (event) => resolve(event.error)))
    stream.reset(new KithError('POLICY_DENIED').number)
    assert.equal((await within('the peer’s close', ended))?.name, 'StreamResetError')
    assert.ok((await within('a ping', theirs.ping())) >= 0)
  })

  test('the peer’s reset, reported as STREAM_RESET', async (t) => {
    const { ours, theirs } = pair(t)
    const inbound = nextStream(ours)
    const peer = await theirs.createStream()
    peer.send(Buffer.from('x'))
    const stream: LinkStream = await inbound
    const failed = failure(stream)
    const closed = closing(stream)
    peer.abort(new Error('enough'))
    const { error, direction } = await failed
    assert.deepEqual([error.code, error.remote, direction], ['STREAM_RESET', true, 'both'])
    await closed
    assert.ok((await within('a ping', ours.ping())) >= 0)
  })

  test('our stop, taken for credit by the peer, whose bytes are thrown away', async (t) => {
    const { ours, theirs } = pair(t)
    const inbound = nextStream(ours)
    const peer = await theirs.createStream()
    peer.send(Buffer.from('x'))
    const stream = await inbound
    stream.stop(7)
    const answer = readBack(peer)
    const sent = Buffer.alloc(2_000_000)
    for (let at = 0; at < sent.length; at += 50_000) if (!peer.send(sent.subarray(at, at + 50_000))) await within('drain', peer.onDrain())
    await within('the peer’s end', peer.close())
    stream.write(Buffer.from('thanks'))
    stream.end()
    assert.equal((await within('the answer', answer)).toString(), 'thanks')
  })

  test('pings, answered both ways', async (t) => {
    const { ours, theirs } = pair(t)
    assert.ok((await within('our ping', ours.ping())) >= 0)
    assert.ok((await within('its ping', theirs.ping())) >= 0)
  })

  test('our close, ends the peer’s muxer', async (t) => {
    const { ours, theirs } = pair(t)
    theirs.addEventListener('stream', ({ detail }) => void echoBack(detail))
    const stream = await ours.open()
    stream.write(Buffer.from('x'))
    await ours.ping()
    await within('close', ours.close())
    assert.deepEqual(await ours.closed, { error: null, remote: false })
  })

  test('the peer’s close, reported without an error', async (t) => {
    const { ours, theirs, duplex } = pair(t)
    await ours.ping()
    await within('the peer’s close', theirs.close())
    await ours.ping().catch(() => {})
    await assert.rejects(ours.open(), hasCode('GOING_AWAY'))
    duplex.end()
    assert.deepEqual(await within('closed', ours.closed), { error: null, remote: true })
  })
}

async function echoBack(stream: YamuxStream): Promise<void> {
  for await (const part of stream) if (!stream.send(part.subarray())) await stream.onDrain()
  await stream.close()
}

async function readBack(stream: YamuxStream): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of stream) parts.push(part.subarray())
  return Buffer.concat(parts)
}
