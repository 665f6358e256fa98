import { existsSync } from 'node:fs'
import { toHex } from '../../core/bytes.ts'
import { systemClock } from '../../core/clock.ts'
import { isKithError } from '../../core/errors.ts'
import { createAudit } from '../../core/observe/audit.ts'
import { systemRandom } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import { openSqliteStore } from '../../core/store/sqlite.ts'
import { BackupDesk, type BackupStage } from '../../daemon/backup/desk.ts'
import { loadConfig } from '../../daemon/config/load.ts'
import type { LocalDevice } from '../../identity/device.ts'
import { openHome } from '../../identity/home.ts'
import { openDevice } from '../../identity/keystore.ts'
import type { Facts } from '../../vault/container.ts'
import type { CommandContext } from '../context.ts'

/** Whoever holds the home: the running node, or this process while none runs. */
export interface Holder extends AsyncDisposable {
  /** The node of this home runs. */
  readonly running: boolean
  /** The backup key that it was told of before. */
  readonly recipient: string | null
  /** How many snapshots are kept. */
  readonly keep: number
  begin(recipient: string | undefined): Promise<BackupStage>
  seal(id: string, digest: Uint8Array): Promise<Facts>
  end(id: string, bytes?: number): Promise<void>
}

/** The running node; `undefined` when none runs. @throws KithError `IDENTITY_LOCKED`, `IDENTITY_MISSING`. */
export async function runningHolder(context: CommandContext): Promise<Holder | undefined> {
  const client = await context.daemon()
  try {
    const { recipient, keep } = await client.call('GET /v1/backup', {})
    return {
      running: true,
      recipient,
      keep,
      begin: (wanted) => client.call('POST /v1/backup/begin', wanted === undefined ? {} : { recipient: wanted }),
      seal: async (id, digest) => ({ ...(await client.call('POST /v1/backup/seal', { id, digest: toHex(digest) })) }),
      async end(id, bytes) {
        // Also when this command was interrupted: the copy goes.
        await client.call('POST /v1/backup/end', bytes === undefined ? { id } : { id, bytes }, { signal: new AbortController().signal })
      },
      [Symbol.asyncDispose]: async () => {},
    }
  } catch (error) {
    if (isKithError(error, 'DAEMON_NOT_RUNNING')) return undefined
    throw error
  }
}

/** This process, on the files. The passphrase stays the caller's. @throws KithError `HOME_IN_USE`, `PASSPHRASE_WRONG`. */
export async function localHolder(context: CommandContext, passphrase: Secret): Promise<Holder> {
  const home = await openHome(context.home, { create: false })
  let device: LocalDevice | undefined
  try {
    const keys = await openDevice(home, { passphrase, clock: systemClock, renew: false })
    device = keys
    const desk = new BackupDesk({
      home,
      clock: systemClock,
      random: systemRandom,
      environment: { ...context.env },
      device: () => keys,
      store: () => undefined,
      audit: () => ({
        async append(event) {
          // A home that never ran has no log to write in.
          if (!existsSync(home.paths.store)) return undefined
          const store = await openSqliteStore(home.paths.store)
          try {
            return await createAudit({ store, clock: systemClock }).append(event)
          } finally {
            await store.close()
          }
        },
      }),
    })
    return {
      running: false,
      recipient: await desk.recipient(),
      keep: (await loadConfig({ home: context.home, env: context.env })).values['backup.keep'],
      begin: (recipient) => desk.begin({ recipient }),
      seal: async (id, digest) => ({ ...desk.seal(id, digest) }),
      end: (id, bytes) => desk.end(id, bytes),
      async [Symbol.asyncDispose]() {
        await desk.close()
        keys.close()
        await home.close()
      },
    }
  } catch (error) {
    device?.close()
    await home.close()
    throw error
  }
}
