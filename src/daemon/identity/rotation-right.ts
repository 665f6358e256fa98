import { toHex } from '../../core/bytes.ts'
import { systemClock } from '../../core/clock.ts'
import { systemRandom } from '../../core/random.ts'
import { openHome } from '../../identity/home.ts'
import { openIdentity } from '../../identity/keystore.ts'
import type { Passphrase } from '../../identity/passphrase.ts'
import type { ChainState } from '../../identity/types.ts'
import { describeDevice, saveSummary } from './describe.ts'
import { openDeviceWith } from './open.ts'
import { giveRotation, takeRotation } from './own-chain.ts'
import type { OpenedIdentity } from './service.ts'
import { STORED_WORK_FACTOR } from './setup.ts'

export const ROTATION_ACTS = ['status', 'take', 'give'] as const
/** Look who changes the identity's keys, make it this machine, or leave it to another one. */
export type RotationAct = (typeof ROTATION_ACTS)[number]

export interface RotationRight {
  readonly did: string
  readonly may_rotate: boolean
  readonly chain: { readonly index: number; readonly head: string }
}

/**
 * @param opened with `shown`, the chain as others know it, for `take`; without it nothing is taken.
 * @throws KithError as `takeRotation`.
 */
export async function changeRotationRight(opened: OpenedIdentity & { readonly act: RotationAct; readonly shown?: ChainState }): Promise<RotationRight> {
  const { act, shown, home, options } = opened
  if (act === 'take' && shown !== undefined) await takeRotation(opened, shown)
  if (act === 'give' && opened.identity.mayRotate) await giveRotation(opened)
  // What stands on the disk is what counts.
  using identity = await openIdentity(home, options)
  return { did: identity.did, may_rotate: identity.mayRotate, chain: { index: identity.chain.index, head: toHex(identity.chain.head) } }
}

/** One piece of work on the keys of a home while no node runs. The passphrase stays the caller's. @throws KithError `HOME_IN_USE`, `PASSPHRASE_WRONG`, `IDENTITY_MISSING`. */
export async function withHomeIdentity<T>(directory: string, passphrase: Passphrase, run: (opened: OpenedIdentity) => Promise<T>): Promise<T> {
  await using home = await openHome(directory, { create: false })
  const stored = passphrase.source === 'state'
  const options = { passphrase: passphrase.secret, clock: systemClock, random: systemRandom, ...(stored ? { workFactor: STORED_WORK_FACTOR } : {}) }
  using device = await openDeviceWith(home, { ...options, renew: false })
  using identity = await openIdentity(home, options)
  const result = await run({ home, identity, device, options })
  await saveSummary(home.paths.root, describeDevice(device, stored ? 'stored' : 'passphrase'))
  return result
}
