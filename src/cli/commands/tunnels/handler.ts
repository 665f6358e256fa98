import { sleep, systemClock } from '../../../core/clock.ts'
import type { ServedListed } from '../../../daemon/control/routes/services-api.ts'
import type { TunnelStatus } from '../../../tunnel/index.ts'
import type { CommandContext } from '../../context.ts'
import { ago, bytes } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
import { type Cell, type Palette, table } from '../../style.ts'

const WATCH_MS = 2_000

export const list: CommandHandler = async (context, { options }) => {
  await show(context)
  if (!options.flag('watch')) return undefined
  while (!context.signal.aborted) {
    await sleep(systemClock, WATCH_MS, context.signal).catch(() => {})
    if (!context.signal.aborted) await show(context)
  }
  return undefined
}

async function show({ daemon, output, command }: CommandContext): Promise<void> {
  const result = await (await daemon()).call('GET /v1/tunnels', {})
  const { tunnels, serving } = result
  output.result(
    result,
    (palette, columns) => [
      ...(tunnels.length === 0 ? [palette.quiet('no forwards')] : tunnelLines(tunnels, palette, columns, command)),
      ...servingLines(serving, palette, columns),
    ],
    tunnels.map(({ id }) => id).join('\n') || undefined,
  )
  if (tunnels.length === 0) output.note(`next: ${command('kith forward PEER:HOST:PORT')}`)
}

export const close: CommandHandler = async ({ daemon, output, command }, { args, options }) => {
  const id = args[0] ?? ''
  const result = await (await daemon()).call('POST /v1/tunnels/close', { id, forget: options.flag('forget') })
  output.result(result, (palette) => `${palette.good('closed')}  ${result.id}`)
  if (result.saved) output.note(`It stands in config.toml and opens again with the node. To end that: ${command(`kith tunnels close ${id} --forget`)}`)
  return undefined
}

/** What peers reach through this machine. */
function servingLines(serving: readonly ServedListed[], palette: Palette, columns: number): string[] {
  if (serving.length === 0) return []
  const head = ['peer', 'reaches here', 'connections', 'bytes in', 'bytes out'].map((text): Cell => ({ text, style: palette.quiet }))
  const rows = serving.map(({ peer, name, target, connections, bytes_in, bytes_out }) => [
    name ?? peer,
    target,
    String(connections),
    bytes(bytes_in),
    bytes(bytes_out),
  ])
  return ['', ...table([head, ...rows], { columns, spare: [3, 4] })]
}

/** One row a forward, and below it what went wrong last. */
export function tunnelLines(
  tunnels: readonly (TunnelStatus & { readonly name: string | null })[],
  palette: Palette,
  columns: number,
  command: (text: string) => string,
): string[] {
  const head = ['id', 'here', 'peer', 'there', 'connections', 'total', 'in', 'out', 'since'].map((text): Cell => ({ text, style: palette.quiet }))
  const rows = table(
    [
      head,
      ...tunnels.map(({ id, kind, open, local, name, peer, target, connections, total, bytes_in, bytes_out, since }) => [
        id,
        { text: kind === 'remote' ? target : local, style: palette.strong },
        name ?? peer,
        kind === 'remote' ? `${open ? 'listens on' : 'away:'} ${local}` : kind === 'socks' ? 'proxy' : target,
        String(connections),
        String(total),
        bytes(bytes_in),
        bytes(bytes_out),
        ago(since, Date.now()),
      ]),
    ],
    { columns, spare: [5, 6, 7, 8] },
  )
  return rows.flatMap((row, index) => [row, ...trouble(tunnels[index - 1], palette, command)])
}

function trouble(tunnel: TunnelStatus | undefined, palette: Palette, command: (text: string) => string): string[] {
  const error = tunnel?.last_error ?? null
  if (error === null) return []
  const what = tunnel?.kind === 'ssh' && !tunnel.open ? 'waits' : 'last failure'
  return [palette.warn(`    ${what}: ${error.code} ${error.message}`), ...(error.next === null ? [] : [palette.quiet(`    next: ${command(error.next)}`)])]
}
