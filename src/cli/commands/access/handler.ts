import type { CommandHandler } from '../../spec.ts'
import { grantRows, keyRows, refusedLines, rightsWords, sshRows, tellTaken } from './rows.ts'

export const list: CommandHandler = async ({ daemon, output, command }) => {
  const view = await (await daemon()).call('GET /v1/access', {})
  output.result(view, (palette, columns) => {
    const parts = [
      ['grants', grantRows(view.grants, palette, columns)],
      ['API keys', keyRows(view.api_keys, palette, columns)],
      ['SSH keys', sshRows(view.ssh_keys, palette, columns)],
    ] as const
    const shown = parts.flatMap(([title, rows]) => (rows.length === 0 ? [] : [palette.strong(title), ...rows]))
    const scopes = view.ssh_scopes.length === 0 ? [] : [palette.quiet(`everybody by SSH: ${view.ssh_scopes.join(' ')}`)]
    const revoked = view.revoked === 0 ? [] : [palette.quiet(`${view.revoked} revoked`)]
    const lines = [...shown, ...scopes, ...revoked, ...refusedLines(view.refused, palette)]
    return lines.length === 0
      ? palette.quiet(`nobody comes in but by links: ${command('kith access key add NAME')}, ${command('kith access ssh add FILE')}`)
      : lines
  })
  return undefined
}

export const grant: CommandHandler = async ({ daemon, output }, { args, options }) => {
  const [principal = ''] = args
  const [scopes, resources, as] = [options.list('scope'), options.list('resource'), options.text('as')]
  const result = await (await daemon()).call('POST /v1/access/grant', { principal, scopes, resources, ...(as === undefined ? {} : { as }) })
  output.result(result, (palette) => `${palette.good('granted')}  ${result.grant.name ?? result.grant.principal}  ${rightsWords(result.grant)}`)
  return undefined
}

export const revoke: CommandHandler = async (context, { args, options }) => {
  const result = await (await context.daemon()).call('POST /v1/access/revoke', {
    principal: args[0] ?? '',
    scopes: options.list('scope'),
    disconnect_revoked: options.flag('disconnect-revoked'),
  })
  tellTaken(context, result)
  return undefined
}

export const token: CommandHandler = async ({ daemon, output }, { options }) => {
  const audience = options.text('audience')
  const result = await (await daemon()).call('POST /v1/access/token', audience === undefined ? {} : { audience })
  output.result(result, () => result.token, result.token)
  return undefined
}
