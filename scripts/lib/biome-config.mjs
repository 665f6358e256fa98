/** biome.json as it must be: the style of the house and one override per room, generated from the table of rooms. */
import { overrides } from './rooms.mjs'

export function biomeConfig() {
  return {
    $schema: './node_modules/@biomejs/biome/configuration_schema.json',
    vcs: { enabled: true, clientKind: 'git', useIgnoreFile: true },
    files: { includes: ['**', '!package-lock.json', '!test/vectors', '!test/corpus', '!dist', '!**/*.md'] },
    formatter: { indentStyle: 'space', indentWidth: 2, lineWidth: 160 },
    javascript: { formatter: { quoteStyle: 'single', semicolons: 'asNeeded', trailingCommas: 'all' } },
    linter: {
      rules: {
        preset: 'recommended',
        suspicious: { noImportCycles: 'error', noExplicitAny: 'error' },
        style: { useImportType: 'error', useNodejsImportProtocol: 'error' },
      },
    },
    overrides: overrides(),
  }
}
