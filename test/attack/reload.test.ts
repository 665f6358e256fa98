import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, constants, mkdirSync, openSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseAuthorizedKeys } from '../../src/access/authorized-keys.ts'
import type { IdentitySource, TableParts } from '../../src/access/sources.ts'
import { fingerprint } from '../../src/access/ssh-wire.ts'
import { signToken } from '../../src/access/token.ts'
import { equal } from '../../src/core/bytes.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import { readAccessFiles } from '../../src/daemon/access/files.ts'
import type { Config } from '../../src/daemon/config/settings.ts'
import { secretReader } from '../../src/daemon/credentials/secret-file.ts'
import { readCertificateFiles, readRoot } from '../../src/daemon/services/certificate-files.ts'
import { readAuthorities } from '../../src/daemon/transports.ts'
import { keyFrom, lineOf, NOW_S, world } from '../access/support.ts'
import { temporaryDirectory } from '../identity/temp.ts'
import { hasCode } from '../transport/support.ts'

/** Whoever can put something where the configuration names a file, and whoever comes in while it is read. */

test('a pipe, a folder, a device, a link to itself or a file of a gibibyte where a file is named, refused and not waited for', {
  timeout: 10_000,
}, async (t) => {
  const home = temporaryDirectory(t)
  const place = (name: string): string => join(home, name)
  execFileSync('mkfifo', [place('pipe')])
  // A reader that waits for the pipe goes on when the test is over.
  t.after(() => {
    try {
      closeSync(openSync(place('pipe'), constants.O_WRONLY | constants.O_NONBLOCK))
    } catch {}
  })
  mkdirSync(place('folder'))
  symlinkSync(place('loop'), place('loop'))
  writeFileSync(place('huge'), '', { mode: 0o600 })
  truncateSync(place('huge'), 1 << 30)
  for (const file of [place('pipe'), place('folder'), '/dev/zero', place('loop'), place('huge')]) {
    const access = (keys: readonly string[], revocations: readonly string[]) => ({ 'access.authorized_keys': keys, 'access.revocations': revocations })
    await assert.rejects(readAccessFiles(access([file], [])), hasCode('ACCESS_INVALID'), file)
    await assert.rejects(readAccessFiles(access([], [file])), hasCode('ACCESS_INVALID'), file)
    const config = { 'certificate.file': file, 'certificate.key_file': file, 'acme.ca_file': file } as unknown as Config
    await assert.rejects(readCertificateFiles(config, 0), hasCode('CERTIFICATE_INVALID', 'FILE_MISSING'), file)
    await assert.rejects(readRoot(config), hasCode('CERTIFICATE_INVALID', 'FILE_MISSING'), file)
    await assert.rejects(readAuthorities(file), hasCode('FILE_MISSING'), file)
    assert.throws(() => secretReader({})({ file }), hasCode('CREDENTIAL_INVALID'), file)
  }
})

const linesOf = (text: string): TableParts => ({ lines: parseAuthorizedKeys(text, 'keys').lines })

/** Its first write waits to be let on. */
function slowStore(): { readonly store: Store; readonly arrived: Promise<void>; goOn(): void } {
  const arrived = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  const store = createMemoryStore()
  const put = store.put.bind(store)
  store.put = async (...write) => {
    arrived.resolve()
    await goOn.promise
    await put(...write)
  }
  return { store, arrived: arrived.promise, goOn: goOn.resolve }
}

test('a key that is taken out while its token is half-way in, comes in by it no more', async () => {
  const { store, arrived, goOn } = slowStore()
  const ann = keyFrom(1)
  const { provider, put } = await world({ authorized: lineOf(ann), store })
  const coming = provider.resolve({ kind: 'token', text: signToken(ann, NOW_S) })
  await arrived
  put({})
  await provider.recheck({ disconnect: true })
  goOn()
  assert.equal(await coming, undefined)
})

test('a grant that is taken back while a token is half-way in, is none of what it comes in with', async () => {
  const { store, arrived, goOn } = slowStore()
  const ann = keyFrom(1)
  const whose = `ssh:${fingerprint(ann.publicKey)}`
  const { provider, put } = await world({ authorized: lineOf(ann), store, grants: new Map([[whose, { scopes: ['high', 'low'] }]]) })
  const coming = provider.resolve({ kind: 'token', text: signToken(ann, NOW_S) })
  await arrived
  put({ ...linesOf(lineOf(ann)), grants: new Map([[whose, { scopes: ['low'] }]]) })
  await provider.recheck({ disconnect: true })
  goOn()
  assert.deepEqual([...((await coming)?.scopes ?? [])], ['low'])
})

test('a source that fails while all are looked at, keeps nobody else in', async () => {
  const [ann, ben] = [keyFrom(1), keyFrom(2)]
  let broken = false
  const odd: IdentitySource = {
    name: 'odd',
    revokesKey: (key) => {
      if (broken && equal(key, ann.publicKey)) throw new Error('not there')
      return false
    },
  }
  const { provider, put } = await world({ authorized: `${lineOf(ann)}\n${lineOf(ben)}`, sources: [odd] })
  const come = async (key: typeof ann) => await provider.resolve({ kind: 'ssh-key', key: key.publicKey, user: 'x', address: '192.0.2.1' })
  await come(ann)
  const inside = await come(ben)
  broken = true
  put(linesOf(lineOf(ann)))
  await assert.rejects(provider.recheck({ disconnect: true }), /not there/)
  assert.equal(inside?.revoked?.aborted, true)
})
