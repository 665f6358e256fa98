import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { bindingDates, createBinding } from '../../src/identity/binding.ts'
import { adoptChain } from '../../src/identity/chain.ts'
import { createInception } from '../../src/identity/chain-make.ts'
import { didPublicKey } from '../../src/identity/did.ts'
import { openKeySet, publicKeysOf, randomKeySeeds, type SoftwareSeeds } from '../../src/identity/keys.ts'
import type { Device } from '../../src/identity/types.ts'
import { greet } from '../../src/mesh/hello.ts'
import { HelloCache } from '../../src/mesh/hello-cache.ts'
import type { AuthenticatedLink, GreetContext } from '../../src/mesh/hello-types.ts'
import { openKnownKeys } from '../../src/mesh/known-keys.ts'
import { createTcpTransport } from '../../src/transport/tcp.ts'
import { createTlsTransport } from '../../src/transport/tls.ts'
import type { Channel, Connection, Transport } from '../../src/transport/types.ts'

/** A device of a fresh identity, with everything a real one has but the files. */
export function makeDevice(mldsa: boolean, seeds: SoftwareSeeds = randomKeySeeds(systemRandom, { mldsa })): Device {
  const now = Date.now()
  const identity = openKeySet('identity', randomKeySeeds(systemRandom, { mldsa }))
  const next = publicKeysOf(randomKeySeeds(systemRandom, { mldsa }))
  const { state: chain } = adoptChain(undefined, [createInception({ signer: identity, next, now })], { now })
  const link = openKeySet('link', seeds)
  const dates = bindingDates(now)
  const binding = createBinding({ chain, signer: identity }, link, { ...dates, serial: 1, name: 'bench' })
  return {
    did: chain.did,
    didKey: didPublicKey(chain.did),
    name: 'bench',
    linkSigner: link.ed25519,
    mldsaSigner: link.mldsa,
    chain,
    binding,
    bindingExpires: dates.notAfter,
    deriveSecret: () => Secret.random(32, systemRandom),
    close() {},
  }
}

export function tcpOf(device: Device): Transport {
  return createTcpTransport({ signer: device.linkSigner, clock: systemClock, random: systemRandom })
}

/** A device without ML-DSA and its transport over TLS, which makes a certificate of the link key. */
export function tlsEnd(): { readonly device: Device; readonly transport: Transport } {
  const seeds = randomKeySeeds(systemRandom, { mldsa: false })
  // A device keeps its seeds to itself and wipes what it was given.
  const seed = seeds.ed25519.clone()
  return { device: makeDevice(false, seeds), transport: createTlsTransport({ seed, clock: systemClock, random: systemRandom }) }
}

/** What a node knows of others. `cold`: nothing, every time anew. */
export async function greeter(device: Device, options: { cold: boolean }): Promise<(channel: Channel) => Promise<AuthenticatedLink>> {
  const context = async (): Promise<GreetContext> => ({
    device,
    known: await openKnownKeys({ store: createMemoryStore(), clock: systemClock, log: silentLogger }),
    cache: new HelloCache(),
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    boot: 1,
    run: systemRandom.bytes(8),
  })
  if (options.cold) return async (channel) => await greet(channel, await context())
  const kept = await context()
  return (channel) => greet(channel, kept)
}

/** Each stream gets back what it brings. */
export function serveEcho(connection: Connection): void {
  connection.onStream = (stream) => {
    stream.onData = (data, start, end) => {
      stream.write(data.subarray(start, end))
      stream.consume(end - start)
    }
    stream.onEnd = () => stream.end()
  }
}

/** One message there and back on a new stream. */
export async function echo(connection: Connection): Promise<void> {
  const stream = await connection.open()
  await new Promise<void>((resolve, reject) => {
    stream.onError = reject
    stream.onEnd = () => resolve()
    stream.onData = (_data, start, end) => stream.consume(end - start)
    stream.write(PING)
    stream.end()
  })
}

const PING: Buffer = Buffer.from('ping')
