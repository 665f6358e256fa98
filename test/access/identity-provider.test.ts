import assert from 'node:assert/strict'
import { test } from 'node:test'
import { apiKeyHash } from '../../src/access/api-key.ts'
import type { IdentitySource } from '../../src/access/sources.ts'
import { parseRevocations } from '../../src/access/ssh-revocations.ts'
import { fingerprint, formatPublicKey, keyBlob } from '../../src/access/ssh-wire.ts'
import { signToken, signTokenFor, tokenKeyId } from '../../src/access/token.ts'
import type { Caller, Presentation } from '../../src/access/types.ts'
import { utf8 } from '../../src/core/bytes.ts'
import { sha256 } from '../../src/core/crypto/hash.ts'
import { seededRandom } from '../../src/core/random.ts'
import { formatDid } from '../../src/identity/did.ts'
import { type CertificateFields, keyFrom, lineOf, makeCertificate, NOW, NOW_S, type World, world } from './support.ts'

const ANN = keyFrom(1)
const BEN = keyFrom(2)
const CA = keyFrom(3)
const ANN_ID = `ssh:${fingerprint(ANN.publicKey)}`
const DID = formatDid(keyFrom(4).publicKey)
const HERE = '192.0.2.7'
const RANDOM = seededRandom('provider')
const TEXT = 'alk_testsecret123'

const byKey = (signer = ANN, address = HERE): Presentation => ({ kind: 'ssh-key', key: signer.publicKey, user: 'ann', address })
const byCertificate = (fields: Partial<CertificateFields> = {}, user = 'deploy', authority = CA, address = HERE): Presentation => ({
  kind: 'ssh-certificate',
  certificate: makeCertificate(authority, { key: ANN.publicKey, ...fields }),
  user,
  address,
})
const byToken = (text: string, audience?: string): Presentation => ({ kind: 'token', text, ...(audience === undefined ? {} : { audience }) })

async function is({ provider }: World, presentation: Presentation): Promise<string | undefined> {
  return (await provider.resolve(presentation))?.id
}

function scopes(caller: Caller | undefined): string {
  return [...(caller?.scopes ?? [])].sort().join(' ')
}

test('the owner at the control socket, is local', async () => {
  const { provider } = await world()
  assert.equal((await provider.resolve({ kind: 'local' }))?.id, 'local')
})

test('nothing configured, knows links and nobody else', async () => {
  const empty = await world()
  assert.equal(await is(empty, { kind: 'link', did: DID }), DID)
  assert.equal(await is(empty, byKey()), undefined)
  assert.equal(await is(empty, byCertificate()), undefined)
  assert.equal(await is(empty, byToken(signToken(ANN, NOW_S))), undefined)
  assert.equal(await is(empty, { kind: 'api-key', text: TEXT }), undefined)
})

test('an identity on a link, has the scopes of its name and of its classes', async () => {
  const grants = new Map([
    [DID, { scopes: ['own'], resources: { bucket: ['read'] } }],
    ['known', { scopes: ['low', 'own'] }],
    ['federated', { scopes: ['high'] }],
  ])
  const { provider } = await world({ grants, classesOf: () => ['isolated', 'known'] })
  const caller = await provider.resolve({ kind: 'link', did: DID })
  assert.equal(scopes(caller), 'low own')
  assert.deepEqual(caller?.resources.get('bucket'), ['read'])
  const nobody = await (await world()).provider.resolve({ kind: 'link', did: DID })
  assert.equal(nobody?.revoked, undefined, 'who has nothing can have nothing taken back')
})

test('an authorized key, logs in as itself, and only from where its line says and until then', async () => {
  const open = await world({ authorized: `${lineOf(ANN)}\n${lineOf(BEN, 'restrict,from="10.0.0.0/8",expiry-time="20260701Z"')}` })
  const ann = await open.provider.resolve(byKey())
  assert.deepEqual([ann?.id, ann?.via, ann?.did, ann?.noForwarding], [ANN_ID, 'ssh-key', undefined, undefined])
  assert.equal(await is(open, byKey(keyFrom(9))), undefined)
  assert.equal(await is(open, byKey(BEN)), undefined)
  const ben = await open.provider.resolve(byKey(BEN, '::ffff:10.1.1.1'))
  assert.equal(ben?.noForwarding, true)
  open.clock.advance(Date.UTC(2026, 6, 1) - NOW)
  assert.equal(await is(open, byKey(BEN, '10.1.1.1')), undefined)
  assert.equal(ben?.revoked?.aborted, true, 'what came in before is told that its time is over')
})

test('a key of the authority, does not log in, and a key that logs in signs no certificates', async () => {
  const open = await world({ authorized: `${lineOf(CA, 'cert-authority')}\n${lineOf(BEN, 'no-pty')}` })
  assert.equal(await is(open, byKey(CA)), undefined)
  assert.equal(await is(open, byToken(signToken(CA, NOW_S))), undefined)
  assert.equal(await is(open, byCertificate()), ANN_ID)
  assert.equal(await is(open, byCertificate({}, 'deploy', BEN)), undefined)
  // The same key on a line of its own does not log in either, by whichever source.
  const both = await world({ authorized: `${lineOf(CA, 'cert-authority')}\n${lineOf(CA, 'no-pty')}` })
  assert.equal(await is(both, byKey(CA)), undefined)
  const other: IdentitySource = { name: 'other', key: () => ({ key: CA.publicKey, portForwarding: true, place: 'there' }) }
  assert.equal(await is(await world({ authorized: lineOf(CA, 'cert-authority'), sources: [other] }), byKey(CA)), undefined)
})

test('a certificate, counts for its names, addresses and time alone', async () => {
  const open = await world({ authorized: lineOf(CA, 'cert-authority') })
  const caller = await open.provider.resolve(byCertificate())
  assert.deepEqual([caller?.id, caller?.via, caller?.principals], [ANN_ID, 'ssh-certificate', ['deploy']])
  const refused: [what: string, presentation: Presentation][] = [
    ['another user', byCertificate({}, 'root')],
    ['no names at all', byCertificate({ principals: [] })],
    ['a host', byCertificate({ type: 2 })],
    ['another authority', byCertificate({}, 'deploy', BEN)],
    ['not yet', byCertificate({ validAfter: BigInt(NOW_S + 1) })],
    ['expired', byCertificate({ validBefore: BigInt(NOW_S) })],
    ['a forced command', byCertificate({ criticalOptions: [['force-command', 'ls']] })],
    ['an unknown critical option', byCertificate({ criticalOptions: [['x@y', '']] })],
    ['another address', byCertificate({ criticalOptions: [['source-address', '10.0.0.0/8']] })],
  ]
  for (const [what, presentation] of refused) assert.equal(await is(open, presentation), undefined, what)
  assert.equal(await is(open, { kind: 'ssh-certificate', certificate: Buffer.from('nonsense'), user: 'deploy', address: HERE }), undefined)
  assert.equal(await is(open, { kind: 'ssh-certificate', certificate: keyBlob(ANN.publicKey), user: 'deploy', address: HERE }), undefined)
})

test('an authority limited to names, admits by those whoever logs in as whom', async () => {
  const open = await world({ authorized: lineOf(CA, 'cert-authority,principals="ops,web",from="192.0.2.0/24"') })
  assert.deepEqual((await open.provider.resolve(byCertificate({ principals: ['web', 'db'] }, 'anybody')))?.principals, ['web'])
  assert.equal(await is(open, byCertificate({ principals: ['db'] }, 'db')), undefined)
  assert.equal(await is(open, byCertificate({ principals: ['web'] }, 'web', CA, '198.51.100.1')), undefined)
})

test('forwarding with a certificate, needs the word of the certificate and of its authority', async () => {
  const may = async (line: string, extensions: readonly string[]): Promise<boolean> => {
    const open = await world({ authorized: lineOf(CA, line) })
    return (await open.provider.resolve(byCertificate({ extensions })))?.noForwarding !== true
  }
  assert.equal(await may('cert-authority', ['permit-port-forwarding']), true)
  assert.equal(await may('cert-authority', ['permit-pty']), false)
  assert.equal(await may('cert-authority,restrict', ['permit-port-forwarding']), false)
  assert.equal(await may('cert-authority,restrict,permit-port-forwarding', ['permit-port-forwarding']), true)
})

test('what is revoked, comes in by nothing', async () => {
  const lines = `${lineOf(ANN)}\n${lineOf(CA, 'cert-authority')}`
  const list = (text: string): WorldRevocations => ({ authorized: lines, revocations: [parseRevocations(utf8(text), 'revoked')] })
  const gone = await world(list(formatPublicKey(ANN.publicKey)))
  assert.equal(await is(gone, byKey()), undefined)
  assert.equal(await is(gone, byCertificate()), undefined)
  assert.equal(await is(gone, byToken(signToken(ANN, NOW_S))), undefined)
  const serials = await world(list('serial: 5'))
  assert.equal(await is(serials, byCertificate({ serial: 5n })), undefined)
  assert.equal(await is(serials, byCertificate({ serial: 6n })), ANN_ID)
  assert.equal(await is(await world(list(fingerprint(CA.publicKey))), byCertificate()), undefined)
  const chain: IdentitySource = { name: 'chain', revokesKey: async (key) => Buffer.compare(key, ANN.publicKey) === 0 }
  assert.equal(await is(await world({ authorized: lines, sources: [chain] }), byKey()), undefined, 'one source that revokes is enough')
})
type WorldRevocations = NonNullable<Parameters<typeof world>[0]>

test('a token, comes in once, at a door without a name', async () => {
  const open = await world({ authorized: lineOf(ANN) })
  const text = signToken(ANN, NOW_S)
  assert.equal(await is(open, byToken(text, 'gateway')), undefined, 'it says nothing about where it is for')
  const caller = await open.provider.resolve(byToken(text))
  assert.deepEqual([caller?.id, caller?.via], [ANN_ID, 'token'])
  assert.equal(await is(open, byToken(text)), undefined, 'used before')
  const restarted = await world({ authorized: lineOf(ANN), store: open.store })
  assert.equal(await is(restarted, byToken(text)), undefined, 'used before the restart')
  assert.equal(await is(open, byToken(signToken(ANN, NOW_S - 300))), ANN_ID)
  assert.equal(await is(open, byToken(signToken(ANN, NOW_S - 301))), undefined)
  assert.equal(await is(open, byToken(signToken(ANN, NOW_S + 300))), ANN_ID)
  assert.equal(await is(open, byToken(signToken(ANN, NOW_S + 301))), undefined)
})

test('a token that names its key by the SSH fingerprint, comes in too', async () => {
  const open = await world({ authorized: lineOf(ANN) })
  const message = Buffer.alloc(40)
  message.set(sha256(keyBlob(ANN.publicKey)), 0)
  message.writeBigUInt64BE(BigInt(NOW_S), 32)
  assert.equal(await is(open, byToken(Buffer.concat([message, ANN.sign(message)]).toString('base64url'))), ANN_ID)
  message.set(tokenKeyId(BEN.publicKey), 0)
  assert.equal(await is(open, byToken(Buffer.concat([message, ANN.sign(message)]).toString('base64url'))), undefined, 'the id of a key that is not known')
})

test('a refused token, is not remembered as used', async () => {
  const open = await world({ authorized: lineOf(BEN) })
  const text = signToken(ANN, NOW_S)
  assert.equal(await is(open, byToken(text)), undefined)
  open.put({ lines: [], grants: new Map() })
  const later = await world({ authorized: lineOf(ANN), store: open.store })
  assert.equal(await is(later, byToken(text)), ANN_ID)
})

test('a token for an audience, comes in at that door alone', async () => {
  const open = await world({ authorized: lineOf(ANN) })
  const text = signTokenFor(ANN, 'gateway', NOW_S, RANDOM)
  assert.equal(await is(open, byToken(text)), undefined)
  assert.equal(await is(open, byToken(text, 'gateway2')), undefined)
  assert.equal(await is(open, byToken(text, 'gateway')), ANN_ID)
  assert.equal(await is(open, byToken(text, 'gateway')), undefined)
})

test('a key that is for some addresses only, has no tokens', async () => {
  assert.equal(await is(await world({ authorized: lineOf(ANN, 'from="0.0.0.0/0"') }), byToken(signToken(ANN, NOW_S))), undefined)
})

test('API keys that begin alike, are each found, with their own scopes', async () => {
  const record = (name: string, text: string): { name: string; hash: string; grant: { scopes: string[] } } => ({
    name,
    hash: apiKeyHash(text),
    grant: { scopes: [`of:${name}`] },
  })
  const open = await world({ apiKeys: [record('one', 'alk_aaaaaaaa1'), record('two', 'alk_aaaaaaaa2')], grants: new Map([['key:two', { scopes: ['more'] }]]) })
  const [one, two] = await Promise.all(['1', '2'].map((end) => open.provider.resolve({ kind: 'api-key', text: `alk_aaaaaaaa${end}` })))
  assert.deepEqual([one?.id, scopes(one), one?.via], ['key:one', 'of:one', 'api-key'])
  assert.deepEqual([two?.id, scopes(two)], ['key:two', 'more of:two'])
  for (const text of ['alk_aaaaaaaa', 'alk_aaaaaaaa3', 'alk_aaaaaaaa1 ', `sha256:${apiKeyHash('alk_aaaaaaaa1')}`, apiKeyHash('alk_aaaaaaaa1')])
    assert.equal(await is(open, { kind: 'api-key', text }), undefined, text)
  await assert.rejects(async () => world({ apiKeys: [record('one', 'alk_aaaaaaaa1'), record('one', 'alk_aaaaaaaa2')] }), TypeError)
})

test('an API key, ends at its time, and tells who came in with it', async () => {
  const open = await world({ apiKeys: [{ name: 'ci', hash: apiKeyHash(TEXT), expiresMs: NOW + 10, grant: { scopes: [] } }] })
  const caller = await open.provider.resolve({ kind: 'api-key', text: TEXT })
  open.clock.advance(9)
  assert.equal(caller?.revoked?.aborted, false)
  open.clock.advance(1)
  assert.equal(await is(open, { kind: 'api-key', text: TEXT }), undefined)
  assert.equal(caller?.revoked?.aborted, true)
})

test('a key that the owner says is somebody’s, is that identity too, with its scopes', async () => {
  const grants = new Map([
    [ANN_ID, { scopes: ['key'], did: DID }],
    [DID, { scopes: ['person'] }],
    ['partner', { scopes: ['class'] }],
    ['ssh-user:deploy', { scopes: ['name'] }],
  ])
  const open = await world({ authorized: `${lineOf(ANN)}\n${lineOf(CA, 'cert-authority')}`, grants, classesOf: (did) => (did === DID ? ['partner'] : []) })
  const caller = await open.provider.resolve(byKey())
  assert.deepEqual([caller?.id, caller?.did, scopes(caller)], [ANN_ID, DID, 'class key person'])
  assert.equal(scopes(await open.provider.resolve(byCertificate())), 'class key name person')
})

test('what was taken back, is told only when the owner asks that connections end', async () => {
  const options = { authorized: `${lineOf(ANN)}\n${lineOf(BEN)}`, grants: new Map([[ANN_ID, { scopes: ['a', 'b'] }]]) }
  const open = await world(options)
  const [ann, ben] = [await open.provider.resolve(byKey(ANN)), await open.provider.resolve(byKey(BEN))]
  assert.equal(await open.provider.recheck({ disconnect: true }), 0)
  open.put({ ...options, ...{ authorized: lineOf(BEN) } } as WorldRevocations)
  assert.equal(await open.provider.recheck({ disconnect: false }), 1)
  assert.equal(ann?.revoked?.aborted, false, 'running connections are left alone')
  assert.equal(await is(open, byKey(ANN)), undefined, 'and new ones refused')
  assert.equal(await open.provider.recheck({ disconnect: true }), 1)
  assert.equal(ann?.revoked?.aborted, true)
  assert.equal(ben?.revoked?.aborted, false)
  assert.equal(await open.provider.recheck({ disconnect: true }), 0)
})

test('a scope that was taken back, ends what came in with it', async () => {
  const grants = (...list: string[]): WorldRevocations => ({ authorized: lineOf(ANN), grants: new Map([[ANN_ID, { scopes: list }]]) })
  const open = await world(grants('a', 'b'))
  const caller = await open.provider.resolve(byKey())
  open.put(grants('a', 'b', 'c'))
  assert.equal(await open.provider.recheck({ disconnect: true }), 0)
  open.put(grants('a'))
  assert.equal(await open.provider.recheck({ disconnect: true }), 1)
  assert.equal(caller?.revoked?.aborted, true)
  const again = await open.provider.resolve(byKey())
  assert.equal(again?.revoked?.aborted, false, 'a new connection has what it has now')
})

test('a certificate revoked during a session, and an expired one, end the session', async () => {
  const open = await world({ authorized: lineOf(CA, 'cert-authority') })
  const [one, two] = [await open.provider.resolve(byCertificate({ serial: 5n })), await open.provider.resolve(byCertificate({ serial: 6n }))]
  open.put({ authorized: lineOf(CA, 'cert-authority'), revocations: [parseRevocations(utf8('serial: 5'), 'r')] } as WorldRevocations)
  assert.equal(await open.provider.recheck({ disconnect: true }), 1)
  assert.deepEqual([one?.revoked?.aborted, two?.revoked?.aborted], [true, false])
  open.clock.advance(3_600_000)
  await new Promise(setImmediate)
  assert.equal(two?.revoked?.aborted, true)
})

test('a source that answers with another key than it was asked for, is not believed', async () => {
  const liar: IdentitySource = {
    name: 'liar',
    key: () => ({ key: BEN.publicKey, portForwarding: true, place: 'there' }),
    authority: () => ({ key: BEN.publicKey, portForwarding: true, place: 'there' }),
  }
  const open = await world({ sources: [liar] })
  assert.equal(await is(open, byKey(ANN)), undefined)
  assert.equal(await is(open, byCertificate()), undefined)
})

test('what was granted to an identity, taken back, is told to what runs on its links', async () => {
  const given = { grants: new Map([[DID, { scopes: ['a'], resources: { bucket: ['read'] } }]]) }
  const open = await world(given)
  const [caller, again] = [await open.provider.resolve({ kind: 'link', did: DID }), await open.provider.resolve({ kind: 'link', did: DID })]
  assert.equal(caller?.revoked, again?.revoked)
  assert.equal(await open.provider.recheck({ disconnect: true }), 0)
  open.put({ grants: new Map([[DID, { scopes: ['a'] }]]) })
  assert.equal(await open.provider.recheck({ disconnect: false }), 1)
  assert.equal(caller?.revoked?.aborted, false)
  assert.equal(await open.provider.recheck({ disconnect: true }), 1, 'an action on a resource is as much as a scope')
  assert.equal(caller?.revoked?.aborted, true)
})

test('a key whose identity, or what it may do to a resource, was taken back, is told', async () => {
  for (const less of [
    { scopes: [], resources: { bucket: ['read'] } },
    { scopes: [], did: DID },
  ]) {
    const open = await world({ authorized: lineOf(ANN), grants: new Map([[ANN_ID, { scopes: [], did: DID, resources: { bucket: ['read'] } }]]) })
    const caller = await open.provider.resolve(byKey(ANN))
    open.put({ authorized: lineOf(ANN), grants: new Map([[ANN_ID, less]]) } as WorldRevocations)
    assert.equal(await open.provider.recheck({ disconnect: true }), 1)
    assert.equal(caller?.revoked?.aborted, true)
  }
})
