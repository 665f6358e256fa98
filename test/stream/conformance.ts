import { createHash } from 'node:crypto'
import { utf8 } from '../../src/core/bytes.ts'
import { RecordCipher, TAG_BYTES } from '../../src/core/crypto/aead.ts'
import { frame } from '../../src/stream/frame.ts'
import { dialEnd, dialStart, listenEnd, listenStart } from '../../src/stream/handshake.ts'
import { signerOf } from './fixtures.ts'
import { ChaChaRng, knownBytes } from './seeded-rng.ts'

const NAMESPACE = utf8('_COMMONWARE_HANDSHAKE_CONFORMANCE_TESTS')

/** What upstream's conformance test logs for one seed: the three messages, then one sealed message each way. */
export function conformanceLog(seed: number): Buffer {
  const rng = new ChaChaRng(BigInt(seed), 8)
  const dialer = signerOf(rng.bytes(32))
  const listener = signerOf(rng.bytes(32))
  const common = { namespace: NAMESPACE, now: 0, earliest: 0, latest: 1 }
  const dialerSecret = rng.bytes(32)
  const listenerSecret = rng.bytes(32)
  const dialing = dialStart({ ...common, signer: dialer, peer: listener.publicKey, random: knownBytes(dialerSecret) })
  const listening = listenStart({ ...common, signer: listener, peer: dialer.publicKey, random: knownBytes(listenerSecret) }, dialing.syn)
  const { ack, established } = dialEnd(dialing, listening.synAck)
  const other = listenEnd(listening, ack)
  const log: Uint8Array[] = [dialing.syn, listening.synAck, ack]
  for (const [sending, receiving] of [
    [established.sendKey, other.receiveKey],
    [other.sendKey, established.receiveKey],
  ] as const) {
    const message = rng.bytes(rng.u32() >>> 24)
    const sealed = Buffer.alloc(message.length + TAG_BYTES)
    const sealing = new RecordCipher(sending)
    const opening = new RecordCipher(receiving)
    sealing.seal(sealed, 0, message, 0, message.length)
    const opened = Buffer.from(sealed)
    if (!opening.open(opened, 0, opened.length)) throw new Error(`seed ${seed} does not open`)
    log.push(frame(message), frame(sealed), frame(opened.subarray(0, message.length)))
    sealing.wipe()
    opening.wipe()
  }
  established.summary.release()
  other.summary.release()
  dialer.close()
  listener.close()
  return Buffer.concat(log)
}

/** SHA-256 over the logs of seeds 0 .. count - 1, each behind its length (u64, little-endian). */
export async function conformanceDigest(count: number): Promise<string> {
  const hash = createHash('sha256')
  for (let seed = 0; seed < count; seed++) {
    const log = conformanceLog(seed)
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(log.length))
    hash.update(length).update(log)
    // Guarded memory is unmapped by finalizers, which need a turn of the loop.
    if (seed % 64 === 0) await new Promise(setImmediate)
  }
  return hash.digest('hex')
}
