import assert from 'node:assert/strict'
import type { PublicKey } from '../../src/core/bytes.ts'
import type { ManualClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import type { Store } from '../../src/core/store/types.ts'
import { encodeChain } from '../../src/identity/chain-codec.ts'
import type { Did } from '../../src/identity/did.ts'
import { didPublicKey } from '../../src/identity/did.ts'
import { DEFAULT_CONSTRAINTS } from '../../src/mesh/constraints.ts'
import { Directory, senderOf } from '../../src/mesh/messages/directory.ts'
import { decodeEnvelope, type Envelope, type EnvelopeFields, signEnvelope } from '../../src/mesh/messages/envelope.ts'
import { MessageTally } from '../../src/mesh/messages/messages-metrics.ts'
import { RateLimiter } from '../../src/mesh/messages/rate.ts'
import { ReplayTable } from '../../src/mesh/messages/replay-table.ts'
import { Sessions } from '../../src/mesh/messages/sessions.ts'
import { Later } from '../../src/mesh/messages/slicer.ts'
import type { DevicePapers, LiveMessage } from '../../src/mesh/messages/types.ts'
import { Verifier } from '../../src/mesh/messages/verifier.ts'
import type { BanStatus, Conduct, ConstraintSet, ViolationReport } from '../../src/mesh/types.ts'
import { NOW, type TestNode, type TestNodeOptions, testNode } from '../mesh/fixtures.ts'

/** Distributes over a union, so that one class's fields can be changed. */
type Partly<T> = T extends unknown ? Partial<T> : never

/** A conduct that remembers what was reported. */
export interface NotedConduct extends Conduct {
  readonly reports: ViolationReport[]
  ban: BanStatus | undefined
}

export function notedConduct(): NotedConduct {
  const reports: ViolationReport[] = []
  const conduct: NotedConduct = {
    reports,
    ban: undefined,
    report: (violation) => void reports.push(violation),
    banOf: () => conduct.ban,
    banOfPeer: () => conduct.ban,
    isolated: () => false,
    onChange: () => () => undefined,
  }
  return conduct
}

/** A node without a network: what arrives is handed to its verifier. */
export interface Station {
  readonly node: TestNode
  readonly clock: ManualClock
  readonly store: Store
  readonly directory: Directory
  readonly sessions: Sessions
  readonly replay: ReplayTable
  readonly rates: RateLimiter
  readonly tally: MessageTally
  readonly verifier: Verifier
  readonly conduct: NotedConduct
  /** What was seen by the watcher of live messages. */
  readonly watched: LiveMessage[]
  limits: ConstraintSet
  readonly did: Did
  readonly device: PublicKey
  papers(): DevicePapers
}

export interface StationOptions extends TestNodeOptions {
  readonly capacity?: number
  readonly keeps?: (did: Did) => boolean
}

export async function station(name: string, options: StationOptions = {}): Promise<Station> {
  const node = await testNode(name, options)
  const { clock, store, known, device } = node
  const keeps = options.keeps ?? ((): boolean => true)
  const directory = await Directory.open({ device: () => device, known, store, clock, logger: silentLogger, keeps })
  const sessions = new Sessions(clock)
  const replay = await ReplayTable.open({ store, clock, ...(options.capacity === undefined ? {} : { capacity: options.capacity }) })
  const conduct = notedConduct()
  const tally = new MessageTally()
  const watched: LiveMessage[] = []
  const state = { limits: { ...DEFAULT_CONSTRAINTS.federated } as ConstraintSet }
  const rates = new RateLimiter({ clock, constraints: () => state.limits })
  const watch = (message: LiveMessage): void => void watched.push(message)
  const own = (): Did => device.did
  const verifier = new Verifier({ own, clock, directory, sessions, replay, rates, tally, keeps, conduct, watch: () => watch })
  const { did } = device
  return Object.assign(state, {
    node,
    clock,
    store,
    directory,
    sessions,
    replay,
    rates,
    tally,
    verifier,
    conduct,
    watched,
    did,
    device: node.linkKey,
    papers: () => ({ did, binding: device.binding, chain: encodeChain(device.chain.entries) }),
  })
}

/** Envelopes of one machine for another, valid unless told otherwise. */
export function fieldsOf(from: Station, to: Station, kind: 'live' | 'stored' | 'record', changes: Partly<EnvelopeFields> = {}): EnvelopeFields {
  const common = {
    suite: 'ed25519',
    from: didPublicKey(from.did),
    device: from.device,
    timeMs: NOW,
    type: 0x0100,
    payload: new TextEncoder().encode('hello'),
  } as const
  const id = new Uint8Array(16).fill(7)
  const specific = {
    live: { class: 'live', to: didPublicKey(to.did), session: id, seq: 1 },
    stored: { class: 'stored', to: didPublicKey(to.did), msgId: id, expiresMs: NOW + 3_600_000 },
    record: { class: 'record', topic: 'test:topic', epoch: 1, seq: 1 },
  } as const
  return { ...common, ...specific[kind], ...changes } as EnvelopeFields
}

export function envelopeOf(from: Station, to: Station, kind: 'live' | 'stored' | 'record', changes: Partly<EnvelopeFields> = {}): Uint8Array {
  const { linkSigner, mldsaSigner } = from.node.device
  return signEnvelope(fieldsOf(from, to, kind, changes), { ed25519: linkSigner, mldsa: mldsaSigner })
}

export function decoded(bytes: Uint8Array): Envelope {
  return decodeEnvelope(bytes)
}

/** The outcome of a check, whether or not it had to wait. */
export async function outcome<T>(check: () => T | Promise<T> | Later<T | Promise<T>>): Promise<T> {
  const result = check()
  return result instanceof Later ? await (await result.ready)() : await result
}

/** The session of a link between the two, as `to` has it. */
export function linkTogether(from: Station, to: Station, changes: { id?: Uint8Array; offsetMs?: number } = {}): ReturnType<Sessions['open']> {
  return to.sessions.open({ id: changes.id ?? new Uint8Array(16).fill(7), did: from.did, device: from.device, offsetMs: changes.offsetMs ?? 0 })
}

/** The code of whatever this throws. */
export async function codeOf(run: () => unknown): Promise<string> {
  try {
    await run()
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
  return 'none'
}

export async function knownTo(to: Station, ...from: readonly Station[]): Promise<void> {
  for (const { papers } of from) await to.directory.learn(papers())
}

export { assert, NOW, senderOf }
