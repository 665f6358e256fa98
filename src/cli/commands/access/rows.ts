import type { ApiKeyView, GrantView, SshKeyView } from '../../../daemon/access/views.ts'
import type { CommandContext } from '../../context.ts'
import { type Palette, table } from '../../style.ts'

export function grantRows(grants: readonly GrantView[], palette: Palette, columns: number): string[] {
  return table(
    grants.map((grant) => [
      { text: grant.name ?? grant.principal, style: palette.strong },
      rightsWords(grant),
      { text: grant.name === null ? '' : grant.principal, style: palette.quiet },
      { text: grant.source === 'command' ? '' : 'config.toml', style: palette.quiet },
    ]),
    { columns, spare: [2] },
  )
}

export function keyRows(keys: readonly ApiKeyView[], palette: Palette, columns: number): string[] {
  return table(
    keys.map((key) => [
      { text: `key:${key.name}`, style: palette.strong },
      rightsWords(key),
      { text: key.expires_at === null ? '' : `until ${key.expires_at.slice(0, 16)}Z`, style: palette.quiet },
      { text: key.source === 'command' ? '' : 'config.toml', style: palette.quiet },
    ]),
    { columns, spare: [3] },
  )
}

export function sshRows(keys: readonly SshKeyView[], palette: Palette, columns: number): string[] {
  return table(
    keys.map((key) => [
      { text: key.fingerprint, style: palette.strong },
      key.authority ? `signs certificates${key.principals === null ? '' : ` for ${key.principals.join(' ')}`}` : 'logs in',
      key.comment,
      { text: limits(key), style: palette.quiet },
      { text: key.place, style: palette.quiet },
    ]),
    { columns, spare: [4] },
  )
}

/** Lines of files that do not count: the owner meant something by them. */
export function refusedLines(refused: readonly { readonly place: string; readonly reason: string }[], palette: Palette): string[] {
  return refused.map(({ place, reason }) => `${palette.warn('does not count')}  ${place}  ${reason}`)
}

export function rightsWords({ scopes, resources }: Pick<GrantView, 'scopes' | 'resources'>): string {
  return [...scopes, ...Object.entries(resources).flatMap(([name, actions]) => actions.map((action) => `${name}=${action}`))].join(' ') || 'no scopes'
}

/** What was taken back, and what becomes of those who came in by it. */
export function tellTaken({ output, command }: CommandContext, result: { readonly revoked: number; readonly disconnected: boolean }): void {
  const { revoked, disconnected } = result
  output.result(result, (palette) => `${palette.good('taken back')}${disconnected && revoked > 0 ? '  connections that came in by it have ended' : ''}`)
  if (revoked > 0 && !disconnected) output.note(`Connections that came in by it go on. To end them: ${command('kith config reload --disconnect-revoked')}`)
}

function limits({ from, expires_at, forwarding }: SshKeyView): string {
  return [from === null ? '' : `from ${from}`, expires_at === null ? '' : `until ${expires_at.slice(0, 16)}Z`, forwarding ? '' : 'no forwarding']
    .filter((word) => word !== '')
    .join(', ')
}
