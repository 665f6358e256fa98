import { isKithError, KithError } from '../../../core/errors.ts'
import type { ControlClient } from '../../../daemon/control/client.ts'
import type { CommandContext } from '../../context.ts'
import { shellWord } from '../../home.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmlessLine, table } from '../../style.ts'

export const run: CommandHandler = async (context, { args, options }) => {
  const [peer] = args
  const schema = options.text('schema')
  if (options.flag('workers')) {
    if (peer !== undefined || schema !== undefined) throw new KithError('USAGE', '--workers stands alone.', { next: 'kith ops --help' })
    return await workers(context)
  }
  const client = await context.daemon()
  if (schema !== undefined) {
    const described = await describe(client, peer, schema.replace(/^\//, ''))
    context.output.result(described, () => JSON.stringify(described, null, 2))
    return undefined
  }
  const result = await client.call('GET /v1/operations', peer === undefined ? {} : { peer })
  context.output.result(
    result,
    (palette, columns) =>
      result.operations.length === 0
        ? palette.quiet('no operations')
        : table(
            result.operations.map(({ path, kind, summary }) => [
              { text: harmlessLine(path), style: palette.strong },
              kind,
              { text: harmlessLine(summary ?? ''), style: palette.quiet },
            ]),
            { columns, spare: [2] },
          ),
    result.operations.map(({ path }) => path).join('\n') || undefined,
  )
  return undefined
}

/** An operation that is not there is looked up where it was asked for. */
async function describe(client: ControlClient, peer: string | undefined, operation: string): Promise<object> {
  const list = peer === undefined ? 'kith ops' : `kith ops ${shellWord(peer)}`
  if (!operation.includes('/')) throw new KithError('USAGE', `'${operation.slice(0, 300)}' is not service/op.`, { next: list })
  try {
    return await client.call('GET /v1/operations/schema', { path: peer === undefined ? operation : `${peer}/${operation}` })
  } catch (error) {
    if (!isKithError(error, 'CALL_UNKNOWN')) throw error
    throw new KithError('CALL_UNKNOWN', error.message, { details: error.details, next: list, cause: error })
  }
}

const WORKER_HEAD = ['alias', 'machine', 'state', 'calls', 'services']

async function workers({ daemon, output }: CommandContext): Promise<undefined> {
  const result = await (await daemon()).call('GET /v1/workers', {})
  output.result(result, (palette, columns) => {
    const rows = [
      ...result.workers.map(({ alias, name, did, state, services, running, calls, failures }) => [
        { text: harmlessLine(alias), style: palette.strong },
        { text: harmlessLine(name ?? did), style: palette.quiet },
        { text: state, style: state === 'serving' ? palette.good : palette.bad },
        `${running} running, ${calls} calls, ${failures} failed`,
        { text: harmlessLine(services.join(' ')), style: palette.quiet },
      ]),
      ...result.heads.map(({ alias, name, did, phase, error }) => [
        { text: harmlessLine(alias), style: palette.strong },
        { text: `at ${harmlessLine(name ?? did)}`, style: palette.quiet },
        { text: phase, style: phase === 'registered' ? palette.good : palette.bad },
        error ?? '',
        '',
      ]),
    ]
    return rows.length === 0
      ? palette.quiet('no workers, and registered nowhere')
      : table([WORKER_HEAD.map((text) => ({ text, style: palette.quiet })), ...rows], { columns, spare: [4, 1] })
  })
  return undefined
}
