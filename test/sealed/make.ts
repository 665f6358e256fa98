import { createHash } from 'node:crypto'
import { equal, type PublicKey } from '../../src/core/bytes.ts'
import { xwingPublicKey } from '../../src/core/crypto/xwing.ts'
import { seededRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { type Did, didPublicKey } from '../../src/identity/did.ts'
import { signEnvelope } from '../../src/mesh/messages/envelope.ts'
import { kidOf } from '../../src/mesh/sealed/prekey-codec.ts'
import type { OpeningKeys, SealTarget } from '../../src/mesh/sealed/sealing.ts'
import { NOW, type TestDevice, type TestIdentity, testDevice, testIdentity } from '../mesh/fixtures.ts'

/** A machine with one key to open sealed messages with, outside of any store. */
export interface Machine {
  readonly did: Did
  readonly device: TestDevice
  readonly linkKey: PublicKey
  readonly target: SealTarget
  readonly keys: OpeningKeys
  seed(): Secret
}

export function machine(name: string, identity: TestIdentity = testIdentity(name)): Machine {
  const device = testDevice(identity, name)
  const linkKey = device.linkSigner.publicKey
  const seed = (): Secret => Secret.take(createHash('sha256').update(`xwing ${name}`).digest())
  using own = seed()
  const key = xwingPublicKey(own)
  const kid = kidOf(key)
  const keys: OpeningKeys = { find: async (asked, wanted) => (equal(asked, linkKey) && equal(wanted, kid) ? seed() : undefined) }
  return { did: identity.chain.did, device, linkKey, target: { device: linkKey, kid, key }, keys, seed }
}

export interface MadeMessage {
  readonly envelope: Uint8Array
  readonly head: { readonly to: Did; readonly msgId: Uint8Array; readonly expiresMs: number }
}

/** A stored envelope from one machine to an identity. */
export function message(from: Machine, to: Did, payload: Uint8Array, options: { msgId?: Uint8Array; expiresMs?: number; hybrid?: boolean } = {}): MadeMessage {
  const msgId = options.msgId ?? seededRandom(`message ${payload.length}`).bytes(16)
  const expiresMs = options.expiresMs ?? NOW + 86_400_000
  const envelope = signEnvelope(
    {
      class: 'stored',
      suite: options.hybrid === true ? 'hybrid' : 'ed25519',
      from: didPublicKey(from.did),
      device: from.linkKey,
      to: didPublicKey(to),
      msgId,
      expiresMs,
      timeMs: NOW,
      type: 0x0100,
      payload,
    },
    { ed25519: from.device.linkSigner, mldsa: from.device.mldsaSigner },
  )
  return { envelope, head: { to, msgId, expiresMs } }
}
