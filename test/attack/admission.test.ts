import assert from 'node:assert/strict'
import { test } from 'node:test'
import { manualClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import { encodeChain } from '../../src/identity/chain-codec.ts'
import { ADMISSION_LIMITS, type Admission, createAdmission } from '../../src/mesh/admission.ts'
import { createLocateAnswerer, locate } from '../../src/mesh/locate.ts'
import { decodeLocateRequest, encodeLocateAnswerBody, encodeLocateRequest, locateAnswerMessage, locateTag, NO_INDEX } from '../../src/mesh/locate-codec.ts'
import { NOW, testDevice, testIdentity, testNode } from '../mesh/fixtures.ts'

const from = (host: string) => ({ scheme: 'tcp', host, port: 1 })

/** Handshakes of so many sources that are let in and end at once. */
function admitted(admission: Admission, hosts: Iterable<string>): number {
  let count = 0
  for (const host of hosts) {
    const lease = admission.handshake(from(host))
    if (lease !== undefined) count++
    lease?.release()
  }
  return count
}

function* prefixes(count: number): Generator<string> {
  for (let index = 0; index < count; index++) yield `2001:db8:1:${index.toString(16)}::1`
}

test('a neighbour who takes another /64 for each connection, gets the rate of one network and leaves the others theirs', () => {
  const clock = manualClock()
  const admission = createAdmission({ clock })
  assert.equal(admitted(admission, prefixes(20_000)), ADMISSION_LIMITS.networkBurst)
  assert.equal(admitted(admission, Array<string>(10).fill('2001:db8:2::1')), 10)
  assert.equal(admitted(admission, Array<string>(10).fill('198.51.100.7')), 10)
  clock.advance(1_000)
  assert.equal(admitted(admission, prefixes(20_000)), ADMISSION_LIMITS.networkPerSecond)
})

test('a thousand addresses of one /24, get the rate of one network', () => {
  const admission = createAdmission({ clock: manualClock() })
  const hosts = Array.from({ length: 2_000 }, (_, index) => `203.0.113.${index % 256}`)
  assert.equal(admitted(admission, hosts), ADMISSION_LIMITS.networkBurst)
})

test('a flood from everywhere, does not keep out a source from which a peer of ours has come', () => {
  const clock = manualClock()
  const admission = createAdmission({ clock })
  admission.welcome({ path: { scheme: 'tcp', address: 'tcp://198.51.100.7:4433', direct: true } })
  function* everywhere(): Generator<string> {
    for (let index = 0; index < 5_000; index++) yield `10.${index >> 8}.${index & 255}.1`
  }
  assert.equal(admitted(admission, everywhere()), ADMISSION_LIMITS.totalBurst)
  assert.equal(admitted(admission, ['192.0.2.1']), 0)
  assert.equal(admitted(admission, ['198.51.100.7']), 1)
})

test('locate asked for other identities without end from many networks, takes nothing from those who ask for this one', () => {
  const clock = manualClock(NOW)
  const device = testDevice(testIdentity('ann'), 'ann')
  const answer = createLocateAnswerer({ device, clock })
  const random = seededRandom('locate')
  const ask = (host: string, didKey: Uint8Array): Uint8Array | undefined => {
    const nonce = random.bytes(16)
    return answer(encodeLocateRequest({ nonce, tag: locateTag(didKey, nonce), haveIndex: NO_INDEX }), from(host))
  }
  const other = testDevice(testIdentity('ben'), 'ben').didKey
  for (let index = 0; index < 5_000; index++) assert.equal(ask(`10.${index >> 8}.${index & 255}.1`, other), undefined)
  assert.notEqual(ask('198.51.100.7', device.didKey), undefined)
})

test('an answer to locate that promises more of a chain and never shows it, is believed once and not asked for again', async () => {
  const clock = manualClock(NOW)
  const victim = await testNode('victim')
  const { linkSigner } = testDevice(testIdentity('mallory'), 'mallory')
  const forged = Buffer.from(victim.device.binding)
  // The binding's chain index and link key, both unsigned by the identity: bytes 33..37 and 93..125.
  forged.writeUInt32BE(900, 33)
  forged.set(linkSigner.publicKey, 93)
  let asked = 0
  const transport = {
    scheme: 'tcp',
    locate: async (_address: string, frame: Uint8Array): Promise<Uint8Array> => {
      asked++
      const request = decodeLocateRequest(frame)
      const body = encodeLocateAnswerBody({ binding: forged, tail: encodeChain(victim.identity.chain.entries), timeMs: NOW })
      return Buffer.concat([body, linkSigner.sign(locateAnswerMessage(request, body))])
    },
  }
  await assert.rejects(locate(transport, 'tcp://192.0.2.1:1', { did: victim.device.did, clock, random: seededRandom('asker') }))
  assert.ok(asked <= 2, `${asked} questions`)
})
