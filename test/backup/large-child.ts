/** Backs a home with one large file up, verifies it and restores it; says how much memory that took. In a process of its own, so that it is measured alone. */
import { createReadStream } from 'node:fs'
import { open, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../../src/core/clock.ts'
import { systemRandom } from '../../src/core/random.ts'
import { createBackup } from '../../src/daemon/backup/create.ts'
import { BackupDesk } from '../../src/daemon/backup/desk.ts'
import { readBackup } from '../../src/daemon/backup/read.ts'
import { restoreBackup } from '../../src/daemon/backup/restore.ts'
import { openHome } from '../../src/identity/home.ts'
import { openDevice } from '../../src/identity/keystore.ts'
import { resolvePassphrase } from '../../src/identity/passphrase.ts'
import { X25519Identity } from '../../src/vault/container-recipients.ts'
import { makeHome, toKey, type World } from './support.ts'

const [base = '', bytes = '0'] = process.argv.slice(2)
const size = Number(bytes)
const environment = { XDG_STATE_HOME: join(base, 'state') }
const world = { base, environment, clock: systemClock, at: (name: string) => join(base, name) } as unknown as World
const made = await makeHome(world, 'home')
const large = join(made.path, 'inbox', 'large.bin')
await writeFile(large, 'begins here', { mode: 0o600 })
await truncate(large, size)

const seconds: Record<string, number> = {}
async function timed<T>(name: string, work: () => Promise<T>): Promise<T> {
  const start = performance.now()
  const result = await work()
  seconds[name] = Math.round(performance.now() - start) / 1000
  return result
}

const path = join(base, 'backup.age')
const created = await timed('backup', async () => {
  await using home = await openHome(made.path)
  const { secret: passphrase } = await resolvePassphrase({ environment: { ...environment }, home })
  using device = await openDevice(home, { passphrase, clock: systemClock, renew: false })
  const desk = new BackupDesk({
    home,
    clock: systemClock,
    random: systemRandom,
    environment,
    device: () => device,
    store: () => undefined,
    audit: () => undefined,
  })
  const stage = await desk.begin()
  const file = await open(path, 'wx', 0o600)
  const result = await createBackup({
    ...toKey(made.key),
    stage,
    version: '0',
    sink: async (piece) => {
      for (let at = 0; at < piece.length; ) at += (await file.write(piece, at)).bytesWritten
    },
    reseal: passphrase,
    seal: async (digest) => ({ ...desk.seal(stage.id, digest) }),
  })
  await file.close()
  await desk.close()
  return result
})
const identities = [new X25519Identity(made.key)]
const source = (): AsyncIterable<Uint8Array> => createReadStream(path, { highWaterMark: 1 << 20 })
const read = await timed('verify', () => readBackup({ source: source(), identities }))
await rm(made.path, { recursive: true })
await timed('restore', () =>
  restoreBackup({
    directory: join(base, 'again'),
    source: source(),
    identities,
    passphrase: async () => undefined,
    force: false,
    allowRollback: false,
    environment,
    clock: systemClock,
    random: systemRandom,
  }),
)
console.log(JSON.stringify({ bytes: created.bytes, content: read.content, maxRssMiB: Math.round(process.resourceUsage().maxRSS / 1024), seconds }))
