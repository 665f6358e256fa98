import assert from 'node:assert/strict'
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { concat, equal, utf8 } from '../../../src/core/bytes.ts'
import { sha256 } from '../../../src/core/crypto/hash.ts'
import { signHybrid } from '../../../src/core/crypto/hybrid.ts'
import { labeled } from '../../../src/core/crypto/labels.ts'
import { seededRandom, systemRandom } from '../../../src/core/random.ts'
import { Secret } from '../../../src/core/secret.ts'
import { openAge, sealAge } from '../../../src/identity/age-file.ts'
import { createBinding, decodeBinding, verifyBinding } from '../../../src/identity/binding.ts'
import { adoptChain } from '../../../src/identity/chain.ts'
import { CHAIN_LABEL, decodeChain, encodeChain } from '../../../src/identity/chain-codec.ts'
import { decodeChainState, encodeChainState } from '../../../src/identity/chain-store.ts'
import { wipeSeeds } from '../../../src/identity/keys.ts'
import { packDevice, packIdentity, unpackDevice, unpackIdentity } from '../../../src/identity/keystore-codec.ts'
import { loadKeyFile, saveKeyFile, sumPath } from '../../../src/identity/keystore-file.ts'
import type { ChainEntry } from '../../../src/identity/types.ts'
import { DAY, deviceOf, inception, person, rotate, seedsOf, signerOf, T0 } from '../../identity/make.ts'
import { change, joinMessages, parseChanges, parseMessages } from '../conversation.ts'
import type { FuzzTarget } from '../mutate.ts'

const NOW = T0 + 2 * DAY
const trustee = person('trustee').chain.did
const policy = { threshold: 1, override: 0, delayS: 86_400, trustees: [trustee] }
const ann = person('ann', { policy })
const first = ann.chain
const second = rotate(ann, 'scheduled')
const honest: readonly Uint8Array[] = ann.chain.entries.map(({ hash }) => hash)

const chains: FuzzTarget = {
  name: 'chain',
  seeds: [encodeChain(ann.chain.entries), encodeChain([second]), encodeChain([inception('ben', { mldsa: false })])],
  codes: ['CHAIN_INVALID', 'CHAIN_STALE', 'CHAIN_FORKED'],
  run(input) {
    const entries = decodeChain(input)
    assert.deepEqual(encodeChain(entries), input)
    const fresh = entries[0]?.index === 0
    const { state, outcome } = adoptChain(fresh ? undefined : first, entries, { now: NOW })
    // Nobody here can sign: whatever is adopted was made by its owner.
    if (state.did === ann.chain.did) for (const entry of state.entries) assert.ok(honest.some((hash) => equal(hash, entry.hash)))
    return outcome
  },
  iterations: 6_000,
}

const issuer = { chain: ann.chain, signer: signerOf('ann 1', false) }
const previous = signerOf('ann 0', false)

/** An entry as its owner signs it, whatever it says: message 0 is its body. */
function signed(body: Uint8Array): Uint8Array {
  const message = labeled(CHAIN_LABEL, body)
  const [now, before] = [signHybrid(issuer.signer, message), signHybrid(previous, message)]
  return concat(Uint8Array.of(1), body, now.ed25519, Uint8Array.of(0, 1), before.ed25519, Uint8Array.of(0, 0))
}

const chainLiar: FuzzTarget = {
  name: 'chain-liar',
  seeds: [new Uint8Array(0), change(0, 0, 40, 1), change(0, 1, 70, 3), change(0, 1, 71, 3)],
  codes: [],
  run(input) {
    const { apply } = parseChanges(input)
    let entries: readonly ChainEntry[]
    try {
      entries = decodeChain(signed(apply(0, second.body)[0] ?? new Uint8Array(0)))
      const { state, outcome } = adoptChain(first, entries, { now: NOW })
      assert.equal(state.did, first.did)
      assert.ok(state.index <= 1)
      // What was promised is kept: the keys of the next generation, or nothing.
      if (state.index === 1) assert.deepEqual(state.keys.ed25519, second.keys.ed25519)
      return outcome
    } catch (error) {
      const { code, details } = error as { code?: string; details?: { reason?: string } }
      if (code === undefined || !code.startsWith('CHAIN_')) throw error
      return `${code} ${details?.reason ?? ''}`
    }
  },
  iterations: 6_000,
}

const chainState: FuzzTarget = {
  name: 'chain-state',
  seeds: [encodeChainState(ann.chain), encodeChainState(first)],
  codes: ['WIRE_MALFORMED', 'CHAIN_INVALID'],
  run(input) {
    assert.deepEqual(encodeChainState(decodeChainState(input)), input)
  },
  iterations: 8_000,
}

const device = deviceOf('laptop', false)
const dates = { notBefore: NOW - 3_600_000, notAfter: NOW + 30 * DAY }
const binding = createBinding(issuer, device, { ...dates, serial: 3, name: 'laptop' })

const bindings: FuzzTarget = {
  name: 'binding',
  seeds: [binding, createBinding(issuer, device, { ...dates, serial: 1, name: '', capabilities: 5n, fallbackKem: new Uint8Array(1_216) })],
  codes: ['BINDING_INVALID', 'BINDING_EXPIRED', 'BINDING_STALE'],
  run(input) {
    const decoded = decodeBinding(input)
    assert.deepEqual(decoded.hash, sha256(input))
    assert.deepEqual(decoded.body, input.slice(0, decoded.body.length))
    const verified = verifyBinding(input, { chain: ann.chain, now: NOW })
    assert.deepEqual(verified.linkKey, device.ed25519.publicKey)
    assert.equal(verified.did, ann.chain.did)
  },
  iterations: 8_000,
}

/** A binding as identity and machine sign it, whatever it says: message 0 is its body. */
const bindingLiar: FuzzTarget = {
  name: 'binding-liar',
  seeds: [new Uint8Array(0), change(0, 1, 35, 0), change(0, 1, 92, 9)],
  codes: ['BINDING_INVALID', 'BINDING_EXPIRED', 'BINDING_STALE'],
  run(input) {
    const body = parseChanges(input).apply(0, decodeBinding(binding).body)[0] ?? new Uint8Array(0)
    const message = labeled('icn/binding/v1', body)
    const [identity, machine] = [signHybrid(issuer.signer, message), signHybrid(device, message)]
    const verified = verifyBinding(concat(body, identity.ed25519, Uint8Array.of(0), machine.ed25519, Uint8Array.of(0)), {
      chain: ann.chain,
      now: NOW,
      minSerial: 2,
    })
    assert.deepEqual(verified.linkKey, device.ed25519.publicKey)
    assert.equal(verified.did, ann.chain.did)
    assert.ok(verified.notBeforeMs - 600_000 <= NOW && NOW < verified.notAfterMs && verified.serial >= 2)
  },
  iterations: 6_000,
}

function openSecret(secret: Secret): Uint8Array {
  const bytes = secret.use((content) => Uint8Array.from(content))
  secret.wipe()
  return bytes
}
const identityPlain = openSecret(
  packIdentity({
    createdMs: T0,
    generation: 1,
    mayRotate: true,
    seeds: seedsOf('ann 1', false),
    next: seedsOf('ann 2', true),
    phrase: Secret.take(utf8('zoo wrong')),
    chain: ann.chain,
  }),
)
const tokenPlain = openSecret(
  packIdentity({
    createdMs: T0,
    generation: 0,
    mayRotate: true,
    seeds: {
      ed25519: { kind: 'token', uri: 'pkcs11:token=home;object=kith', publicKey: ann.chain.keys.ed25519 },
      mldsa: seedsOf('ann 1', true).mldsa,
    },
    next: seedsOf('ann 2', true),
    phrase: undefined,
    chain: ann.chain,
  }),
)
const devicePlain = openSecret(
  packDevice({
    createdMs: T0,
    seeds: seedsOf('device', true),
    root: Secret.take(new Uint8Array(32).fill(9)),
    name: 'laptop',
    serial: 3,
    boot: 2,
    binding,
    chain: ann.chain,
  }),
)

/** What an opened key file may hold: damaged in whatever way, it is damaged and no more. */
const keystoreContent: FuzzTarget = {
  name: 'keystore-content',
  seeds: [identityPlain, tokenPlain, devicePlain],
  codes: ['KEYSTORE_DAMAGED', 'KEYSTORE_UNSUPPORTED'],
  run(input) {
    if (input.length === 0) return 'nothing'
    const plain = Secret.take(Uint8Array.from(input))
    try {
      const isDevice = Buffer.from(input.subarray(0, 7)).toString('latin1') === 'kith-de'
      const content = isDevice ? unpackDevice(plain) : unpackIdentity(plain)
      for (const seeds of 'next' in content ? [content.seeds, content.next] : [content.seeds]) wipeSeeds(seeds)
      if ('phrase' in content) content.phrase?.wipe()
      if ('root' in content) content.root?.wipe()
      return isDevice ? 'device' : 'identity'
    } finally {
      plain.wipe()
    }
  },
  iterations: 6_000,
}

const passphrase = Secret.take(utf8('correct horse'))
const content = Secret.take(utf8('what the file holds'))
const sealed = await sealAge(content, passphrase, { random: seededRandom('age'), workFactor: 1 })
const AGE_CODES = ['KEYSTORE_DAMAGED', 'PASSPHRASE_WRONG', 'KEYSTORE_UNSUPPORTED'] as const

/** Factors that would keep this machine busy are refused or computed elsewhere; here only cheap ones are. */
function costly(file: Uint8Array): boolean {
  const factors = [
    ...Buffer.from(file)
      .toString('latin1')
      .matchAll(/scrypt\s+\S+\s+([0-9]+)/g),
  ].map((match) => Number(match[1]))
  return factors.some((factor) => factor > 8 && factor <= 20)
}

/** `u8 how | file`: how = what the checksum said. */
const ageFile: FuzzTarget = {
  name: 'age-file',
  seeds: [0, 1].map((intact) => Buffer.concat([Uint8Array.of(intact), sealed])),
  codes: [...AGE_CODES],
  tokens: ['-> ', '\n', '---', 'scrypt', ' 21', ' 99', ' 0', 'X25519', '=', 'age-encryption.org/v1'].map(utf8),
  async run(input) {
    const file = input.subarray(1)
    if (costly(file)) return 'costly'
    const opened = await openAge(file, passphrase, [undefined, true, false][(input[0] ?? 0) % 3])
    assert.ok(equal(openSecret(opened), openedContent), 'a changed file opened as something else')
  },
  iterations: 5_000,
}
const openedContent = content.use((bytes) => Uint8Array.from(bytes))

let folder = ''
/** `u16 length | checksum file | age file`, on the disk. */
const keyFile: FuzzTarget = {
  name: 'key-file',
  seeds: [
    joinMessages(utf8(`${Buffer.from(sha256(sealed)).toString('hex')}  k.age\n`), sealed),
    joinMessages(new Uint8Array(0), sealed),
    joinMessages(utf8(`${'0'.repeat(64)}  k.age\n${Buffer.from(sha256(sealed)).toString('hex')}  k.age\n`), sealed),
  ],
  codes: [...AGE_CODES],
  async open() {
    folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-fuzz-')))
    const path = join(folder, 'saved.age')
    await saveKeyFile(path, content, passphrase, { random: systemRandom, workFactor: 1 })
    assert.ok(equal(openSecret((await loadKeyFile(path, passphrase)) as Secret), openedContent))
  },
  async close() {
    await rm(folder, { recursive: true, force: true })
  },
  async run(input) {
    const [sum = new Uint8Array(0), file = new Uint8Array(0)] = parseMessages(input, 2)
    if (costly(file)) return 'costly'
    const path = join(folder, 'k.age')
    await writeFile(path, file, { mode: 0o600 })
    await writeFile(sumPath(path), sum, { mode: 0o600 })
    const opened = await loadKeyFile(path, passphrase)
    assert.ok(opened !== undefined && equal(openSecret(opened), openedContent), 'a changed file opened as something else')
  },
  iterations: 1_500,
}

export const identityTargets: readonly FuzzTarget[] = [chains, chainLiar, chainState, bindings, bindingLiar, keystoreContent, ageFile, keyFile]
