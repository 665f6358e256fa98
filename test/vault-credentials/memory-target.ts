// Run by the memory test: keeps credentials, hands them out, renews and signs with them, and stands still while its memory is searched.
import { systemClock } from '../../src/core/clock.ts'
import { silentMetrics } from '../../src/core/observe/metrics.ts'
import { systemRandom } from '../../src/core/random.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { readSecretFile } from '../../src/daemon/credentials/secret-file.ts'
import { composeCredential } from '../../src/vault/credentials/compose.ts'
import { createCredentials } from '../../src/vault/credentials/credentials.ts'
import { inject } from '../../src/vault/credentials/inject.ts'
import type { CredentialLease } from '../../src/vault/credentials/lease.ts'
import { signRequest } from '../../src/vault/credentials/sigv4.ts'
import { wipeCredential } from '../../src/vault/credentials/types.ts'
import { vaultSealing } from '../../src/vault/credentials/vault-sealing.ts'
import { createTreasury, exportTreasuryKey } from '../../src/vault/treasury.ts'
import { createVault } from '../../src/vault/vault.ts'

const [file, seedFile] = process.argv.slice(2) as [string, string]
const vault = createVault({ clock: systemClock, idleLockMs: 0 })
const store = createMemoryStore()
const credentials = createCredentials({
  store,
  sealing: vaultSealing(vault),
  clock: systemClock,
  random: systemRandom,
  metrics: silentMetrics,
  refresh: async () => {
    throw new TypeError('nothing is renewed here')
  },
})
let lease: CredentialLease | undefined
const kept: unknown[] = []

/** The seed comes from a file, so that the searcher knows it: a generator that gives it out once. */
const random = {
  ...systemRandom,
  fill<T extends Uint8Array>(target: T): T {
    if (target.length !== 32) return systemRandom.fill(target)
    const seed = readSecretFile(seedFile)
    seed.use((bytes) => target.set(bytes))
    seed.wipe()
    return target
  },
}

const acts: Readonly<Record<string, () => Promise<void> | void>> = {
  async keep() {
    ;(await vault.unlockNew(12)).wipe()
    const secret = readSecretFile(file)
    for (const fields of [{ type: 'bearer' }, { type: 's3', accessKey: 'AKIDEXAMPLE' }, { type: 'basic', username: 'ann' }] as const) {
      const credential = composeCredential(fields, secret)
      await credentials.add({ service: fields.type }, credential)
      wipeCredential(credential)
    }
    secret.wipe()
    await createTreasury({ store, vault, clock: systemClock, random }, 'coop')
    ;(await exportTreasuryKey({ store, vault }, 'coop')).wipe()
  },
  async lease() {
    lease = await credentials.lease('bearer')
    using key = await credentials.lease('s3')
    key.use((credential) => {
      if (credential.type === 's3') signRequest({ method: 'GET', target: '/', headers: [['host', 'a']] }, credential, { region: 'r', service: 's3', nowMs: 0 })
    })
  },
  /** What HTTP takes is a string. */
  inject() {
    const held = lease
    const url = new URL('https://a.example')
    kept.push(held?.use((credential) => inject({ url, headers: {} }, credential, held.info)))
  },
}

process.on('message', (message: string) => {
  void Promise.resolve(acts[message]?.()).then(() => {
    setImmediate(() => setImmediate(() => process.send?.(message)))
  })
})
process.on('disconnect', () => process.exit())
process.send?.('ready')
