/** Makes the publishable package: `dist/` from `src/`, executable from any Node 24, with declarations. */
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './lib/toolchain.mjs'

rmSync(join(ROOT, 'dist'), { recursive: true, force: true })
const result = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], { cwd: ROOT, stdio: 'inherit' })
if (result.status === 0) process.stderr.write('built dist/; npm pack makes the package of it\n')
process.exit(result.status ?? 1)
