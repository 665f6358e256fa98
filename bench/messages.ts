/** Signed messages from the wire to a handler and back, against the bare signatures they need: one thread, no sockets. */
import { randomBytes } from 'node:crypto'
import type { Suite } from '../src/mesh/messages/types.ts'
import type { BenchRow, BenchSample } from './harness.ts'
import { BareHybrid, BareKeys, NodeKeys, type Signatures } from './support/bare-signatures.ts'
import { type Load, MessageEnds } from './support/message-ends.ts'
import { byTurns, timed, timedAsync } from './support/turns.ts'

const PAYLOAD_BYTES = 256
/** As many records at once as one link may have waiting. */
const AT_ONCE = 500

let started: Promise<MessageEnds> | undefined

function ends(): Promise<MessageEnds> {
  started ??= MessageEnds.start()
  return started
}

/** Messages of one turn: a tenth of a second or so. */
function bodies(suite: Suite): Uint8Array[] {
  return Array.from({ length: suite === 'hybrid' ? 250 : 2_000 }, () => Uint8Array.from(randomBytes(PAYLOAD_BYTES)))
}

const turns = (quick: boolean): number => (quick ? 3 : 10)

type Work = (near: MessageEnds, payloads: readonly Uint8Array[]) => Promise<number>
/** Signs beforehand, so that what is left over from that is not cleared away on the time of the checks; then each call takes one round of it. */
type Prepared = (near: MessageEnds, payloads: readonly Uint8Array[], rounds: number) => Promise<() => Promise<number>>

async function verifying(suite: Suite, peer: Signatures, quick: boolean, prepare: Prepared): Promise<BenchSample> {
  const near = await ends()
  const payloads = bodies(suite)
  const signed = payloads.map((payload) => ({ payload, signature: peer.sign(payload) }))
  const bare = (): void => {
    for (const { payload, signature } of signed) if (!peer.verify(payload, signature)) throw new Error('the signature does not verify')
  }
  const work = await prepare(near, payloads, turns(quick) + 1)
  return await byTurns(turns(quick), payloads.length, work, () => timed(bare))
}

async function signing(suite: Suite, peer: Signatures, quick: boolean, work: Work): Promise<BenchSample> {
  const near = await ends()
  const payloads = bodies(suite)
  const bare = (): void => {
    for (const payload of payloads) peer.sign(payload)
  }
  return await byTurns(
    turns(quick),
    payloads.length,
    () => work(near, payloads),
    () => timed(bare),
  )
}

const deliver =
  (suite: Suite): Prepared =>
  async (near, payloads, rounds) => {
    const loads: Load[] = []
    while (loads.length < rounds) loads.push(await near.send(payloads, suite))
    return () => timedAsync(() => (loads.pop() as Load).deliver())
  }

const check: Prepared = async (near, payloads, rounds) => {
  const signed = Array.from({ length: rounds }, () => payloads.map((payload) => near.sign(payload, 'ed25519')))
  return () => {
    const records = signed.pop() as Uint8Array[]
    return timedAsync(async () => {
      for (let at = 0; at < records.length; at += AT_ONCE) await Promise.all(records.slice(at, at + AT_ONCE).map((record) => near.verify(record, 'ed25519')))
    })
  }
}

const sign =
  (suite: Suite): Work =>
  async (near, payloads) =>
    timed(() => {
      for (const payload of payloads) near.sign(payload, suite)
    })

const send: Work = (near, payloads) => timedAsync(() => near.send(payloads, 'ed25519'))

const SODIUM = 'sodium-native Ed25519 alone'
const NODE = 'node:crypto Ed25519 alone'
const BOTH = 'sodium-native + node:crypto ML-DSA alone'

export const rows: readonly BenchRow[] = [
  {
    name: 'messages: verify, check, deliver live ones of 256 bytes',
    unit: '/s',
    peer: `${SODIUM}, verify`,
    better: 'higher',
    goal: 0.8,
    measure: ({ quick }) => verifying('ed25519', new BareKeys(), quick, deliver('ed25519')),
  },
  {
    name: 'messages: verify, check, deliver live ones of 256 bytes',
    unit: '/s',
    peer: `${NODE}, verify`,
    better: 'higher',
    goal: 1.5,
    measure: ({ quick }) => verifying('ed25519', new NodeKeys(), quick, deliver('ed25519')),
  },
  {
    name: 'messages: verify records of 256 bytes',
    unit: '/s',
    peer: `${SODIUM}, verify`,
    better: 'higher',
    goal: 0.8,
    measure: ({ quick }) => verifying('ed25519', new BareKeys(), quick, check),
  },
  {
    name: 'messages: sign and encode records of 256 bytes',
    unit: '/s',
    peer: `${SODIUM}, sign`,
    better: 'higher',
    goal: 0.7,
    measure: ({ quick }) => signing('ed25519', new BareKeys(), quick, sign('ed25519')),
  },
  {
    name: 'messages: sign, encode, frame live ones of 256 bytes',
    unit: '/s',
    peer: `${SODIUM}, sign`,
    better: 'higher',
    goal: 0.7,
    measure: ({ quick }) => signing('ed25519', new BareKeys(), quick, send),
  },
  {
    name: 'messages: verify, check, deliver hybrid live ones',
    unit: '/s',
    peer: `${BOTH}, verify`,
    better: 'higher',
    goal: 0.85,
    measure: ({ quick }) => verifying('hybrid', new BareHybrid(), quick, deliver('hybrid')),
  },
  {
    name: 'messages: sign and encode hybrid records',
    unit: '/s',
    peer: `${BOTH}, sign`,
    better: 'higher',
    goal: 0.85,
    measure: ({ quick }) => signing('hybrid', new BareHybrid(), quick, sign('hybrid')),
  },
]
