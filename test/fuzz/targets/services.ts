import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import fc from 'fast-check'
import { type PublicKey, toHex, utf8 } from '../../../src/core/bytes.ts'
import { type Clock, systemClock } from '../../../src/core/clock.ts'
import { encode } from '../../../src/core/codec.ts'
import { sha256 } from '../../../src/core/crypto/hash.ts'
import { codeOfNumber, KithError } from '../../../src/core/errors.ts'
import { manualClock } from '../../../src/core/manual-clock.ts'
import { silentLogger } from '../../../src/core/observe/log.ts'
import { type FileBlobs, holderTag } from '../../../src/files/blobs.ts'
import { alternatives, checkName } from '../../../src/files/names.ts'
import { receiveFile } from '../../../src/files/receive.ts'
import { type SendComponents, sendFile } from '../../../src/files/send.ts'
import { at, begin, chunkHeader, done, fetch, offer, resume, share, sharedOffer, stored, WAIT } from '../../../src/files/wire.ts'
import type { Did } from '../../../src/identity/did.ts'
import type { Policy, StreamContext } from '../../../src/mesh/types.ts'
import { createExit } from '../../../src/tunnel/exit.ts'
import { formatTarget, parseTarget, socketPath } from '../../../src/tunnel/target.ts'
import { encodeRequest, type ForwardRequest, takeRequest } from '../../../src/tunnel/wire.ts'
import { ONE_OF_EACH } from '../../support/policy.ts'
import { settledWithin, turns } from '../conversation.ts'
import { FakeStream } from '../fake-stream.ts'
import type { FuzzTarget } from '../mutate.ts'

const PEER = 'did:icn:zFuzz' as Did

// ---- forwards

const requests = [
  encodeRequest({ kind: 'connect', host: 'localhost', port: 5432 }),
  encodeRequest({ kind: 'check', host: '::1', port: 1 }),
  encodeRequest({ kind: 'dial', host: 'unix:/run/postgresql/.s.PGSQL.5432', port: 0 }),
  encodeRequest({ kind: 'datagrams', host: '', port: 0 }),
  encodeRequest({ kind: 'connect', host: `${'a'.repeat(63)}.${'b'.repeat(63)}.example`, port: 65535 }),
]

const forwardRequest: FuzzTarget = {
  name: 'forward-request',
  seeds: requests,
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const taken = takeRequest(input)
    if (taken === undefined) return 'more'
    assert.deepEqual(encodeRequest(taken.request), input.slice(0, taken.rest))
    return taken.request.kind
  },
}

const forwardTarget: FuzzTarget = {
  name: 'forward-target',
  seeds: ['localhost:5432', '[::1]:22', '192.0.2.1:80', 'a.b-c.example.:1', 'unix:/run/a.sock', 'kith-control:0'].map(utf8),
  codes: ['FORWARD_TARGET'],
  tokens: ['[', ']', ':', '.', '::', '127.1', '0x7f', '%', '/', '@', ' ', '65535', '65536', '0', 'unix:', '..', '//'].map(utf8),
  arbitrary: fc
    .tuple(fc.oneof(fc.domain(), fc.ipV6(), fc.ipV4(), fc.ipV4Extended(), fc.string()), fc.nat(70_000), fc.boolean())
    .map(([host, port, brackets]) => utf8(`${brackets ? `[${host}]` : host}:${port}`)),
  run(input) {
    const target = parseTarget(Buffer.from(input).toString('utf8'))
    assert.deepEqual(parseTarget(formatTarget(target)), target)
    // What may be dialled is what the policy sees: no name that a resolver would read as a number.
    assert.ok(isIP(target.host) !== 0 || socketPath(target) !== undefined || !/^[0-9.]+$|^0x/i.test(target.host))
    return isIP(target.host)
  },
}

const ALLOWED = 'check.example'
const exitPolicy: Policy = {
  decide: ({ target }) => ({ allowed: target?.startsWith(ALLOWED) === true, rule: 'fuzz', next: '' }),
  constraints: () => ONE_OF_EACH,
  classOf: () => 'known',
  scoreOf: () => 1_000,
}

function taken(bytes: Uint8Array): ForwardRequest | undefined {
  try {
    return takeRequest(bytes)?.request
  } catch {
    return undefined
  }
}

/** `u8 how | bytes of the opener` against the accepting end: nothing is dialled, and every stream ends with its code. */
const forwardExit: FuzzTarget = {
  name: 'forward-exit',
  seeds: [
    Buffer.concat([Uint8Array.of(1), requests[0] as Uint8Array, utf8('data')]),
    Buffer.concat([Uint8Array.of(0), encodeRequest({ kind: 'check', host: ALLOWED, port: 7 })]),
    Buffer.concat([Uint8Array.of(9), encodeRequest({ kind: 'connect', host: ALLOWED, port: 7 }), utf8('early')]),
  ],
  codes: [],
  async run(input) {
    const clock = manualClock()
    const exit = createExit({ policy: exitPolicy, clock, logger: silentLogger, resolve: async () => [] })
    const stream = new FakeStream()
    exit.handle(stream, { peer: PEER } as StreamContext)
    const how = input[0] ?? 0
    stream.feed(input.subarray(1), 1 + (how >> 2))
    if ((how & 1) === 1) stream.close()
    await turns(1)
    clock.advance(15_000)
    await turns(1)
    exit.close()
    assert.equal(clock.pending, 0, 'timers are left behind')
    const request = taken(input.subarray(1))
    if (request?.kind === 'datagrams' && stream.ended) return 'an association that carried nothing'
    if (stream.ended) assert.fail('a name without addresses was allowed')
    const code = codeOfNumber(stream.resetNumber as number)
    assert.ok(['WIRE_MALFORMED', 'TIMEOUT', 'FORWARD_DENIED', 'FORWARD_UNREACHABLE', 'FORWARD_NAME', 'FORWARD_IDLE', 'CLOSED'].includes(code), code)
    return code
  },
  iterations: 6_000,
}

// ---- files

const fileName: FuzzTarget = {
  name: 'file-name',
  seeds: ['report.pdf', 'ünïcödé.txt', 'a', 'x.tar.gz'].map((name) => utf8(name)),
  codes: ['FILE_NAME'],
  tokens: ['..', '/', '\\', '\0', ' ', '.', 'con', 'NUL.', '\u202e', '\u0301', ':'].map(utf8),
  arbitrary: fc.string({ unit: 'grapheme', maxLength: 130 }).map((text) => Buffer.from(text)),
  run(input) {
    const name = Buffer.from(input).toString('utf8')
    let count = 0
    for (const candidate of alternatives(checkName(name))) {
      assert.ok(!candidate.includes('/') && !candidate.includes('\\') && candidate !== '.' && candidate !== '..' && !candidate.startsWith('.'))
      assert.ok(Buffer.byteLength(candidate) <= 255)
      assert.equal(join('/inbox', candidate), `/inbox/${candidate}`)
      if (++count === 12) break
    }
  },
}

/** A stream whose other side says the input, in pieces, and then ends, resets or is silent. */
function peer(bytes: Uint8Array, how: number): { stream: Duplex; written: Buffer[] } {
  const step = 1 + (how & 0x3f) * 7
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length; at += step) pieces.push(Buffer.from(bytes.subarray(at, at + step)))
  const written: Buffer[] = []
  const stream = new Duplex({
    read() {
      const piece = pieces.shift()
      if (piece !== undefined) this.push(piece)
      else if ((how & 0x40) !== 0) this.push(null)
      else if ((how & 0x80) !== 0) this.destroy(new KithError('STREAM_RESET', undefined, { remote: true }))
    },
    write(chunk: Buffer, _encoding, next) {
      written.push(chunk)
      next()
    },
  })
  return { stream, written }
}

/** Runs a transfer to its end; silence ends it by its clock. */
async function concluded<T>(clock: ReturnType<typeof manualClock>, transfer: Promise<T>): Promise<T> {
  transfer.catch(() => {})
  // Files are read and written by threads of their own: many turns, and the clock only helps once nothing else happens.
  for (let round = 0; round < 400 && !(await settledWithin(transfer, 25)); round++) {
    await new Promise((resolve) => systemClock.after(1, () => resolve(undefined)))
    if (round % 20 === 19) clock.advance(61_000)
  }
  assert.ok(await settledWithin(transfer, 2), 'the transfer goes on without end')
  await turns(2)
  assert.equal(clock.pending, 0, 'timers are left behind')
  return await transfer
}

let folder = ''
async function openFolder(): Promise<void> {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-fuzz-files-')))
  await mkdir(join(folder, 'inbox'))
  await mkdir(join(folder, 'partials'))
  await writeFile(join(folder, 'inbox', 'there.txt'), 'there before')
  await writeFile(join(folder, 'note.txt'), SENT)
}
async function closeFolder(): Promise<void> {
  await rm(folder, { recursive: true, force: true })
}
const SENT = utf8('what is sent')
const digest = sha256(SENT)
const whole = (name: string): Uint8Array =>
  Buffer.concat([
    encode(offer, { name, size: SENT.length, fingerprint: new Uint8Array(32), resume: false }),
    encode(begin, { from: 0 }),
    encode(chunkHeader, { length: SENT.length, digest }),
    SENT,
    encode(done, { digest }),
  ])
const FILE_CODES = ['WIRE_MALFORMED', 'FILE_NAME', 'FILE_MISMATCH', 'FILE_QUOTA', 'FILE_CHANGED', 'LINK_LOST', 'STREAM_RESET', 'TIMEOUT'] as const

/** `u8 how | bytes of the sender`: what is stored is what its digests say, under a safe name, in the inbox and nowhere else. */
const fileReceiver: FuzzTarget = {
  name: 'file-receiver',
  seeds: [
    Buffer.concat([Uint8Array.of(0x4f), whole('note.txt')]),
    Buffer.concat([Uint8Array.of(0x0f), whole('there.txt')]),
    Buffer.concat([
      Uint8Array.of(0x41),
      encode(offer, { name: 'empty', size: 0, fingerprint: new Uint8Array(32), resume: true }),
      encode(begin, { from: 0 }),
      encode(done, { digest: sha256(new Uint8Array(0)) }),
    ]),
  ],
  codes: [...FILE_CODES],
  open: openFolder,
  close: closeFolder,
  async run(input) {
    const clock = manualClock()
    const { stream } = peer(input.subarray(1), input[0] ?? 0)
    stream.on('error', () => {})
    const [inbox, partials] = [join(folder, 'inbox'), join(folder, 'partials')]
    let held = 0
    const receiving = receiveFile(stream, {
      peer: PEER,
      device: new Uint8Array(32) as PublicKey,
      own: PEER,
      blobs: undefined,
      inbox,
      partials,
      clock,
      allowed: () => {},
      admit: async ({ size }) => {
        if (size > 1_000_000) throw new KithError('FILE_QUOTA')
        held++
        return { release: () => held-- }
      },
      record: async () => {},
      claim: async () => {
        held++
        return () => held--
      },
    })
    try {
      const received = await concluded(clock, receiving)
      const content = await readFile(join(inbox, received.name))
      assert.equal(toHex(sha256(content)), received.sha256)
      assert.equal(content.length, received.bytes)
      await rm(join(inbox, received.name))
      return received.name === 'note.txt' || received.name === 'empty' ? 'stored' : 'stored under another name'
    } finally {
      assert.equal(held, 0, 'room is still reserved')
      assert.deepEqual((await readdir(folder)).sort(), ['inbox', 'note.txt', 'partials'])
      assert.deepEqual(await readdir(inbox), ['there.txt'])
      assert.equal(await readFile(join(inbox, 'there.txt'), 'utf8'), 'there before')
      for (const name of await readdir(partials)) {
        assert.match(name, /^[0-9a-f]{40}\.part$/)
        await rm(join(partials, name))
      }
    }
  },
  iterations: 800,
  seconds: 8,
}

/** `u8 how | bytes of the receiver` against a sender: it succeeds only with the right digest, and the file stays as it is. */
const fileSender: FuzzTarget = {
  name: 'file-sender',
  seeds: [
    Buffer.concat([Uint8Array.of(0x4f), encode(resume, { have: 0, digest: new Uint8Array(32) }), encode(stored, { name: 'note.txt', digest })]),
    Buffer.concat([Uint8Array.of(0x41), encode(resume, { have: 0, digest: sha256(SENT) }), encode(stored, { name: 'note (1).txt', digest })]),
  ],
  codes: [...FILE_CODES],
  open: openFolder,
  close: closeFolder,
  async run(input) {
    const clock = manualClock()
    const { stream } = peer(input.subarray(1), input[0] ?? 0)
    stream.on('error', () => {})
    const result = await concluded(clock, sendFile(stream, alone(clock), { path: join(folder, 'note.txt'), resume: ((input[0] ?? 0) & 1) === 1 }))
    assert.equal(result.sha256, toHex(digest))
    assert.equal(checkName(result.name), result.name)
    return 'sent'
  },
  iterations: 800,
  seconds: 6,
}

const HOLDER = 'did:icn:zHolder' as Did
const FINGERPRINT = new Uint8Array(32).fill(5)
const GRANTED = { root: new Uint8Array(32).fill(6), size: SENT.length, sha256: digest, issuer: PEER, recipient: HOLDER, providers: [] }
const GRANT_BYTES = new Uint8Array(200).fill(8)

/** Blobs that deliver what was sent for the one grant there is. */
function fakeBlobs(): FileBlobs {
  return {
    describe: async () => ({ ...GRANTED, top: new Uint8Array(32) }),
    offer: () => ({ withdraw: () => {} }),
    provide: () => () => {},
    grant: () => GRANT_BYTES,
    readGrant: async (bytes) => {
      if (!Buffer.from(bytes).equals(GRANT_BYTES)) throw new KithError('BLOB_GRANT_INVALID')
      return GRANTED
    },
    providersOf: () => [{ peer: PEER }],
    fetch: async (_blob, sink) => {
      await sink.write(SENT, 0)
      return { bytes: SENT.length, resumed: 0, providers: 1 }
    },
    linked: () => [PEER, HOLDER],
  }
}

/** `u8 how | bytes of the sender` of a file that others have: what is stored is what was offered, or nothing is. */
const fileSharedReceiver: FuzzTarget = {
  name: 'file-shared-receiver',
  seeds: [0x4f, 0x41, 0x0f].map((how) =>
    Buffer.concat([
      Uint8Array.of(how),
      encode(sharedOffer, { name: 'note.txt', size: SENT.length, fingerprint: FINGERPRINT, resume: how === 0x41, holders: [holderTag(FINGERPRINT, HOLDER)] }),
      Uint8Array.of(WAIT),
      encode(share, { root: GRANTED.root, sha256: digest, grant: GRANT_BYTES }),
    ]),
  ),
  codes: [...FILE_CODES, 'BLOB_GRANT_INVALID'],
  open: openFolder,
  close: closeFolder,
  async run(input) {
    const clock = manualClock()
    const { stream } = peer(input.subarray(1), input[0] ?? 0)
    stream.on('error', () => {})
    const [inbox, partials] = [join(folder, 'inbox'), join(folder, 'partials')]
    const receiving = receiveFile(stream, {
      peer: PEER,
      device: new Uint8Array(32) as PublicKey,
      own: HOLDER,
      blobs: fakeBlobs(),
      inbox,
      partials,
      clock,
      allowed: () => {},
      admit: async ({ size }) => {
        if (size > 1_000_000) throw new KithError('FILE_QUOTA')
        return { release: () => {} }
      },
      record: async () => {},
      claim: async () => () => {},
    })
    try {
      const received = await concluded(clock, receiving)
      assert.equal(toHex(sha256(await readFile(join(inbox, received.name)))), received.sha256)
      await rm(join(inbox, received.name))
      return 'stored'
    } finally {
      assert.deepEqual(await readdir(inbox), ['there.txt'])
      for (const name of await readdir(partials)) await rm(join(partials, name))
    }
  },
  iterations: 600,
  seconds: 6,
}

/** `u8 how | bytes of the receiver` against a sender whose file others have too. */
const fileSharedSender: FuzzTarget = {
  name: 'file-shared-sender',
  seeds: [
    Buffer.concat([
      Uint8Array.of(0x4f),
      encode(fetch, { places: [0] }),
      encode(at, { bytes: 5, resumed: 0, peers: 1 }),
      encode(at, { bytes: SENT.length, resumed: 5, peers: 2 }),
      encode(stored, { name: 'note.txt', digest }),
    ]),
    Buffer.concat([Uint8Array.of(0x41), encode(fetch, { places: [] }), encode(stored, { name: 'note (1).txt', digest })]),
    Buffer.concat([Uint8Array.of(0x41), encode(resume, { have: 0, digest: sha256(SENT) }), encode(stored, { name: 'note (1).txt', digest })]),
  ],
  codes: [...FILE_CODES],
  open: openFolder,
  close: closeFolder,
  async run(input) {
    const clock = manualClock()
    const { stream } = peer(input.subarray(1), input[0] ?? 0)
    stream.on('error', () => {})
    const components = { ...alone(clock), blobs: fakeBlobs(), holders: async () => [{ peer: HOLDER, sha256: toHex(digest) }] }
    const result = await concluded(clock, sendFile(stream, components, { path: join(folder, 'note.txt') }))
    assert.equal(result.sha256, toHex(digest))
    assert.ok(result.resumed <= result.bytes)
    return `sent from ${Math.min(result.providers, 3)}`
  },
  iterations: 600,
  seconds: 6,
}

/** A sender whose file nobody else has. */
function alone(clock: Clock): SendComponents {
  return { peer: PEER, clock, blobs: undefined, holders: async () => [], begin: () => () => {}, delivered: async () => {} }
}

export const serviceTargets: readonly FuzzTarget[] = [
  forwardRequest,
  forwardTarget,
  forwardExit,
  fileName,
  fileReceiver,
  fileSender,
  fileSharedReceiver,
  fileSharedSender,
]
