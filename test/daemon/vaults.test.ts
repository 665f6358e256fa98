import assert from 'node:assert/strict'
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { KithError } from '../../src/core/errors.ts'
import { createAudit } from '../../src/core/observe/audit.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMetrics } from '../../src/core/observe/metrics.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { type Config, SETTINGS } from '../../src/daemon/config/settings.ts'
import { createVaultFile, listVaultFiles, MAX_VAULTS, openVaultFile, vaultFile, vaultKeyFiles } from '../../src/daemon/vault/files.ts'
import { VaultService, type VaultServiceOptions } from '../../src/daemon/vault/service.ts'
import { type Home, openHome } from '../../src/identity/home.ts'
import { sumPath } from '../../src/identity/keystore-file.ts'
import { parsePhrase } from '../../src/vault/bip39.ts'
import { IDENTITY, SSH_HOST } from '../../src/vault/paths.ts'
import { temporaryDirectory } from '../identity/temp.ts'

const OWN = `${'abandon '.repeat(11)}about`
const OTHER = 'legal winner thank year wave sausage worth useful legal winner thank yellow'
const secret = (text: string): Secret => Secret.take(Buffer.from(text))
const cheap = { random: systemRandom, nowMs: 5, workFactor: 2 }

interface Bench {
  readonly service: VaultService
  readonly home: Home
  readonly clock: ManualClock
  readonly metrics: ReturnType<typeof createMetrics>
  readonly audit: ReturnType<typeof createAudit>
  readonly config: { 'vault.idle_lock_s': number }
}

async function bench(t: TestContext, options: Partial<VaultServiceOptions> = {}): Promise<Bench> {
  const home = await openHome(join(temporaryDirectory(t), 'home'))
  t.after(() => home.close())
  const clock = manualClock()
  const metrics = createMetrics()
  const audit = createAudit({ store: createMemoryStore(), clock })
  const config = { 'vault.idle_lock_s': SETTINGS['vault.idle_lock_s'].fallback }
  const identity: VaultServiceOptions['identity'] = {
    async withIdentity(given, run) {
      if (given === undefined || !given.use((bytes) => bytes.equals(Buffer.from('own')))) throw new KithError('PASSPHRASE_WRONG')
      const opened = { identity: { phrase: () => parsePhrase(OWN) } } as unknown as Parameters<typeof run>[0]
      return (await run(opened)).result
    },
  }
  const service = new VaultService({
    home,
    config: { current: config as unknown as Config } as VaultServiceOptions['config'],
    identity,
    audit: () => audit,
    environment: {},
    clock,
    random: systemRandom,
    logger: silentLogger,
    metrics,
    ...options,
  })
  t.after(() => service.stop())
  return { service, home, clock, metrics, audit, config }
}

test('vaults, two of a home, have keys, lock and cache of their own', async (t) => {
  const { service, home } = await bench(t)
  await createVaultFile(home.paths.root, 'work', parsePhrase(OTHER), secret('pw'), cheap)
  await service.unlock('default', secret('own'))
  await assert.rejects(service.opened('work'), { code: 'VAULT_LOCKED', next: 'kith vault unlock work' })
  await service.unlock('work', secret('pw'))
  const [own, work] = [await service.opened('default'), await service.opened('work')]
  const keys = [own, work].map((vault) => vault.derive(SSH_HOST))
  assert.equal(keys[0]?.privateKey.equals(keys[1]?.privateKey as Secret), false)
  assert.throws(() => work.decrypt(own.encrypt(Buffer.from('x'))), { code: 'DECRYPT_FAILED' })
  assert.deepEqual(service.lock('work'), ['work'])
  assert.deepEqual([own.unlocked, work.unlocked, keys[0]?.privateKey.wiped, keys[1]?.privateKey.wiped], [true, false, false, true])
  assert.deepEqual(service.lock(undefined), ['default'])
})

test('vault, unlocked twice, at once or later, is refused and stays open', async (t) => {
  const { service } = await bench(t)
  const both = await Promise.allSettled([service.unlock('default', secret('own')), service.unlock('default', secret('own'))])
  assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  await assert.rejects(service.unlock('default', secret('own')), { code: 'VAULT_UNLOCKED' })
  assert.deepEqual(service.unlocked, ['default'])
})

test('vault, wrong passphrase, missing name or a name that is a path, refused each with its code', async (t) => {
  const { service, home } = await bench(t)
  await createVaultFile(home.paths.root, 'work', parsePhrase(OTHER), secret('pw'), cheap)
  await assert.rejects(service.unlock('default', secret('wrong')), { code: 'PASSPHRASE_WRONG' })
  await assert.rejects(service.unlock('work', secret('wrong')), { code: 'PASSPHRASE_WRONG' })
  await assert.rejects(service.unlock('work', undefined), { code: 'PASSPHRASE_REQUIRED', next: 'kith vault unlock work' })
  await assert.rejects(service.unlock('play', secret('pw')), { code: 'VAULT_MISSING' })
  for (const name of ['', '../work', 'a/b', 'Work', '-a', 'a-', 'x'.repeat(33), 'wörk', '.', 'work.age'])
    await assert.rejects(service.unlock(name, secret('pw')), { code: 'USAGE' }, name)
  assert.deepEqual(service.unlocked, [])
})

test('vault, unused for the configured time, locks; a changed setting counts at once', async (t) => {
  const { service, clock, config } = await bench(t)
  await service.unlock('default', secret('own'))
  const vault = await service.opened('default')
  const key = vault.derive(IDENTITY)
  clock.advance(3_599_000)
  assert.equal(vault.unlocked, true)
  clock.advance(1_000)
  assert.equal(key.privateKey.wiped, true)
  config['vault.idle_lock_s'] = 60
  await service.unlock('default', secret('own'))
  clock.advance(60_000)
  assert.equal(vault.unlocked, false)
  config['vault.idle_lock_s'] = 0
  await service.unlock('default', secret('own'))
  clock.advance(10 * 3_600_000)
  assert.equal(vault.unlocked, true)
})

test('node that stops, wipes every vault; a listener hears of it', async (t) => {
  const { service } = await bench(t)
  const told: string[] = []
  service.get().onLock((reason) => told.push(reason))
  await service.unlock('default', secret('own'))
  const key = (await service.opened('default')).derive(IDENTITY)
  await service.stop()
  await service.stop()
  assert.deepEqual([key.privateKey.wiped, told], [true, ['asked']])
})

test('audit and metrics, what a vault does, tell who and what for, never path or key', async (t) => {
  const { service, audit, metrics, clock } = await bench(t)
  await service.unlock('default', secret('own'))
  const vault = await service.opened('default')
  vault.derive(SSH_HOST, { who: 'did:icn:zPeer' })
  vault.derive(SSH_HOST, { who: `\n${'x'.repeat(500)}` })
  clock.advance(3_600_000)
  // Rows are handed over in the turn after; verify waits for those before it.
  await new Promise((resolve) => setImmediate(resolve))
  await audit.verify()
  const rows = [...(await audit.list())].reverse().map(({ actor, action, subject, details }) => [actor, action, subject, details?.class ?? ''])
  assert.deepEqual(rows, [
    ['owner', 'vault.unlock', 'default', ''],
    ['did:icn:zPeer', 'vault.derive', 'default', 'ssh'],
    [` ${'x'.repeat(127)}`, 'vault.derive', 'default', 'ssh'],
    ['node', 'vault.lock', 'default', ''],
  ])
  const text = metrics.render()
  assert.match(text, /kith_vault_derivations_total\{class="ssh"\} 2/)
  assert.match(text, /kith_vault_locks_total\{reason="idle"\} 1/)
  assert.match(text, /kith_vaults_unlocked 0/)
})

test('file of a vault, every byte flipped or cut off, is told apart from a wrong passphrase and never opens', async (t) => {
  const { home } = await bench(t)
  const root = home.paths.root
  await createVaultFile(root, 'work', parsePhrase(OTHER), secret('pw'), cheap)
  const path = vaultFile(root, 'work')
  const whole = await readFile(path)
  const passphrase = secret('pw')
  for (let at = 0; at < whole.length; at += 3) {
    const flipped = Buffer.from(whole)
    flipped[at] = (flipped[at] as number) ^ 1
    for (const content of [flipped, whole.subarray(0, at)]) {
      await writeFile(path, content)
      await assert.rejects(
        openVaultFile(root, 'work', passphrase),
        (error: KithError) => ['KEYSTORE_DAMAGED', 'KEYSTORE_UNSUPPORTED'].includes(error.code),
        `byte ${at}`,
      )
    }
  }
  await writeFile(path, whole)
  await assert.rejects(openVaultFile(root, 'work', secret('wrong')), { code: 'PASSPHRASE_WRONG' })
  assert.ok((await openVaultFile(root, 'work', passphrase)).equals(parsePhrase(OTHER)))
  await chmod(path, 0o644)
  await assert.rejects(openVaultFile(root, 'work', passphrase), { code: 'HOME_UNSAFE' })
})

test('file of a vault, made over one that is there or beyond the number, refused; the one there stays', async (t) => {
  const { home } = await bench(t)
  const root = home.paths.root
  await createVaultFile(root, 'work', parsePhrase(OTHER), secret('pw'), cheap)
  await assert.rejects(createVaultFile(root, 'work', parsePhrase(OWN), secret('pw'), cheap), { code: 'VAULT_EXISTS' })
  await assert.rejects(createVaultFile(root, 'default', parsePhrase(OWN), secret('pw'), cheap), { code: 'VAULT_EXISTS' })
  assert.ok((await openVaultFile(root, 'work', secret('pw'))).equals(parsePhrase(OTHER)))
  for (let i = 1; i < MAX_VAULTS; i++) await writeFile(vaultFile(root, `v${i}`), '', { mode: 0o600 })
  await assert.rejects(createVaultFile(root, 'more', parsePhrase(OWN), secret('pw'), cheap), { code: 'USAGE' })
})

test('vaults of a home, strange files beside them, are not listed; those of a passphrase are found by it', async (t) => {
  const { home } = await bench(t)
  const root = home.paths.root
  assert.deepEqual(await listVaultFiles(root), [])
  await mkdir(join(root, 'vaults'), { mode: 0o700 })
  for (const name of ['default.age', 'Big.age', 'x.txt', '..age', 'a b.age']) await writeFile(join(root, 'vaults', name), 'x')
  await createVaultFile(root, 'b', parsePhrase(OTHER), secret('pw'), cheap)
  await createVaultFile(root, 'a', parsePhrase(OWN), secret('other'), cheap)
  assert.deepEqual(await listVaultFiles(root), ['a', 'b'])
  const files = await vaultKeyFiles(root, secret('pw'))
  assert.deepEqual(
    files.map(({ name }) => name),
    ['vaults/b.age'],
  )
  for (const { plaintext } of files) plaintext.wipe()
  await rm(sumPath(vaultFile(root, 'b')))
  await writeFile(vaultFile(root, 'b'), 'damaged')
  assert.deepEqual(await vaultKeyFiles(root, secret('pw')), [])
})
