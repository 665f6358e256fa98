/**
 * Writes biome.json from the table of rooms (`--write`), or checks that it is current and that the rules bite: a planted import from a lower room into a
 * higher one, and one between neighbours, must both be reported, and a downward import must not.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { biomeConfig } from './lib/biome-config.mjs'
import { ROOT } from './lib/toolchain.mjs'

const FILE = join(ROOT, 'biome.json')
const wanted = `${JSON.stringify(biomeConfig(), null, 2)}\n`

if (process.argv.includes('--write')) {
  writeFileSync(FILE, wanted)
  process.exit(0)
}

// Formatting may differ (the formatter owns it); meaning may not.
if (JSON.stringify(JSON.parse(readFileSync(FILE, 'utf8'))) !== JSON.stringify(JSON.parse(wanted))) {
  process.stderr.write('biome.json is not what the table of rooms says\nnext: node scripts/layers.mjs --write && npm run format\n')
  process.exit(1)
}

const PLANTED = [
  { file: 'src/core/planted.ts', from: '../mesh/types.ts', refused: true },
  { file: 'src/identity/planted.ts', from: '../vault/bip39.ts', refused: true },
  { file: 'src/transport/planted.ts', from: '../daemon/node.ts', refused: true },
  { file: 'src/mesh/planted.ts', from: '../transport/types.ts', refused: false },
]

const folder = mkdtempSync(join(tmpdir(), 'kith-layers-'))
try {
  writeFileSync(join(folder, 'biome.json'), JSON.stringify({ ...biomeConfig(), $schema: undefined, vcs: undefined }))
  for (const { file, from, refused } of PLANTED) {
    mkdirSync(join(folder, file, '..'), { recursive: true })
    writeFileSync(join(folder, file), `import type { Planted } from '${from}'\n\nexport type Found = Planted\n`)
    const biome = join(ROOT, 'node_modules', '@biomejs', 'biome', 'bin', 'biome')
    const result = spawnSync(process.execPath, [biome, 'lint', file], { cwd: folder, encoding: 'utf8' })
    const reported = `${result.stdout}${result.stderr}`.includes('noRestrictedImports')
    if (reported !== refused) {
      process.stderr.write(`the layer rule ${refused ? 'did not report' : 'wrongly reported'} ${file} importing ${from}\n${result.stdout}${result.stderr}`)
      process.exitCode = 1
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
