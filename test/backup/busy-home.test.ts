import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { openSqliteStore } from '../../src/core/store/sqlite.ts'
import { openHome } from '../../src/identity/home.ts'
import { openKeystore } from '../../src/identity/keystore.ts'
import { createNode, type Node } from '../../src/index.ts'
import { Prekeys } from '../../src/mesh/sealed/prekeys.ts'
import { phraseToSeed } from '../../src/vault/bip39.ts'
import { deriveBackupKey } from '../../src/vault/container-recipients.ts'
import { filesOf } from './support.ts'

const PASSPHRASE = 'planted passphrase of a busy home'

/** Where one of these values stands in a file, as bytes, hexadecimal or base64. */
function found(files: ReadonlyMap<string, Buffer>, secrets: ReadonlyMap<string, Buffer>): string[] {
  const hits: string[] = []
  for (const [name, content] of files) {
    for (const [what, value] of secrets) {
      const forms: (Buffer | string)[] = [value, value.toString('hex'), value.toString('base64').replaceAll('=', '')]
      if (forms.some((form) => content.indexOf(form) >= 0)) hits.push(`${what} in ${name}`)
    }
  }
  return hits
}

/** Everything that must not be read off a disk: what the key files hold, what is derived from it, and what is sealed in the store. */
async function secretsOf(path: string): Promise<Map<string, Buffer>> {
  const secrets = new Map<string, Buffer>([['the passphrase', Buffer.from(PASSPHRASE)]])
  const note = (name: string, secret: Secret): void => void secret.use((bytes) => secrets.set(name, Buffer.from(bytes)))
  await using home = await openHome(path)
  const { identity, device } = await openKeystore(home, { passphrase: Secret.take(Buffer.from(PASSPHRASE)), clock: systemClock })
  try {
    const phrase = identity.phrase() as Secret
    note('the phrase', phrase)
    const seed = phraseToSeed(phrase)
    note('the seed', seed)
    note('the backup key', deriveBackupKey(seed))
    for (const [of, seeds] of Object.entries({ now: identity.content.seeds, next: identity.content.next, machine: device.content.seeds })) {
      for (const [half, key] of Object.entries(seeds)) if (key instanceof Secret) note(`the ${half} key, ${of}`, key)
    }
    note('the root of the machine', device.content.root)
    const store = await openSqliteStore(home.paths.store)
    const prekeys = await Prekeys.open({ store, device: () => device, clock: systemClock, random: systemRandom, logger: silentLogger, onNew: () => {} })
    for await (const { key } of store.scan('mail/prekey')) {
      const prekey = await prekeys.find(device.linkSigner.publicKey, key)
      if (prekey !== undefined) note(`the prekey ${Buffer.from(key).toString('hex').slice(0, 8)}`, prekey)
    }
    prekeys.close()
    await store.close()
    return secrets
  } finally {
    identity.close()
    device.close()
  }
}

test('a busy home, read file by file while it runs and after, has no secret outside its age files', { timeout: 120_000 }, async (t) => {
  const base = mkdtempSync(join(tmpdir(), 'kith-busy-'))
  t.after(() => rmSync(base, { recursive: true, force: true }))
  const env = { XDG_STATE_HOME: join(base, 'state') }
  const open = (name: string): Promise<Node> => createNode({ home: join(base, name), name, listen: ['tcp://127.0.0.1:0'], env, passphrase: PASSPHRASE })
  const path = join(base, 'a')
  const during: ReadonlyMap<string, Buffer>[] = []
  {
    await using a = await open('a')
    await using b = await open('b')
    await b.join(await a.invite())
    await a.topics.create({ name: 'news', access: { kind: 'open' } } as Parameters<Node['topics']['create']>[0])
    await a.publish('news', 'the mill is open')
    const arrived = new Promise<void>((resolve) => {
      a.on('message', () => resolve())
    })
    await b.tell('a', 'see you at the mill')
    await arrived
    writeFileSync(join(base, 'letter'), 'a letter')
    await b.policy.allow('a', 'file')
    await a.send('b', join(base, 'letter'))
    await a.invite()
    during.push(filesOf(path))
  }
  const secrets = await secretsOf(path)
  assert.ok(
    [...secrets.keys()].some((name) => name.startsWith('the prekey')),
    'there are one-time keys',
  )
  assert.ok(secrets.size >= 10, [...secrets.keys()].join())
  for (const files of [...during, filesOf(path)]) assert.deepEqual(found(files, secrets), [])
  // The search finds what is there.
  for (const [what, value] of secrets)
    assert.deepEqual(found(new Map([['planted', Buffer.concat([Buffer.alloc(99), value])]]), secrets).includes(`${what} in planted`), true)
})
