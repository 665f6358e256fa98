import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { keyBlob } from '../../src/access/ssh-wire.ts'
import { systemClock } from '../../src/core/clock.ts'
import { createSigner } from '../../src/core/crypto/ed25519.ts'
import { isKithError } from '../../src/core/errors.ts'
import { Secret } from '../../src/core/secret.ts'
import { type ConnectSshOptions, connectSsh } from '../../src/ssh/client/connect.ts'
import { KnownHosts } from '../../src/ssh/client/known-hosts.ts'
import { parseSshUrl } from '../../src/ssh/client/url.ts'
import { parseUserKey } from '../../src/ssh/client/user-key.ts'
import { knownHostsLine, parseHostCertificate } from '../../src/ssh/host-key.ts'
import { certificate } from './certificates.ts'
import { type TestDoor, testDoor, type UserKey, userKey } from './support.ts'

const URL = 'ssh://alice@node.example:2222'

function options({ door, dial }: TestDoor, key: UserKey, extra: Partial<ConnectSshOptions> = {}): ConnectSshOptions {
  return {
    url: URL,
    credentials: [{ signer: parseUserKey(key.privateKey) }],
    knownHosts: new KnownHosts(knownHostsLine('node.example', 2222, door.hostKey)),
    over: dial(),
    clock: systemClock,
    ...extra,
  }
}

test('a server whose key is known, is logged in at with a post-quantum key exchange', async () => {
  const at = testDoor()
  const key = userKey()
  at.identity.allow(key)
  const connection = await connectSsh(options(at, key))
  assert.equal(connection.fingerprint, at.door.hostKey.fingerprint)
  assert.equal(connection.pq, true)
  assert.deepEqual(
    at.door.sessions().map(({ pq }) => pq),
    [true],
  )
  connection.close()
  await once(connection.closed, 'abort')
  at.door.close()
})

const STRANGER = {
  fingerprint: '',
  public_key: `ssh-ed25519 ${Buffer.from(keyBlob(createSigner('service', Secret.alloc(32)).publicKey)).toString('base64')}`,
  certified: false,
}

const REFUSED: readonly (readonly [string, (at: TestDoor) => Partial<ConnectSshOptions>, string])[] = [
  ['not known', () => ({ knownHosts: new KnownHosts('') }), 'SSH_HOST_KEY_UNKNOWN'],
  ['known with another key', () => ({ knownHosts: new KnownHosts(knownHostsLine('node.example', 2222, STRANGER)) }), 'SSH_HOST_KEY_CHANGED'],
  [
    'revoked',
    ({ door }) => ({ knownHosts: new KnownHosts(`${knownHostsLine('node.example', 2222, door.hostKey)}\n@revoked * ${door.hostKey.public_key}`) }),
    'SSH_HOST_KEY_REVOKED',
  ],
  ['pinned to another fingerprint', () => ({ fingerprint: `SHA256:${'A'.repeat(43)}` }), 'SSH_HOST_KEY_CHANGED'],
  ['known on another port', ({ door }) => ({ knownHosts: new KnownHosts(knownHostsLine('node.example', 22, door.hostKey)) }), 'SSH_HOST_KEY_UNKNOWN'],
]
for (const [name, extra, code] of REFUSED) {
  test(`a server whose key is ${name}, is shown no key of ours`, async () => {
    const at = testDoor()
    const key = userKey()
    at.identity.allow(key)
    await assert.rejects(connectSsh(options(at, key, extra(at))), (error) => isKithError(error, code as never))
    assert.deepEqual(at.identity.asked, [])
    at.door.close()
  })
}

test('a server of which nothing is known at all, is a mistake of the caller', async () => {
  const at = testDoor()
  const { knownHosts: _, ...rest } = options(at, userKey())
  await assert.rejects(connectSsh(rest), TypeError)
  at.door.close()
})

test('a pinned fingerprint, stands for an entry of known_hosts', async () => {
  const at = testDoor()
  const key = userKey()
  at.identity.allow(key)
  const { knownHosts: _, ...rest } = options(at, key)
  const connection = await connectSsh({ ...rest, fingerprint: at.door.hostKey.fingerprint })
  connection.close()
  at.door.close()
})

test('a key the server does not know, is said to be refused', async () => {
  const at = testDoor()
  await assert.rejects(connectSsh(options(at, userKey())), (error) => isKithError(error, 'SSH_LOGIN_REFUSED'))
  at.door.close()
})

test('a server that says nothing, is given up at the deadline', async () => {
  const at = testDoor()
  const { pair } = await import('./support.ts')
  const [mine, theirs] = pair()
  theirs.resume()
  await assert.rejects(connectSsh(options(at, userKey(), { over: mine, timeoutMs: 50 })), (error) => isKithError(error, 'TIMEOUT'))
  at.door.close()
})

test('a signal, ends the attempt with its reason', async () => {
  const at = testDoor()
  const stop = new AbortController()
  const attempt = connectSsh(options(at, userKey(), { signal: stop.signal }))
  stop.abort(new Error('enough'))
  await assert.rejects(attempt, /enough/)
  at.door.close()
})

test('a host certificate by a known authority, is enough, and one for another host or time is not', async () => {
  const authority = createSigner('service', Secret.take(new Uint8Array(32).fill(1)))
  const caLine = `@cert-authority *.example ssh-ed25519 ${Buffer.from(keyBlob(authority.publicKey)).toString('base64')}`
  const hostKey = createSigner('service', Secret.take(new Uint8Array(32).fill(7)))
  const made = (extra: Partial<Parameters<typeof certificate>[0]>): Uint8Array =>
    certificate({ subject: hostKey.publicKey, authority, type: 2, principals: ['node.example'], ...extra })
  const cases: readonly (readonly [Uint8Array, string | undefined])[] = [
    [made({}), undefined],
    [made({ principals: ['other.example'] }), 'SSH_HOST_KEY_UNKNOWN'],
    [made({ principals: [] }), 'SSH_HOST_KEY_UNKNOWN'],
    [made({ validBefore: 1n }), 'SSH_HOST_KEY_UNKNOWN'],
    [made({ type: 1 }), 'SSH_HOST_KEY_UNKNOWN'],
    [made({ critical: [['force-command', 'x']] }), 'SSH_HOST_KEY_UNKNOWN'],
  ]
  for (const [hostCertificate, code] of cases) {
    const at = testDoor({ hostCertificate })
    const key = userKey()
    at.identity.allow(key)
    const attempt = connectSsh(options(at, key, { knownHosts: new KnownHosts(caLine) }))
    if (code === undefined) (await attempt).close()
    else await assert.rejects(attempt, (error) => isKithError(error, code as never))
    at.door.close()
  }
})

test('a host certificate for another key, is refused when the door opens', () => {
  const authority = createSigner('service', Secret.take(new Uint8Array(32).fill(1)))
  const line = `ssh-ed25519-cert-v01@openssh.com ${Buffer.from(certificate({ subject: authority.publicKey, authority, type: 2, principals: ['a'] })).toString('base64')}`
  assert.throws(
    () => parseHostCertificate(line, new Uint8Array(32)),
    (error) => isKithError(error, 'SSH_KEY_INVALID'),
  )
})

test('a user certificate, reaches the identity provider with its user name and address', async () => {
  const at = testDoor()
  const key = userKey()
  const signer = parseUserKey(key.privateKey)
  const authority = createSigner('service', Secret.take(new Uint8Array(32).fill(1)))
  const blob = certificate({ subject: signer.publicKey, authority, type: 1, principals: ['alice'] })
  at.identity.certified = (shown, user, address) =>
    Buffer.from(shown).equals(blob) && user === 'alice' && address === '192.0.2.1' ? at.identity.allow(userKey()) : undefined
  const connection = await connectSsh(options(at, key, { credentials: [{ signer }, { signer, certificate: blob }] }))
  assert.equal(at.door.sessions().length, 1)
  connection.close()
  at.door.close()
})

test('addresses of SSH servers, are read with user and port and refused with passwords', () => {
  assert.deepEqual(parseSshUrl('ssh://alice@Host.Example'), { user: 'alice', host: 'host.example', port: 22 })
  assert.deepEqual(parseSshUrl('ssh://a@[::1]:2222'), { user: 'a', host: '::1', port: 2222 })
  for (const bad of [
    'ssh://host',
    'ssh://a:b@host',
    'ssh://a@host:0',
    'ssh://a@host:65536',
    'ssh://a@host/x',
    'http://a@host',
    'ssh://-x@host',
    'ssh://a@-host',
  ])
    assert.throws(
      () => parseSshUrl(bad),
      (error) => isKithError(error, 'ADDRESS_INVALID'),
      bad,
    )
})

test('private keys of other forms, are refused with their reason', () => {
  const pem = '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE KEY-----\n'
  for (const [text, words] of [
    [pem, /PEM/],
    ['nothing', /no key/],
    [userKey().privateKey.replace('AAAA', 'BBBB'), /key/],
  ] as const)
    assert.throws(
      () => parseUserKey(text),
      (error) => isKithError(error, 'SSH_KEY_INVALID') && words.test(error.message),
    )
})
