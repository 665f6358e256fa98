import type { ArgumentSpec, CommandSpec, OptionSpec } from '../../spec.ts'

const SETTING: readonly ArgumentSpec[] = [{ name: '[setting]', about: 'one of them, as gateway.listen, or all of a table, as gateway' }]
const DEFAULTS: readonly OptionSpec[] = [{ flags: '--defaults', about: 'the defaults, without reading the configuration', kind: 'flag' }]

export const spec: CommandSpec = {
  name: 'config',
  summary: 'Show, check or reload the configuration',
  about: 'Settings come from config.toml in the home, then KITH_* variables, then flags; later ones win. Nothing is reloaded by itself.',
  examples: ['kith config', 'kith config reload'],
  json: 'as kith config show',
  load: async () => ({ run: (await import('./handler.ts')).show }),
  subcommands: [
    {
      name: 'show',
      summary: 'List every setting, or some, with its value and where it came from',
      about: 'With --defaults nothing is read: what there is to set, and what holds where nothing is, also while the configuration is not valid.',
      arguments: SETTING,
      options: DEFAULTS,
      examples: ['kith config show', 'kith config show gateway', 'kith config show ssh.listen --defaults'],
      json: '{file, settings: [{path, value, source, dynamic, env, about}]}',
      load: async () => ({ run: (await import('./handler.ts')).show }),
    },
    {
      name: 'check',
      summary: 'Check the configuration without using it',
      examples: ['kith config check', 'kith config check --home ./node'],
      json: '{file, valid}; a bad value is error CONFIG_INVALID with details {path, place, line, expected}',
      load: async () => ({ run: (await import('./handler.ts')).check }),
    },
    {
      name: 'reload',
      summary: 'Let the running node read the configuration again',
      about:
        'All or nothing, with the files of keys it names: what is invalid is said with file and line, and changes nothing. Static settings are named and wait for the next start. Running connections go on.',
      options: [{ flags: '--disconnect-revoked', about: 'end connections of those who would not come in any more', kind: 'flag' }],
      examples: ['kith config reload', 'kith config reload --disconnect-revoked'],
      json: '{applied: [path], restart: [path], revoked, disconnected}',
      load: async () => ({ run: (await import('./handler.ts')).reload }),
    },
  ],
}
