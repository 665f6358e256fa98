import type { Did } from '../identity/did.ts'
import type { Caller, Door } from './types.ts'

/**
 * Somebody behind whom no link stands: an SSH key by its fingerprint, or an API key by its name. Such a principal has the class of strangers, unless the owner's
 * configuration says whose it is (PN-5).
 */
export type ForeignPrincipal = `ssh:SHA256:${string}` | `key:${string}`

/** What more than one caller may have: a scope, or a user name that an SSH certificate was checked against. */
export type Attribute = `scope:${string}` | `ssh-user:${string}`

const SSH = /^ssh:SHA256:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]$/
const KEY_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/
const SCOPE = /^[a-z0-9][a-z0-9._/-]*(:[a-z0-9._/-]+)*$/
const MAX_SCOPE = 64
const SSH_USER = /^[A-Za-z0-9_][A-Za-z0-9._@+-]{0,63}$/

/** Lower-case letters, digits, dots, dashes and underscores; at most 64. */
export function isKeyName(name: string): boolean {
  return KEY_NAME.test(name)
}

/** A flat name such as `relay:connect`: no scope contains another. */
export function isScope(scope: string): boolean {
  return scope.length <= MAX_SCOPE && SCOPE.test(scope)
}

export function isForeignPrincipal(text: string): text is ForeignPrincipal {
  return SSH.test(text) || (text.startsWith('key:') && isKeyName(text.slice(4)))
}

export function isAttribute(text: string): text is Attribute {
  return (text.startsWith('scope:') && isScope(text.slice(6))) || (text.startsWith('ssh-user:') && SSH_USER.test(text.slice(9)))
}

/** Whether the text begins as a principal of the doors does, so that it is no name of a peer. */
export function looksForeign(text: string): boolean {
  return /^(ssh|key|scope|ssh-user):/.test(text)
}

/** What the owner may call somebody at a door. @throws TypeError with a sentence that says how it is written. */
export function parsePrincipal(text: string): ForeignPrincipal | Attribute {
  if (isForeignPrincipal(text) || isAttribute(text)) return text
  if (text.startsWith('ssh:')) throw new TypeError('a key is named ssh:SHA256: and the 43 characters that ssh-keygen -l prints')
  if (text.startsWith('key:')) throw new TypeError('an API key is named key: and its name, lower-case letters, digits, dots, dashes and underscores')
  if (text.startsWith('scope:'))
    throw new TypeError('a scope is named scope: and lower-case words with colons between them, like scope:relay:connect; there are no wildcards')
  throw new TypeError('a user name of SSH certificates is named ssh-user: and letters, digits and . _ @ + -; there are no wildcards')
}

export interface PolicySubject {
  readonly peer: Did | ForeignPrincipal
  readonly also: readonly string[]
}

/** The usual door of each kind of caller. */
const DOORS: Readonly<Record<Exclude<Caller['via'], 'local'>, Door>> = {
  link: 'link',
  'ssh-key': 'ssh',
  'ssh-certificate': 'ssh',
  token: 'http',
  'api-key': 'http',
}

/**
 * What rules are asked about a caller: the identity behind it where one is known, and with it everything else that a rule may name it by. `undefined` for the
 * owner, about whom rules say nothing.
 */
export function policySubject(caller: Caller): (PolicySubject & { readonly transport: Door }) | undefined {
  if (caller.via === 'local') return undefined
  const { id, did, scopes, principals = [] } = caller
  const attributes = [...[...scopes].map((scope) => `scope:${scope}`), ...principals.map((user) => `ssh-user:${user}`)]
  const transport = caller.door ?? DOORS[caller.via]
  const subject = did === undefined || did === id ? { peer: id as PolicySubject['peer'], also: attributes } : { peer: did, also: [id, ...attributes] }
  return { ...subject, transport }
}
