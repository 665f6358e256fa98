import { readFileSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../src/core/clock.ts'
import { createSigner, publicKeyOfSeed } from '../../src/core/crypto/ed25519.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import type { Signer } from '../../src/core/signer.ts'
import type { DialConfig, ListenConfig } from '../../src/stream/config.ts'
import { dial } from '../../src/stream/dial.ts'
import type { EncryptedStream } from '../../src/stream/encrypted-stream.ts'
import { listen } from '../../src/stream/listen.ts'

export interface HandshakeVector {
  name: string
  namespace: string
  dialer_time_ms: number
  listener_time_ms: number
  dialer_ed25519_seed: string
  dialer_public: string
  listener_ed25519_seed: string
  listener_public: string
  dialer_x25519_secret: string
  listener_x25519_secret: string
  key_l2d: string
  key_d2l: string
  frame_peer_key: string
  frame_syn: string
  frame_syn_ack: string
  frame_ack: string
  d2l: { counter: number; plaintext_utf8: string; frame: string }[]
  l2d: { counter: number; plaintext_utf8: string; frame: string }[]
}

export interface Vectors {
  handshake: HandshakeVector[]
  transcript_v0_unless_said: Record<string, string>
  ed25519_from_seed_u64: Record<string, { secret: string; public: string }>
  rng: Record<string, string>
  conformance_case_log: Record<string, { len: number; hex: string }>
}

export const vectors: Vectors = JSON.parse(readFileSync(new URL('../vectors/commonware-handshake.json', import.meta.url), 'utf8'))

export const hex = (text: string): Buffer => Buffer.from(text, 'hex')
export const seed = (byte: number): Secret => Secret.take(Buffer.alloc(32, byte))
export const keyOf = (byte: number): Uint8Array => publicKeyOfSeed(seed(byte))
export const signerOf = (secret: Uint8Array): Signer => createSigner('link', Secret.take(Uint8Array.from(secret)))

/** 0, 1, both points of order 8, p - 1, p, p + 1 (little-endian): every shared secret with them is zero. */
export const lowOrderPoints: Uint8Array[] = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
].map(hex)

/** Time that passes only when told. */
export class ManualClock implements Clock {
  time: number
  readonly #timers: Set<{ at: number; run: () => void }> = new Set()
  constructor(time = 1_700_000_000_000) {
    this.time = time
  }
  now(): number {
    return this.time
  }
  monotonic(): number {
    return this.time
  }
  after(ms: number, run: () => void): { cancel(): void } {
    const timer = { at: this.time + ms, run }
    this.#timers.add(timer)
    return { cancel: () => this.#timers.delete(timer) }
  }
  get pending(): number {
    return this.#timers.size
  }
  advance(ms: number): void {
    this.time += ms
    for (const timer of [...this.#timers].sort((x, y) => x.at - y.at)) {
      if (timer.at > this.time || !this.#timers.delete(timer)) continue
      timer.run()
    }
  }
}

/** Lets everything that is under way in memory run to its end. */
export async function settle(turns = 20): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
}

export const dialerSeed = 0x11
export const listenerSeed = 0x22

export function configs(): { dialing: DialConfig; listening: ListenConfig } {
  const common = { namespace: 'test', maxMessageBytes: 1 << 20, random: systemRandom }
  return {
    dialing: { ...common, key: seed(dialerSeed), peer: keyOf(listenerSeed) },
    listening: { ...common, key: seed(listenerSeed), admit: () => true },
  }
}

export async function connect(
  pair: { a: Duplex; b: Duplex },
  options: { dialing?: Partial<DialConfig>; listening?: Partial<ListenConfig> } = {},
): Promise<{ dialer: EncryptedStream; listener: EncryptedStream }> {
  const { dialing, listening } = configs()
  const [dialer, listener] = await Promise.all([dial(pair.a, { ...dialing, ...options.dialing }), listen(pair.b, { ...listening, ...options.listening })])
  return { dialer, listener }
}
