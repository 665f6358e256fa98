import { deviceAnswer, deviceQuestion } from '../../src/assembly/device-renewal.ts'
import { concat } from '../../src/core/bytes.ts'
import { encode } from '../../src/core/codec.ts'
import { Secret } from '../../src/core/secret.ts'
import { adoptChain } from '../../src/identity/chain.ts'
import { createInception } from '../../src/identity/chain-make.ts'
import { createDeviceDocument, type DeviceStatus, decodeDeviceDocument, REVOCATION_REASONS } from '../../src/identity/device-document.ts'
import { createGrant } from '../../src/identity/device-grant.ts'
import { createDeviceRequest, readDeviceRequest, requestCode } from '../../src/identity/device-request.ts'
import { addDocument, encodeRoster } from '../../src/identity/device-roster.ts'
import { deviceText } from '../../src/identity/device-text.ts'
import { openKeySet, publicKeysOf, type SoftwareSeeds } from '../../src/identity/keys.ts'
import { devicesAnswer, devicesRequest } from '../../src/mesh/devices-protocol.ts'
import { conformance, type Generator } from '../conformance.ts'

/** Without ML-DSA, whose signatures are randomised: what is signed differs by the public key alone. */
const seeds = (g: Generator): SoftwareSeeds => ({ ed25519: Secret.take(g.bytes(32)), mldsa: undefined })

function identity(g: Generator) {
  const signer = openKeySet('identity', seeds(g))
  const now = 1_700_000_000_000 + g.integer(1e9)
  const entry = createInception({ signer, next: publicKeysOf(seeds(g)), now })
  return { issuer: { chain: adoptChain(undefined, [entry], { now }).state, signer }, now }
}

const STATES: readonly DeviceStatus[] = ['active', ...REVOCATION_REASONS]

function document(g: Generator) {
  const { issuer, now } = identity(g)
  const devices = g.list(5, () => ({
    linkKey: publicKeysOf(seeds(g)).ed25519,
    name: `machine ${g.integer(100)}`,
    capabilities: BigInt(g.integer(4)),
    status: STATES[g.integer(STATES.length)] as DeviceStatus,
    sinceMs: g.integer(1e9),
  }))
  return { issuer, now, bytes: createDeviceDocument(issuer, { version: now, now, devices }) }
}

function request(g: Generator, now: number): Uint8Array {
  const random = { bytes: (length: number) => g.bytes(length) } as Parameters<typeof createDeviceRequest>[1]['random']
  const fallbackKem = g.option(() => g.bytes(1216))
  const options = { name: 'phone', capabilities: BigInt(g.integer(4)), now, random }
  return createDeviceRequest(openKeySet('link', seeds(g)), fallbackKem === undefined ? options : { ...options, fallbackKem })
}

conformance(
  'icn/device-doc/v1 document, its hash and the roster of it',
  (g) => {
    const { bytes } = document(g)
    const decoded = decodeDeviceDocument(bytes)
    return concat(bytes, decoded.hash, encodeRoster(addDocument(undefined, decoded).roster))
  },
  16,
)

conformance(
  'icn/device-req/v1 request, its id, code and text',
  (g) => {
    const now = 1_700_000_000_000 + g.integer(1e9)
    const bytes = request(g, now)
    const read = readDeviceRequest(bytes, now)
    return concat(bytes, read.id, Buffer.from(requestCode(read)), Buffer.from(deviceText('request', bytes).join('\n')))
  },
  16,
)

conformance(
  'device grant, and both answers of icn/device/1 and icn/devices/1',
  (g) => {
    const { issuer, now, bytes } = document(g)
    const asked = request(g, now)
    const from = publicKeysOf(seeds(g)).ed25519
    const urls = g.list(3, () => `tcp://127.0.0.1:${g.integer(60_000)}`)
    const grant = createGrant(issuer, readDeviceRequest(asked, now), { capabilities: 3n, name: 'phone', now, serial: now, from, urls, document: bytes })
    return concat(
      grant,
      encode(deviceQuestion, { _version: undefined, request: asked, urls }),
      encode(deviceAnswer, { _version: undefined, grant }),
      encode(devicesRequest, { _version: undefined, did: from, chainIndex: g.integer(9), version: now }),
      encode(devicesAnswer, { _version: undefined, documents: [bytes] }),
    )
  },
  16,
)
