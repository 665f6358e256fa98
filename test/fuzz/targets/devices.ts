import assert from 'node:assert/strict'
import { deviceAnswer, deviceQuestion } from '../../../src/assembly/device-renewal.ts'
import { concat, equal, toHex } from '../../../src/core/bytes.ts'
import { bytesN, decode, encode, option } from '../../../src/core/codec.ts'
import { signHybrid } from '../../../src/core/crypto/hybrid.ts'
import { labeled } from '../../../src/core/crypto/labels.ts'
import { MLDSA_SIGNATURE_BYTES } from '../../../src/core/crypto/mldsa.ts'
import { type DeviceDocument, decodeDeviceDocument, encodeDeviceDocument, verifyDeviceDocument } from '../../../src/identity/device-document.ts'
import { createGrant, takeGrant } from '../../../src/identity/device-grant.ts'
import { readDeviceRequest } from '../../../src/identity/device-request.ts'
import { addDocument, decodeRoster, encodeRoster, listedDevices } from '../../../src/identity/device-roster.ts'
import { deviceText, readDeviceText } from '../../../src/identity/device-text.ts'
import { devicesAnswer, devicesRequest } from '../../../src/mesh/devices-protocol.ts'
import { documentBytes, documentOf, issuerOf, linkOf, listed, requestOf } from '../../identity/device-make.ts'
import { DAY, deviceOf, person, T0 } from '../../identity/make.ts'
import type { FuzzTarget } from '../mutate.ts'

const NOW = T0 + DAY
const ann = person('ann')
const plain = documentBytes(ann, 3, [listed('laptop'), listed('phone', 'lost', T0 + 1)])
const honest = documentBytes(ann, 4, [listed('laptop'), listed('tablet')])
const signer = issuerOf(ann).signer
const machine = deviceOf('phone', false)
const asked: readonly Uint8Array[] = [requestOf('phone'), requestOf('tablet')]
const askers = [linkOf('phone'), linkOf('tablet')]
const known = addDocument(undefined, documentOf(ann, 2, [listed('laptop'), listed('watch', 'removed')])).roster

const documents: FuzzTarget = {
  name: 'device-document',
  seeds: [plain, honest, documentBytes(ann, 1, [])],
  codes: ['DEVICE_DOCUMENT_INVALID', 'CHAIN_STALE'],
  run(input) {
    const document = verifyDeviceDocument(input, { chain: ann.chain, now: NOW })
    assert.deepEqual(encodeDeviceDocument(document), input)
    // Nobody here can sign: whatever is accepted was made by its owner.
    assert.ok([plain, honest].some((bytes) => equal(decodeDeviceDocument(bytes).hash, document.hash)) || document.devices.length === 0)
    return 'valid'
  },
  iterations: 4_000,
}

/** What the owner signs, whatever it says: revocations only grow, whoever wrote the document. */
const liar: FuzzTarget = {
  name: 'device-document-liar',
  seeds: [decodeDeviceDocument(plain).body, decodeDeviceDocument(honest).body],
  codes: ['DEVICE_DOCUMENT_INVALID', 'CHAIN_STALE'],
  run(input) {
    const { ed25519 } = signHybrid(signer, labeled('icn/device-doc/v1', input))
    const bytes = concat(input, ed25519, encode(option(bytesN(MLDSA_SIGNATURE_BYTES)), undefined))
    const document: DeviceDocument = verifyDeviceDocument(bytes, { chain: ann.chain, now: NOW })
    const { roster } = addDocument(known, document)
    for (const key of known.revoked.keys()) assert.ok(roster.revoked.has(key))
    const states = new Map(listedDevices(roster).map(({ linkKey, status }) => [toHex(linkKey), status]))
    for (const key of roster.revoked.keys()) assert.notEqual(states.get(key), 'active')
    assert.deepEqual(decodeRoster(encodeRoster(roster))?.revoked, roster.revoked)
    return 'taken'
  },
  iterations: 2_500,
}

const requests: FuzzTarget = {
  name: 'device-request',
  seeds: asked,
  codes: ['DEVICE_REQUEST_INVALID'],
  run(input) {
    const { name, linkKey } = readDeviceRequest(input, NOW)
    assert.ok(askers.some((key) => equal(key, linkKey)))
    return name
  },
  iterations: 6_000,
}

const request = readDeviceRequest(requestOf('phone'), NOW)
const grant = createGrant(issuerOf(ann), request, {
  capabilities: 1n,
  name: 'phone',
  now: NOW,
  serial: NOW,
  from: linkOf('laptop'),
  urls: ['tcp://127.0.0.1:4433'],
  document: honest,
})
const good = takeGrant(grant, { request, machine, now: NOW })

const grants: FuzzTarget = {
  name: 'device-grant',
  seeds: [grant],
  codes: [
    'DEVICE_GRANT_INVALID',
    'DEVICE_DOCUMENT_INVALID',
    'DEVICE_REVOKED',
    'CHAIN_INVALID',
    'CHAIN_STALE',
    'BINDING_INVALID',
    'BINDING_EXPIRED',
    'WIRE_MALFORMED',
  ],
  run(input) {
    const taken = takeGrant(input, { request, machine, now: NOW })
    assert.deepEqual(taken.decoded.body, good.decoded.body)
    assert.deepEqual(taken.chain.head, good.chain.head)
    return 'taken'
  },
  iterations: 4_000,
}

const text = (lines: readonly string[]): Uint8Array => Buffer.from(lines.join('\n'))

const texts: FuzzTarget = {
  name: 'device-text',
  seeds: [text(deviceText('request', requestOf('phone'))), text(deviceText('request', requestOf('phone'), 90)), text(deviceText('grant', grant))],
  codes: ['DEVICE_REQUEST_INVALID', 'DEVICE_GRANT_INVALID'],
  tokens: [Buffer.from('KITH-REQUEST-'), Buffer.from('KITH-GRANT-'), Buffer.from('-1-2-')],
  run(input) {
    const given = Buffer.from(input).toString('utf8')
    const kind = given.includes('KITH-GRANT') ? 'grant' : 'request'
    const bytes = readDeviceText(kind, given)
    assert.deepEqual(readDeviceText(kind, deviceText(kind, bytes).join('\n')), bytes)
    return kind
  },
  iterations: 6_000,
}

const wires: FuzzTarget = {
  name: 'device-wire',
  seeds: [
    encode(devicesRequest, { _version: undefined, did: linkOf('laptop'), chainIndex: 0, version: 3 }),
    encode(devicesAnswer, { _version: undefined, documents: [plain, honest] }),
    encode(deviceQuestion, { _version: undefined, request: requestOf('phone'), urls: ['tcp://127.0.0.1:1'] }),
    encode(deviceAnswer, { _version: undefined, grant }),
  ],
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const read: string[] = []
    for (const [name, codec] of Object.entries({ devicesRequest, devicesAnswer, deviceQuestion, deviceAnswer })) {
      try {
        decode(codec as typeof deviceAnswer, input)
        read.push(name)
      } catch (error) {
        if ((error as { code?: string }).code !== 'WIRE_MALFORMED') throw error
      }
    }
    return read.join(' ')
  },
  iterations: 6_000,
}

export const deviceTargets: readonly FuzzTarget[] = [documents, liar, requests, grants, texts, wires]
