import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { KnownHosts } from '../../src/ssh/client/known-hosts.ts'
import { sshString } from '../../src/ssh/wire.ts'

function keyOf(type: string, byte: number): Buffer {
  return Buffer.concat([sshString(type), sshString(new Uint8Array(32).fill(byte))])
}

const A = keyOf('ssh-ed25519', 1)
const B = keyOf('ssh-ed25519', 2)
const line = (hosts: string, key: Buffer, marker = ''): string => `${marker}${hosts} ssh-ed25519 ${key.toString('base64')} a comment`

function hashed(name: string): string {
  const salt = randomBytes(20)
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`
}

const CASES: readonly (readonly [string, string, number, string])[] = [
  ['node.example', 'node.example', 22, 'known'],
  ['node.example', 'NODE.example', 22, 'known'],
  ['node.example', 'node.example', 2222, 'unknown'],
  ['[node.example]:2222', 'node.example', 2222, 'known'],
  ['[node.example]:2222', 'node.example', 22, 'unknown'],
  ['a,b,node.example', 'node.example', 22, 'known'],
  ['*.example', 'node.example', 22, 'known'],
  ['*.example', 'example', 22, 'unknown'],
  ['n?de.example', 'node.example', 22, 'known'],
  ['*.example,!node.example', 'node.example', 22, 'unknown'],
  ['!node.example,*.example', 'node.example', 22, 'unknown'],
  ['*.example,!node.example', 'other.example', 22, 'known'],
  [hashed('node.example'), 'node.example', 22, 'known'],
  [hashed('node.example'), 'other.example', 22, 'unknown'],
  [hashed('[node.example]:2222'), 'node.example', 2222, 'known'],
  ['2001:db8::1', '2001:db8::1', 22, 'known'],
  ['[2001:db8::1]:2222', '2001:db8::1', 2222, 'known'],
]
for (const [hosts, host, port, verdict] of CASES) {
  test(`known_hosts line for ${hosts.slice(0, 30)}, asked for ${host}:${port}, says ${verdict}`, () => {
    assert.equal(new KnownHosts(line(hosts, A)).check(host, port, A), verdict)
  })
}

test('a host with another key, has changed; with the same revoked, is revoked', () => {
  assert.equal(new KnownHosts(line('h', A)).check('h', 22, B), 'changed')
  assert.equal(new KnownHosts(`${line('h', A)}\n${line('*', A, '@revoked ')}`).check('h', 22, A), 'revoked')
  assert.equal(new KnownHosts(`${line('h', A)}\n${line('h', B)}`).check('h', 22, B), 'known')
})

test('an authority, is no host key, and a host key no authority', () => {
  const known = new KnownHosts(line('*.example', A, '@cert-authority '))
  assert.equal(known.check('node.example', 22, A), 'unknown')
  assert.equal(known.authority('node.example', 22, A), 'known')
  assert.equal(known.authority('node.test', 22, A), 'unknown')
  assert.equal(new KnownHosts(line('h', A)).authority('h', 22, A), 'unknown')
})

test('lines that cannot be read, are counted and match nothing', () => {
  const text = [
    '# comment',
    '',
    'h',
    'h ssh-ed25519',
    'h ssh-ed25519 !!!',
    `h ssh-rsa ${A.toString('base64')}`,
    `@other h ssh-ed25519 ${A.toString('base64')}`,
  ].join('\n')
  const known = new KnownHosts(text)
  assert.equal(known.unreadable, 5)
  assert.equal(known.check('h', 22, A), 'unknown')
})

test('any text, is read without a throw, and patterns of stars in no long time', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string(), (text, host) => {
      new KnownHosts(text).check(host, 22, A)
    }),
    { numRuns: 300 },
  )
  assert.equal(new KnownHosts(line(`${'*a'.repeat(500)}b`, A)).check('a'.repeat(2_000), 22, A), 'unknown')
})
