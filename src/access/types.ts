import type { PublicKey } from '../core/bytes.ts'
import type { Did } from '../identity/did.ts'

/** Kinds of doors, as rules name them. */
export type Door = 'link' | 'ssh' | 'http' | 'socks' | 'raw'

/**
 * Who asks, however they came in. Made by an `IdentityProvider` from something that was proved (a link, a key that signed, a token that verified), never from what
 * a request says about itself.
 */
export interface Caller {
  /** The one name of this caller in rules, logs and audit: a DID, `ssh:SHA256:...`, `key:NAME`, or `local` for the owner at the control socket. */
  readonly id: string
  /** The identity behind it, where one is known: a link's, or what the owner's configuration says this key belongs to. */
  readonly did?: Did
  readonly via: 'local' | 'link' | 'ssh-key' | 'ssh-certificate' | 'token' | 'api-key'
  /** By which door, where it is not the usual one of `via` (API keys and tokens: `http`). */
  readonly door?: Door
  /** Flat names such as `relay:connect`; no hierarchy. */
  readonly scopes: ReadonlySet<string>
  /** Actions by resource: `{ 'bucket:photos': ['read'] }`. */
  readonly resources: ReadonlyMap<string, readonly string[]>
  /** User names of an SSH certificate that the login was checked against. */
  readonly principals?: readonly string[]
  /**
   * The head that made this call for the caller, and vouches for everything above: rules are asked about both, and the narrower answer stands. Only set for heads
   * that this machine registered with.
   */
  readonly through?: Caller
  /** The key or certificate may not forward ports (`restrict`, `no-port-forwarding`, no `permit-port-forwarding`), whatever the rules say. */
  readonly noForwarding?: true
  /**
   * Fires when what this caller proved has expired, or was taken back and the owner asked that running connections end (`--disconnect-revoked`). Whoever serves it then
   * ends what runs; without that flag it does not fire.
   */
  readonly revoked?: AbortSignal
}

/** What somebody showed at a door, after the door checked what only it can check (that the link, or the SSH signature, is that key's). */
export type Presentation =
  | { readonly kind: 'local' }
  | { readonly kind: 'link'; readonly did: Did }
  | { readonly kind: 'ssh-key'; readonly key: PublicKey; readonly user: string; readonly address: string }
  | { readonly kind: 'ssh-certificate'; readonly certificate: Uint8Array; readonly user: string; readonly address: string }
  /** A signed timestamp token. `audience`: what this door is called, for tokens bound to one; absent on loopback doors. */
  | { readonly kind: 'token'; readonly text: string; readonly audience?: string }
  | { readonly kind: 'api-key'; readonly text: string }

/** One answer to "who is it, and what may they?". */
export interface IdentityProvider {
  /** `undefined`: not known here. @throws KithError only for what the owner must mend; a bad presentation is `undefined`. */
  resolve(presentation: Presentation): Promise<Caller | undefined>
  /** What `resolve` would give, for doors that are asked often; `undefined` where that cannot be said at once, and for whoever is not known: then `resolve` has to be asked. */
  resolveNow?(presentation: Presentation): Caller | undefined
  /** Whether somebody that it gave may hold a connection, as the owner's rules are now. Absent: yes. */
  mayConnect?(caller: Caller): boolean
}
