import { equal, type PublicKey, toHex } from '../core/bytes.ts'
import { KithError } from '../core/errors.ts'
import { createDeviceDocument, decodeDeviceDocument, encodeDeviceDocument, type ListedDevice, MAX_DEVICES, type RevocationReason } from './device-document.ts'
import { createGrant } from './device-grant.ts'
import { loadRoster, saveRoster } from './device-home.ts'
import type { DeviceRequest } from './device-request.ts'
import { addDocument, type DeviceRoster, listedDevices } from './device-roster.ts'
import type { Home } from './home.ts'
import type { IdentityKeys } from './identity-keys.ts'

/** What signs for the identity, and the machine it does so on. */
export interface DeskComponents {
  readonly home: Home
  readonly identity: Pick<IdentityKeys, 'chain' | 'signer'>
  /** This machine, which is listed too. */
  readonly own: { readonly linkKey: PublicKey; readonly name: string }
  /** What peers told of this identity since the file was written. */
  readonly known?: DeviceRoster | undefined
  /** Wall clock, ms since the epoch. */
  readonly now: number
}

export interface ApproveOptions {
  /** Zero for everything. */
  readonly capabilities: bigint
  /** What the owner calls it; default: as it asked. */
  readonly name?: string
  readonly lifeMs?: number
  /** Where this machine listens. */
  readonly urls?: readonly string[]
}

/**
 * Lists the machine, then certifies it: a grant that nobody received is asked for again, a machine that is certified and not listed would be one that nobody can
 * find to revoke.
 * @throws KithError `DEVICE_REVOKED` for a machine that was revoked before: it needs new keys. `DEVICE_REQUEST_INVALID`, `DEVICE_DOCUMENT_INVALID`.
 */
export async function approveMachine(
  components: DeskComponents,
  request: DeviceRequest,
  options: ApproveOptions,
): Promise<{ readonly grant: Uint8Array; readonly roster: DeviceRoster }> {
  const { identity, own, now } = components
  const { linkKey, did } = request
  if (identity.chain.reveals(linkKey)) throw new KithError('DEVICE_REQUEST_INVALID', 'the key is one of the identity itself')
  if (did !== undefined && did !== identity.chain.did) throw new KithError('DEVICE_REQUEST_INVALID', 'the machine belongs to another identity')
  if (equal(linkKey, own.linkKey)) throw new KithError('DEVICE_REQUEST_INVALID', 'this is the machine itself')
  const { capabilities } = options
  const name = options.name ?? request.name
  const roster = await change(components, (devices) => {
    const listed = devices.get(toHex(linkKey))
    if (listed !== undefined && listed.status !== 'active') throw revoked(listed)
    devices.set(toHex(linkKey), { linkKey, name, capabilities, status: 'active', sinceMs: listed?.sinceMs ?? now })
  })
  const document = encodeDeviceDocument(roster.latest)
  const { urls = [], lifeMs } = options
  const grant = createGrant(identity, request, {
    capabilities,
    name,
    now,
    serial: now,
    document,
    from: own.linkKey,
    urls,
    ...(lifeMs === undefined ? {} : { lifeMs }),
  })
  return { grant, roster }
}

/**
 * Signs that a machine is no longer one of this identity. For good.
 * @throws KithError `USAGE` for the machine itself, `DEVICE_DOCUMENT_INVALID`.
 */
export async function revokeMachine(components: DeskComponents, linkKey: PublicKey, reason: RevocationReason): Promise<DeviceRoster> {
  const { identity, own, now } = components
  if (equal(linkKey, own.linkKey)) {
    throw new KithError('USAGE', 'A machine does not revoke itself: do it on another one that holds the identity, or replace its key.', {
      next: 'kith id device rotate',
    })
  }
  if (identity.chain.reveals(linkKey))
    throw new KithError('USAGE', 'This is a key of the identity itself, not of a machine.', { next: 'kith id rotate --reason compromised' })
  return await change(components, (devices) => {
    const listed = devices.get(toHex(linkKey))
    if (listed !== undefined && listed.status !== 'active') return
    devices.set(toHex(linkKey), { linkKey, name: listed?.name ?? '', capabilities: listed?.capabilities ?? 0n, status: reason, sinceMs: now })
  })
}

/**
 * Brings the document up to date: this machine is in it (`replaces`: the key it had before is not), what others revoked too, and the identity's present keys signed it.
 * Without a document so far there is none to bring up to date: one begins with the second machine.
 */
export async function refreshDocument(components: DeskComponents, options: { readonly replaces?: PublicKey } = {}): Promise<DeviceRoster | undefined> {
  const { home, identity, now, known } = components
  if (known === undefined && (await loadRoster(home, { chain: identity.chain, now })) === undefined) return undefined
  return await change(components, (devices) => {
    const before = options.replaces === undefined ? undefined : devices.get(toHex(options.replaces))
    if (before?.status === 'active') devices.delete(toHex(before.linkKey))
  })
}

/** Signs and saves the next document when it would say anything new. */
async function change(components: DeskComponents, edit: (devices: Map<string, ListedDevice>) => void): Promise<DeviceRoster> {
  const { home, identity, own, now } = components
  const { chain } = identity
  const stored = await loadRoster(home, { chain, now })
  const known = merged(stored, components.known)
  const devices = new Map((known === undefined ? [] : listedDevices(known)).map((device) => [toHex(device.linkKey), device]))
  const key = toHex(own.linkKey)
  edit(devices)
  const listed = devices.get(key)
  if (listed === undefined) devices.set(key, { linkKey: own.linkKey, name: own.name, capabilities: 0n, status: 'active', sinceMs: now })
  const current = known !== undefined && known.latest.chainIndex === chain.index && sameDevices(known.latest.devices, [...devices.values()])
  if (current) {
    if (known !== stored) await saveRoster(home, known)
    return known
  }
  // Versions follow the clock, so that they rise even where the last one was lost; each chain entry begins its own.
  const last = known?.latest.chainIndex === chain.index ? known.latest.version : 0
  const version = Math.max(last + 1, now)
  if (!Number.isSafeInteger(version)) {
    throw new KithError('DEVICE_DOCUMENT_INVALID', 'no further document can be made with these keys: somebody else has signed with them', {
      next: 'kith id rotate --reason compromised',
    })
  }
  const before = new Set(stored?.latest.devices.map((device) => toHex(device.linkKey)))
  const document = createDeviceDocument(identity, { version, now, devices: fitting(devices, known, before) })
  const { roster } = addDocument(known, decodeDeviceDocument(document))
  await saveRoster(home, roster)
  return roster
}

/**
 * What fits into one document. Somebody who had the keys may have revoked more machines than there ever were: verifiers who heard of these keep them, and the
 * document keeps those that this home knew, or that were revoked just now, before them.
 */
function fitting(devices: ReadonlyMap<string, ListedDevice>, known: DeviceRoster | undefined, before: ReadonlySet<string>): readonly ListedDevice[] {
  if (devices.size <= MAX_DEVICES) return [...devices.values()]
  const own = ([key, { status }]: [string, ListedDevice]): number => (status === 'active' || before.has(key) || known?.revoked.has(key) !== true ? 0 : 1)
  return [...devices]
    .sort((a, b) => own(a) - own(b))
    .slice(0, MAX_DEVICES)
    .map(([, device]) => device)
}

function merged(stored: DeviceRoster | undefined, known: DeviceRoster | undefined): DeviceRoster | undefined {
  if (stored === undefined || known === undefined) return stored ?? known
  return [known.latest, ...known.others].reduce((roster, document) => addDocument(roster, document).roster, stored)
}

function sameDevices(listed: readonly ListedDevice[], devices: readonly ListedDevice[]): boolean {
  const others = new Map(devices.map((device) => [toHex(device.linkKey), device]))
  return (
    listed.length === others.size &&
    listed.every(({ linkKey, name, capabilities, status, sinceMs }) => {
      const other = others.get(toHex(linkKey))
      return other?.name === name && other.capabilities === capabilities && other.status === status && other.sinceMs === sinceMs
    })
  )
}

function revoked({ linkKey, status }: ListedDevice): KithError {
  return new KithError('DEVICE_REVOKED', `this machine was revoked (${status}); it needs new keys`, {
    details: { linkKey: toHex(linkKey) },
    next: 'kith id device add --name NAME (in a new home on that machine)',
  })
}
