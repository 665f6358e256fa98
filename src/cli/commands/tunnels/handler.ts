import type { TunnelStatus } from '../../../tunnel/tunnels.ts'
import { ago } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
import { type Cell, type Palette, table } from '../../style.ts'

export const list: CommandHandler = async ({ daemon, output, command }) => {
  const result = await (await daemon()).call('GET /v1/tunnels', {})
  const { tunnels } = result
  output.result(
    result,
    (palette, columns) => (tunnels.length === 0 ? palette.quiet('no forwards') : tunnelLines(tunnels, palette, columns, command)),
    tunnels.map(({ id }) => id).join('\n') || undefined,
  )
  if (tunnels.length === 0) output.note(`next: ${command('kith forward PEER:HOST:PORT')}`)
  return undefined
}

export const close: CommandHandler = async ({ daemon, output }, { args }) => {
  const result = await (await daemon()).call('POST /v1/tunnels/close', { id: args[0] ?? '' })
  output.result(result, (palette) => `${palette.good('closed')}  ${result.id}`)
  return undefined
}

/** One row a forward, and below it what went wrong last. */
export function tunnelLines(
  tunnels: readonly (TunnelStatus & { readonly name: string | null })[],
  palette: Palette,
  columns: number,
  command: (text: string) => string,
): string[] {
  const head = ['id', 'here', 'peer', 'there', 'connections', 'total', 'since'].map((text): Cell => ({ text, style: palette.quiet }))
  const rows = table(
    [
      head,
      ...tunnels.map(({ id, local, name, peer, target, connections, total, since }) => [
        id,
        { text: local, style: palette.strong },
        name ?? peer,
        target,
        String(connections),
        String(total),
        ago(since, Date.now()),
      ]),
    ],
    { columns, spare: [5, 6] },
  )
  return rows.flatMap((row, index) => [row, ...trouble(tunnels[index - 1]?.last_error ?? null, palette, command)])
}

function trouble(error: TunnelStatus['last_error'], palette: Palette, command: (text: string) => string): string[] {
  if (error === null) return []
  return [palette.warn(`    last failure: ${error.code} ${error.message}`), ...(error.next === null ? [] : [palette.quiet(`    next: ${command(error.next)}`)])]
}
