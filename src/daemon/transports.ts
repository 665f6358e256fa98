import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import type { LocalDevice } from '../identity/device.ts'
import { readNamedFile } from '../identity/private-file.ts'
import type { FrontPool } from '../transport/front/pool.ts'
import type { ProxyRoute } from '../transport/proxy.ts'
import { createQuicTransport, quicAvailability } from '../transport/quic/index.ts'
import { createTcpTransport } from '../transport/tcp.ts'
import { createTlsTransport } from '../transport/tls.ts'
import type { Transport } from '../transport/types.ts'
import { createWssTransport } from '../transport/wss.ts'
import { besideProxies } from './proxies.ts'

export interface TransportParts {
  readonly device: LocalDevice
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** What is dialled through proxies. */
  readonly proxies: ProxyRoute
  /** Ports that links share with a site. */
  readonly fronts: FrontPool
  /** What opens the site's keyed path here. */
  readonly token: Uint8Array | undefined
  /** PEM of the authorities that vouch for the sites of others. */
  readonly authorities: () => Promise<string | undefined>
}

/** Every kind of path this machine can carry, made for one device key. */
export function createTransports({ device, clock, random, logger, proxies, fronts, token, authorities }: TransportParts): readonly Transport[] {
  const seed = device.content.seeds.ed25519
  const shared = { clock, random, logger, proxies }
  const transports = [
    createTcpTransport({ signer: device.linkSigner, ...shared }),
    createTlsTransport({ seed, fronts, ...shared }),
    createWssTransport({ signer: device.linkSigner, fronts, authorities, ...shared, ...(token === undefined ? {} : { token }) }),
  ]
  if (!quicAvailability().ok) return transports
  return [...transports, besideProxies(createQuicTransport({ seed, clock, random, logger }), proxies)]
}

/** All that the world trusts take up a quarter of it. */
const MAX_AUTHORITIES_BYTES = 1 << 20

/** The text of a file of authorities; undefined where none is named: the runtime has its own. @throws KithError `FILE_MISSING`. */
export async function readAuthorities(path: string): Promise<string | undefined> {
  if (path === '') return undefined
  const found = await readNamedFile(path, MAX_AUTHORITIES_BYTES).catch((cause: unknown) => unreadable(path, cause))
  return found.kind === 'file' ? found.bytes.toString('latin1') : unreadable(path)
}

function unreadable(path: string, cause?: unknown): never {
  throw new KithError('FILE_MISSING', `${path} in link.site_ca_file cannot be read.`, { details: { path }, cause, next: 'kith config show link.site_ca_file' })
}
