import { loadConfig } from '../../../daemon/config/load.ts'
import { environmentName, SETTING_PATHS, settingRow } from '../../../daemon/config/settings.ts'
import type { CommandHandler } from '../../spec.ts'
import { table } from '../../style.ts'

export const show: CommandHandler = async ({ home, env, output }) => {
  const { values, sources, file } = await loadConfig({ home, env })
  const settings = SETTING_PATHS.map((path) => {
    const row = settingRow(path)
    return { path, value: row.tell?.(values[path]) ?? values[path], source: sources[path], dynamic: row.dynamic, env: environmentName(path), about: row.about }
  })
  const lines = settings.map(({ path }) => `${path} = ${settingRow(path).show(values[path])}`)
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

export const check: CommandHandler = async ({ home, env, output }) => {
  const { file } = await loadConfig({ home, env })
  output.result({ file, valid: true }, (palette) => `${palette.good('valid')}  ${file}`)
  return undefined
}

export const reload: CommandHandler = async ({ daemon, output }, { options }) => {
  const report = await (await daemon()).call('POST /v1/config/reload', { disconnect_revoked: options.flag('disconnect-revoked') })
  output.result(report, (palette) => {
    const { applied, restart, revoked, disconnected } = report
    const gone =
      revoked === 0
        ? []
        : [
            disconnected
              ? palette.good('connections of those who would not come in any more have ended')
              : palette.warn('connections of those who would not come in any more go on: kith config reload --disconnect-revoked'),
          ]
    if (applied.length + restart.length === 0) return ['no setting changed; files of keys were read again', ...gone]
    return [...applied.map((path) => `${palette.good('applied')}  ${path}`), ...restart.map((path) => `${palette.warn('at next start')}  ${path}`), ...gone]
  })
  return undefined
}
