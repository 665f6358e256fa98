import type { RefusedLine } from '../../access/authorized-keys.ts'
import type { Authority, AuthorizedKey, Grant } from '../../access/sources.ts'
import { fingerprint } from '../../access/ssh-wire.ts'
import type { AccessService } from './service.ts'

export interface ApiKeyView {
  readonly name: string
  readonly source: 'configuration' | 'command'
  readonly scopes: readonly string[]
  readonly resources: Readonly<Record<string, readonly string[]>>
  readonly created_at: string | null
  readonly expires_at: string | null
}

export interface SshKeyView {
  readonly fingerprint: string
  readonly authority: boolean
  readonly comment: string
  /** Names of which a certificate must have one; null: the user name. */
  readonly principals: readonly string[] | null
  readonly from: string | null
  readonly expires_at: string | null
  readonly forwarding: boolean
  readonly place: string
}

export interface GrantView {
  readonly principal: string
  /** What the address book calls it, or the identity that the key is. */
  readonly name: string | null
  readonly source: 'configuration' | 'command'
  readonly scopes: readonly string[]
  readonly resources: Readonly<Record<string, readonly string[]>>
  readonly did: string | null
}

export interface AccessView {
  readonly grants: readonly GrantView[]
  readonly api_keys: readonly ApiKeyView[]
  readonly ssh_keys: readonly SshKeyView[]
  readonly ssh_scopes: readonly string[]
  /** Things revoked, by all lists together. */
  readonly revoked: number
  /** Lines of the files of the configuration that do not count. */
  readonly refused: readonly RefusedLine[]
}

/** Everything that lets somebody in, without a secret. */
export function accessView(access: AccessService, nameOf: (did: string) => string | null): AccessView {
  const { book, table } = access.book
  const { files } = access
  const configured = access.configured
  const keys = (source: ApiKeyView['source'], list: readonly { name: string; grant: Grant; expiresMs?: number; createdMs?: number }[]): ApiKeyView[] =>
    list.map(({ name, grant, expiresMs, createdMs }) => ({ name, source, ...rights(grant), created_at: time(createdMs), expires_at: time(expiresMs) }))
  const grants = (source: GrantView['source'], list: readonly { principal: string; grant: Grant }[]): GrantView[] =>
    list.map(({ principal, grant }) => ({ principal, name: nameOf(grant.did ?? principal), source, ...rights(grant), did: grant.did ?? null }))
  const lines = files.lines.map(({ fingerprint: id, options, comment, place }) => ({
    fingerprint: id,
    authority: options.certAuthority,
    comment,
    principals: options.principals ?? null,
    from: options.from?.text ?? null,
    expires_at: time(options.expiresMs),
    forwarding: options.portForwarding,
    place,
  }))
  return {
    grants: [...grants('command', book.grants), ...grants('configuration', configured['access.grants'])],
    api_keys: [...keys('command', book.apiKeys), ...keys('configuration', configured['access.api_keys'])],
    ssh_keys: [...[...table.keys.values()].map((key) => sshView(key, false)), ...[...table.authorities.values()].map((key) => sshView(key, true)), ...lines],
    ssh_scopes: configured['access.ssh_scopes'],
    revoked: files.revocations.reduce((sum, list) => sum + list.size, 0) + book.revoked.length,
    refused: files.refused,
  }
}

function sshView(
  { key, comment = '', from, expiresMs, portForwarding, place, ...rest }: AuthorizedKey & Pick<Authority, 'principals'>,
  authority: boolean,
): SshKeyView {
  return {
    fingerprint: fingerprint(key),
    authority,
    comment,
    principals: rest.principals ?? null,
    from: from?.text ?? null,
    expires_at: time(expiresMs),
    forwarding: portForwarding,
    place,
  }
}

function rights({ scopes, resources = {} }: Grant): Pick<GrantView, 'scopes' | 'resources'> {
  return { scopes, resources }
}

function time(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString()
}
