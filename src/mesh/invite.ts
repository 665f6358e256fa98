import { concat, fromHex, toHex, utf8 } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { bytesN, decode, encode, list, malformed, mapped, struct, text, u8, u32, uint53 } from '../core/codec.ts'
import { hkdfSha256 } from '../core/crypto/hash.ts'
import { KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import type { Store, StoreOp } from '../core/store/types.ts'
import type { Did } from '../identity/did.ts'
import { didCodec, peerClass } from './address-book-codec.ts'
import type { PeerClass } from './types.ts'

/** An invitation as the inviter keeps it; the secret itself is only in the ticket. */
export interface Invite {
  readonly id: Uint8Array
  /** HKDF of the secret: what proves the ticket. */
  readonly k: Uint8Array
  readonly class: PeerClass
  /** The class takes effect without anybody confirming the words. */
  readonly trustTicket: boolean
  readonly createdMs: number
  readonly expiresMs: number
  readonly usesLeft: number
  readonly users: readonly InviteUse[]
}

export interface InviteUse {
  readonly did: Did
  readonly name: string
  readonly atMs: number
}

/** An invitation as its owner sees it: nothing in it lets anybody in. */
export interface InviteStatus {
  readonly id: string
  readonly class: PeerClass
  readonly trustTicket: boolean
  readonly createdMs: number
  readonly expiresMs: number
  readonly usesLeft: number
  readonly users: readonly InviteUse[]
  readonly state: 'open' | 'used' | 'expired'
}

export const MAX_USES = 64
const MAX_INVITES = 256
/** How long after its end a ticket is remembered, so that a second use can be explained. */
const REMEMBER_MS = 86_400_000
const NAMESPACE = 'mesh/invites'
const VERSION = Uint8Array.of(1)

const flag = mapped(
  u8,
  (value) => {
    if (value > 1) throw malformed('flag')
    return value === 1
  },
  (value) => (value ? 1 : 0),
)
const inviteCodec = struct<Invite>({
  id: bytesN(8),
  k: bytesN(32),
  class: peerClass,
  trustTicket: flag,
  createdMs: uint53,
  expiresMs: uint53,
  usesLeft: u32,
  users: list(struct<InviteUse>({ did: didCodec, name: text(64), atMs: uint53 }), MAX_USES),
})

/** The key that both sides of a pairing share (PN-12). */
export function inviteKey(secret: Uint8Array, id: Uint8Array): Uint8Array {
  return hkdfSha256(secret, id, utf8('icn/invite/v1'), 32)
}

/** Outstanding invitations, durable. */
export class Invites {
  readonly #store: Store
  readonly #clock: Clock
  readonly #invites: Map<string, Invite> = new Map()
  /** When each runs out by the steady clock: a wall clock that is set back brings no ticket back to life. */
  readonly #ends: Map<string, number> = new Map()

  constructor(store: Store, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  /** @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
  static async open(store: Store, clock: Clock): Promise<Invites> {
    const invites = new Invites(store, clock)
    for await (const { value } of store.scan(NAMESPACE)) {
      if (value[0] !== VERSION[0]) throw malformed('invitation of an unknown version')
      invites.saved(decode(inviteCodec, value.subarray(1)))
    }
    await invites.#prune()
    return invites
  }

  /** Whether a stranger may try a ticket at all. */
  get outstanding(): boolean {
    for (const invite of this.#invites.values()) if (!this.expired(invite)) return true
    return false
  }

  /** Whether its time is over, by the wall clock or by the steady one. */
  expired({ id, expiresMs }: Pick<Invite, 'id' | 'expiresMs'>): boolean {
    return expiresMs <= this.#clock.now() || (this.#ends.get(toHex(id)) ?? 0) <= this.#clock.monotonic()
  }

  list(): readonly InviteStatus[] {
    return [...this.#invites.values()].map(({ id, k: _secret, ...rest }) => ({
      ...rest,
      id: toHex(id),
      state: rest.usesLeft === 0 ? 'used' : this.expired({ id, expiresMs: rest.expiresMs }) ? 'expired' : 'open',
    }))
  }

  find(id: Uint8Array): Invite | undefined {
    return this.#invites.get(toHex(id))
  }

  /** @throws KithError `BUDGET_EXCEEDED`, `STORE_FAILED`. */
  async create(
    wanted: { class: PeerClass; expiresMs: number; uses: number; trustTicket: boolean },
    random: Random,
  ): Promise<{ invite: Invite; secret: Uint8Array }> {
    await this.#prune()
    if (this.#invites.size >= MAX_INVITES) {
      throw new KithError('BUDGET_EXCEEDED', `${MAX_INVITES} invitations are outstanding already`, {
        next: 'kith invite --list (to end some with --revoke ID)',
      })
    }
    const id = random.bytes(8)
    const secret = random.bytes(16)
    const now = this.#clock.now()
    const invite: Invite = {
      id,
      k: inviteKey(secret, id),
      class: wanted.class,
      trustTicket: wanted.trustTicket,
      createdMs: now,
      expiresMs: wanted.expiresMs,
      usesLeft: wanted.uses,
      users: [],
    }
    await this.#store.batch([this.writeOf(invite)], { durable: true })
    this.saved(invite)
    return { invite, secret }
  }

  /** Takes an invitation back; whoever used it already stays. Not while one is being used (`AddressBook.exclusive`): its record would be written anew. @throws KithError `NOT_FOUND`. */
  async revoke(text: string): Promise<void> {
    const known = /^[0-9a-f]{4,16}$/i.test(text) ? [...this.#invites.keys()].filter((id) => id.startsWith(text.toLowerCase())) : []
    const [id] = known
    if (id === undefined || known.length > 1)
      throw new KithError('NOT_FOUND', `there is no single invitation ${text.slice(0, 16)}`, { next: 'kith invite --list' })
    await this.#store.delete(NAMESPACE, fromHex(id), { durable: true })
    this.#drop(id)
  }

  /** The invitation after this peer has used it; the same peer may come again without using it up. */
  used(invite: Invite, by: InviteUse): Invite {
    if (invite.users.some(({ did }) => did === by.did)) return invite
    return { ...invite, usesLeft: invite.usesLeft - 1, users: [...invite.users, by] }
  }

  writeOf(invite: Invite): StoreOp {
    return { type: 'put', ns: NAMESPACE, key: invite.id, value: concat(VERSION, encode(inviteCodec, invite)) }
  }

  saved(invite: Invite): void {
    const id = toHex(invite.id)
    this.#invites.set(id, invite)
    if (!this.#ends.has(id)) this.#ends.set(id, this.#clock.monotonic() + invite.expiresMs - this.#clock.now())
  }

  #drop(id: string): void {
    this.#invites.delete(id)
    this.#ends.delete(id)
  }

  async #prune(): Promise<void> {
    const old = this.#clock.now() - REMEMBER_MS
    for (const [key, invite] of this.#invites) {
      if (invite.expiresMs > old) continue
      await this.#store.delete(NAMESPACE, invite.id, { durable: false })
      this.#drop(key)
    }
  }
}
