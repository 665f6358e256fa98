import { apiKeyHash, generateApiKey } from '../../access/api-key.ts'
import { parseAuthorizedKeys } from '../../access/authorized-keys.ts'
import { isForeignPrincipal, isKeyName, isScope } from '../../access/principal.ts'
import type { Grant } from '../../access/sources.ts'
import { parseRevocations } from '../../access/ssh-revocations.ts'
import { fingerprint } from '../../access/ssh-wire.ts'
import { signToken, signTokenFor } from '../../access/token.ts'
import { auditText } from '../../assembly/audit-text.ts'
import { equal, utf8 } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import type { Random } from '../../core/random.ts'
import type { Did } from '../../identity/did.ts'
import { formatRule } from '../../mesh/policy-rules.ts'
import { TOKEN } from '../../vault/paths.ts'
import type { Vault } from '../../vault/vault.ts'
import { GRANTEE, isGrantee } from '../config/access.ts'
import { type AccessBook, linesOf } from './book.ts'
import type { AccessService } from './service.ts'

/** What the owner's commands do: change the book, say so in the audit log, and end what may not go on where the owner asks for it. */
export interface AccessDesk {
  readonly access: AccessService
  readonly clock: Clock
  readonly random: Random
}

export interface NewApiKey {
  readonly name: string
  readonly scopes: readonly string[]
  readonly resources?: Grant['resources'] | undefined
  readonly expiresMs?: number | undefined
}

/** The new key, to be shown once. @throws KithError `USAGE`, `BUDGET_EXCEEDED`, `STORE_FAILED`. */
export async function addApiKey({ access, clock, random }: AccessDesk, { name, scopes, resources, expiresMs }: NewApiKey): Promise<string> {
  if (!isKeyName(name)) throw usage('A key is named with lower-case letters, digits, dots, dashes and underscores, at most 64.')
  if (expiresMs !== undefined && expiresMs <= clock.now()) throw usage('The end of the key is over.')
  checkScopes(scopes)
  const text = generateApiKey(random)
  const record = {
    name,
    hash: apiKeyHash(text),
    createdMs: clock.now(),
    grant: { scopes: unique(scopes), ...(resources === undefined ? {} : { resources }) },
    ...(expiresMs === undefined ? {} : { expiresMs }),
  }
  await access.book.change((book) => {
    const taken = book.apiKeys.some((other) => other.name === name) || access.configured['access.api_keys'].some((other) => other.name === name)
    if (taken) throw new KithError('USAGE', `There is a key called ${name} already.`, { next: `kith access key revoke ${name}` })
    return { ...book, apiKeys: [...book.apiKeys, record] }
  })
  await note(access, 'access.key.add', `key:${name}`, { scopes: record.grant.scopes.join(' '), ...resourceWords(resources) })
  return text
}

/** What became of a key and of the rules that allowed its name something. */
export interface KeyTaken {
  readonly revoked: number
  /** Typed ones, which went with it. */
  readonly rulesRemoved: readonly string[]
  /** Those of the configuration: the next key of this name has them. */
  readonly rulesLeft: readonly string[]
}

/**
 * Takes back the key, what was granted to its name, and the typed rules that allow that name something. Denials stay: they give nobody anything.
 * @throws KithError `NOT_FOUND`, also for one of the configuration.
 */
export async function revokeApiKey(desk: AccessDesk, name: string, disconnect: boolean): Promise<KeyTaken> {
  const { access } = desk
  await access.book.change((book) => {
    if (book.apiKeys.some((key) => key.name === name)) {
      // A later key of this name is another one, and gets nothing of what this one was granted.
      const grants = book.grants.filter(({ principal }) => principal !== `key:${name}`)
      return { ...book, grants, apiKeys: book.apiKeys.filter((key) => key.name !== name) }
    }
    const configured = access.configured['access.api_keys'].some((key) => key.name === name)
    throw new KithError('NOT_FOUND', configured ? `The key ${name} stands in config.toml: take it out there.` : `There is no key called ${name}.`, {
      next: configured ? 'kith config reload --disconnect-revoked' : 'kith access key list',
    })
  })
  const removed = await access.policy.forgetAllowed(`key:${name}`)
  await note(access, 'access.key.revoke', `key:${name}`)
  const left = access.policy.list().filter(({ principal, effect }) => principal === `key:${name}` && effect === 'allow')
  return { revoked: await taken(access, disconnect), rulesRemoved: removed.map(formatRule), rulesLeft: left.map(formatRule) }
}

/** The rules that name a key, as the owner would type them. */
export function rulesOfKey({ access }: AccessDesk, name: string): readonly string[] {
  return access.policy
    .list()
    .filter(({ principal }) => principal === `key:${name}`)
    .map(formatRule)
}

export interface GrantChange {
  readonly principal: string
  readonly scopes: readonly string[]
  readonly resources?: Grant['resources'] | undefined
  /** Whose key it is. */
  readonly did?: Did | undefined
}

/** Adds to what a principal has. @throws KithError `USAGE`, `BUDGET_EXCEEDED`. */
export async function grantAccess({ access }: AccessDesk, { principal, scopes, resources, did }: GrantChange): Promise<Grant> {
  if (!isGrantee(principal)) throw usage(`${GRANTEE.charAt(0).toUpperCase()}${GRANTEE.slice(1)}.`)
  if (did !== undefined && !isForeignPrincipal(principal)) throw usage('Only a key is somebody’s: ssh:SHA256:... or key:NAME.')
  if (scopes.length === 0 && resources === undefined && did === undefined)
    throw usage('Nothing is granted: name a --scope, a --resource or whose key it is with --as.')
  checkScopes(scopes)
  let granted: Grant = { scopes: [] }
  await access.book.change((book) => {
    const old = book.grants.find((row) => row.principal === principal)?.grant
    granted = merged(old, { scopes, ...(resources === undefined ? {} : { resources }), ...(did === undefined ? {} : { did }) })
    return { ...book, grants: [...book.grants.filter((row) => row.principal !== principal), { principal, grant: granted }] }
  })
  await note(access, 'access.grant', principal, { scopes: scopes.join(' '), ...resourceWords(resources), ...(did === undefined ? {} : { did }) })
  access.changed()
  return granted
}

/** Takes scopes back, or everything. @throws KithError `NOT_FOUND`. */
export async function revokeGrant({ access }: AccessDesk, principal: string, scopes: readonly string[], disconnect: boolean): Promise<number> {
  await access.book.change((book) => {
    const row = book.grants.find((other) => other.principal === principal)
    if (row === undefined) throw new KithError('NOT_FOUND', `Nothing was granted to ${auditText(principal, 100)} by command.`, { next: 'kith access list' })
    const rest = book.grants.filter((other) => other !== row)
    const kept = row.grant.scopes.filter((scope) => !scopes.includes(scope))
    if (scopes.length > 0 && kept.length === row.grant.scopes.length)
      throw new KithError('NOT_FOUND', `${auditText(principal, 100)} has none of these scopes by command.`, { next: 'kith access list' })
    return { ...book, grants: scopes.length === 0 ? rest : [...rest, { principal, grant: { ...row.grant, scopes: kept } }] }
  })
  await note(access, 'access.revoke', principal, { scopes: scopes.length === 0 ? '*' : scopes.join(' ') })
  return await taken(access, disconnect)
}

/** Adds a line as it would stand in `authorized_keys`: a key, or with `cert-authority` one that signs certificates. @throws KithError `USAGE`, `ACCESS_INVALID`. */
export async function addSshLine({ access }: AccessDesk, line: string): Promise<{ readonly fingerprint: string; readonly authority: boolean }> {
  const { lines, refused } = readLine(() => parseAuthorizedKeys(line, 'the line'))
  const [only] = lines
  if (only === undefined || lines.length + refused.length !== 1)
    throw usage(refused[0] === undefined ? 'Expected one line of a public key file.' : `The line does not count: ${refused[0].reason}.`)
  await access.book.change((book) => {
    if (linesOf(book).some((other) => other.fingerprint === only.fingerprint && other.options.certAuthority === only.options.certAuthority))
      throw new KithError('ACCESS_INVALID', `The key ${only.fingerprint} was added already.`, { next: `kith access ssh remove ${only.fingerprint}` })
    return { ...book, lines: [...book.lines, line.trim()] }
  })
  const authority = only.options.certAuthority
  await note(access, 'access.ssh.add', `ssh:${only.fingerprint}`, { authority, ...(only.comment === '' ? {} : { comment: auditText(only.comment, 100) }) })
  access.changed()
  return { fingerprint: only.fingerprint, authority }
}

/** Takes out the lines of a key. @throws KithError `NOT_FOUND`. */
export async function removeSshLine({ access }: AccessDesk, id: string, disconnect: boolean): Promise<number> {
  const wanted = id.replace(/^ssh:/, '')
  await access.book.change((book) => {
    const parsed = linesOf(book)
    const lines = book.lines.filter((_, at) => parsed[at]?.fingerprint !== wanted)
    if (lines.length === book.lines.length) throw new KithError('NOT_FOUND', 'No such key was added by command.', { next: 'kith access ssh list' })
    return { ...book, lines }
  })
  await note(access, 'access.ssh.remove', `ssh:${wanted}`)
  return await taken(access, disconnect)
}

/** Adds a line of a revocation list. @throws KithError `USAGE`, `ACCESS_INVALID`, `BUDGET_EXCEEDED`. */
export async function revokeSsh({ access }: AccessDesk, line: string, disconnect: boolean): Promise<number> {
  const text = line.trim().replace(/^ssh:SHA256:/, 'SHA256:')
  if (/[\r\n]/.test(text) || readLine(() => parseRevocations(utf8(text), 'the line')).size !== 1)
    throw usage('Expected one public key, SHA256:..., serial: N or id: TEXT.')
  await access.book.change((book) => ({ ...book, revoked: [...book.revoked.filter((other) => other !== text), text] }))
  await note(access, 'access.ssh.revoke', auditText(text, 512))
  return await taken(access, disconnect)
}

/** Seconds that the clock may be ahead of the last token: one of the same second would be the same token, and count once. */
const AHEAD_S = 60
const lastSecond = new WeakMap<AccessService, number>()

/**
 * A token of this node itself, by the vault's key for tokens. Without an audience it counts at the loopback doors of this machine.
 * @throws KithError `VAULT_LOCKED`, `TOKEN_BUSY`, `USAGE`.
 */
export async function issueToken({ access, clock, random }: AccessDesk, vault: Vault, audience: string | undefined): Promise<string> {
  const signer = vault.signer(TOKEN, { who: 'owner' })
  try {
    const known = access.book.book.tokenKey
    if (known === undefined || !equal(known, signer.publicKey)) {
      await access.book.change((book: AccessBook) => ({ ...book, tokenKey: signer.publicKey }))
      await note(access, 'access.token.key', `ssh:${fingerprint(signer.publicKey)}`)
    }
    const now = Math.floor(clock.now() / 1_000)
    if (audience !== undefined) return signTokenFor(signer, audience, now, random)
    const seconds = Math.max(now, (lastSecond.get(access) ?? 0) + 1)
    if (seconds > now + AHEAD_S)
      throw new KithError('TOKEN_BUSY', 'Tokens were asked for faster than one a second; use an API key for so many.', { next: 'kith access key add NAME' })
    lastSecond.set(access, seconds)
    return signToken(signer, seconds)
  } catch (error) {
    if (error instanceof TypeError) throw usage('An audience is 1 to 200 bytes.')
    throw error
  } finally {
    signer.close()
  }
}

/** A line that was typed stands in no file. @throws KithError `ACCESS_INVALID`. */
function readLine<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!isKithError(error, 'ACCESS_INVALID')) throw error
    const reason = String(error.details.reason)
    throw new KithError('ACCESS_INVALID', `This line does not count: ${reason}.`, { details: { reason }, next: 'kith access ssh --help', cause: error })
  }
}

function merged(old: Grant | undefined, { scopes, resources, did }: Grant): Grant {
  const all: Record<string, readonly string[]> = { ...old?.resources }
  for (const [name, actions] of Object.entries(resources ?? {})) all[name] = unique([...(all[name] ?? []), ...actions])
  const whose = did ?? old?.did
  return {
    scopes: unique([...(old?.scopes ?? []), ...scopes]),
    ...(Object.keys(all).length === 0 ? {} : { resources: all }),
    ...(whose === undefined ? {} : { did: whose }),
  }
}

/** For the audit log, as they are typed. */
function resourceWords(resources: Grant['resources']): { readonly resources?: string } {
  const words = Object.entries(resources ?? {}).flatMap(([name, actions]) => actions.map((action) => `${name}=${action}`))
  return words.length === 0 ? {} : { resources: words.join(' ') }
}

function checkScopes(scopes: readonly string[]): void {
  for (const scope of scopes)
    if (!isScope(scope))
      throw usage(`There is no scope ${JSON.stringify(auditText(scope, 80))}: lower-case words with colons between them, like relay:connect.`)
}

function unique(list: readonly string[]): readonly string[] {
  return [...new Set(list)].sort()
}

async function taken(access: AccessService, disconnect: boolean): Promise<number> {
  access.changed()
  return await access.recheck({ disconnect })
}

async function note(access: AccessService, action: string, subject: string, details: Record<string, string | boolean> = {}): Promise<void> {
  const cut = Object.fromEntries(Object.entries(details).map(([name, value]) => [name, typeof value === 'string' ? auditText(value, 256) : value]))
  await access.audit.append({ actor: 'owner', action, subject, reason: '', details: cut })
}

function usage(sentence: string): KithError {
  return new KithError('USAGE', sentence, { next: 'kith access --help' })
}
