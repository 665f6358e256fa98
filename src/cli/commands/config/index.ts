import type { CommandSpec } from '../../spec.ts'

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
      summary: 'List every setting with its value and where it came from',
      examples: ['kith config show', 'kith config show --json'],
      json: '{file, settings: [{path, value, source, dynamic, env, about}]}',
      load: async () => ({ run: (await import('./handler.ts')).show }),
    },
    {
      name: 'check',
      summary: 'Check the configuration without using it',
      examples: ['kith config check', 'kith config check --home ./node'],
      json: '{file, valid}; a bad value is error CONFIG_INVALID with the path of its key',
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
