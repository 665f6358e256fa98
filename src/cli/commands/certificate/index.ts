import type { CommandSpec } from '../../spec.ts'

const show = {
  json: '{certificate: {source, names: [], expires_at, renews_at} | null}',
  load: async () => ({ run: (await import('./handler.ts')).show }),
} as const satisfies Partial<CommandSpec>

export const spec: CommandSpec = {
  name: 'certificate',
  summary: 'Show and renew the certificate that browsers see',
  about: 'The front door’s certificate: from files (certificate.file), or by ACME for the names in acme.names, kept in the home and renewed by itself.',
  examples: ['kith certificate', 'kith certificate renew'],
  ...show,
  subcommands: [
    { name: 'show', summary: 'Show the certificate and when it ends', examples: ['kith certificate show', 'kith certificate show --json'], ...show },
    {
      name: 'renew',
      summary: 'Ask the authority for a certificate now',
      about:
        'Authorities count: Let’s Encrypt gives five certificates a week for the same names, and five failures an hour. Nothing has to be renewed by hand.',
      examples: ['kith certificate renew', 'kith certificate renew --json'],
      json: '{certificate: {source, names: [], expires_at, renews_at}}',
      load: async () => ({ run: (await import('./handler.ts')).renew }),
    },
  ],
}
