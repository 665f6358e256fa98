import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { KithError } from '../../src/core/errors.ts'
import type { Channel, LinkStream } from '../../src/transport/types.ts'
import { channels, closing, connections, echo, failure, fill, hasCode, nextStream, readAll, type Setup, streamPair, within } from './support.ts'

const CODE = new KithError('PROTOCOL_UNKNOWN').number
const MIB = 1024 * 1024

/**
 * What every transport must do, run for each of them. `module` exports `setup`; a child process imports it to show that nothing keeps a process alive.
 */
export function transportCompliance(name: string, setup: Setup, module: URL): void {
  describe(`${name}: channels`, () => channelTests(setup))
  describe(`${name}: streams`, () => streamTests(setup))
  describe(`${name}: connections`, () => connectionTests(setup))
  test(`${name}: everything closed, the process exits by itself`, async () => {
    const child = spawn(process.execPath, [...process.execArgv, fileURLToPath(new URL('./exit-child.ts', import.meta.url)), module.href], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let said = ''
    child.stderr.on('data', (chunk) => {
      said += chunk
    })
    const [code, signal] = (await within('the exit of the process', once(child, 'exit')).catch((error) => {
      child.kill('SIGKILL')
      throw new Error(said, { cause: error })
    })) as [number | null, string | null]
    assert.deepEqual({ code, signal, said }, { code: 0, signal: null, said: '' })
  })
}

function channelTests(setup: Setup): void {
  test('a dial that expects another key, refused before anything is handed out', async (t) => {
    const scene = await setup()
    t.after(() => scene.close())
    const heard: Channel[] = []
    const server = await scene.listener.transport.listen(scene.address, (channel) => heard.push(channel))
    t.after(() => server.close())
    const dial = scene.dialer.transport.dial(server.addresses[0] as string, { expect: scene.stranger, signal: AbortSignal.timeout(10_000) })
    await assert.rejects(within('the refusal', dial), hasCode('WRONG_KEY', 'HANDSHAKE_FAILED'))
    for (const channel of heard) await assert.rejects(within('the end', channel.receive()), hasCode('LINK_LOST', 'CLOSED', 'STREAM_CORRUPT', 'LINK_PQ_FAILED'))
  })

  test('a channel, both ends see each other’s key and their role', async (t) => {
    const { near, far, dialer, listener } = await channels(t, setup)
    assert.deepEqual([near.role, far.role], ['dialer', 'listener'])
    assert.deepEqual([near.localKey, near.remoteKey], [dialer.key, listener.key])
    assert.deepEqual([far.localKey, far.remoteKey], [listener.key, dialer.key])
    assert.equal(near.path.scheme, dialer.transport.scheme)
    assert.equal(near.postQuantum, far.postQuantum)
  })

  test('a channel binding, known after the first message and the same at both ends', async (t) => {
    const { near, far } = await channels(t, setup)
    assert.throws(() => far.channelBinding, TypeError)
    near.send(Buffer.from('1'))
    await within('a message', far.receive())
    far.send(Buffer.from('2'))
    await within('a message', near.receive())
    assert.deepEqual(near.channelBinding, far.channelBinding)
  })

  test('messages, kept whole and in order', async (t) => {
    const { near, far } = await channels(t, setup)
    const sent = [0, 1, 100, 30_000, 3].map((length) => randomBytes(length))
    for (const message of sent) near.send(message)
    for (const message of sent) assert.ok(message.equals(await within('a message', far.receive())))
    assert.throws(() => near.send(Buffer.alloc(65_537)), hasCode('MESSAGE_TOO_LARGE'))
  })

  test('a message sent right before close, arrives', async (t) => {
    const { near, far } = await channels(t, setup)
    near.send(Buffer.from('hello'))
    await within('a message', far.receive())
    far.send(Buffer.from('no'))
    far.close()
    assert.equal(Buffer.from(await within('the last message', near.receive())).toString(), 'no')
    await assert.rejects(within('the end', near.receive()), hasCode('LINK_LOST', 'CLOSED'))
    assert.throws(() => far.send(Buffer.from('late')), hasCode('CLOSED'))
  })

  test('a receive that is aborted, gives up at once and loses nothing', async (t) => {
    const { near, far } = await channels(t, setup)
    const given = new AbortController()
    const waiting = far.receive({ signal: given.signal })
    given.abort(new Error('enough'))
    await assert.rejects(waiting, { message: 'enough' })
    near.send(Buffer.from('still here'))
    assert.equal(Buffer.from(await within('a message', far.receive())).toString(), 'still here')
  })

  test('a dial aborted before it starts and at every turn of it, frees the caller at once', async (t) => {
    const scene = await setup()
    t.after(() => scene.close())
    const server = await scene.listener.transport.listen(scene.address, (channel) => channel.close())
    t.after(() => server.close())
    const address = server.addresses[0] as string
    for (let turns = 0; turns < 40; turns++) {
      const given = new AbortController()
      const reason = new Error(`aborted after ${turns}`)
      if (turns === 0) given.abort(reason)
      const dial = scene.dialer.transport.dial(address, { expect: scene.listener.key, signal: given.signal })
      const outcome = dial.then(
        (channel) => channel.close(),
        (error) => error,
      )
      for (let turn = 1; turn < turns; turn++) await new Promise(setImmediate)
      given.abort(reason)
      const error = await within('the aborted dial', outcome)
      if (error !== undefined) assert.equal(error, reason)
    }
  })

  test('addresses that make no sense or are taken, refused with their code', async (t) => {
    const scene = await setup()
    t.after(() => scene.close())
    const { transport } = scene.listener
    for (const address of ['', 'nonsense', 'https://example.org', `${transport.scheme}://`]) {
      await assert.rejects(
        transport.listen(address, () => {}),
        hasCode('ADDRESS_INVALID'),
      )
      await assert.rejects(scene.dialer.transport.dial(address, { expect: scene.listener.key, signal: AbortSignal.timeout(5_000) }), hasCode('ADDRESS_INVALID'))
    }
    const server = await transport.listen(scene.address, () => {})
    t.after(() => server.close())
    await assert.rejects(
      transport.listen(server.addresses[0] as string, () => {}),
      hasCode('ADDRESS_IN_USE'),
    )
  })

  test('a listener that was closed, takes no more dials and leaves its channels alone', async (t) => {
    const { near, far, server, dialer, listener } = await channels(t, setup)
    await within('close', server.close())
    await server.close()
    // Where the dialer's handshake ends first, its channel ends at once.
    const again = dialer.transport.dial(server.addresses[0] as string, { expect: listener.key, signal: AbortSignal.timeout(12_000) })
    const outcome = again.then((channel) => channel.receive())
    await assert.rejects(outcome, hasCode('ADDRESS_UNREACHABLE', 'HANDSHAKE_FAILED', 'HANDSHAKE_TIMEOUT', 'LINK_LOST'))
    near.send(Buffer.from('alive'))
    assert.equal(Buffer.from(await within('a message', far.receive())).toString(), 'alive')
  })

  test('a source that is not admitted, closed without a channel', async (t) => {
    const scene = await setup()
    t.after(() => scene.close())
    let asked = 0
    const server = await scene.listener.transport.listen(scene.address, (channel) => channel.close(), {
      admit: (source) => {
        assert.equal(source.scheme, scene.listener.transport.scheme)
        asked++
        return undefined
      },
    })
    t.after(() => server.close())
    const dial = scene.dialer.transport.dial(server.addresses[0] as string, { expect: scene.listener.key, signal: AbortSignal.timeout(10_000) })
    const channel = await dial.catch((error: unknown) => {
      hasCode('HANDSHAKE_FAILED', 'ADDRESS_UNREACHABLE')(error)
      return undefined
    })
    if (channel !== undefined) await assert.rejects(within('the end', channel.receive()), hasCode('LINK_LOST', 'CLOSED'))
    assert.equal(asked, 1)
  })
}

function streamTests(setup: Setup): void {
  test('half-close, the other direction goes on', async (t) => {
    const { a, b } = await connections(t, setup)
    const [near, far] = await streamPair(a, b)
    const question = readAll(far)
    near.write(Buffer.from('question'))
    near.end()
    assert.equal((await question).toString(), 'question')
    const answer = readAll(near)
    const closed = Promise.all([closing(near), closing(far)])
    far.write(Buffer.from('answer'))
    far.end()
    assert.equal((await answer).toString(), 'answer')
    await closed
  })

  for (const from of ['dialer', 'listener'] as const) {
    test(`reset by the ${from}, both directions end with its number`, async (t) => {
      const { a, b } = await connections(t, setup)
      const [near, far] = await streamPair(a, b)
      const [mine, other] = from === 'dialer' ? [near, far] : [far, near]
      other.onData = () => {}
      const failed = failure(other)
      const closed = Promise.all([closing(mine), closing(other)])
      mine.reset(CODE)
      const { error, direction } = await failed
      assert.deepEqual([error.code, error.remote, direction], ['PROTOCOL_UNKNOWN', true, 'both'])
      await closed
    })

    test(`reset by the ${from} while both ends’ writes are blocked, frees both`, async (t) => {
      const { a, b } = await connections(t, setup)
      const [near, far] = await streamPair(a, b)
      const [mine, other] = from === 'dialer' ? [near, far] : [far, near]
      near.onData = () => {}
      far.onData = () => {}
      await blocked(near)
      await blocked(far)
      const failed = failure(other)
      const closed = Promise.all([closing(mine), closing(other)])
      mine.reset(CODE)
      assert.equal((await failed).error.code, 'PROTOCOL_UNKNOWN')
      await closed
    })

    test(`stop by the ${from}, the other side’s writing ends with the number and its reading goes on`, async (t) => {
      const { a, b } = await connections(t, setup)
      const [near, far] = await streamPair(a, b)
      const [mine, other] = from === 'dialer' ? [near, far] : [far, near]
      mine.onData = () => {}
      await blocked(other)
      const failed = failure(other)
      mine.stop(CODE)
      const { error, direction } = await failed
      assert.deepEqual([error.code, error.remote, direction], ['PROTOCOL_UNKNOWN', true, 'write'])
      const closed = Promise.all([closing(mine), closing(other)])
      const received = readAll(other)
      mine.write(Buffer.alloc(300_000, 7))
      mine.end()
      assert.equal((await received).length, 300_000)
      await closed
    })
  }

  test('a peer that does not read, bounds what is sent, and everything arrives when it does', async (t) => {
    const { a, b } = await connections(t, setup)
    const [near, far] = await streamPair(a, b)
    const parts: Buffer[] = []
    let held = 0
    far.onData = (data, start, end) => {
      parts.push(Buffer.from(data.subarray(start, end)))
      held += end - start
    }
    const written = await blocked(near)
    assert.ok(written < 8 * MIB, `${written} bytes went out without credit`)
    near.end()
    const ended = new Promise<void>((resolve) => {
      far.onEnd = resolve
    })
    far.onData = (data, start, end) => {
      parts.push(Buffer.from(data.subarray(start, end)))
      far.consume(end - start)
    }
    far.consume(held)
    await within('the rest', ended)
    assert.equal(Buffer.concat(parts).length, written)
  })

  test('1 MiB of random bytes both ways at once, unchanged', async (t) => {
    const { a, b } = await connections(t, setup)
    const inbound = nextStream(b)
    const near = (await a.open()).toDuplex()
    const [there, back] = [randomBytes(MIB), randomBytes(MIB)]
    near.end(there)
    const far = (await inbound).toDuplex()
    far.end(back)
    const [gotThere, gotBack] = await within('both', Promise.all([digest(far), digest(near)]))
    assert.equal(gotThere, createHash('sha256').update(there).digest('hex'))
    assert.equal(gotBack, createHash('sha256').update(back).digest('hex'))
  })

  test('20,000 small messages on one stream, echoed in order', async (t) => {
    const { a, b } = await connections(t, setup)
    b.onStream = echo
    const stream = await a.open()
    const hash = createHash('sha256')
    const returned = createHash('sha256')
    let left = 0
    const done = new Promise<void>((resolve) => {
      stream.onEnd = resolve
      stream.onData = (data, start, end) => {
        returned.update(data.subarray(start, end))
        left -= end - start
        stream.consume(end - start)
      }
    })
    for (let index = 0; index < 20_000; index++) {
      const message = Buffer.alloc(20 + (index % 180), index)
      hash.update(message)
      left += message.length
      if (!stream.write(message)) await within('drain', new Promise<void>((resolve) => (stream.onDrain = resolve)))
    }
    stream.end()
    await within('the echo', done)
    assert.equal(left, 0)
    assert.equal(returned.digest('hex'), hash.digest('hex'))
  })

  test('10,000 streams, a hundred at a time, each echoed whole', async (t) => {
    const { a, b } = await connections(t, setup)
    b.onStream = echo
    let opened = 0
    const worker = async (): Promise<void> => {
      while (opened < 10_000) {
        opened++
        const stream = await a.open()
        const message = Buffer.from(`stream ${opened}`)
        const answer = new Promise<string>((resolve, reject) => {
          let text = ''
          stream.onError = reject
          stream.onEnd = () => resolve(text)
          stream.onData = (data, start, end) => {
            text += data.toString('utf8', start, end)
            stream.consume(end - start)
          }
        })
        stream.write(message)
        stream.end()
        assert.equal(await answer, message.toString())
      }
    }
    await within('all streams', Promise.all(Array.from({ length: 100 }, worker)), 30_000)
    assert.equal(opened >= 10_000, true)
    await within('an empty connection', emptied(a))
  })

  test('a Duplex destroyed with an error, resets with its number; the other one fails with its code', async (t) => {
    const { a, b } = await connections(t, setup)
    const [near, far] = await streamPair(a, b)
    const [mine, other] = [near.toDuplex(), far.toDuplex()]
    const failed = once(other, 'error')
    mine.destroy(new KithError('POLICY_DENIED'))
    hasCode('POLICY_DENIED')((await within('the error', failed))[0])
    assert.equal(other.destroyed, true)
  })

  test('a Duplex echoing through pipeline, everything returns and both ends close', async (t) => {
    const { a, b } = await connections(t, setup)
    const served = nextStream(b).then((stream) => {
      const duplex = stream.toDuplex()
      return pipeline(duplex, duplex)
    })
    const duplex = (await a.open()).toDuplex()
    const sent = randomBytes(700_001)
    duplex.end(sent)
    const parts: Buffer[] = []
    for await (const chunk of duplex) parts.push(chunk)
    assert.ok(Buffer.concat(parts).equals(sent))
    await within('the server’s pipeline', served)
  })
}

function connectionTests(setup: Setup): void {
  test('more streams than the peer allows, wait instead of failing', async (t) => {
    const { a, b } = await connections(t, setup)
    b.onStream = echo
    const open: LinkStream[] = []
    for (let index = 0; index < 100; index++) {
      const stream = await within('open', a.open())
      stream.write(Buffer.from('x'))
      open.push(stream)
    }
    const given = new AbortController()
    const aborted = a.open({ signal: given.signal })
    let more: LinkStream | undefined
    const waiting = a.open().then((stream) => {
      more = stream
      return stream
    })
    await a.ping()
    assert.equal(more, undefined)
    given.abort(new Error('enough'))
    await assert.rejects(aborted, { message: 'enough' })
    for (const stream of open.slice(0, 26)) {
      readAll(stream).catch(() => {})
      stream.end()
    }
    const stream = await within('the waiting stream', waiting)
    stream.reset(0)
  })

  test('close with a number, both ends learn it and streams end', async (t) => {
    const { a, b } = await connections(t, setup)
    const [near, far] = await streamPair(a, b)
    const failed = Promise.all([failure(near), failure(far)])
    await within('close', a.close(CODE, 'no such thing'))
    const [here, there] = await within('closed', Promise.all([a.closed, b.closed]))
    assert.deepEqual([here.error?.code, here.remote], ['PROTOCOL_UNKNOWN', false])
    assert.deepEqual([there.error?.code, there.remote], ['PROTOCOL_UNKNOWN', true])
    await failed
    await assert.rejects(a.open(), hasCode('LINK_CLOSED'))
    await assert.rejects(b.open(), hasCode('LINK_CLOSED'))
    await assert.rejects(b.ping(), hasCode('LINK_CLOSED', 'LINK_LOST'))
  })

  for (const from of ['dialer', 'listener'] as const) {
    test(`a clean close by the ${from}, no error at either end`, async (t) => {
      const { a, b } = await connections(t, setup)
      const closing = from === 'dialer' ? a : b
      await within('close', closing.close())
      await within('a second close', closing.close())
      const infos = await within('closed', Promise.all([a.closed, b.closed]))
      assert.deepEqual(
        infos.map((info) => info.error),
        [null, null],
      )
    })
  }

  test('both ends closing at once, both end', async (t) => {
    const { a, b } = await connections(t, setup)
    await within('both closes', Promise.all([a.close(), b.close()]))
    const infos = await Promise.all([a.closed, b.closed])
    assert.deepEqual(
      infos.map((info) => info.error),
      [null, null],
    )
  })

  test('a connection that is broken, reported as LINK_LOST at both ends', async (t) => {
    const scene = await connections(t, setup)
    if (scene.lose === undefined) return t.skip('nothing can come between')
    const { a, b } = scene
    const [near, far] = await streamPair(a, b)
    const failed = Promise.all([failure(near), failure(far)])
    scene.lose()
    const infos = await within('closed', Promise.all([a.closed, b.closed]))
    assert.deepEqual(
      infos.map((info) => info.error?.code),
      ['LINK_LOST', 'LINK_LOST'],
    )
    assert.deepEqual(
      (await failed).map(({ error, direction }) => [error.code, direction]),
      [
        ['LINK_LOST', 'both'],
        ['LINK_LOST', 'both'],
      ],
    )
    await assert.rejects(a.open(), hasCode('LINK_LOST'))
  })

  test('ping, answered in both directions', async (t) => {
    const { a, b } = await connections(t, setup)
    assert.ok((await within('a ping', a.ping())) >= 0)
    assert.ok((await within('a ping', b.ping())) >= 0)
    await assert.rejects(a.ping({ signal: AbortSignal.abort(new Error('enough')) }), { message: 'enough' })
  })

  test('drain, running streams go on and no new ones are opened', async (t) => {
    const { a, b } = await connections(t, setup)
    const [near, far] = await streamPair(a, b)
    a.drain()
    await assert.rejects(a.open(), hasCode('GOING_AWAY'))
    await within('a ping behind it', a.ping())
    await assert.rejects(b.open(), hasCode('GOING_AWAY'))
    const received = readAll(far)
    near.write(Buffer.alloc(100_000, 1))
    near.end()
    assert.equal((await received).length, 100_000)
    const answer = readAll(near)
    far.end()
    await answer
    await within('close', a.close())
  })

  test('totals, count the payload of both directions', async (t) => {
    const { a, b } = await connections(t, setup)
    const [near, far] = await streamPair(a, b, 'first')
    const received = readAll(far)
    near.write(Buffer.alloc(50_000))
    near.end()
    await received
    assert.ok(a.bytesOut >= 50_005 && b.bytesIn >= 50_005)
    assert.equal(a.streamCount, 1)
    assert.equal(b.streamCount, 1)
  })

  test('a stream that arrives before anybody listens, kept with its data', async (t) => {
    const { a, b } = await connections(t, setup)
    const stream = await a.open()
    stream.write(Buffer.from('early'))
    stream.end()
    await a.ping()
    const far = await nextStream(b)
    await a.ping()
    assert.equal((await readAll(far)).toString(), 'early')
  })
}

/** Writes until nothing moves any more: the peer gives no credit. The number of bytes written. */
async function blocked(stream: LinkStream): Promise<number> {
  let written = fill(stream, 64 * MIB)
  for (let quiet = 0; quiet < 20; quiet++) {
    let drained = false
    stream.onDrain = () => {
      drained = true
    }
    await stream.connection.ping()
    if (drained) {
      written += fill(stream, 64 * MIB)
      quiet = 0
    }
  }
  return written
}

async function emptied(connection: { readonly streamCount: number }): Promise<void> {
  while (connection.streamCount > 0) await new Promise(setImmediate)
}

/** By events: iterating would destroy the writing half with the reading one. */
async function digest(duplex: Duplex): Promise<string> {
  const hash = createHash('sha256')
  duplex.on('data', (chunk) => hash.update(chunk))
  await once(duplex, 'end')
  return hash.digest('hex')
}
