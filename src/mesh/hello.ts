import { encode } from '../core/codec.ts'
import { asKithError, isKithError, KithError, remoteError } from '../core/errors.ts'
import { type Did, didPublicKey } from '../identity/did.ts'
import type { Channel } from '../transport/types.ts'
import { asHelloInvalid } from './errors.ts'
import { encodeForGreeting } from './hello-chain.ts'
import { type CheckedHello, checkHello } from './hello-check.ts'
import {
  decodeVerdict,
  EXCHANGE_CLASSICAL,
  EXCHANGE_POST_QUANTUM,
  EXTENSION_CHAIN,
  EXTENSION_KNOWN,
  encodeHello,
  encodeVerdict,
  FORKED_DETAIL,
  type HelloMessage,
  type HelloRole,
  knownExtension,
  MAX_CHAIN_EXTENSION_BYTES,
  MAX_HELLO_BYTES,
  MESSAGE_DIALER_HELLO,
  MESSAGE_DIALER_PROOF,
  MESSAGE_LISTENER_HELLO,
  MESSAGE_LISTENER_PROOF,
  MESSAGE_VERDICT,
  readStaleDetail,
  SUITE_ED25519,
  SUITE_HYBRID,
  staleDetail,
  transportNumber,
} from './hello-codec.ts'
import { type Verified, verifyKnowledge } from './hello-knowledge.ts'
import { checkProof, helloHash, makeProof, proofMessage, sessionId } from './hello-proof.ts'
import type { AuthenticatedLink, GreetContext, GreetOptions } from './hello-types.ts'
import { Preface } from './preface.ts'

/**
 * # Hello: a channel becomes a link (PN-5)
 *
 * ```text
 *   dialer                                   listener
 *   HELLO_D ------------------------------->  checks HELLO_D
 *   checks HELLO_L <------------------------  HELLO_L
 *   checks PROOF_L <------------------------  PROOF_L   signs Hh = both Hellos and the channel binding
 *   PROOF_D ------------------------------->  checks PROOF_D: signs Hh and PROOF_L
 *   link <----------------------------------  VERDICT   after what is known of the identity, and the policy
 * ```
 *
 * ## Requirements
 * - Both sides are who the bindings say, on this very channel: every message is signed together with the channel binding, so a greeting can be neither
 *   replayed, relayed, reflected nor edited, also where the transport's own authentication has failed (QUIC, a stolen certificate key).
 * - Until a PROOF has verified, nothing is counted, looked up, stored or answered under the claimed name. Therefore the checks of PN-5 that need local
 *   knowledge (pins, serials, boots, a chain that did not come along) run right after it; everything else runs in PN-5's order before.
 * - Whoever is silent or slow costs ten seconds and 32 KiB.
 *
 * ## Not provided
 * - Secrecy: that is the channel's. A difference of clocks is reported (`clockOffsetMs`), never a reason to refuse.
 */
export async function greet(channel: Channel, context: GreetContext, options: GreetOptions = {}): Promise<AuthenticatedLink> {
  const preface = new Preface(channel, context.clock, options.signal)
  try {
    const greeting = new Greeting(channel, context, preface)
    const link = channel.role === 'dialer' ? await greeting.dial(options) : await greeting.listen()
    preface.finish()
    return link
  } catch (error) {
    throw preface.fail(error)
  }
}

const DEFAULT_VERSIONS = { min: 1, max: 1 } as const
const NO_BYTES = new Uint8Array(0)
/** Everything in a HELLO but the binding and the value of the chain extension, at its longest. */
const FIXED_BYTES = 256

type Unproved = { readonly [K in keyof AuthenticatedLink as K extends string ? K : never]: AuthenticatedLink[K] }

class Greeting {
  readonly #channel: Channel
  readonly #context: GreetContext
  readonly #preface: Preface
  /** Read once, so that a renewal in between cannot mix two bindings. */
  readonly #binding: Uint8Array
  readonly #ownMldsa: boolean
  readonly #versions: { readonly min: number; readonly max: number }
  readonly #capabilities: bigint

  constructor(channel: Channel, context: GreetContext, preface: Preface) {
    this.#channel = channel
    this.#context = context
    this.#preface = preface
    this.#binding = context.device.binding
    this.#ownMldsa = context.cache.ownBinding(this.#binding).deviceMldsa !== undefined
    this.#versions = context.versions ?? DEFAULT_VERSIONS
    this.#capabilities = context.capabilities ?? 0n
  }

  async dial({ expect, peerHas }: GreetOptions): Promise<AuthenticatedLink> {
    const preface = this.#preface
    const startedAt = this.#context.clock.now()
    const dialerHello = this.#hello('dialer', {
      peerHas,
      ...(expect === undefined ? {} : { expectedDid: didPublicKey(expect), extension: this.#knownOf(expect) }),
    })
    preface.send(dialerHello)
    const listenerHello = await preface.receive(MESSAGE_LISTENER_HELLO)
    const answeredAt = this.#context.clock.now()
    const remote = this.#check(listenerHello, expect)
    const hash = helloHash(this.#channel.channelBinding, dialerHello, listenerHello)

    const listenerProof = await preface.receive(MESSAGE_LISTENER_PROOF)
    this.#checkProof(listenerProof, proofMessage('listener', hash, NO_BYTES), remote)
    const verified = await verifyKnowledge(remote, this.#channel.remoteKey, this.#context)
    preface.check()
    const facts = this.#link(remote, verified, hash, remote.message.timeMs - (startedAt + answeredAt) / 2)

    preface.send(this.#prove('dialer', proofMessage('dialer', hash, listenerProof), remote))
    const verdict = readVerdict(await preface.receive(MESSAGE_VERDICT), remote.did)
    if (verdict instanceof KithError) throw verdict
    const link = { ...facts, forkShown: verdict === FORKED_DETAIL, peerKnows: readStaleDetail(verdict) }
    this.#learn(link, remote)
    return link
  }

  async listen(): Promise<AuthenticatedLink> {
    const preface = this.#preface
    const dialerHello = await preface.receive(MESSAGE_DIALER_HELLO)
    const receivedAt = this.#context.clock.now()
    const remote = this.#check(dialerHello, undefined)
    const listenerHello = this.#hello('listener', { expectedDid: remote.didKey, peerHas: remote.known?.index })
    preface.send(listenerHello)
    const hash = helloHash(this.#channel.channelBinding, dialerHello, listenerHello)
    const listenerProof = this.#prove('listener', proofMessage('listener', hash, NO_BYTES), remote)
    preface.send(listenerProof)

    const dialerProof = await preface.receive(MESSAGE_DIALER_PROOF)
    this.#checkProof(dialerProof, proofMessage('dialer', hash, listenerProof), remote)
    const link = await this.#decide(remote, hash, receivedAt)
    preface.conclude(encodeVerdict(0, acceptance(link)))
    this.#learn(link, remote)
    return link
  }

  /** Everything after the dialer's proof ends in exactly one VERDICT. */
  async #decide(remote: CheckedHello, hash: Uint8Array, receivedAt: number): Promise<AuthenticatedLink> {
    try {
      const verified = await verifyKnowledge(remote, this.#channel.remoteKey, this.#context)
      this.#preface.check()
      const link = this.#link(remote, verified, hash, remote.message.timeMs - receivedAt)
      const refusal = this.#context.accept?.(link)
      if (refusal === undefined) return link
      throw new KithError(refusal.code, undefined, { details: { did: link.did, ...(refusal.detail === undefined ? {} : { detail: refusal.detail }) } })
    } catch (thrown) {
      this.#preface.check()
      const error = asKithError(thrown, 'INTERNAL')
      const { detail = isKithError(error, 'CHAIN_STALE') ? staleDetail(error.details.haveIndex as number) : '' } = error.details
      this.#preface.conclude(encodeVerdict(error.number, typeof detail === 'string' ? detail : ''))
      throw error
    }
  }

  /** What is said to the identity that is dialled about what is known of it. */
  #knownOf(expect: Did): Uint8Array {
    const peer = this.#context.known.peer(expect)
    return encode(knownExtension, { index: peer?.index ?? -1, forked: peer?.forked === true })
  }

  #hello(role: HelloRole, about: { expectedDid?: Uint8Array; peerHas: number | undefined; extension?: Uint8Array }): Uint8Array {
    const { device, clock, random, boot, run } = this.#context
    const message: HelloMessage = {
      role,
      protocolMin: this.#versions.min,
      protocolMax: this.#versions.max,
      capabilities: this.#capabilities,
      nonce: random.bytes(32),
      timeMs: clock.now(),
      boot,
      run,
      ownDid: device.didKey,
      expectedDid: about.expectedDid,
      ownLink: this.#channel.localKey,
      peerLink: this.#channel.remoteKey,
      transport: transportNumber(this.#channel.path.scheme),
      exchange: this.#channel.postQuantum ? EXCHANGE_POST_QUANTUM : EXCHANGE_CLASSICAL,
      binding: this.#binding,
      extensions: new Map(),
    }
    const room = Math.min(MAX_CHAIN_EXTENSION_BYTES, MAX_HELLO_BYTES - FIXED_BYTES - this.#binding.length)
    const chain = encodeForGreeting(device.chain.entries, about.peerHas, room)
    const extensions = new Map<number, Uint8Array>()
    if (chain !== undefined) extensions.set(EXTENSION_CHAIN, chain)
    if (about.extension !== undefined) extensions.set(EXTENSION_KNOWN, about.extension)
    return encodeHello({ ...message, extensions })
  }

  #check(bytes: Uint8Array, expect: Did | undefined): CheckedHello {
    const { device, cache, clock } = this.#context
    return checkHello(bytes, {
      channel: this.#channel,
      ownDid: device.did,
      ownDidKey: device.didKey,
      expect,
      versions: this.#versions,
      capabilities: this.#capabilities,
      cache,
      now: clock.now(),
    })
  }

  /** Hybrid as soon as both devices can, and then nothing less. */
  #suite(remote: CheckedHello): number {
    return this.#ownMldsa && remote.binding.deviceMldsa !== undefined ? SUITE_HYBRID : SUITE_ED25519
  }

  #prove(role: HelloRole, message: Uint8Array, remote: CheckedHello): Uint8Array {
    const { linkSigner, mldsaSigner } = this.#context.device
    return makeProof(role, message, this.#suite(remote), linkSigner, mldsaSigner)
  }

  #checkProof(bytes: Uint8Array, message: Uint8Array, remote: CheckedHello): void {
    try {
      checkProof(bytes, message, { suite: this.#suite(remote), linkKey: this.#channel.remoteKey, mldsa: remote.binding.deviceMldsa })
    } catch (error) {
      if (!isKithError(error, 'WIRE_MALFORMED')) throw error
      throw new KithError('PROOF_INVALID', 'the proof does not decode', { details: { check: 'size' }, cause: error })
    }
  }

  #link(remote: CheckedHello, verified: Verified, hash: Uint8Array, clockOffsetMs: number): AuthenticatedLink {
    const link: Unproved = {
      role: this.#channel.role,
      did: remote.did,
      didKey: remote.didKey,
      linkKey: this.#channel.remoteKey,
      helloHash: hash,
      connectionId: hash.slice(0, 8),
      session: sessionId(hash),
      channel: this.#channel,
      remoteBoot: remote.message.boot,
      remoteRun: remote.message.run,
      clockOffsetMs: Math.round(clockOffsetMs),
      binding: verified.binding,
      chain: verified.chain,
      chainStale: verified.stale,
      forkShown: remote.known?.forked === true,
      peerKnows: remote.known?.index,
      postQuantum: { exchange: this.#channel.postQuantum, signatures: this.#suite(remote) === SUITE_HYBRID },
      version: remote.version,
      capabilities: remote.capabilities,
    }
    return link as AuthenticatedLink
  }

  #learn(link: AuthenticatedLink, remote: CheckedHello): void {
    const bytes = remote.message.extensions.get(EXTENSION_CHAIN)
    const { shown } = remote
    this.#context.cache.remember(link.binding, bytes === undefined || shown === undefined ? undefined : { bytes, shown })
    this.#context.known.learn({ did: link.did, linkKey: link.linkKey, chain: link.chain, binding: link.binding, boot: link.remoteBoot, run: link.remoteRun })
  }
}

/** What an identity that is let in is told about its keys: that two histories of them are known, or that its machine has not heard of the newest ones. */
function acceptance({ chain, chainStale }: AuthenticatedLink): string {
  if (chain.status === 'forked') return FORKED_DETAIL
  return chainStale ? staleDetail(chain.index) : ''
}

/** The detail when the link was accepted, otherwise why it was not. */
function readVerdict(bytes: Uint8Array, did: Did): KithError | string {
  try {
    const { code, detail } = decodeVerdict(bytes)
    if (code === 0) return detail
    const error = remoteError(code, detail)
    // Who refuses has proved itself.
    const haveIndex = error.code === 'CHAIN_STALE' ? readStaleDetail(detail) : undefined
    return new KithError(error.code, error.message, { remote: true, details: { ...error.details, by: did, ...(haveIndex === undefined ? {} : { haveIndex }) } })
  } catch (error) {
    return asKithError(asHelloInvalid(error, 'message'), 'HELLO_INVALID')
  }
}
