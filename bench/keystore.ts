/** Opening and saving a key file, beside the key derivation alone that makes guessing expensive. */
import { scrypt } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/core/clock.ts'
import { systemRandom } from '../src/core/random.ts'
import { Secret } from '../src/core/secret.ts'
import { setUpIdentity } from '../src/daemon/identity/setup.ts'
import { type Home, openHome } from '../src/identity/home.ts'
import { openDevice, openIdentity } from '../src/identity/keystore.ts'
import type { BenchRow, BenchSample } from './harness.ts'
import { timedAsync } from './support/turns.ts'

const N = 2 ** 18
const PEER = 'node:crypto scrypt, N = 2^18, r = 8'

let held: Promise<{ readonly home: Home; readonly folder: string; readonly passphrase: Secret }> | undefined

function made(): NonNullable<typeof held> {
  held ??= (async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kith-bench-'))
    const home = await openHome(join(folder, 'home'))
    const passphrase = Secret.take(Buffer.from('correct horse battery staple'))
    const { phrase } = await setUpIdentity({ home, passphrase, clock: systemClock, random: systemRandom })
    phrase.wipe()
    return { home, folder, passphrase }
  })()
  return held
}

export async function close(): Promise<void> {
  if (held === undefined) return
  const { home, folder, passphrase } = await held
  passphrase.wipe()
  await home.close()
  await rm(folder, { recursive: true, force: true })
}

function derive(): Promise<unknown> {
  return new Promise((resolve, reject) => {
    scrypt('correct horse battery staple', 'salt', 32, { N, r: 8, p: 1, maxmem: N * 1024 + 2 ** 21 }, (error, key) =>
      error === null ? resolve(key) : reject(error),
    )
  })
}

async function unlocks(open: (home: Home, passphrase: Secret) => Promise<{ close(): void }>): Promise<BenchSample> {
  const { home, passphrase } = await made()
  const peer = await timedAsync(derive)
  const ours = await timedAsync(async () => (await open(home, passphrase)).close())
  return { ours: 1 / ours, peer: 1 / peer }
}

export const rows: readonly BenchRow[] = [
  {
    name: 'keystore: unlock the identity',
    unit: '/s',
    peer: PEER,
    better: 'higher',
    goal: 0.9,
    rounds: 7,
    measure: () => unlocks((home, passphrase) => openIdentity(home, { passphrase })),
  },
  {
    name: 'keystore: unlock a machine, its keys ready to sign',
    unit: '/s',
    peer: PEER,
    better: 'higher',
    goal: 0.9,
    rounds: 7,
    measure: () => unlocks((home, passphrase) => openDevice(home, { passphrase, renew: false })),
  },
]
