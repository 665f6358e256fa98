import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmod, readFile, stat, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type ManualClock, manualClock } from '../../src/core/manual-clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMetrics } from '../../src/core/observe/metrics.ts'
import { systemRandom } from '../../src/core/random.ts'
import { openConfig } from '../../src/daemon/config/holder.ts'
import { loadConfig } from '../../src/daemon/config/load.ts'
import { accountKey } from '../../src/daemon/services/certificate-account.ts'
import { CertificatesService } from '../../src/daemon/services/certificates.ts'
import { openHome } from '../../src/identity/home.ts'
import { parseIdentifier } from '../../src/site/acme/identifiers.ts'
import { keyPem, makeKey, makeSelfSigned } from '../../src/site/acme/x509.ts'
import { createCertificateStore } from '../../src/site/certificate-store.ts'
import { parsePhrase } from '../../src/vault/bip39.ts'
import { createVault, type Vault } from '../../src/vault/vault.ts'
import { temporaryDirectory } from '../identity/temp.ts'
import { hasCode } from '../transport/support.ts'

const DAY_MS = 86_400_000
const NOW = 1_800_000_000_000

interface Bench {
  readonly root: string
  readonly clock: ManualClock
  readonly vault: Vault
  readonly service: CertificatesService
  readonly metrics: ReturnType<typeof createMetrics>
  configure(text: string): Promise<void>
  reload(): Promise<unknown>
  codes(): readonly string[]
}

async function bench(t: TestContext, text = ''): Promise<Bench> {
  const root = join(temporaryDirectory(t), 'home')
  const home = await openHome(root)
  const configure = (to: string): Promise<void> => writeFile(join(root, 'config.toml'), to)
  await configure(text)
  const config = await openConfig({ home: root, env: {} })
  const clock = manualClock(NOW)
  const vault = createVault({ clock })
  const metrics = createMetrics()
  const service = new CertificatesService({
    home,
    config,
    vault: () => vault,
    audit: () => undefined,
    clock,
    random: systemRandom,
    logger: silentLogger,
    metrics,
  })
  t.after(async () => {
    await service.stop()
    vault.lock()
    await home.close()
  })
  await service.start()
  return { root, clock, vault, service, metrics, configure, reload: () => config.reload(), codes: () => service.health().map(({ code }) => code) }
}

async function until(met: () => boolean): Promise<void> {
  const limit = AbortSignal.timeout(15_000)
  while (!met()) {
    limit.throwIfAborted()
    await new Promise(setImmediate)
  }
}

async function files(root: string, name: string, days: number): Promise<string> {
  const key = makeKey()
  const cert = makeSelfSigned({ identifiers: [parseIdentifier(name)], key, notBefore: NOW - DAY_MS, notAfter: NOW + days * DAY_MS, random: systemRandom })
  await writeFile(join(root, 'site.crt'), cert)
  await writeFile(join(root, 'site.key'), keyPem(key), { mode: 0o600 })
  await chmod(join(root, 'site.key'), 0o600)
  return `certificate.file = "${join(root, 'site.crt')}"\ncertificate.key_file = "${join(root, 'site.key')}"\n`
}

test('without a certificate configured, nothing is served and nothing is wrong', async (t) => {
  const { service, codes, metrics } = await bench(t)
  assert.deepEqual([service.current, service.status, codes()], [undefined, null, []])
  await assert.rejects(service.renew(), hasCode('NOT_FOUND'))
  assert.match(metrics.render(), /kith_certificate_expires_seconds 0/)
})

test('a certificate from files, read again at a reload though no setting changed; a bad one refused and the one before served on', async (t) => {
  const { root, service, codes, configure, reload, metrics } = await bench(t)
  await configure(await files(root, 'a.example.org', 60))
  await reload()
  assert.deepEqual(codes(), [])
  assert.deepEqual([service.status?.source, service.status?.names, service.status?.renews_at], ['file', ['a.example.org'], null])
  assert.match(metrics.render(), /kith_certificate_expires_seconds 5184000/)
  const before = service.current
  await files(root, 'b.example.org', 60)
  await reload()
  assert.deepEqual(service.current?.names, ['b.example.org'])
  assert.notEqual(service.current, before)

  const good = service.current
  const key = await readFile(join(root, 'site.key'))
  await writeFile(join(root, 'site.key'), keyPem(makeKey()))
  await assert.rejects(reload(), hasCode('CERTIFICATE_INVALID'))
  assert.deepEqual([codes(), service.current], [[], good])
  await writeFile(join(root, 'site.key'), key)
  await chmod(join(root, 'site.key'), 0o644)
  await assert.rejects(reload(), hasCode('HOME_UNSAFE'))
  assert.equal(service.current, good)
  await chmod(join(root, 'site.key'), 0o640)
  await reload()
  await service.stop()
  await writeFile(join(root, 'site.crt'), 'nonsense')
  await service.start()
  assert.deepEqual(codes(), ['CERTIFICATE_INVALID'])
})

test('a certificate without its key, a key without its certificate, a file that is not there, told apart', async (t) => {
  const { root, configure, reload, service } = await bench(t)
  const [cert = '', key = ''] = (await files(root, 'a.example.org', 60)).split('\n')
  for (const text of [cert, key]) {
    await configure(text)
    await assert.rejects(reload(), (error: Error) => hasCode('CERTIFICATE_INVALID')(error) && /is set and certificate\.\w+ is not/.test(error.message))
    assert.equal(service.current, undefined)
  }
  await configure(`${cert}\ncertificate.key_file = "${join(root, 'nothing')}"`)
  await assert.rejects(reload(), hasCode('FILE_MISSING'))
})

test('a certificate from files that ends soon, CERTIFICATE_EXPIRING in good time and after', async (t) => {
  const { root, codes, configure, reload, clock, service } = await bench(t)
  await configure(await files(root, 'a.example.org', 60))
  await reload()
  clock.advance(45 * DAY_MS)
  assert.deepEqual(codes(), [])
  clock.advance(2 * DAY_MS)
  assert.deepEqual(codes(), ['CERTIFICATE_EXPIRING'])
  assert.match(service.health()[0]?.message ?? '', /runs out on 2027-/)
  clock.advance(14 * DAY_MS)
  assert.match(service.health()[0]?.message ?? '', /has run out/)
})

test('names without the owner’s agreement, or without a contact, CONFIG_INVALID and nobody is asked; with both, a stand-in until the vault is open', async (t) => {
  const { codes, configure, reload, service, clock } = await bench(t, 'acme.names = ["a.example.org"]\nacme.challenge = "http-01"\n')
  assert.deepEqual([codes(), service.current], [['CONFIG_INVALID'], undefined])
  await assert.rejects(service.renew(), hasCode('CONFIG_INVALID'))
  await configure('acme.names = ["a.example.org"]\nacme.agree = true\n')
  await assert.rejects(reload(), hasCode('CONFIG_INVALID'))
  await configure('acme.names = ["a.example.org"]\nacme.agree = true\nacme.contact = "owner@example.org"\nacme.challenge = "http-01"\n')
  await reload()
  assert.deepEqual(codes(), [])
  assert.equal(service.status?.source, 'self-signed')
  await clock.run(1_000)
  await new Promise(setImmediate)
  assert.deepEqual(codes(), ['VAULT_LOCKED'])
  assert.equal(service.health()[0]?.next, 'kith vault unlock')
  await assert.rejects(service.renew(), hasCode('VAULT_LOCKED'))
  await service.stop()
  assert.equal(clock.pending, 0)
})

test('a vault that is unlocked, the authority is asked at once; one that is not reached, said with what to do', async (t) => {
  const nobody = createServer().listen(0, '127.0.0.1')
  await once(nobody, 'listening')
  const { port } = nobody.address() as AddressInfo
  nobody.close()
  const asked = `acme.names = ["a.example.org"]\nacme.agree = true\nacme.contact = "owner@example.org"\nacme.directory = "https://127.0.0.1:${port}/dir"\n`
  const { service, clock, codes, vault } = await bench(t, `${asked}acme.challenge = "http-01"\n`)
  await clock.run(1_000)
  await until(() => codes().includes('VAULT_LOCKED'))
  await vault.unlock({ phrase: parsePhrase(`${'abandon '.repeat(11)}about`) })
  service.vaultUnlocked()
  await until(() => !codes().includes('VAULT_LOCKED'))
  assert.deepEqual(
    service.health().map(({ code, next }) => [code, next]),
    [['ADDRESS_UNREACHABLE', 'kith certificate renew']],
  )
  await assert.rejects(service.renew(), hasCode('ADDRESS_UNREACHABLE'))
})

test('the account key, made once, sealed by the vault; as a file only where that was chosen', async (t) => {
  const { root, vault } = await bench(t)
  const store = createCertificateStore(root)
  await assert.rejects(accountKey({ form: 'vault', store, vault }), hasCode('VAULT_LOCKED'))
  await vault.unlock({ phrase: parsePhrase(`${'abandon '.repeat(11)}about`) })
  const first = await accountKey({ form: 'vault', store, vault })
  const again = await accountKey({ form: 'vault', store, vault })
  assert.equal(again.thumbprint, first.thumbprint)
  const path = join(root, 'certificates', 'account.json')
  assert.doesNotMatch(await readFile(path, 'utf8'), /PRIVATE/)
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  const plain = await accountKey({ form: 'file', store, vault })
  assert.notEqual(plain.thumbprint, first.thumbprint)
  assert.equal((await accountKey({ form: 'file', store, vault })).thumbprint, plain.thumbprint)
  await writeFile(path, '{}')
  await assert.rejects(accountKey({ form: 'vault', store, vault }), hasCode('DECRYPT_FAILED'))
})

test('settings of certificates that are none, CONFIG_INVALID by their path', async (t) => {
  const { root, configure } = await bench(t)
  const bad: Readonly<Record<string, string>> = {
    'acme.names': '["localhost"]',
    'acme.contact': '"nobody"',
    'acme.directory': '"http://ca.example/directory"',
    'acme.challenge': '"dns-01"',
    'acme.http_listen': '"localhost:80"',
    'acme.profile': '"a b"',
    'acme.account_key': '"disk"',
    'certificate.file': '"site.pem"',
  }
  for (const [path, value] of Object.entries(bad)) {
    await configure(`${path} = ${value}\n`)
    await assert.rejects(loadConfig({ home: root, env: {} }), (error: Error) => hasCode('CONFIG_INVALID')(error) && error.message.startsWith(path), path)
  }
})
