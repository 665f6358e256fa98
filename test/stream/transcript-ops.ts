import { createHash } from 'node:crypto'
import { verify } from '../../src/core/crypto/ed25519.ts'
import { Transcript, type TranscriptVersion } from '../../src/stream/transcript.ts'
import { signerOf } from './fixtures.ts'
import { ChaChaRng } from './seeded-rng.ts'

/** The endless output of a transcript, read in pieces as a generator of numbers. */
class Noise {
  readonly #bytes: Buffer
  #at = 0
  constructor(transcript: Transcript, label: string) {
    this.#bytes = Buffer.from(transcript.noise(label, 2_048))
  }
  take(length: number): Buffer {
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
  u64(): bigint {
    return this.take(8).readBigUInt64LE()
  }
  /** Uniform below `bound`: draws above the largest multiple of it are thrown away. */
  below(bound: bigint): bigint {
    const zone = bound * (0xffff_ffff_ffff_ffffn / bound)
    for (;;) {
      const value = this.u64()
      if (value < zone) return value % bound
    }
  }
}

const TRUE = Uint8Array.of(1)
const u32 = (value: number): Buffer => {
  const out = Buffer.alloc(4)
  out.writeUInt32BE(value)
  return out
}
const u64 = (value: bigint): Buffer => {
  const out = Buffer.alloc(8)
  out.writeBigUInt64BE(value)
  return out
}

/** What upstream's test of transcript operations logs for one seed. */
export function transcriptLog(seed: number, version: TranscriptVersion): Buffer {
  const seedBytes = Buffer.alloc(8)
  seedBytes.writeBigUInt64LE(BigInt(seed))
  const namespace = seedBytes.subarray(0, (seed % 8) + 1)
  const data = Buffer.from(Array.from({ length: seed % 256 }, (_, i) => (seed + 3 * i) & 255))
  const split = Math.floor(data.length / 2)
  const create = (): Transcript => Transcript.create(namespace, version)

  const transcript = create().append(data.subarray(0, split)).commit(data.subarray(split))
  const log: Uint8Array[] = [
    transcript.summarize(),
    create().commit(data.subarray(0, split)).commit(data.subarray(split)).summarize(),
    create().append(data).commit(new Uint8Array(0)).summarize(),
    Transcript.resume(transcript.summarize(), version).summarize(),
    transcript.fork('left').summarize(),
    transcript.fork('right').summarize(),
  ]
  const noise = new Noise(transcript, 'noise')
  log.push(u32(noise.take(4).readUInt32LE()), u64(noise.u64()), noise.take(80))

  const indices = Array.from({ length: seed % 100 }, (_, i) => i)
  const shuffle = new Noise(transcript, 'shuffle')
  for (let i = indices.length - 1; i > 0; i--) {
    const j = Number(shuffle.below(BigInt(i + 1)))
    const held = indices[i] as number
    indices[i] = indices[j] as number
    indices[j] = held
  }
  log.push(...indices.map(u32), u64(new Noise(transcript, 'sample').below(BigInt(seed) | 1n)))

  const signer = signerOf(new ChaChaRng(BigInt(seed), 20).bytes(32))
  const message = Uint8Array.of(0, ...transcript.summarize())
  const signature = signer.sign(message)
  if (!verify(signer.publicKey, message, signature)) throw new Error('the signature does not verify')
  // Two signatures and two verifications; twice, a batch takes the signature and verifies it.
  log.push(signature, signature, TRUE, TRUE, TRUE, TRUE, TRUE, TRUE)

  const pending = create().append(data)
  log.push(pending.summarize(), pending.fork('pending fork').summarize(), pending.noise('pending noise', 37))
  log.push(signer.sign(Uint8Array.of(0, ...pending.summarize())), TRUE)
  signer.close()
  return Buffer.concat(log)
}

export async function transcriptDigest(count: number, version: TranscriptVersion): Promise<string> {
  const hash = createHash('sha256')
  for (let seed = 0; seed < count; seed++) {
    const log = transcriptLog(seed, version)
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(log.length))
    hash.update(length).update(log)
    if (seed % 64 === 0) await new Promise(setImmediate)
  }
  return hash.digest('hex')
}
