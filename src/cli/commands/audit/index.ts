import type { CommandSpec } from '../../spec.ts'

const list = {
  options: [
    { flags: '-n, --count <n>', about: 'how many (default 100, at most 1000)', kind: 'count' },
    { flags: '--before <n>', about: 'only rows with a smaller number', kind: 'count' },
  ],
  json: '{rows: [{seq, time, actor, action, subject, name, reason, details, hash}]}',
  load: async () => ({ run: (await import('./handler.ts')).list }),
} as const satisfies Partial<CommandSpec>

export const spec: CommandSpec = {
  name: 'audit',
  summary: 'Show what was done here, by whom and why',
  about:
    'Bans, pardons, classes, rules, topics and trust, newest first. Each row names the hash of the one before, so that a row that was changed or taken out shows.',
  examples: ['kith audit', 'kith audit -n 10 --json'],
  ...list,
  subcommands: [
    { name: 'list', summary: 'List the rows, newest first', examples: ['kith audit list', 'kith audit list --before 40'], ...list },
    {
      name: 'verify',
      summary: 'Recompute the chain of the audit log',
      about:
        'Exit status 1 when a row was changed, added or taken out. Who can write the store can compute a whole new chain: keep the printed head elsewhere and give it back with --noted to notice that too.',
      options: [{ flags: '--noted <head>', about: 'a head printed before, NUMBER:HASH; the log must still contain it', kind: 'text' }],
      examples: ['kith audit verify', 'kith audit verify --json'],
      json: '{ok, rows, first, last, head, broken_at}; --quiet prints LAST:HEAD',
      load: async () => ({ run: (await import('./handler.ts')).verify }),
    },
  ],
}
