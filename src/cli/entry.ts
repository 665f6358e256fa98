import { pathToFileURL } from 'node:url'
import { main } from './main.ts'

export interface EntryOptions {
  /** The program a person started: printed commands are written with it. */
  readonly launcher?: string | undefined
}

/** Runs this process's command line. The exit status is set, not forced, so that output which is still being written arrives. */
export async function run(options: EntryOptions = {}): Promise<void> {
  const { stdin, stdout, stderr } = process
  // A reader that went away (`kith logs | head`) is a reason to stop, not an error.
  stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))
  stderr.on('error', () => {})
  const launcher = options.launcher ?? process.env.KITH_LAUNCHER
  // Every user of a machine can list the arguments of its processes: a ticket that was typed there does not stay to be read.
  if (process.argv.some((word) => word.startsWith('kith1'))) process.title = 'kith join'
  process.exitCode = await main({
    argv: process.argv.slice(2),
    env: process.env,
    cwd: process.cwd(),
    stdin,
    stdout,
    stderr,
    ...(launcher === undefined ? {} : { launcher }),
  })
  if (process.connected) process.disconnect()
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await run()
