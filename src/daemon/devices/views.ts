import { toHex } from '../../core/bytes.ts'
import { capabilityNames, type DeviceCapability } from '../../identity/device-capabilities.ts'
import type { DeviceStatus } from '../../identity/device-document.ts'
import { type DeviceRequest, requestCode } from '../../identity/device-request.ts'
import { type DeviceRoster, listedDevices } from '../../identity/device-roster.ts'

/** A machine of this identity, as `id device list` shows it. */
export interface DeviceView {
  readonly name: string
  /** 64 hexadecimal digits. */
  readonly link_key: string
  /** `active`, or why it was revoked. */
  readonly status: DeviceStatus
  readonly capabilities: readonly DeviceCapability[]
  /** When it was added or revoked; null where no document lists it. */
  readonly since: string | null
  /** When its binding ends, as far as is known here. */
  readonly expires_at: string | null
  readonly serial: number | null
  readonly last_seen: string | null
  readonly linked: boolean
  readonly self: boolean
  /** It asks for a new binding and waits for the owner. */
  readonly waiting: boolean
}

/** What a machine asks, for the owner to look at. */
export interface RequestView {
  readonly id: string
  readonly name: string
  readonly link_key: string
  readonly capabilities: readonly DeviceCapability[]
  /** Six words, the same on the machine that asks. */
  readonly code: string
  /** The machine belongs to this identity already and wants a new binding. */
  readonly renewal: boolean
  readonly asked_at: string
  readonly post_quantum: boolean
}

export function viewRequest(request: DeviceRequest): RequestView {
  return {
    id: toHex(request.id),
    name: request.name,
    link_key: toHex(request.linkKey),
    capabilities: capabilityNames(request.capabilities),
    code: requestCode(request),
    renewal: request.did !== undefined,
    asked_at: new Date(request.timeMs).toISOString(),
    post_quantum: request.deviceMldsa !== undefined,
  }
}

/** What is known of a machine apart from the document. */
export interface DeviceFacts {
  readonly expiresMs?: number | undefined
  readonly serial?: number | undefined
  readonly lastSeenMs?: number | undefined
  readonly linked?: boolean
  readonly waiting?: boolean
}

/** This machine first, then by name; where there is no document yet, this machine alone. */
export function viewDevices(
  roster: DeviceRoster | undefined,
  self: DeviceFacts & { readonly linkKey: Uint8Array; readonly name: string },
  facts: (linkKey: string) => DeviceFacts,
): readonly DeviceView[] {
  const own = toHex(self.linkKey)
  const listed = roster === undefined ? [] : listedDevices(roster)
  const views = listed.map(({ linkKey, name, status, capabilities, sinceMs }) => view(toHex(linkKey), name, status, capabilities, sinceMs))
  if (!listed.some(({ linkKey }) => toHex(linkKey) === own)) views.push(view(own, self.name, 'active', 0n, undefined))
  return views.sort((a, b) => Number(b.self) - Number(a.self) || a.name.localeCompare(b.name, 'en') || a.link_key.localeCompare(b.link_key, 'en'))

  function view(key: string, name: string, status: DeviceStatus, capabilities: bigint, sinceMs: number | undefined): DeviceView {
    const isSelf = key === own
    const { expiresMs, serial, lastSeenMs, linked = false, waiting = false } = isSelf ? self : facts(key)
    return {
      name: isSelf && name === '' ? self.name : name,
      link_key: key,
      status,
      capabilities: capabilityNames(capabilities),
      since: time(sinceMs),
      expires_at: time(expiresMs),
      serial: serial ?? null,
      last_seen: time(lastSeenMs),
      linked,
      self: isSelf,
      waiting,
    }
  }
}

function time(ms: number | undefined): string | null {
  return ms === undefined || ms === 0 ? null : new Date(ms).toISOString()
}
