import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')
const KITH = join(ROOT, 'bin', 'kith.mjs')

/** What a guide printed, and where it was typed. */
export interface Typed {
  readonly stdout: string
  readonly stderr: string
  readonly folder: string
}

export interface TypeOptions {
  /** Homes that the guide may leave running, below its folder. */
  readonly homes?: readonly string[]
  /** What has to be there before the first line. */
  readonly prepare?: (folder: string) => void
  /** Whether a failure in the middle of a pipe ends it too. */
  readonly pipefail?: boolean
  /** Default 200 s. */
  readonly timeoutMs?: number
}

/** Types the shell blocks of a guide one after the other, in an empty folder, and hands what came to `check`. A line that fails ends it. */
export async function typeGuide(name: string, check: (typed: Typed) => void, options: TypeOptions = {}): Promise<void> {
  const guide = readFileSync(join(ROOT, 'docs', 'guides', `${name}.md`), 'utf8')
  const blocks = [...guide.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, body]) => body as string)
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'kith-guide-')))
  const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH ?? ''}`, XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1' }
  const programs = `kith() { ${JSON.stringify(process.execPath)} ${JSON.stringify(KITH)} "$@"; }`
  try {
    options.prepare?.(folder)
    const script = `set -e${options.pipefail === true ? ' -o pipefail' : ''}\n${programs}\n${blocks.join('\n')}`
    const said = await run('bash', ['-c', script], { cwd: folder, env, timeout: options.timeoutMs ?? 200_000 }).catch(
      (error: { stdout: string; stderr: string; message: string }) => {
        throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`)
      },
    )
    check({ ...said, folder })
  } finally {
    for (const home of options.homes ?? [])
      if (existsSync(join(folder, home))) await run(process.execPath, [KITH, 'down', '--home', join(folder, home)], { env }).catch(() => undefined)
    rmSync(folder, { recursive: true, force: true })
  }
}
