import { PassThrough } from 'node:stream'
import { main } from '../../src/cli/main.ts'
import type { Outcome } from './support.ts'

/** One command line in this process: no terminal, nothing to read. */
export async function runInside(args: readonly string[], options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv }): Promise<Outcome> {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()]
  stdin.end()
  const streams = { stdin, stdout, stderr } as unknown as Pick<NodeJS.Process, 'stdin' | 'stdout' | 'stderr'>
  const status = await main({ argv: args, ...options, ...streams })
  const said = (stream: PassThrough): string => String(stream.read() ?? '')
  return { status, stdout: said(stdout), stderr: said(stderr) }
}
