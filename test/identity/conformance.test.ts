import { concat } from '../../src/core/bytes.ts'
import { sha256 } from '../../src/core/crypto/hash.ts'
import { Secret } from '../../src/core/secret.ts'
import { type BindingOptions, createBinding, decodeBinding } from '../../src/identity/binding.ts'
import { adoptChain } from '../../src/identity/chain.ts'
import { createInception, createRotation } from '../../src/identity/chain-make.ts'
import { attestationText } from '../../src/identity/chain-recovery.ts'
import { formatDid } from '../../src/identity/did.ts'
import { commitNext, type KeySeeds, openKeySet, publicKeysOf } from '../../src/identity/keys.ts'
import { packIdentity } from '../../src/identity/keystore-codec.ts'
import { conformance, type Generator } from '../conformance.ts'

/** Signatures by ML-DSA are randomised, so signed bodies and their hashes are recorded, and Ed25519 signatures, which are not. */
const seeds = (g: Generator): KeySeeds => {
  const ed25519 = Secret.take(g.bytes(32))
  return { ed25519, mldsa: g.option(() => Secret.take(g.bytes(32))) }
}

function chain(g: Generator) {
  const [first, second, third] = [seeds(g), seeds(g), seeds(g)]
  const trustees = g.list(4, () => formatDid(publicKeysOf(seeds(g)).ed25519))
  const policy = trustees.length === 0 ? {} : { policy: { threshold: trustees.length, override: 0, delayS: 86_400 + g.integer(1000), trustees } }
  const withPq = { ...second, mldsa: second.mldsa ?? (first.mldsa === undefined ? undefined : Secret.take(g.bytes(32))) }
  const keys = publicKeysOf(withPq)
  const now = 1_700_000_000_000 + g.integer(1e9)
  const signer = openKeySet('identity', first)
  const inception = createInception({ signer, next: keys, now, ...policy })
  const state = adoptChain(undefined, [inception], { now }).state
  const opened = openKeySet('identity', withPq)
  const rotation = createRotation({
    chain: state,
    signer: opened,
    next: publicKeysOf(third),
    reason: 'scheduled',
    previous: signer,
    now: now + g.integer(1e6),
    ...policy,
  })
  return { state: adoptChain(state, [rotation], { now: now + 1e6 }).state, signer: opened, now }
}

conformance(
  'icn/chain/v1 bodies, hashes and Ed25519 signatures',
  (g) => {
    const { state } = chain(g)
    return concat(...state.entries.flatMap((entry) => [entry.body, entry.hash, entry.signature.ed25519]))
  },
  16,
)

conformance('icn/chain-next/v1 commitment', (g) => commitNext(publicKeysOf(seeds(g))), 16)

conformance(
  'icn/binding/v1 body and Ed25519 signatures',
  (g) => {
    const { state, signer, now } = chain(g)
    const device = openKeySet('link', seeds(g))
    const fallbackKem = g.option(() => g.bytes(1216))
    const options: BindingOptions = {
      notBefore: now,
      notAfter: now + 1 + g.integer(1e9),
      serial: g.integer(2 ** 53),
      name: `n${g.integer(1e6)}`,
      capabilities: g.u64(),
    }
    const binding = decodeBinding(createBinding({ chain: state, signer }, device, fallbackKem === undefined ? options : { ...options, fallbackKem }))
    return concat(binding.body, binding.identitySignature.ed25519, binding.linkSignature)
  },
  16,
)

conformance(
  'ICN_RECOVERY_ATTESTATION text',
  (g) => {
    const keys = publicKeysOf(seeds(g))
    return attestationText(formatDid(publicKeysOf(seeds(g)).ed25519), keys, g.integer(2 ** 45))
  },
  16,
)

conformance(
  'identity.age content without its signatures',
  (g) => {
    const { state } = chain(g)
    const phrase = g.option(() => Secret.take(Buffer.from('legal winner thank year wave sausage worth useful legal winner thank yellow')))
    const keys: KeySeeds = seeds(g)
    const inToken = { kind: 'token', uri: `pkcs11:object=k${g.integer(100)}`, publicKey: publicKeysOf(seeds(g)).ed25519 } as const
    const held = g.bool() ? keys : { ...keys, ed25519: inToken }
    const content = { createdMs: g.integer(2 ** 45), generation: state.index, mayRotate: g.bool(), seeds: held, next: seeds(g), phrase, chain: state }
    const packed = packIdentity(content)
    // What is before the chain: magic, version, numbers, keys.
    return packed.use((bytes) => sha256(bytes.subarray(0, 13 + 1 + 8 + 4 + 1 + 34 + 34)))
  },
  16,
)
