import { basename, extname, resolve } from 'node:path'
import { isAlias } from '../../../call/worker-codec.ts'
import { systemClock } from '../../../core/clock.ts'
import { KithError } from '../../../core/errors.ts'
import { systemRandom } from '../../../core/random.ts'
import { type Complaint, complaintLogger } from '../../../daemon/worker/complaints.ts'
import { loadOperations } from '../../../daemon/worker/module.ts'
import type { HeadNews } from '../../../daemon/worker/news.ts'
import { type RunningWorker, runWorker } from '../../../daemon/worker/run.ts'
import { parseDid } from '../../../identity/did.ts'
import type { CommandContext } from '../../context.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmlessLine } from '../../style.ts'

const DRAIN_MS = 10_000

export const run: CommandHandler = async (context, { options }) => {
  const file = options.text('exec')
  if (file === undefined) throw new KithError('USAGE', '--exec names the module.', { next: 'kith worker --help' })
  const path = resolve(context.cwd, file)
  const alias = options.text('as') ?? aliasOf(path)
  if (!isAlias(alias)) {
    throw new KithError('USAGE', `'${alias.slice(0, 64)}' is no alias: 1 to 32 lower-case letters, digits and dashes, a letter first.`, {
      next: 'kith worker --exec FILE --as ALIAS',
    })
  }
  const client = await context.daemon()
  const operations = await loadOperations(path)
  const { socket, early, did } = await client.worker(options.list('head'))
  const ended = Promise.withResolvers<never>()
  ended.promise.catch(() => undefined)
  const crashed = (cause: unknown): void => {
    const reason = cause instanceof Error ? cause.message : String(cause)
    ended.reject(new KithError('WORKER_MODULE', `The module crashed: ${reason.split('\n')[0] ?? ''}`, { details: { file: path }, cause }))
  }
  process.on('uncaughtException', crashed).on('unhandledRejection', crashed)
  const worker = runWorker({
    socket,
    early,
    did: parseDid(did),
    alias,
    operations,
    onState: ({ phase, error }) => {
      if (phase === 'refused') ended.reject(refusal(error, alias))
      if (phase === 'registered')
        ready(
          context,
          alias,
          operations.map(({ name }) => name),
        )
    },
    onHead: (news) => tellHead(context, news, alias),
    clock: systemClock,
    random: systemRandom,
    logger: complaintLogger(systemClock, (complaint) => tellFailure(context, complaint)),
  })
  void worker.closed.then(() => ended.reject(new KithError('CONTROL_FAILED', 'The node ended.', { next: 'kith up' })))
  try {
    return await Promise.race([ended.promise, drained(context, worker)])
  } finally {
    process.off('uncaughtException', crashed).off('unhandledRejection', crashed)
    await worker.close()
  }
}

/** Resolves when somebody wants it to end and it has. */
async function drained({ signal, output }: CommandContext, worker: RunningWorker): Promise<number> {
  if (!signal.aborted) await new Promise<void>((wake) => signal.addEventListener('abort', () => wake(), { once: true }))
  if (worker.running > 0) output.note(`Waiting for ${worker.running} ${worker.running === 1 ? 'call' : 'calls'} to end.`)
  await worker.drain(DRAIN_MS)
  output.result({ event: 'drained' }, () => [])
  return 0
}

function ready({ output }: CommandContext, alias: string, operations: readonly string[]): void {
  output.result({ event: 'ready', alias, operations }, (palette) => [
    `${palette.good('ready')}  ${palette.strong(alias)} offers ${operations.map(harmlessLine).join(', ')}`,
  ])
}

function tellHead({ output }: CommandContext, news: HeadNews, alias: string): void {
  const { head, name, phase, error, next } = news
  output.result({ event: 'head', ...news }, (palette) => {
    const who = harmlessLine(name ?? head)
    if (phase === 'registered') return `${palette.good('registered')}  at ${palette.strong(who)} as ${alias}`
    return error === null ? [] : `${palette.bad(phase)}  at ${palette.strong(who)}: ${error}`
  })
  // For another machine: neither this home nor the way this program was started.
  if (next !== null) output.note(`Its owner has to run, there: ${next}`)
}

function refusal(error: KithError | undefined, alias: string): KithError {
  if (error?.code !== 'WORKER_CONFLICT') return error ?? new KithError('WORKER_DENIED')
  return new KithError('WORKER_CONFLICT', `Another worker of this node is registered as ${alias}.`, {
    next: 'kith worker --exec FILE --as ALIAS',
    cause: error,
  })
}

function tellFailure({ output }: CommandContext, { operation, path, problem }: Complaint): void {
  output.result({ event: 'failed', operation, path, problem }, (palette) => {
    const where = path === '' ? '' : ` at ${harmlessLine(path)}`
    return `${palette.bad('failed')}  ${palette.strong(harmlessLine(operation))}${where}: ${harmlessLine(problem)}`
  })
}

/** `my_ops.ts` is `my-ops`. */
function aliasOf(path: string): string {
  return basename(path, extname(path))
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+|-+$/g, '')
    .slice(0, 32)
}
