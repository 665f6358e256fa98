import { createHash } from 'node:crypto'
import type { PublicKey } from '../../src/core/bytes.ts'
import { type Clock, type ManualClock, manualClock } from '../../src/core/clock.ts'
import type { HybridSigner } from '../../src/core/crypto/hybrid.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { seededRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import { bindingDates, createBinding } from '../../src/identity/binding.ts'
import { adoptChain } from '../../src/identity/chain.ts'
import { createInception, createRecovery, createRotation } from '../../src/identity/chain-make.ts'
import { attestRecovery } from '../../src/identity/chain-recovery.ts'
import { deriveFromRoot, fallbackKemOf } from '../../src/identity/device.ts'
import { didPublicKey } from '../../src/identity/did.ts'
import { openKeySet, publicKeysOf, type SoftwareSeeds } from '../../src/identity/keys.ts'
import type { ChainReason, ChainState, Device, RecoveryPolicy } from '../../src/identity/types.ts'
import { HelloCache } from '../../src/mesh/hello-cache.ts'
import type { GreetContext } from '../../src/mesh/hello-types.ts'
import { type KnownKeys, openKnownKeys } from '../../src/mesh/known-keys.ts'

/** The time of all these nodes. */
export const NOW = 1_800_000_000_000

/**
 * Identities and devices of tests: the same keys in every run, no scrypt, ML-DSA only where asked for.
 * ```ts
 * const ann = await testNode('ann'); const laptop = await testNode('ann/laptop', { identity: ann.identity })
 * ```
 */
export interface TestIdentity {
  readonly name: string
  readonly mldsa: boolean
  chain: ChainState
  generation: number
}

export interface TestNode {
  readonly identity: TestIdentity
  readonly device: TestDevice
  readonly known: KnownKeys
  readonly cache: HelloCache
  readonly store: Store
  readonly clock: ManualClock
  readonly linkKey: PublicKey
  /** The seed of the link key, for transports that hold it themselves. */
  linkSeed(): Secret
  context(changes?: Partial<GreetContext>): GreetContext
}

/** A `Device` whose parts a test may replace. */
export type TestDevice = { -readonly [K in keyof Device]: Device[K] }

function seedsOf(name: string, mldsa: boolean): SoftwareSeeds {
  const seed = (kind: string): Secret => Secret.take(createHash('sha256').update(`mesh ${kind} ${name}`).digest())
  return { ed25519: seed('ed25519'), mldsa: mldsa ? seed('mldsa') : undefined }
}

export function identitySigner(identity: { name: string; mldsa: boolean }, generation: number): HybridSigner {
  return openKeySet('identity', seedsOf(`${identity.name} ${generation}`, identity.mldsa))
}

/** `generation` makes an identity of its own out of a later key of the one with this name. */
export function testIdentity(name: string, options: { mldsa?: boolean; generation?: number; policy?: RecoveryPolicy; now?: number } = {}): TestIdentity {
  const { mldsa = false, generation = 0, now = NOW - 86_400_000 } = options
  const signer = identitySigner({ name, mldsa }, generation)
  const entry = createInception({
    signer,
    next: publicKeysOf(seedsOf(`${name} ${generation + 1}`, mldsa)),
    now,
    ...(options.policy === undefined ? {} : { policy: options.policy }),
  })
  return { name, mldsa, chain: adoptChain(undefined, [entry], { now }).state, generation }
}

/** The identity goes on with its next keys; its devices keep their bindings until `certify`. `branch` promises other keys than usual: a second history. */
export function rotateIdentity(identity: TestIdentity, options: { reason?: Exclude<ChainReason, 'none'>; now?: number; branch?: string } = {}): void {
  const reason = options.reason ?? 'scheduled'
  const now = options.now ?? NOW - 3_600_000
  const generation = identity.generation + 1
  const entry = createRotation({
    chain: identity.chain,
    signer: identitySigner(identity, generation),
    reason,
    next: publicKeysOf(seedsOf(`${identity.name} ${options.branch ?? ''}${generation + 1}`, identity.mldsa)),
    now,
    ...(reason === 'scheduled' ? { previous: identitySigner(identity, identity.generation) } : {}),
  })
  identity.chain = adoptChain(identity.chain, [entry], { now }).state
  identity.generation = generation
}

/** The identity with fresh keys, given back to its owner by a trustee at `at`; its delay has passed. The policy names that trustee alone. */
export function recoveredIdentity(identity: TestIdentity, trustee: TestIdentity, at: number): TestIdentity {
  const name = `${identity.name} recovered`
  const policy = identity.chain.entries[0]?.policy
  if (policy === undefined) throw new TypeError('the identity has no recovery policy')
  const keys = publicKeysOf(seedsOf(`${name} 0`, identity.mldsa))
  const request = { did: identity.chain.did, previous: identity.chain.head, policy, recoveryId: new Uint8Array(16), keys }
  const attestation = attestRecovery(request, { did: trustee.chain.did, signer: identitySigner(trustee, trustee.generation).ed25519 }, at)
  const next = publicKeysOf(seedsOf(`${name} 1`, identity.mldsa))
  const signer = identitySigner({ name, mldsa: identity.mldsa }, 0)
  const entry = createRecovery({ chain: identity.chain, signer, reason: 'lost', next, policy, attestations: [attestation], now: at })
  const { state } = adoptChain(identity.chain, [entry], {
    now: at + policy.delayS * 1000,
    chainOf: (did) => (did === trustee.chain.did ? trustee.chain : undefined),
  })
  return { name, mldsa: identity.mldsa, chain: state, generation: 0 }
}

function rootOf(deviceName: string): Secret {
  return Secret.take(createHash('sha256').update(`mesh root ${deviceName}`).digest())
}

function fallbackKemFor(deviceName: string, linkKey: PublicKey): Uint8Array {
  using root = rootOf(deviceName)
  return fallbackKemOf(root, linkKey)
}

export interface CertifyOptions {
  readonly serial?: number
  readonly notBefore?: number
  readonly notAfter?: number
  readonly deviceMldsa?: boolean
  /** Default true. */
  readonly fallbackKem?: boolean
}

/** A binding of a device (by its name) to an identity's current keys. */
export function certify(identity: TestIdentity, deviceName: string, options: CertifyOptions = {}): Uint8Array {
  const dates = bindingDates(NOW)
  const linkKeys = openKeySet('link', seedsOf(`device ${deviceName}`, options.deviceMldsa ?? identity.mldsa))
  return createBinding({ chain: identity.chain, signer: identitySigner(identity, identity.generation) }, linkKeys, {
    notBefore: options.notBefore ?? dates.notBefore,
    notAfter: options.notAfter ?? dates.notAfter,
    serial: options.serial ?? 1,
    name: 'test',
    ...(options.fallbackKem === false ? {} : { fallbackKem: fallbackKemFor(deviceName, linkKeys.ed25519.publicKey) }),
  })
}

export function testDevice(identity: TestIdentity, name: string, options: CertifyOptions = {}): TestDevice {
  const signers = openKeySet('link', seedsOf(`device ${name}`, options.deviceMldsa ?? identity.mldsa))
  return {
    did: identity.chain.did,
    didKey: didPublicKey(identity.chain.did),
    name: 'test',
    linkSigner: signers.ed25519,
    mldsaSigner: signers.mldsa,
    chain: identity.chain,
    binding: certify(identity, name, options),
    bindingExpires: options.notAfter ?? bindingDates(NOW).notAfter,
    deriveSecret: (label, ...context) => {
      using root = rootOf(name)
      return deriveFromRoot(root, label, ...context)
    },
    close() {
      signers.ed25519.close()
      signers.mldsa?.close()
    },
  }
}

export interface TestNodeOptions extends CertifyOptions {
  readonly identity?: TestIdentity
  readonly mldsa?: boolean
  readonly clock?: ManualClock
  readonly store?: Store
  readonly boot?: number
}

/** A node with one device and empty memory. The names of identity and device are `name` unless an identity is given. */
export async function testNode(name: string, options: TestNodeOptions = {}): Promise<TestNode> {
  const identity = options.identity ?? testIdentity(name, { mldsa: options.mldsa ?? false })
  const device = testDevice(identity, name, options)
  const clock = options.clock ?? manualClock(NOW)
  const store = options.store ?? createMemoryStore()
  const known = await openKnownKeys({ store, clock, log: silentLogger })
  const cache = new HelloCache()
  const random = seededRandom(`node ${name}`)
  return {
    identity,
    device,
    known,
    cache,
    store,
    clock,
    linkKey: device.linkSigner.publicKey,
    linkSeed: () => seedsOf(`device ${name}`, false).ed25519,
    context: (changes = {}) => ({ device, known, cache, clock, random, log: silentLogger, boot: options.boot ?? 1, run: runOf(name), ...changes }),
  }
}

/** The 8 bytes that tell a process apart. */
export function runOf(name: string): Uint8Array {
  return createHash('sha256').update(`run ${name}`).digest().subarray(0, 8)
}

/** `clock` as another node sees it that is ahead by `ms`. */
export function skewed(clock: Clock, ms: number): Clock {
  return { now: () => clock.now() + ms, monotonic: () => clock.monotonic(), after: (delay, run, options) => clock.after(delay, run, options) }
}
