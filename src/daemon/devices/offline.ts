import { equal, fromHex, type PublicKey, toHex } from '../../core/bytes.ts'
import { systemClock } from '../../core/clock.ts'
import { parsePublicKey } from '../../core/crypto/ed25519.ts'
import { KithError } from '../../core/errors.ts'
import { systemRandom } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import { joinIdentity, requestMachine } from '../../identity/device-add.ts'
import { type ApproveOptions, approveMachine, revokeMachine } from '../../identity/device-desk.ts'
import type { RevocationReason } from '../../identity/device-document.ts'
import { isDeviceOnly, loadRoster, readRoster } from '../../identity/device-home.ts'
import type { DeviceRequest } from '../../identity/device-request.ts'
import { listedDevices } from '../../identity/device-roster.ts'
import { type Home, homePaths, openHome } from '../../identity/home.ts'
import { openDevice, openIdentity } from '../../identity/keystore.ts'
import type { Passphrase } from '../../identity/passphrase.ts'
import { describeDevice, type IdentitySummary, loadSummary, saveSummary } from '../identity/describe.ts'
import { modeOf, workFactorFor } from '../identity/protection.ts'
import { machineName } from '../identity/setup.ts'
import { Fellows } from './fellows.ts'
import { deviceNamed } from './service.ts'
import { type DeviceView, viewDevices } from './views.ts'

/** The same as `DevicesService`, on the files of a home in which no node runs. Passphrases stay the caller's. */

/** @throws KithError `HOME_IN_USE`, `IDENTITY_EXISTS`, `USAGE` for a bad name. */
export async function askToJoin(home: Home, passphrase: Passphrase, wanted: { readonly name?: string; readonly capabilities: bigint }): Promise<Uint8Array> {
  const { capabilities } = wanted
  return await requestMachine(home, { ...optionsOf(passphrase), name: machineName(wanted.name), capabilities })
}

/** @throws KithError as `joinIdentity`. */
export async function join(home: Home, passphrase: Passphrase, grant: Uint8Array): Promise<IdentitySummary> {
  const options = optionsOf(passphrase)
  const taken = await joinIdentity(home, grant, options)
  if (taken.urls.length > 0) await (await Fellows.open(home)).note(parsePublicKey(taken.from), { urls: taken.urls })
  using device = await openDevice(home, { ...options, renew: false })
  const summary = describeDevice(device, modeOf(passphrase))
  await saveSummary(home.paths.root, summary)
  return summary
}

/** @throws KithError as `approveMachine`; `IDENTITY_MISSING`, `PASSPHRASE_WRONG`, `HOME_IN_USE`. */
export async function approve(directory: string, passphrase: Secret, request: DeviceRequest, options: ApproveOptions): Promise<Uint8Array> {
  await using home = await openHome(directory, { create: false })
  using identity = await openIdentity(home, { passphrase })
  using device = await openDevice(home, { passphrase, renew: false })
  const own = { linkKey: device.linkSigner.publicKey, name: device.name }
  return (await approveMachine({ home, identity, own, now: systemClock.now() }, request, options)).grant
}

/** @throws KithError as `revokeMachine`; `NOT_FOUND`, `IDENTITY_MISSING`, `PASSPHRASE_WRONG`, `HOME_IN_USE`. */
export async function revoke(
  directory: string,
  passphrase: Secret,
  target: string,
  reason: RevocationReason,
): Promise<{ readonly link_key: string; readonly name: string }> {
  await using home = await openHome(directory, { create: false })
  using identity = await openIdentity(home, { passphrase })
  using device = await openDevice(home, { passphrase, renew: false })
  const now = systemClock.now()
  const linkKey: PublicKey = deviceNamed(await loadRoster(home, { chain: identity.chain, now }), target)
  const own = { linkKey: device.linkSigner.publicKey, name: device.name }
  const roster = await revokeMachine({ home, identity, own, now }, linkKey, reason)
  return { link_key: toHex(linkKey), name: listedDevices(roster).find((listed) => equal(listed.linkKey, linkKey))?.name ?? '' }
}

/** What the files tell without a passphrase: no links, and the binding of this machine only. @throws KithError `IDENTITY_MISSING`. */
export async function list(directory: string): Promise<{ readonly devices: readonly DeviceView[]; readonly holds_identity: boolean }> {
  const summary = await loadSummary(directory)
  if (summary === undefined) throw new KithError('IDENTITY_MISSING', undefined, { next: 'kith init' })
  const home = { paths: homePaths(directory) }
  const seen = new Map((await Fellows.open(home)).list().map(({ linkKey, lastSeenMs }) => [toHex(linkKey), lastSeenMs]))
  const { name, link_key, serial, binding_expires_at } = summary
  const self = { linkKey: fromHex(link_key), name, serial, expiresMs: Date.parse(binding_expires_at) }
  return { devices: viewDevices(await readRoster(home), self, (key) => ({ lastSeenMs: seen.get(key) })), holds_identity: !(await isDeviceOnly(home)) }
}

function optionsOf(passphrase: Passphrase): { passphrase: Secret; clock: typeof systemClock; random: typeof systemRandom; workFactor?: number } {
  return { passphrase: passphrase.secret, clock: systemClock, random: systemRandom, ...workFactorFor(passphrase) }
}
