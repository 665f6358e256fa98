import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createStage, type Stage } from '../cli/support.ts'
import { privateKeyring } from '../hardware/keyring.ts'
import { type SoftwareTpm, softwareTpm } from '../hardware/swtpm.ts'

interface Check {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
  readonly next: string | null
}

async function stageWith(t: TestContext, environment: NodeJS.ProcessEnv): Promise<Stage> {
  const before = { ...process.env }
  Object.assign(process.env, environment)
  const stage = await createStage()
  t.after(async () => {
    await stage.close()
    for (const name of Object.keys(environment)) {
      if (before[name] === undefined) delete process.env[name]
      else process.env[name] = before[name]
    }
  })
  return stage
}

async function sealCheck(stage: Stage, home: string): Promise<Check | undefined> {
  const { stdout } = await stage.kith(['doctor', '--home', home, '--json'])
  return (JSON.parse(stdout) as { checks: Check[] }).checks.find(({ name }) => name === 'seal')
}

async function withTpm(t: TestContext): Promise<{ stage: Stage; tpm: SoftwareTpm } | string> {
  const tpm = await softwareTpm()
  if (typeof tpm === 'string') return tpm
  t.after(() => tpm.close())
  return { tpm, stage: await stageWith(t, tpm.environment) }
}

test('node whose passphrase is sealed by the TPM, starts alone; after a PCR changed it is locked with SEAL_BROKEN, and the passphrase is the way back', async (t) => {
  const made = await withTpm(t)
  if (typeof made === 'string') return t.skip(made)
  const { stage, tpm } = made
  const home = stage.home('mine')
  const file = join(stage.folder, 'passphrase')
  writeFileSync(file, 'correct horse battery staple\n', { mode: 0o600 })
  const { did } = await stage.json<{ did: string }>(['init', '--passphrase-file', file, '--home', home])
  const sealed = await stage.json(['id', 'seal', '--tpm', '--passphrase-file', file, '--home', home])
  assert.deepEqual(sealed, { did, sealed: 'tpm', pcrs: [0, 7], random: false })
  const first = await stage.up(home)
  assert.deepEqual([first.ready.did, first.ready.degraded], [did, []])
  assert.equal((await stage.json<{ identity: { passphrase: string } }>(['status', '--home', home])).identity.passphrase, 'tpm')
  assert.equal((await sealCheck(stage, home))?.ok, true)
  await stage.json(['id', 'device', 'renew', '--home', home])
  await stage.json(['down', '--home', home])

  tpm.extend(7)
  assert.match((await sealCheck(stage, home))?.detail ?? '', /PCR 7 changed/)
  const second = await stage.up(home)
  assert.equal(second.ready.degraded[0]?.code, 'SEAL_BROKEN')
  assert.match(second.ready.degraded[0]?.next ?? '', /id seal --tpm --passphrase-file FILE --home/)
  await stage.json(['id', 'unlock', '--passphrase-file', file, '--home', home])
  // Sealed anew beside the running node; the next start needs nobody.
  await stage.json(['id', 'seal', '--tpm', '--passphrase-file', file, '--home', home])
  await stage.json(['down', '--home', home])
  assert.deepEqual((await stage.up(home)).ready.degraded, [])
  await stage.json(['down', '--home', home])

  // A new passphrase ends the seal, which holds the old one.
  const next = join(stage.folder, 'next')
  writeFileSync(next, 'another horse\n', { mode: 0o600 })
  await stage.json(['id', 'passphrase', '--new-passphrase-file', next, '--home', home])
  assert.deepEqual(await stage.json(['id', 'seal', '--home', home]), { did, sealed: null, pcrs: null, random: false })
})

test('passphrase that nobody knows, sealed by the TPM, leaves the state directory; its recovery file is the way back; --off refuses', async (t) => {
  const made = await withTpm(t)
  if (typeof made === 'string') return t.skip(made)
  const { stage, tpm } = made
  const home = stage.home('mine')
  await stage.json(['init', '--no-passphrase', '--home', home])
  const state = join(stage.folder, 'state', 'kith')
  const kept = readdirSync(state).find((name) => name.endsWith('.passphrase')) as string
  const passphrase = readFileSync(join(state, kept), 'utf8')
  const recovery = join(stage.folder, 'recovery')
  const { random } = await stage.json<{ random: boolean }>(['id', 'seal', '--tpm', '--pcr', '7', '--recovery-file', recovery, '--home', home])
  assert.equal(random, true)
  assert.deepEqual([readFileSync(recovery, 'utf8'), statSync(recovery).mode & 0o777], [passphrase, 0o600])
  assert.equal(existsSync(join(state, kept)), false)
  for (const name of readdirSync(state)) assert.equal(readFileSync(join(state, name), 'utf8').includes(passphrase.trim()), false, name)
  const again = await stage.kith(['id', 'seal', '--tpm', '--recovery-file', recovery, '--home', home, '--json'])
  assert.match(again.stderr, /FILE_EXISTS/)
  assert.match((await stage.kith(['id', 'seal', '--off', '--home', home, '--json'])).stderr, /PASSPHRASE_REQUIRED/)

  tpm.extend(7)
  assert.match((await stage.kith(['id', 'device', 'renew', '--home', home, '--json'])).stderr, /SEAL_BROKEN/)
  await stage.json(['id', 'seal', '--tpm', '--passphrase-file', recovery, '--home', home])
  await stage.json(['id', 'device', 'renew', '--home', home])
})

test('node whose passphrase is in the keyring, starts alone in the session, and is locked outside of it', async (t) => {
  const keyring = await privateKeyring()
  if (typeof keyring === 'string') return t.skip(keyring)
  t.after(() => keyring.close())
  const stage = await stageWith(t, keyring.environment)
  const home = stage.home('mine')
  await stage.json(['init', '--no-passphrase', '--home', home])
  await stage.json(['id', 'seal', '--keyring', '--home', home])
  const first = await stage.up(home)
  assert.deepEqual(first.ready.degraded, [])
  await stage.json(['down', '--home', home])
  const outside = await stage.up(home, [], { DBUS_SESSION_BUS_ADDRESS: 'unix:path=/nonexistent' })
  assert.equal(outside.ready.degraded[0]?.code, 'SEAL_UNAVAILABLE')
})
