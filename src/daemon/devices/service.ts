import { serveRenewals } from '../../assembly/device-renewal.ts'
import type { Assembly } from '../../assembly/types.ts'
import { equal, fromHex, type PublicKey, toHex } from '../../core/bytes.ts'
import type { Clock, Timer } from '../../core/clock.ts'
import { parsePublicKey } from '../../core/crypto/ed25519.ts'
import { asKithError, isKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Random } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import { decodeBinding } from '../../identity/binding.ts'
import { type ApproveOptions, approveMachine, type DeskComponents, revokeMachine } from '../../identity/device-desk.ts'
import type { RevocationReason } from '../../identity/device-document.ts'
import { isDeviceOnly, loadRoster, saveRoster } from '../../identity/device-home.ts'
import { type DeviceRequest, readDeviceRequest } from '../../identity/device-request.ts'
import { type DeviceRoster, documentsOf, listedDevices } from '../../identity/device-roster.ts'
import { readDeviceText } from '../../identity/device-text.ts'
import type { Home } from '../../identity/home.ts'
import type { Binding } from '../../identity/types.ts'
import type { IdentityService, OpenedIdentity } from '../identity/service.ts'
import type { MeshService } from '../mesh-service.ts'
import type { Service, Trouble } from '../service.ts'
import { Fellows } from './fellows.ts'
import { linkFellows } from './link-fellows.ts'
import { OwnBinding } from './own-binding.ts'
import { type DeviceFacts, type DeviceView, type RequestView, viewDevices, viewRequest } from './views.ts'
import { Waiting } from './waiting.ts'

/** How often a machine without its identity looks whether its binding is due, and asks again. */
const RENEWAL_LOOK_MS = 6 * 3_600_000
/** How often the other machines are looked for. */
const LINK_MS = 300_000
/** Requests that somebody looks at before approving. */
const MAX_SHOWN = 16
export interface DevicesServiceOptions {
  readonly home: Home
  readonly identity: IdentityService
  readonly mesh: MeshService
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

/** The machines of this identity: adding, certifying and revoking them where its keys are, asking for them where they are not. */
export class DevicesService implements Service {
  readonly name = 'devices'
  readonly needs: readonly string[] = ['mesh']
  readonly #options: DevicesServiceOptions
  readonly #binding: OwnBinding
  readonly #shown: Map<string, DeviceRequest> = new Map()
  #fellows: Fellows | undefined
  #waiting: Waiting | undefined
  #ends: (() => void)[] = []
  #timers: Timer[] = []
  #stop: AbortController = new AbortController()
  #asking: Promise<boolean> | undefined
  #deviceOnly = false
  #revoked: 'proved' | 'said' | undefined

  constructor(options: DevicesServiceOptions) {
    this.#options = options
    this.#binding = new OwnBinding({ ...options, fellows: () => this.#fellow })
  }

  /** Whether the identity's keys are on another machine. */
  get deviceOnly(): boolean {
    return this.#deviceOnly
  }

  /** Machines that wait for a new binding. */
  get waiting(): number {
    return this.#waiting?.size ?? 0
  }

  async start(): Promise<void> {
    const { home, mesh, clock, logger } = this.#options
    this.#stop = new AbortController()
    this.#deviceOnly = await isDeviceOnly(home)
    this.#fellows = await Fellows.open(home)
    this.#waiting = await Waiting.open(mesh.runningStore, clock)
    const { devices, mesh: links } = this.#assembly
    await this.#tellStored()
    this.#ends = [
      devices.onOwn((roster) => this.#run('the device document was not saved', () => this.#keep(roster))),
      serveRenewals({
        mesh: links,
        clock,
        logger,
        isRevoked: (linkKey) => devices.isRevoked(links.did, linkKey),
        grant: (request, encoded, urls) => this.#grantRenewal(request, encoded, urls),
      }),
      links.onEvent((event) => {
        const said = event.type === 'warning' || event.type === 'down' ? event.error : null
        if (said?.code === 'DEVICE_REVOKED' && said.remote) this.#revoked ??= 'said'
        if (event.type !== 'up' || event.peer !== links.did) return
        const linkKey = parsePublicKey(fromHex(event.linkKey))
        this.#run('a machine of this identity was not noted', () => this.#fellow.note(linkKey, { lastSeenMs: clock.now() }))
        this.#run('the binding was not renewed', () => this.renewFromOthers())
      }),
    ]
    this.#look()
    this.#every(RENEWAL_LOOK_MS, () => this.#run('the binding was not renewed', () => this.renewFromOthers()))
    this.#every(LINK_MS, () => this.#look())
  }

  async stop(): Promise<void> {
    this.#stop.abort(new KithError('CLOSED'))
    for (const end of this.#ends) end()
    for (const timer of this.#timers) timer.cancel()
    this.#ends = []
    this.#timers = []
    this.#shown.clear()
    this.#waiting = undefined
    await this.#asking?.catch(() => undefined)
  }

  health(): readonly Omit<Trouble, 'service'>[] {
    const troubles: Omit<Trouble, 'service'>[] = []
    const { device } = this.#options.identity
    if (this.#options.mesh.assembly?.devices.isRevoked(device.did, device.linkSigner.publicKey) === true) this.#revoked = 'proved'
    if (this.#revoked !== undefined) {
      const message =
        this.#revoked === 'proved'
          ? 'This machine was revoked by its identity; everybody refuses it.'
          : 'A peer says that this machine was revoked by its identity.'
      troubles.push({ code: 'DEVICE_REVOKED', message, next: 'kith id device list (on another machine of this identity)' })
    }
    if (this.waiting > 0) {
      const message =
        this.waiting === 1 ? 'A machine of this identity waits for a new binding.' : `${this.waiting} machines of this identity wait for a new binding.`
      troubles.push({ code: 'RENEWAL_WAITING', message, next: 'kith id device approve --renewals' })
    }
    return troubles
  }

  /** Keys of this machine or its identity changed: what was signed with them is told. */
  async keysChanged(): Promise<void> {
    if (this.#ends.length > 0) await this.#tellStored()
  }

  /** Every machine that is known of this identity. @throws KithError `STORE_FAILED`. */
  async list(): Promise<readonly DeviceView[]> {
    const { identity } = this.#options
    const { device } = identity
    const { devices, messages, mesh } = this.#assembly
    const roster = await devices.roster(device.did)
    const linked = new Set(mesh.links().flatMap(({ did, linkKey, state }) => (did === device.did && state === 'connected' ? [linkKey] : [])))
    const facts = new Map<string, DeviceFacts>()
    for (const { linkKey } of roster === undefined ? [] : listedDevices(roster)) {
      const key = toHex(linkKey)
      const papers = await messages.directory.papers(device.did, linkKey)
      const binding = papers === undefined ? undefined : decodeBinding(papers.binding)
      facts.set(key, {
        expiresMs: binding?.notAfterMs,
        serial: binding?.serial,
        lastSeenMs: this.#fellow.get(linkKey)?.lastSeenMs,
        linked: linked.has(key),
        waiting: this.#waiting?.has(linkKey) === true,
      })
    }
    const self = { linkKey: device.linkSigner.publicKey, name: device.name, expiresMs: device.bindingExpires, serial: device.serial }
    return viewDevices(roster, self, (key) => facts.get(key) ?? {})
  }

  /** Keys of the other active machines, as far as they are known here. */
  async others(): Promise<readonly Pick<Binding, 'linkKey' | 'deviceMldsa'>[]> {
    const { assembly } = this.#options.mesh
    if (assembly === undefined || this.#ends.length === 0) return []
    const { did, linkSigner } = this.#options.identity.device
    const roster = await assembly.devices.roster(did)
    const active = (roster === undefined ? [] : listedDevices(roster)).filter(
      ({ status, linkKey }) => status === 'active' && !equal(linkKey, linkSigner.publicKey),
    )
    return await Promise.all(
      active.map(async ({ linkKey }) => {
        const papers = await assembly.messages.directory.papers(did, linkKey)
        return papers === undefined ? { linkKey, deviceMldsa: undefined } : decodeBinding(papers.binding)
      }),
    )
  }

  /** Reads what a machine asks, to be approved by its id afterwards. @throws KithError `DEVICE_REQUEST_INVALID`. */
  show(text: string): RequestView {
    const request = readDeviceRequest(readDeviceText('request', text), this.#options.clock.now())
    const view = viewRequest(request)
    this.#shown.set(view.id, request)
    if (this.#shown.size > MAX_SHOWN) this.#shown.delete(this.#shown.keys().next().value as string)
    return view
  }

  /** Certifies a machine whose request was shown. @throws KithError `NOT_FOUND`, `IDENTITY_*`, `PASSPHRASE_WRONG`, `DEVICE_REVOKED`, `DEVICE_REQUEST_INVALID`. */
  async approve(given: Secret | undefined, id: string, options: ApproveOptions): Promise<Uint8Array> {
    const request = this.#shown.get(id)
    if (request === undefined) throw new KithError('NOT_FOUND', 'This request is not at hand any more.', { next: 'kith id device approve FILE' })
    const grant = await this.#sign(given, (components) => approveMachine(components, request, { ...options, urls: this.#assembly.mesh.addresses }))
    await this.#waiting?.remove(request.linkKey)
    await this.#note('owner', request.did === undefined ? 'device.approve' : 'device.renew', request.linkKey, options.name ?? request.name)
    return grant.grant
  }

  /** Certifies every machine that waits. @returns their names. @throws as `approve`. */
  async approveWaiting(given: Secret | undefined): Promise<readonly string[]> {
    const waiting = (await this.#waiting?.requests()) ?? []
    if (waiting.length === 0) return []
    const { clock } = this.#options
    const names: string[] = []
    await this.#sign(given, async (components) => {
      let roster = components.known
      for (const encoded of waiting) {
        const request = readDeviceRequest(encoded, clock.now())
        const listed = activeIn(roster, request.linkKey)
        if (listed === undefined) {
          await this.#waiting?.remove(request.linkKey)
          continue
        }
        const { capabilities, name } = listed
        const signed = await approveMachine({ ...components, known: roster }, request, { capabilities, name, urls: this.#assembly.mesh.addresses })
        roster = signed.roster
        await this.#waiting?.granted(request, signed.grant)
        await this.#note('owner', 'device.renew', request.linkKey, name)
        names.push(name)
      }
      return { roster }
    })
    return names
  }

  /** @param target A link key in hexadecimal digits, or a name that one active machine has. @throws KithError `NOT_FOUND`, `USAGE`, as `approve`. */
  async revoke(given: Secret | undefined, target: string, reason: RevocationReason): Promise<{ readonly linkKey: string; readonly name: string }> {
    const { did } = this.#options.identity.device
    const linkKey = deviceNamed(await this.#assembly.devices.roster(did), target)
    const { roster } = await this.#sign(given, async (components) => ({ roster: await revokeMachine(components, linkKey, reason) }))
    await this.#fellow.forget(linkKey)
    await this.#waiting?.remove(linkKey)
    const name = listedDevices(roster).find((device) => equal(device.linkKey, linkKey))?.name ?? ''
    await this.#note('owner', 'device.revoke', linkKey, name, reason)
    return { linkKey: toHex(linkKey), name }
  }

  /** What this machine asks its identity when there is no link to it: the same as over a link. */
  async renewalRequest(): Promise<Uint8Array> {
    return (await this.#binding.question()).encoded
  }

  /** Takes a new binding, however it came. @throws KithError as `takeGrant`. */
  async takeRenewal(grant: Uint8Array): Promise<void> {
    await this.#binding.take(grant)
  }

  /**
   * Asks the machines of this identity that are linked for a new binding, when one is due or `now`.
   * @returns whether there is a new one. @throws KithError what the last one answered when `now` was asked.
   */
  renewFromOthers(now = false): Promise<boolean> {
    if (!this.#deviceOnly) return Promise.resolve(false)
    this.#asking ??= this.#binding.askOthers(now, this.#stop.signal).finally(() => {
      this.#asking = undefined
    })
    return this.#asking
  }

  /** A machine of this identity asks over its link. */
  async #grantRenewal(request: DeviceRequest, encoded: Uint8Array, urls: readonly string[]): Promise<Uint8Array> {
    const { identity, home } = this.#options
    if (this.#deviceOnly) throw new KithError('IDENTITY_MISSING', undefined, { details: { path: home.paths.identity } })
    await this.#fellow.note(request.linkKey, { urls })
    const ready = await this.#waiting?.grantFor(request)
    if (ready !== undefined) return ready
    const listed = activeIn(await this.#assembly.devices.roster(identity.device.did), request.linkKey)
    if (listed === undefined) throw new KithError('DEVICE_NOT_ALLOWED', 'no document lists this machine')
    if (!identity.unattended) {
      await this.#waiting?.add(request.linkKey, encoded)
      throw new KithError('RENEWAL_WAITING')
    }
    const { capabilities, name } = listed
    const options = { capabilities, name, urls: this.#assembly.mesh.addresses }
    try {
      const { grant } = await this.#sign(undefined, (components) => approveMachine(components, request, options))
      await this.#note('node', 'device.renew', request.linkKey, name)
      return grant
    } catch (error) {
      if (!isKithError(error) || error.code.startsWith('DEVICE_')) throw error
      // Its keys are in a token that wants a PIN, say: the owner can help.
      await this.#waiting?.add(request.linkKey, encoded)
      throw new KithError('RENEWAL_WAITING', undefined, { cause: error })
    }
  }

  async #note(actor: 'owner' | 'node', action: string, linkKey: PublicKey, name: string, reason = ''): Promise<void> {
    const { did } = this.#options.identity.device
    await this.#assembly.audit.append({ actor, action, subject: did, reason, details: { device: toHex(linkKey), name } })
  }

  /** Opens the identity, signs, and tells everybody what is new. */
  async #sign<T extends { readonly roster: DeviceRoster | undefined }>(given: Secret | undefined, run: (components: DeskComponents) => Promise<T>): Promise<T> {
    const { identity, clock } = this.#options
    const { devices } = this.#assembly
    const known = await devices.roster(identity.device.did)
    const result = await identity.withIdentity(given, async ({ home, identity: keys, device }: OpenedIdentity) => {
      const own = { linkKey: device.linkSigner.publicKey, name: device.name }
      return { result: await run({ home, identity: keys, own, known, now: clock.now() }) }
    })
    if (result.roster !== undefined) for (const document of documentsOf(result.roster)) await devices.publish(document)
    return result
  }

  /** What was signed while no node ran. */
  async #tellStored(): Promise<void> {
    const { home, identity, clock, logger } = this.#options
    try {
      const roster = await loadRoster(home, { chain: identity.device.chain, now: clock.now() })
      if (roster !== undefined) for (const document of documentsOf(roster)) await this.#assembly.devices.publish(document)
    } catch (error) {
      if (!isKithError(error)) throw error
      logger.warn('the stored device documents were not taken', { code: error.code, message: error.message })
    }
  }

  async #keep(roster: DeviceRoster): Promise<void> {
    await saveRoster(this.#options.home, roster)
    for (const { linkKey } of roster.revoked.values()) await this.#fellow.forget(linkKey)
  }

  #look(): void {
    this.#run('the other machines were not looked for', async () => await linkFellows(this.#options, this.#fellow, this.#stop.signal))
  }

  get #assembly(): Assembly {
    return this.#options.mesh.runningAssembly
  }

  get #fellow(): Fellows {
    if (this.#fellows === undefined) throw new KithError('CLOSED')
    return this.#fellows
  }

  #every(ms: number, act: () => void): void {
    const at = this.#timers.length
    const arm = (): void => {
      this.#timers[at] = this.#options.clock.after(ms, () => {
        arm()
        act()
      })
    }
    arm()
  }

  #run(failure: string, work: () => Promise<unknown>): void {
    const { logger } = this.#options
    work().catch((error: unknown) => {
      if (this.#stop.signal.aborted) return
      const { code, message } = asKithError(error, 'INTERNAL')
      logger.warn(failure, { code, message })
    })
  }
}

function activeIn(roster: DeviceRoster | undefined, linkKey: PublicKey): { readonly name: string; readonly capabilities: bigint } | undefined {
  if (roster === undefined || roster.revoked.has(toHex(linkKey))) return undefined
  return roster.latest.devices.find((device) => device.status === 'active' && equal(device.linkKey, linkKey))
}

/** @throws KithError `NOT_FOUND`, `USAGE` for a name that several have. */
export function deviceNamed(roster: DeviceRoster | undefined, target: string): PublicKey {
  if (/^[0-9a-fA-F]{64}$/.test(target)) return parsePublicKey(fromHex(target))
  const active = (roster === undefined ? [] : listedDevices(roster)).filter(({ status }) => status === 'active')
  const found = active.filter(({ name, linkKey }) => name === target || (target.length >= 8 && toHex(linkKey).startsWith(target.toLowerCase())))
  const [only] = found
  if (only === undefined) throw new KithError('NOT_FOUND', 'No active machine has this name or link key.', { next: 'kith id device list' })
  if (found.length > 1) throw new KithError('USAGE', 'Several machines have this name; say the link key.', { next: 'kith id device list' })
  return only.linkKey
}
