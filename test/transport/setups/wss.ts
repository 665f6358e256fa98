import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../../src/core/clock.ts'
import { createSigner, randomSeed } from '../../../src/core/crypto/ed25519.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { createSite } from '../../../src/site/site.ts'
import { FrontPool } from '../../../src/transport/front/pool.ts'
import { createWssTransport } from '../../../src/transport/wss.ts'
import { siteCertificate } from '../../site/support.ts'
import { relayed } from '../relayed.ts'
import type { Setup, Side } from '../support.ts'

const folder = mkdtempSync(join(tmpdir(), 'kith-wss-'))
export const certificate: Awaited<ReturnType<typeof siteCertificate>> = await siteCertificate(folder)
rmSync(folder, { recursive: true })

export const token: Uint8Array = systemRandom.bytes(24)

/** A side that trusts the certificate above, and shows it when it listens. */
export function wssSide(): Side & { readonly fronts: FrontPool } {
  const signer = createSigner('link', randomSeed(systemRandom))
  const handle = createSite({ clock: systemClock })
  const fronts = new FrontPool({ clock: systemClock, site: { certificate: () => certificate, handle } })
  const authorities = async () => certificate.cert.toString()
  return { transport: createWssTransport({ signer, clock: systemClock, random: systemRandom, fronts, token, authorities }), key: signer.publicKey, fronts }
}

export const setup: Setup = () => relayed(wssSide, 'wss://127.0.0.1:0')
