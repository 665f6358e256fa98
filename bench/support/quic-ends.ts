import { randomBytes } from 'node:crypto'
import { systemClock } from '../../src/core/clock.ts'
import { publicKeyOfSeed, randomSeed } from '../../src/core/crypto/ed25519.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import type { Secret } from '../../src/core/secret.ts'
import { createQuicTransport } from '../../src/transport/quic/index.ts'
import { withPrivateKeyProto } from '../../src/transport/quic/keys.ts'
import { loadNative, type Native, type NativeQuinnConfig } from '../../src/transport/quic/native.ts'
import type { Transport } from '../../src/transport/types.ts'
import { SINK } from './flows.ts'

/** The library's classes with nothing in between, set as kith sets them. */
export function rawQuic(): { native: Native; config: NativeQuinnConfig } {
  const loaded = loadNative()
  if (!loaded.ok) throw new Error(loaded.reason)
  const { native } = loaded
  const config = withPrivateKeyProto(
    randomSeed(systemRandom),
    (privateKeyProto) =>
      new native.QuinnConfig({
        privateKeyProto,
        handshakeTimeout: 15_000,
        maxIdleTimeout: 15_000,
        keepAliveInterval: 5_000,
        maxConcurrentStreamLimit: 101,
        maxStreamData: 1 << 20,
        maxConnectionData: 101 << 20,
        receiveBufferSize: 4 << 20,
        sendBufferSize: 4 << 20,
      }),
  )
  return { native, config }
}

export function kithQuic(): { transport: Transport; key: Uint8Array; seed: Secret } {
  const seed = randomSeed(systemRandom)
  const transport = createQuicTransport({ seed, clock: systemClock, random: systemRandom, logger: silentLogger })
  return { transport, key: publicKeyOfSeed(seed), seed }
}

/** The first byte tells the far end to count. */
export const BLOCK: Buffer = randomBytes(64 * 1024)
BLOCK[0] = SINK
export const READ_BYTES: number = 64 * 1024
