import assert from 'node:assert/strict'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fingerprint, formatPublicKey } from '../../src/access/ssh-wire.ts'
import { signToken } from '../../src/access/token.ts'
import type { Presentation } from '../../src/access/types.ts'
import { toHex } from '../../src/core/bytes.ts'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { isKithError } from '../../src/core/errors.ts'
import { createAudit } from '../../src/core/observe/audit.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMetrics } from '../../src/core/observe/metrics.ts'
import { seededRandom, systemRandom } from '../../src/core/random.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import {
  type AccessDesk,
  addApiKey,
  addSshLine,
  grantAccess,
  issueToken,
  removeSshLine,
  revokeApiKey,
  revokeGrant,
  revokeSsh,
} from '../../src/daemon/access/acts.ts'
import { decodeBook, EMPTY_BOOK, encodeBook } from '../../src/daemon/access/book.ts'
import { AccessService, type AccessServiceOptions } from '../../src/daemon/access/service.ts'
import { accessView } from '../../src/daemon/access/views.ts'
import { type ConfigHolder, openConfig } from '../../src/daemon/config/holder.ts'
import { formatDid } from '../../src/identity/did.ts'
import { createVault } from '../../src/vault/vault.ts'
import { keyFrom, lineOf, makeCertificate, NOW, NOW_S } from '../access/support.ts'
import { temporaryDirectory } from '../identity/temp.ts'

const ANN = keyFrom(1)
const CA = keyFrom(3)
const OWN = formatDid(keyFrom(8).publicKey)
const PEER = formatDid(keyFrom(9).publicKey)
const ID = fingerprint(ANN.publicKey)
const byKey: Presentation = { kind: 'ssh-key', key: ANN.publicKey, user: 'ann', address: '192.0.2.1' }

interface Bench extends AccessDesk {
  readonly clock: ManualClock
  readonly config: ConfigHolder
  readonly store: Store
  readonly home: string
  readonly audit: ReturnType<typeof createAudit>
  write(name: string, text: string | Uint8Array): Promise<string>
}

async function bench(
  t: TestContext,
  configuration: (home: string) => string = () => '',
  options: { readonly store?: Store; readonly prepare?: (home: string) => Promise<void> } = {},
): Promise<Bench> {
  const home = temporaryDirectory(t)
  const write = async (name: string, text: string | Uint8Array): Promise<string> => {
    await writeFile(join(home, name), text, { mode: 0o600 })
    return join(home, name)
  }
  await options.prepare?.(home)
  await write('config.toml', configuration(home))
  const clock = manualClock(NOW)
  const store = options.store ?? createMemoryStore()
  const audit = createAudit({ store: createMemoryStore(), clock })
  const policy = { classOf: () => 'partner' as const, list: () => [], forgetAllowed: async () => [] }
  const mesh = { runningStore: store, running: { did: OWN, policy }, runningAssembly: { audit } } as unknown as AccessServiceOptions['mesh']
  const config = await openConfig({ home, env: {} })
  const access = new AccessService({ mesh, config, clock, logger: silentLogger, metrics: createMetrics() })
  await access.start()
  t.after(() => access.stop())
  return { access, clock, random: seededRandom('access'), config, store, home, audit, write }
}

async function idOf({ access }: AccessDesk, presentation: Presentation): Promise<string | undefined> {
  return (await access.resolve(presentation))?.id
}

async function scopesOf({ access }: AccessDesk, presentation: Presentation): Promise<string> {
  return [...((await access.resolve(presentation))?.scopes ?? [])].sort().join(' ')
}

test('an API key, is shown once, comes in until it is taken back, and never lies in the store', async (t) => {
  const desk = await bench(t)
  const text = await addApiKey(desk, { name: 'ci', scopes: ['reports:read'] })
  assert.equal(await idOf(desk, { kind: 'api-key', text }), 'key:ci')
  const caller = await desk.access.resolve({ kind: 'api-key', text })
  const stored: Uint8Array[] = []
  for await (const { value } of desk.store.scan('access/book')) stored.push(value)
  assert.equal(
    stored.some((value) => Buffer.from(value).includes(text.slice(4))),
    false,
  )
  assert.equal(JSON.stringify(accessView(desk.access, () => null)).includes(text), false)
  await assert.rejects(addApiKey(desk, { name: 'ci', scopes: [] }), (error) => isKithError(error, 'USAGE'))
  assert.equal((await revokeApiKey(desk, 'ci', false)).revoked, 1)
  assert.equal(await idOf(desk, { kind: 'api-key', text }), undefined)
  assert.equal(caller?.revoked?.aborted, false)
  assert.equal(await desk.access.recheck({ disconnect: true }), 1)
  assert.equal(caller?.revoked?.aborted, true)
  await assert.rejects(revokeApiKey(desk, 'ci', false), (error) => isKithError(error, 'NOT_FOUND'))
  const rows = await desk.audit.list()
  assert.deepEqual(
    rows.map(({ action, subject }) => `${action} ${subject}`),
    ['access.key.revoke key:ci', 'access.key.add key:ci'],
  )
  assert.equal(JSON.stringify(rows).includes(text), false)
})

test('API keys and grants with bad words, are refused', async (t) => {
  const desk = await bench(t)
  const bad = [
    () => addApiKey(desk, { name: 'CI', scopes: [] }),
    () => addApiKey(desk, { name: 'ci', scopes: ['Not:A:Scope'] }),
    () => addApiKey(desk, { name: 'ci', scopes: [], expiresMs: NOW }),
    () => grantAccess(desk, { principal: 'scope:x', scopes: ['a'] }),
    () => grantAccess(desk, { principal: '*', scopes: ['a'] }),
    () => grantAccess(desk, { principal: PEER, scopes: [] }),
    () => grantAccess(desk, { principal: PEER, scopes: ['a'], did: OWN }),
    () => addSshLine(desk, lineOf(ANN, 'command="x"')),
    () => addSshLine(desk, `${lineOf(ANN)}\n${lineOf(CA)}`),
    () => revokeSsh(desk, 'serial: 1\nserial: 2', false),
    () => revokeSsh(desk, '# nothing', false),
  ]
  for (const act of bad) await assert.rejects(act(), (error) => isKithError(error, 'USAGE'), String(act))
  await assert.rejects(addSshLine(desk, 'nonsense'), (error) => isKithError(error, 'ACCESS_INVALID'))
  assert.deepEqual(desk.access.book.book, EMPTY_BOOK)
})

test('grants, add up, belong to identities and classes, and are taken back one by one', async (t) => {
  const desk = await bench(t)
  await grantAccess(desk, { principal: PEER, scopes: ['b', 'a'] })
  await grantAccess(desk, { principal: PEER, scopes: ['c'], resources: { bucket: ['read'] } })
  await grantAccess(desk, { principal: 'known', scopes: ['low'] })
  await grantAccess(desk, { principal: 'federated', scopes: ['high'] })
  const link: Presentation = { kind: 'link', did: PEER }
  assert.equal(await scopesOf(desk, link), 'a b c low', 'of its class partner and those below')
  await revokeGrant(desk, PEER, ['b'], false)
  assert.equal(await scopesOf(desk, link), 'a c low')
  await revokeGrant(desk, PEER, [], false)
  assert.equal(await scopesOf(desk, link), 'low')
  await assert.rejects(revokeGrant(desk, PEER, [], false), (error) => isKithError(error, 'NOT_FOUND'))
})

test('SSH keys by command, log in, are somebody’s, and are removed or revoked', async (t) => {
  const desk = await bench(t)
  assert.deepEqual(await addSshLine(desk, lineOf(ANN)), { fingerprint: ID, authority: false })
  await grantAccess(desk, { principal: `ssh:${ID}`, scopes: ['x'], did: PEER })
  const caller = await desk.access.resolve(byKey)
  assert.deepEqual([caller?.id, caller?.did], [`ssh:${ID}`, PEER])
  const again = `kith access ssh remove ${ID}`
  await assert.rejects(addSshLine(desk, lineOf(ANN, 'no-pty')), (error) => isKithError(error, 'ACCESS_INVALID') && error.next === again, 'the same key twice')
  for (const line of ['serial:x', 'ann.pub'])
    await assert.rejects(revokeSsh(desk, line, false), (error) => isKithError(error, 'ACCESS_INVALID') && error.next === 'kith access ssh --help', line)
  assert.equal(await removeSshLine(desk, `ssh:${ID}`, true), 1)
  assert.equal(caller?.revoked?.aborted, true)
  assert.equal(await idOf(desk, byKey), undefined)
  await addSshLine(desk, lineOf(ANN))
  assert.equal(await idOf(desk, byKey), `ssh:${ID}`)
  await revokeSsh(desk, `ssh:${ID}`, false)
  assert.equal(await idOf(desk, byKey), undefined)
})

test('what commands said, is there after a restart', async (t) => {
  const desk = await bench(t)
  const text = await addApiKey(desk, { name: 'ci', scopes: ['a'], resources: { bucket: ['read', 'write'] }, expiresMs: NOW + 9 })
  assert.deepEqual((await desk.audit.list())[0]?.details, { scopes: 'a', resources: 'bucket=read bucket=write' })
  await grantAccess(desk, { principal: `ssh:${ID}`, scopes: ['x'], did: PEER })
  await addSshLine(desk, lineOf(ANN, 'restrict'))
  await addSshLine(desk, lineOf(CA, 'cert-authority'))
  await revokeSsh(desk, 'serial: 5', false)
  const again = await bench(t, undefined, { store: desk.store })
  assert.deepEqual(again.access.book.book, desk.access.book.book)
  assert.deepEqual(decodeBook(encodeBook(again.access.book.book)), again.access.book.book)
  assert.deepEqual((await again.access.resolve({ kind: 'api-key', text }))?.resources.get('bucket'), ['read', 'write'])
  const certificate = (serial: bigint): Presentation => ({
    kind: 'ssh-certificate',
    certificate: makeCertificate(CA, { key: keyFrom(20).publicKey, serial }),
    user: 'deploy',
    address: '192.0.2.1',
  })
  assert.equal(await idOf(again, certificate(5n)), undefined)
  assert.equal(await idOf(again, certificate(6n)), `ssh:${fingerprint(keyFrom(20).publicKey)}`)
})

const settings = (home: string): string => `
[access]
authorized_keys = ["${home}/keys"]
revocations = ["${home}/revoked"]
ssh_scopes = ["relay:connect"]
[access.api_keys.ci]
hash = "sha256:61210fdb492c840f1838774b822c184083c4093c7cb93e6c2c33732ff3b8903c"
scopes = ["reports:read"]
[access.grants."ssh:${ID}"]
scopes = ["mine"]
did = "${PEER}"
`
const prepared = async (home: string): Promise<void> => {
  await writeFile(join(home, 'keys'), `${lineOf(ANN)}\ncommand="x" ${lineOf(keyFrom(7))}\n`, { mode: 0o600 })
  await writeFile(join(home, 'revoked'), '', { mode: 0o600 })
}

test('keys of the configuration, come in with the scopes it gives', async (t) => {
  const desk = await bench(t, settings, { prepare: prepared })
  assert.equal(await scopesOf(desk, byKey), 'mine relay:connect')
  assert.equal((await desk.access.resolve(byKey))?.did, PEER)
  assert.equal(await scopesOf(desk, { kind: 'api-key', text: 'alk_testsecret123' }), 'reports:read')
  assert.deepEqual(
    desk.access.files.refused.map(({ place }) => place),
    [`${desk.home}/keys:2`],
  )
  await assert.rejects(revokeApiKey(desk, 'ci', false), (error) => isKithError(error, 'NOT_FOUND') && /config.toml/.test(error.message))
  await assert.rejects(addApiKey(desk, { name: 'ci', scopes: [] }), (error) => isKithError(error, 'USAGE'))
})

test('a reload, takes new files whole, leaves connections alone, and ends them only when asked', async (t) => {
  const desk = await bench(t, settings, { prepare: prepared })
  const before = await desk.access.resolve(byKey)
  await desk.write('revoked', `${formatPublicKey(ANN.publicKey)}\n`)
  assert.equal(await idOf(desk, byKey), `ssh:${ID}`, 'nothing is read by itself')
  assert.deepEqual(await desk.config.reload(), { applied: [], restart: [] })
  assert.equal(await idOf(desk, byKey), undefined)
  assert.equal(await desk.access.recheck({ disconnect: false }), 1)
  assert.equal(before?.revoked?.aborted, false)
  assert.equal(await desk.access.recheck({ disconnect: true }), 1)
  assert.equal(before?.revoked?.aborted, true)
})

test('a reload with one bad file, says which line, and changes nothing of anything', async (t) => {
  const desk = await bench(t, settings, { prepare: prepared })
  const other = keyFrom(21)
  const otherKey: Presentation = { kind: 'ssh-key', key: other.publicKey, user: 'x', address: '192.0.2.1' }
  const bad: [name: string, content: string | Uint8Array, line: number | undefined][] = [
    ['keys', `${lineOf(other)}\nssh-ed25519 broken\n`, 2],
    ['keys', Buffer.from([0xff, 0xfe]), undefined],
    ['revoked', 'serial: 1\nnonsense\n', 2],
    ['revoked', 'SSHKRL\n\0broken', undefined],
    ['keys', 'x'.repeat((1 << 20) + 1), undefined],
  ]
  for (const [name, content, line] of bad) {
    await prepared(desk.home)
    await desk.write('keys', `${lineOf(other)}\n`)
    await desk.write(name, content)
    await desk.write('config.toml', `${settings(desk.home).replace('relay:connect', 'relay:other')}`)
    await assert.rejects(
      desk.config.reload(),
      (error) => isKithError(error, 'ACCESS_INVALID') && error.details?.file === join(desk.home, name) && error.details?.line === line,
      `${name} ${String(content).slice(0, 20)}`,
    )
    assert.equal(await scopesOf(desk, byKey), 'mine relay:connect')
    assert.equal(await idOf(desk, otherKey), undefined)
    assert.deepEqual(desk.config.current['access.ssh_scopes'], ['relay:connect'])
  }
  await prepared(desk.home)
  await chmod(join(desk.home, 'keys'), 0o666)
  await assert.rejects(desk.config.reload(), (error) => isKithError(error, 'ACCESS_INVALID') && /others may write/.test(error.message))
  await chmod(join(desk.home, 'keys'), 0o600)
  await desk.config.reload()
  assert.equal(await scopesOf(desk, byKey), 'mine relay:other')
})

test('a file of revocations that is missing at the start, keeps SSH keys out until it is read', async (t) => {
  const desk = await bench(t, settings, { prepare: async (home) => writeFile(join(home, 'keys'), lineOf(ANN), { mode: 0o600 }) })
  await addSshLine(desk, lineOf(keyFrom(22)))
  assert.equal(desk.access.health()[0]?.code, 'ACCESS_INVALID')
  assert.equal(await idOf(desk, { kind: 'ssh-key', key: keyFrom(22).publicKey, user: 'x', address: '' }), undefined, 'nor those of commands')
  assert.equal(await idOf(desk, { kind: 'token', text: signToken(keyFrom(22), NOW_S) }), undefined)
  assert.equal(await idOf(desk, { kind: 'link', did: PEER }), PEER, 'links go on')
  await desk.write('revoked', '')
  await desk.config.reload()
  assert.deepEqual(desk.access.health(), [])
  assert.equal(await idOf(desk, byKey), `ssh:${ID}`)
})

test('settings of access that could not be meant, are refused with their place', async (t) => {
  const home = temporaryDirectory(t)
  for (const [text, path] of [
    ['[access]\nauthorized_keys = ["relative"]', 'access.authorized_keys.0'],
    ['[access]\nssh_scopes = ["A"]', 'access.ssh_scopes.0'],
    ['[access.api_keys.CI]\nhash = "sha256:61210fdb492c840f1838774b822c184083c4093c7cb93e6c2c33732ff3b8903c"', 'access.api_keys.CI'],
    ['[access.api_keys.ci]\nhash = "alk_testsecret123"', 'access.api_keys.ci.hash'],
    ['[access.api_keys.ci]\nhash = "sha256:61210fdb492c840f1838774b822c184083c4093c7cb93e6c2c33732ff3b8903c"\ntoken = "x"', 'access.api_keys.ci'],
    ['[access.grants."scope:x"]\nscopes = ["a"]', 'access.grants.scope:x'],
    [`[access.grants."${PEER}"]\ndid = "${PEER}"`, `access.grants.${PEER}.did`],
    ['[policy]\nrules = ["allow known forward 10.0.0.1/8:80"]', 'policy.rules.1'],
    ['[policy]\nrules = ["allow * file", "allow key:ci ping"]', 'policy.rules.2'],
    ['[policy]\nrules = ["allow nobody file"]', 'policy.rules.1'],
  ] as const) {
    await writeFile(join(home, 'config.toml'), text)
    await assert.rejects(openConfig({ home, env: {} }), (error) => isKithError(error, 'CONFIG_INVALID') && error.details?.path === path, text)
  }
})

test('a token of this node, comes in once as its own identity, and two of one second differ', async (t) => {
  const desk = await bench(t)
  const vault = createVault({ clock: desk.clock, random: systemRandom })
  await assert.rejects(issueToken(desk, vault, undefined), (error) => isKithError(error, 'VAULT_LOCKED'))
  await vault.unlock({ phrase: `${'abandon '.repeat(11)}about` })
  t.after(() => vault.lock())
  const [one, two] = [await issueToken(desk, vault, undefined), await issueToken(desk, vault, undefined)]
  assert.notEqual(one, two)
  const caller = await desk.access.resolve({ kind: 'token', text: one })
  assert.deepEqual([caller?.did, caller?.via], [OWN, 'token'])
  assert.equal(await idOf(desk, { kind: 'token', text: one }), undefined)
  assert.equal(await idOf(desk, { kind: 'token', text: two }), caller?.id)
  const bound = await issueToken(desk, vault, 'gate')
  assert.equal(await idOf(desk, { kind: 'token', text: bound }), undefined)
  assert.equal(await idOf(desk, { kind: 'token', text: bound, audience: 'gate' }), caller?.id)
  const key = desk.access.book.book.tokenKey
  assert.equal(toHex(key ?? new Uint8Array()), toHex(vault.signer("m/74'/0'/1'/2'").publicKey))
  assert.equal(
    await idOf(desk, { kind: 'ssh-key', key: key as typeof ANN.publicKey, user: 'x', address: '' }),
    undefined,
    'it signs tokens and does not log in',
  )
  for (let n = 0; n < 58; n++) await issueToken(desk, vault, undefined)
  await assert.rejects(
    async () => {
      for (let n = 0; n < 5; n++) await issueToken(desk, vault, undefined)
    },
    (error) => isKithError(error, 'TOKEN_BUSY'),
  )
})

test('an API key, asked for at once, has what the book and the configuration give it at that moment', async (t) => {
  const desk = await bench(t)
  const shown: Presentation = { kind: 'api-key', text: await addApiKey(desk, { name: 'ci', scopes: ['low'] }) }
  const now = (): readonly string[] | undefined => {
    const caller = desk.access.resolveNow(shown)
    return caller === undefined ? undefined : [...caller.scopes].sort()
  }
  assert.deepEqual(now(), ['low'])
  await desk.write('config.toml', '[access.grants."key:ci"]\nscopes = ["configured"]\n')
  await desk.config.reload()
  assert.deepEqual(now(), ['configured', 'low'])
  await desk.write('config.toml', '')
  await desk.config.reload()
  assert.deepEqual(now(), ['low'])
  await revokeApiKey(desk, 'ci', false)
  assert.equal(now(), undefined)
})

test('a key taken back, whose name the configuration allows something, is said to leave that to the next one', async (t) => {
  const desk = await bench(t)
  await addApiKey(desk, { name: 'ci', scopes: [] })
  const rule = { principal: 'key:ci', action: 'call', target: 'a/b' } as const
  t.mock.method(desk.access.policy, 'list', () => [
    { ...rule, effect: 'allow' },
    { ...rule, effect: 'deny' },
    { ...rule, effect: 'allow', principal: 'key:other' },
  ])
  assert.deepEqual((await revokeApiKey(desk, 'ci', false)).rulesLeft, ['allow key:ci call a/b'])
})

test('a key of the same name as one that was taken back, has nothing of it', async (t) => {
  const desk = await bench(t)
  await addApiKey(desk, { name: 'ci', scopes: ['low'] })
  await grantAccess(desk, { principal: 'key:ci', scopes: ['high'], did: PEER })
  await revokeApiKey(desk, 'ci', false)
  const text = await addApiKey(desk, { name: 'ci', scopes: ['low'] })
  const caller = await desk.access.resolve({ kind: 'api-key', text })
  assert.deepEqual([...(caller?.scopes ?? [])], ['low'])
  assert.equal(caller?.did, undefined)
})
