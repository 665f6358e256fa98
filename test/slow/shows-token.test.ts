import assert from 'node:assert/strict'
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createStage, type Stage } from '../cli/support.ts'
import { PIN, type SoftHsm, softHsm } from '../hardware/softhsm.ts'

const DAY_MS = 86_400_000

interface Shown {
  readonly did: string
  readonly hardware: string | null
  readonly binding_expires_at: string
  readonly chain: { readonly index: number }
}

interface Desk {
  readonly hsm: SoftHsm
  readonly stage: Stage
  readonly pin: string
  /** Takes the token out of its reader. */
  pull(): void
  putBack(): void
  /** A command that must fail, and its code. */
  fails(args: readonly string[], env?: Record<string, string>): Promise<string>
}

async function desk(t: TestContext): Promise<Desk | string> {
  const hsm = await softHsm()
  if (typeof hsm === 'string') return hsm
  Object.assign(process.env, hsm.environment)
  const stage = await createStage()
  t.after(async () => {
    await stage.close()
    hsm.close()
  })
  hsm.addToken('home')
  const pin = join(stage.folder, 'pin')
  writeFileSync(pin, `${PIN}\n`, { mode: 0o600 })
  const away = `${hsm.tokens}-away`
  return {
    hsm,
    stage,
    pin,
    pull() {
      renameSync(hsm.tokens, away)
      mkdirSync(hsm.tokens)
    },
    putBack() {
      rmSync(hsm.tokens, { recursive: true })
      renameSync(away, hsm.tokens)
    },
    async fails(args, env) {
      const { status, stderr } = await stage.kith([...args, '--json'], env === undefined ? {} : { env })
      assert.notEqual(status, 0, `kith ${args.join(' ')} did not fail`)
      return (JSON.parse(stderr) as { error: { code: string } }).error.code
    },
  }
}

test('node whose DID key is in a token, pairs and talks; the token pulled, it signs nothing more as that identity; the phrase is the way back', async (t) => {
  const made = await desk(t)
  if (typeof made === 'string') return t.skip(made)
  const { hsm, stage, pin, pull, putBack, fails } = made
  const [mine, friend] = [stage.home('mine'), stage.home('friend')]
  const init = ['id', 'hardware', 'init', '--pkcs11', 'pkcs11:token=home', '--module', hsm.module, '--pin-file', pin, '--no-passphrase', '--home', mine]
  const { did, uri } = await stage.json<{ did: string; uri: string }>(init)
  assert.equal(await fails(init), 'IDENTITY_EXISTS')
  const shown = await stage.json<Shown>(['id', 'show', '--home', mine])
  assert.equal(shown.hardware, uri)
  const days = (Date.parse(shown.binding_expires_at) - Date.now()) / DAY_MS
  assert.ok(days > 398 && days <= 400, `${days} days`)

  const other = await stage.json<{ did: string }>(['init', '--no-passphrase', '--home', friend])
  await stage.up(mine, [], { KITH_HARDWARE_PIN_FILE: pin })
  await stage.up(friend)
  const { ticket } = await stage.json<{ ticket: string }>(['invite', '--home', mine])
  await stage.json(['join', ticket, '--home', friend])
  const talk = (): Promise<unknown> => stage.json(['ping', did, '-n', '1', '--home', friend])
  await talk()
  const status = await stage.json<{ identity: { hardware: string } }>(['status', '--home', mine])
  assert.equal(status.identity.hardware, uri)
  const { attestation } = await stage.json<{ attestation: object }>(['id', 'hardware', 'show', '--attest', '--home', mine])
  const { token, ...claims } = attestation as { token: { label: string } }
  assert.deepEqual(claims, { place: 'token', hardware: false, sensitive: true, nonExtractable: true, madeThere: true })
  assert.equal(token.label, 'home')
  await stage.json(['id', 'device', 'renew', '--home', mine])

  pull()
  assert.equal(await fails(['id', 'device', 'renew', '--home', mine]), 'TOKEN_UNAVAILABLE')
  assert.equal(await fails(['id', 'rotate', '--home', mine]), 'TOKEN_UNAVAILABLE')
  assert.equal(await fails(['id', 'device', 'rotate', '--home', mine]), 'TOKEN_UNAVAILABLE')
  const { checks } = await stage.json<{ checks: { name: string; ok: boolean; next: string }[] }>(['doctor', '--home', mine]).catch(async () => {
    const { stdout } = await stage.kith(['doctor', '--home', mine, '--json'])
    return JSON.parse(stdout) as { checks: { name: string; ok: boolean; next: string }[] }
  })
  const check = checks.find(({ name }) => name === 'hardware')
  assert.equal(check?.ok, false)
  assert.match(check?.next ?? '', /kith id rotate --reason lost/)
  await talk()

  putBack()
  await stage.json(['id', 'device', 'renew', '--home', mine])

  pull()
  const rotated = await stage.json<Shown>(['id', 'rotate', '--reason', 'lost', '--home', mine])
  assert.equal(rotated.did, did)
  const after = await stage.json<Shown>(['id', 'show', '--home', mine])
  assert.deepEqual([after.hardware, after.chain.index], [null, 1])
  await talk()
  await stage.json(['down', '--home', mine])
  await stage.up(mine)
  await stage.json(['ping', other.did, '-n', '1', '--home', mine])
})

test('identity from a key file, moves into a token by two rotations, with a PIN that the node is lent, and keeps its DID', async (t) => {
  const made = await desk(t)
  if (typeof made === 'string') return t.skip(made)
  const { hsm, stage, pin, fails } = made
  const home = stage.home('mine')
  const { did } = await stage.json<{ did: string }>(['init', '--no-passphrase', '--home', home])
  const commit = ['id', 'hardware', 'commit', '--pkcs11', 'pkcs11:token=home;object=next', '--module', hsm.module, '--home', home]
  assert.equal(await fails(commit), 'TOKEN_PIN_REQUIRED')
  await stage.up(home)
  assert.equal(await fails(commit), 'TOKEN_PIN_REQUIRED')
  const committed = await stage.json<{ did: string; uri: string; made: boolean; chain: { index: number } }>([...commit, '--pin-file', pin])
  assert.deepEqual([committed.did, committed.made, committed.chain.index], [did, true, 1])
  assert.equal((await stage.json<Shown>(['id', 'show', '--home', home])).hardware, null)

  assert.equal(await fails(['id', 'rotate', '--home', home]), 'TOKEN_PIN_REQUIRED', 'the PIN was lent for one command')
  await stage.json(['id', 'hardware', 'unlock', '--pin-file', pin, '--home', home])
  await stage.json(['id', 'rotate', '--home', home])
  const shown = await stage.json<Shown>(['id', 'show', '--home', home])
  assert.deepEqual([shown.did, shown.hardware, shown.chain.index], [did, committed.uri, 2])
  assert.deepEqual(await stage.json(['id', 'hardware', 'lock', '--home', home]), { pin: false })
  assert.equal(await fails(['id', 'device', 'renew', '--home', home]), 'TOKEN_PIN_REQUIRED')
  await stage.json(['down', '--home', home])

  // On the files alone, and out of the token again.
  await stage.json(['id', 'device', 'renew', '--pin-file', pin, '--home', home])
  await stage.json(['id', 'rotate', '--pin-file', pin, '--home', home])
  assert.equal((await stage.json<Shown>(['id', 'show', '--home', home])).hardware, null)
  const wrong = join(stage.folder, 'wrong')
  writeFileSync(wrong, '000000\n', { mode: 0o600 })
  assert.equal(await fails([...commit, '--pin-file', wrong]), 'TOKEN_PIN_WRONG')
})
