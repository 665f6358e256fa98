import { copyFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { KithError } from '../../core/errors.ts'
import type { Secret } from '../../core/secret.ts'
import { syncDirectory } from '../../identity/atomic-file.ts'
import type { Home } from '../../identity/home.ts'
import { wipeSeeds } from '../../identity/keys.ts'
import { type KeystoreOptions, openDevice } from '../../identity/keystore.ts'
import type { IdentityContent } from '../../identity/keystore-codec.ts'
import { sumPath } from '../../identity/keystore-file.ts'
import { saveIdentity } from '../../identity/keystore-save.ts'
import type { ChainState } from '../../identity/types.ts'
import type { NodeContext } from '../context.ts'
import { seedsOfHead } from '../identity/own-chain.ts'
import { loadRecoveryKeys, type RecoveryKeys, removeRecoveryKeys } from './key-file.ts'

/** The identity that the home had while it waited, kept beside the one it has now. */
export const THROW_AWAY_FILE = 'identity-throw-away.age'

export interface Finalized {
  readonly did: string
  readonly index: number
  readonly recovery_id: string
}

/**
 * The delay is over: the home becomes one of the recovered identity, with new keys of its machine, and the node starts again as that. Killed at any moment, the home
 * has one whole identity, and the same call goes on.
 * @throws KithError `RECOVERY_UNKNOWN` when this home recovers nobody, `RECOVERY_WAITING` (details.stage, due), `RECOVERY_OVER`, `PHRASE_OTHER`.
 */
export async function finalizeRecovery({ assembly, identity, supervisor }: NodeContext, given: Secret | undefined): Promise<Finalized> {
  let stopped = false
  try {
    return await identity.withIdentity(given, async ({ home, device, options }) => {
      const keys = await loadRecoveryKeys(home, options.passphrase)
      if (keys === undefined) throw new KithError('RECOVERY_UNKNOWN', 'This home recovers no identity.', { next: 'kith recovery initiate DID' })
      try {
        const { desk } = assembly.recovery
        const mine = (await desk.list()).filter(({ role, did }) => role === 'requester' && did === keys.did)
        const done = mine.find(({ stage }) => stage === 'effective')
        const chain = await assembly.messages.directory.chainOf(keys.did)
        if (done === undefined || chain === undefined) throw notYet(mine.at(-1))
        const result = { did: keys.did, index: chain.index, recovery_id: done.id }
        if (device.did === keys.did) {
          // Cut off at the very end the last time.
          await removeRecoveryKeys(home)
          return { result }
        }
        await assembly.audit.append({ actor: 'owner', action: 'recovery.finalize', subject: keys.did, reason: '', details: { id: done.id } })
        // The own name stands in no address book.
        if (assembly.mesh.book.get(keys.did) !== undefined) await assembly.mesh.book.forget(keys.did)
        const content = contentOf(keys, chain, (options.clock as { now(): number }).now())
        const { name } = device
        await supervisor.stop()
        stopped = true
        await become(home, content, { ...options, name })
        return { result }
      } finally {
        keys.phrase.wipe()
      }
    })
  } finally {
    if (stopped) {
      if (given !== undefined) identity.give(given)
      await supervisor.start()
    }
  }
}

function contentOf({ phrase }: RecoveryKeys, chain: ChainState, now: number): IdentityContent {
  return { createdMs: now, generation: chain.index, mayRotate: true, ...seedsOfHead(phrase, chain), phrase: phrase.clone(), chain }
}

/**
 * In this order: copy of the throw-away identity, its machine's keys gone, the new identity in place of the old one, keys of the machine. Between any two of them the
 * home opens: a machine without keys is given some.
 */
async function become(home: Home, content: IdentityContent, options: KeystoreOptions & { readonly name: string }): Promise<void> {
  try {
    await copyFile(home.paths.identity, join(home.paths.root, THROW_AWAY_FILE))
    await copyFile(sumPath(home.paths.identity), join(home.paths.root, sumPath(THROW_AWAY_FILE)))
    for (const path of [home.paths.device, sumPath(home.paths.device), join(home.paths.root, 'device.papers'), join(home.paths.root, 'devices.doc')]) {
      await unlink(path).catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      })
    }
    await syncDirectory(home.paths.root)
    await saveIdentity(home, content, options)
  } finally {
    wipeSeeds(content.seeds)
    wipeSeeds(content.next)
    content.phrase?.wipe()
  }
  const device = await openDevice(home, options)
  device.close()
  await removeRecoveryKeys(home)
}

function notYet(
  status:
    | { readonly id: string; readonly stage: string; readonly dueMs: number | undefined; readonly attestedBy: readonly string[]; readonly threshold: number }
    | undefined,
): KithError {
  if (status === undefined) return new KithError('RECOVERY_UNKNOWN', 'The request of this home is not known any more.', { next: 'kith recovery initiate DID' })
  const { id, stage, dueMs, attestedBy, threshold } = status
  const details = { id, stage }
  const next = 'kith recovery status'
  if (stage === 'collecting')
    return new KithError('RECOVERY_WAITING', `${attestedBy.length} of ${threshold} trustees have attested it so far.`, { details, next })
  if (stage === 'waiting' && dueMs !== undefined) {
    const due = new Date(dueMs).toISOString()
    return new KithError('RECOVERY_WAITING', `It takes effect here on ${due}; until then it can be stopped.`, { details: { ...details, due }, next })
  }
  return new KithError('RECOVERY_OVER', undefined, { details, next })
}
