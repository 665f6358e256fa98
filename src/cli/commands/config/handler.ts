import { KithError } from '../../../core/errors.ts'
import { nearest } from '../../../core/nearest.ts'
import { configFile, type LoadedConfig, loadConfig } from '../../../daemon/config/load.ts'
import { environmentName, SETTING_PATHS, type SettingPath, settingRow } from '../../../daemon/config/settings.ts'
import type { CommandHandler } from '../../spec.ts'
import { table } from '../../style.ts'

/** How much of a name that is none is repeated. */
const MAX_SHOWN = 100
const DEFAULTS = Object.fromEntries(SETTING_PATHS.map((path) => [path, 'default'])) as LoadedConfig['sources']

export const show: CommandHandler = async ({ home, env, output }, { args, options }) => {
  const paths = pathsOf(args[0])
  const { values, sources, file } = options.flag('defaults') ? defaults(configFile(home)) : await loadConfig({ home, env })
  const settings = paths.map((path) => {
    const row = settingRow(path)
    return { path, value: row.tell?.(values[path]) ?? values[path], source: sources[path], dynamic: row.dynamic, env: environmentName(path), about: row.about }
  })
  const lines = paths.map((path) => `${path} = ${settingRow(path).show(values[path])}`)
  output.result(
    { file, settings },
    (palette, columns) => [
      palette.quiet(`# ${file}`),
      ...table(
        settings.map(({ source, about }, index) => [
          { text: lines[index] ?? '' },
          { text: source, style: source === 'default' ? palette.quiet : palette.good },
          { text: about, style: palette.quiet },
        ]),
        { columns, spare: [2] },
      ),
    ],
    lines.join('\n'),
  )
  return undefined
}

/** @throws KithError `USAGE` with the nearest setting. */
function pathsOf(name: string | undefined): readonly SettingPath[] {
  if (name === undefined) return SETTING_PATHS
  const found = SETTING_PATHS.filter((path) => path === name || path.startsWith(`${name}.`))
  if (found.length > 0) return found
  const meant = nearest(name, SETTING_PATHS)
  const shown = name.slice(0, MAX_SHOWN)
  throw new KithError('USAGE', meant === undefined ? `${shown} is not a setting.` : `${shown} is not a setting; did you mean ${meant}?`, {
    details: { setting: shown, nearest: meant ?? null },
    next: meant === undefined ? 'kith config show --defaults' : `kith config show ${meant} --defaults`,
  })
}

function defaults(file: string): LoadedConfig {
  const values = Object.fromEntries(SETTING_PATHS.map((path) => [path, settingRow(path).fallback]))
  return { values: values as unknown as LoadedConfig['values'], sources: DEFAULTS, file }
}

export const check: CommandHandler = async ({ home, env, output }) => {
  const { file } = await loadConfig({ home, env })
  output.result({ file, valid: true }, (palette) => `${palette.good('valid')}  ${file}`)
  return undefined
}

export const reload: CommandHandler = async ({ daemon, output, command }, { options }) => {
  const report = await (await daemon()).call('POST /v1/config/reload', { disconnect_revoked: options.flag('disconnect-revoked') })
  output.result(report, (palette) => {
    const { applied, restart, revoked, disconnected } = report
    const gone =
      revoked === 0
        ? []
        : [
            disconnected
              ? palette.good('connections of those who would not come in any more have ended')
              : palette.warn(`connections of those who would not come in any more go on: ${command('kith config reload --disconnect-revoked')}`),
          ]
    if (applied.length + restart.length === 0) return ['no setting changed; files of keys, certificates and services were read again', ...gone]
    return [...applied.map((path) => `${palette.good('applied')}  ${path}`), ...restart.map((path) => `${palette.warn('at next start')}  ${path}`), ...gone]
  })
  return undefined
}
