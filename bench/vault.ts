/** Keys and encryption of a vault, beside the bare calls of node:crypto that they stand on. */
import { createCipheriv, createDecipheriv, createHmac, createSecretKey, randomBytes, scrypt } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { systemClock } from '../src/core/clock.ts'
import { systemRandom } from '../src/core/random.ts'
import { Secret } from '../src/core/secret.ts'
import { createVaultFile, openVaultFile } from '../src/daemon/vault/files.ts'
import { phraseToSeed } from '../src/vault/bip39.ts'
import { IDENTITY } from '../src/vault/paths.ts'
import { deriveEd25519 } from '../src/vault/slip10.ts'
import { createVault, type Vault } from '../src/vault/vault.ts'
import type { BenchRow, BenchSample } from './harness.ts'
import { timed, timedAsync } from './support/turns.ts'

const TEXT = randomBytes(1_024)
const STEPS = 4
const WORK_FACTOR = 18
const stretch = promisify(scrypt) as (password: Uint8Array, salt: Uint8Array, length: number, options: object) => Promise<Buffer>

let held: Promise<{ readonly vault: Vault; readonly phrase: Secret }> | undefined

function opened(): Promise<{ readonly vault: Vault; readonly phrase: Secret }> {
  held ??= (async () => {
    const vault = createVault({ clock: systemClock })
    return { vault, phrase: await vault.unlockNew(24) }
  })()
  return held
}

export async function close(): Promise<void> {
  ;(await held)?.vault.lock()
}

/** Per second, of the middle burst of each side; the two take turns in short bursts, so that a busy machine, or the clearing away of memory, disturbs both alike. */
function together(count: number, ours: () => unknown, peer: () => unknown): Required<BenchSample> {
  const bursts = 40
  const burst = Math.ceil(count / bursts)
  const spent: { readonly ours: number[]; readonly peer: number[] } = { ours: [], peer: [] }
  for (let round = -10; round < bursts; round++) {
    for (const [side, run] of [
      ['ours', ours],
      ['peer', peer],
    ] as const) {
      const seconds = timed(() => {
        for (let i = 0; i < burst; i++) run()
      })
      if (round >= 0) spent[side].push(seconds)
    }
  }
  return { ours: burst / middle(spent.ours), peer: burst / middle(spent.peer) }
}

function middle(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] as number
}

/** A nonce for each encryption, as the vault draws one. */
function rawEncrypt(key: ReturnType<typeof createSecretKey>): readonly [iv: Buffer, text: Buffer, tag: Buffer] {
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  const text = cipher.update(TEXT)
  cipher.final()
  return [iv, text, cipher.getAuthTag()]
}

/** From the file with the phrase to an open vault, and the work of scrypt alone. */
async function unlock(quick: boolean): Promise<BenchSample> {
  const root = await mkdtemp(join(tmpdir(), 'kith-bench-vault-'))
  const passphrase = Secret.take(Buffer.from('correct horse battery staple'))
  try {
    const { phrase } = await opened()
    const factor = quick ? 14 : WORK_FACTOR
    await createVaultFile(root, 'bench', phrase, passphrase, { random: systemRandom, nowMs: 0, workFactor: factor })
    const ours = await timedAsync(async () => {
      using vault = createVault({ clock: systemClock })
      const read = await openVaultFile(root, 'bench', passphrase)
      await vault.unlock({ phrase: read })
      read.wipe()
    })
    const alone = await timedAsync(() =>
      stretch(Buffer.from('correct horse battery staple'), randomBytes(16), 32, { N: 2 ** factor, r: 8, p: 1, maxmem: 2 ** factor * 1_024 + 2 ** 21 }),
    )
    return { ours: 1 / ours, peer: 1 / alone }
  } finally {
    passphrase.wipe()
    await rm(root, { recursive: true, force: true })
  }
}

export const rows: readonly BenchRow[] = [
  {
    name: `vault: a path of ${STEPS} steps derived`,
    unit: '/s',
    peer: `${STEPS} x HMAC-SHA-512 of node:crypto`,
    better: 'higher',
    goal: 0.5,
    async measure({ quick }) {
      const { phrase } = await opened()
      const seed = phraseToSeed(phrase)
      const [key, message] = [randomBytes(32), randomBytes(37)]
      const sample = together(
        quick ? 2_000 : 20_000,
        () => deriveEd25519(seed, IDENTITY).wipe(),
        () => {
          for (let i = 0; i < STEPS; i++) createHmac('sha512', key).update(message).digest()
        },
      )
      seed.wipe()
      return sample
    },
  },
  {
    name: 'vault: a key that is held, asked for again',
    unit: '/s',
    peer: '',
    better: 'higher',
    goal: 500_000,
    async measure({ quick }) {
      const { vault } = await opened()
      const count = quick ? 100_000 : 1_000_000
      const run = (): void => {
        for (let i = 0; i < count; i++) vault.derive(IDENTITY)
      }
      run()
      return { ours: count / timed(run) }
    },
  },
  {
    name: 'vault: 1 KiB encrypted',
    unit: '/s',
    peer: 'AES-256-GCM of node:crypto, key object held',
    better: 'higher',
    goal: 0.7,
    async measure({ quick }) {
      const { vault } = await opened()
      const key = createSecretKey(randomBytes(32))
      return together(
        quick ? 4_000 : 60_000,
        () => vault.encrypt(TEXT),
        () => rawEncrypt(key),
      )
    },
  },
  {
    name: 'vault: 1 KiB decrypted',
    unit: '/s',
    peer: 'AES-256-GCM of node:crypto, key object held',
    better: 'higher',
    goal: 0.7,
    async measure({ quick }) {
      const { vault } = await opened()
      const key = createSecretKey(randomBytes(32))
      const [iv, text, tag] = rawEncrypt(key)
      const data = vault.encrypt(TEXT)
      return together(
        quick ? 4_000 : 60_000,
        () => vault.decrypt(data),
        () => {
          const decipher = createDecipheriv('aes-256-gcm', key, iv)
          decipher.setAuthTag(tag)
          const plaintext = decipher.update(text)
          decipher.final()
          return plaintext
        },
      )
    },
  },
  {
    name: 'vault: 1 KiB decrypted into guarded memory, its traces cleared',
    unit: '/s',
    peer: '',
    better: 'higher',
    async measure({ quick }) {
      const { vault } = await opened()
      const data = vault.encrypt(TEXT)
      const count = quick ? 1_000 : 20_000
      const run = (): void => {
        for (let i = 0; i < count; i++) vault.decryptSecret(data).wipe()
      }
      run()
      return { ours: count / timed(run) }
    },
  },
  {
    name: 'vault: unlocked from its file',
    unit: '/s',
    peer: 'scrypt of node:crypto alone, the same cost',
    better: 'higher',
    goal: 0.9,
    measure: ({ quick }) => unlock(quick),
  },
]
