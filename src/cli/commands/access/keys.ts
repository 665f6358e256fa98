import type { CommandHandler } from '../../spec.ts'
import { keyRows, rightsWords, tellTaken } from './rows.ts'

export const add: CommandHandler = async ({ daemon, output }, { args, options }) => {
  const until = options.text('until')
  const result = await (await daemon()).call('POST /v1/access/key/add', {
    name: args[0] ?? '',
    scopes: options.list('scope'),
    resources: options.list('resource'),
    ...(until === undefined ? {} : { until }),
  })
  output.result(
    result,
    (palette) => [
      `${palette.good('made')}  key:${result.api_key.name}  ${rightsWords(result.api_key)}`,
      palette.strong(result.key),
      palette.quiet('shown this once; only its hash is kept'),
    ],
    result.key,
  )
  for (const rule of result.rules) output.note(`A rule names this key already: ${rule}`)
  return undefined
}

export const list: CommandHandler = async ({ daemon, output, command }) => {
  const { api_keys } = await (await daemon()).call('GET /v1/access', {})
  output.result(
    { api_keys },
    (palette, columns) => (api_keys.length === 0 ? palette.quiet(`no API keys: ${command('kith access key add NAME')}`) : keyRows(api_keys, palette, columns)),
    api_keys.map(({ name }) => name).join('\n') || undefined,
  )
  return undefined
}

export const revoke: CommandHandler = async (context, { args, options }) => {
  const result = await (await context.daemon()).call('POST /v1/access/key/revoke', {
    name: args[0] ?? '',
    disconnect_revoked: options.flag('disconnect-revoked'),
  })
  tellTaken(context, result)
  const { output } = context
  for (const rule of result.rules_removed) output.note(`Removed with it: ${rule}`)
  for (const rule of result.rules_left) output.note(`Stands in config.toml, and counts for the next key of this name: ${rule}`)
  return undefined
}
