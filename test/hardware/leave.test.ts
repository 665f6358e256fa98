import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { toHex } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { createSigner, publicKeyOfSeed } from '../../src/core/crypto/ed25519.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { leaveToken } from '../../src/daemon/identity/leave-token.ts'
import { setUpIdentity } from '../../src/daemon/identity/setup.ts'
import { loadTokenNotes } from '../../src/identity/hardware/notes.ts'
import { Tokens } from '../../src/identity/hardware/tokens.ts'
import { type Home, openHome } from '../../src/identity/home.ts'
import type { TokenKey } from '../../src/identity/keys.ts'
import { openDevice, openIdentity } from '../../src/identity/keystore.ts'
import { generatePhrase } from '../../src/vault/bip39.ts'

const seedInToken = (): Secret => Secret.take(Buffer.alloc(32, 9))
const KEY: TokenKey = { kind: 'token', uri: 'pkcs11:token=gone;object=kith?module-path=/gone.so', publicKey: publicKeyOfSeed(seedInToken()) }
const secret = (): Secret => Secret.take(Buffer.from('correct horse'))

/** Opens the key as a token would, as long as it is `there`. */
class TestTokens extends Tokens {
  there = true
  override readonly open = (key: TokenKey): ReturnType<typeof createSigner> => {
    if (this.there) return createSigner('identity', seedInToken())
    return new Tokens({ environment: {} }).open(key)
  }
}

async function homeOf(t: TestContext, tokens: Tokens): Promise<Home> {
  const directory = mkdtempSync(join(tmpdir(), 'kith-leave-'))
  const home = await openHome(join(directory, 'home'), { tokens })
  t.after(async () => {
    await home.close()
    rmSync(directory, { recursive: true })
  })
  return home
}

const work = { clock: systemClock, random: systemRandom, workFactor: 1 }

test('home with its key in a token, the token lost, goes on with the next keys under the same DID', async (t) => {
  const tokens = new TestTokens()
  const home = await homeOf(t, tokens)
  const { summary, phrase } = await setUpIdentity({ home, ...work, passphrase: secret(), token: KEY })
  phrase.wipe()
  assert.deepEqual(await loadTokenNotes(home.paths.root), [{ generation: 0, public_key: toHex(KEY.publicKey), uri: KEY.uri }])
  tokens.there = false
  rmSync(home.paths.device)
  await assert.rejects(openDevice(home, { passphrase: secret(), ...work }), { code: 'TOKEN_UNAVAILABLE' })
  const left = await leaveToken(home, { passphrase: secret(), ...work, mode: 'passphrase', name: 'new' })
  assert.deepEqual([left.did, left.chain.index, left.name], [summary.did, 1, 'new'])
  using identity = await openIdentity(home, { passphrase: secret() })
  assert.deepEqual([identity.hardware, identity.chain.entries[1]?.reason], [false, 'lost'])
  assert.deepEqual(await loadTokenNotes(home.paths.root), [])
  await assert.rejects(leaveToken(home, { passphrase: secret(), ...work, mode: 'passphrase', name: 'new' }), { code: 'NOT_FOUND' })
})

test('restore from the phrase and the chain, keys of the head in a lost token, goes on with the next ones; another phrase is PHRASE_OTHER', async (t) => {
  const first = await homeOf(t, new TestTokens())
  const { summary, phrase } = await setUpIdentity({ home: first, ...work, passphrase: secret(), token: KEY })
  using identity = await openIdentity(first, { passphrase: secret() })
  const away = new TestTokens()
  away.there = false
  const restored = await setUpIdentity({ home: await homeOf(t, away), ...work, passphrase: secret(), phrase, chain: identity.chain })
  assert.deepEqual([restored.summary.did, restored.summary.chain.index], [summary.did, 1])
  const other = generatePhrase(12, systemRandom)
  await assert.rejects(setUpIdentity({ home: await homeOf(t, away), ...work, passphrase: secret(), phrase: other, chain: identity.chain }), {
    code: 'PHRASE_OTHER',
  })
})
