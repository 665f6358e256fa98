import { KithError } from '../../../core/errors.ts'
import type { TrustListed, TrustShown } from '../../../daemon/control/routes/trust-api.ts'
import type { CommandContext } from '../../context.ts'
import { decimal, duration, localTime } from '../../format.ts'
import type { CommandHandler, CommandInput } from '../../spec.ts'
import { type Cell, harmlessLine, type Palette, table } from '../../style.ts'
import { parseWeight, weightOf } from './weight.ts'

const MAX_BAN_MS = 30 * 86_400_000

export const list: CommandHandler = async ({ daemon, output, command }) => {
  const result = await (await daemon()).call('GET /v1/trust', {})
  output.result(
    result,
    (palette, columns) => {
      if (result.peers.length === 0) return palette.quiet('nobody yet')
      const head = ['peer', 'class', 'score', 'reputation', 'state', ''].map((text): Cell => ({ text, style: palette.quiet }))
      const rows = result.peers.map((peer) => [
        { text: peer.name ?? peer.did, style: palette.strong },
        peer.class,
        decimal(peer.score),
        decimal(peer.reputation),
        stateCell(peer, palette),
        { text: peer.name === null ? '' : peer.did, style: palette.quiet },
      ])
      return table([head, ...rows], { columns, spare: [5, 3] })
    },
    result.peers.map(({ did }) => did).join('\n') || undefined,
  )
  if (result.peers.length === 0) output.note(`next: ${command('kith invite')}`)
  return undefined
}

export const show: CommandHandler = async (context, { args: [peer = ''] }) =>
  print(context, await (await context.daemon()).call('POST /v1/trust/show', { peer }))

export const set: CommandHandler = async (context, { args: [peer = '', word = ''] }) => {
  const trust = parseWeight(word, 'set')
  const given = typeof trust === 'number' ? { weight: trust } : { class: trust }
  const result = await (await context.daemon()).call('POST /v1/trust/set', { peer, ...given })
  print(context, result)
  // A weight beside a class in the address book changes what others get through this peer, not what it may do itself.
  if (typeof trust === 'string' && result.class === 'known' && trust !== 'known' && trust !== 'isolated')
    context.output.note(
      `It stays known until somebody but itself vouches for its keys: compare them with its owner, then ${context.command(`kith peers anchor ${peer}`)}`,
    )
  if (typeof trust === 'number' && result.class_from === 'address book')
    context.output.note(`Its class stays ${result.class}, as the address book says; ${context.command(`kith trust set ${peer} CLASS`)} changes that.`)
  return undefined
}

export const attest: CommandHandler = async (context, { args: [peer = '', word = ''], options }) => {
  const labels = options.list('label')
  const input = { peer, weight: weightOf(word, 'attest'), ...(labels.length === 0 ? {} : { labels }) }
  return print(context, await (await context.daemon()).call('POST /v1/trust/attest', input))
}

export const revoke: CommandHandler = async (context, { args: [peer = ''] }) =>
  print(context, await (await context.daemon()).call('POST /v1/trust/revoke', { peer }))

export const ban: CommandHandler = async (context, input) => {
  const forMs = input.options.durationMs('for')
  if (forMs !== undefined && (forMs < 1_000 || forMs > MAX_BAN_MS)) throw new KithError('USAGE', '--for is from 1s to 30d.', { next: 'kith trust ban --help' })
  const given = { ...peerAndReason(input, 'ban'), ...(forMs === undefined ? {} : { for_ms: forMs }) }
  return print(context, await (await context.daemon()).call('POST /v1/trust/ban', given))
}

export const unban: CommandHandler = async (context, input) =>
  print(context, await (await context.daemon()).call('POST /v1/trust/unban', peerAndReason(input, 'unban')))

export const pardon: CommandHandler = async (context, input) =>
  print(context, await (await context.daemon()).call('POST /v1/trust/pardon', peerAndReason(input, 'pardon')))

export const graph: CommandHandler = async ({ daemon, output }, { args: [peer = ''] }) => {
  const result = await (await daemon()).call('POST /v1/trust/graph', { peer })
  output.result(
    result,
    (palette, columns) => {
      if (result.edges.length === 0) return palette.quiet('no edges are known here')
      return table(
        result.edges.map((edge) => [
          { text: edge.source_name ?? edge.source, style: palette.strong },
          '->',
          { text: edge.target_name ?? edge.target, style: palette.strong },
          decimal(edge.weight),
          edge.labels.join(', '),
          { text: `until ${edge.expires_at.slice(0, 10)}`, style: palette.quiet },
        ]),
        { columns, spare: [5] },
      )
    },
    result.edges.map(({ source, target, weight }) => `${source} ${target} ${weight}`).join('\n') || undefined,
  )
  return undefined
}

function peerAndReason({ args: [peer = ''], options }: CommandInput, command: string): { readonly peer: string; readonly reason: string } {
  const reason = options.text('reason')
  if (reason === undefined || reason.trim() === '')
    throw new KithError('USAGE', '--reason is missing: why, for the audit log.', { next: `kith trust ${command} --help` })
  return { peer, reason }
}

function print({ output }: CommandContext, result: TrustShown): undefined {
  output.result(result, (palette, columns) => shownLines(result, palette, columns), String(result.score))
  return undefined
}

function shownLines(peer: TrustShown, palette: Palette, columns: number): string[] {
  const row = (name: string, value: string | Cell): (string | Cell)[] => [{ text: name, style: palette.quiet }, value]
  const now = Date.now()
  const lines = table(
    [
      row('peer', { text: peer.name ?? peer.did, style: palette.strong }),
      ...(peer.name === null ? [] : [row('did', peer.did)]),
      row('class', `${peer.class}, by the ${peer.class_from}`),
      row('score', `${decimal(peer.score)}, from ${decimal(peer.direct)} here and ${decimal(peer.transitive)} through others`),
      row('reputation', decimal(peer.reputation)),
      row('state', stateCell(peer, palette)),
      ...(peer.said === null
        ? []
        : [row('said', `${decimal(peer.said.weight)} to everybody until ${peer.said.expires_at.slice(0, 10)}${labelled(peer.said.labels)}`)]),
      ...peer.devices.map(({ device, banned_until, reason }) =>
        row('device', `${device.slice(0, 16)} ${banned_until === null ? 'free' : `banned for ${duration(Date.parse(banned_until) - now)}`}: ${reason}`),
      ),
      ...peer.violations.slice(0, 10).map(({ kind, weight, time }) => row('violation', `${localTime(time)}  ${kind}, weight ${weight}`)),
    ],
    { columns },
  )
  if (peer.paths.length === 0) return lines
  const paths = peer.paths.map(({ via, via_name, first, second, contribution }) => [
    { text: '  via', style: palette.quiet },
    { text: via_name ?? via, style: palette.strong },
    `${decimal(first)} x ${decimal(second)}`,
    { text: `gives ${decimal(contribution)}`, style: palette.quiet },
  ])
  const more = peer.path_count - peer.paths.length
  return [...lines, ...table(paths, { columns }), ...(more > 0 ? [palette.quiet(`  and ${more} weaker`)] : [])]
}

function stateCell({ state, until }: TrustListed, palette: Palette): Cell {
  if (state === 'good') return { text: 'good', style: palette.good }
  const rest = until === null ? '' : ` for ${duration(Date.parse(until) - Date.now())}`
  return { text: `${state}${rest}`, style: state === 'banned' ? palette.bad : palette.warn }
}

function labelled(labels: readonly string[]): string {
  return labels.length === 0 ? '' : ` (${labels.map(harmlessLine).join(', ')})`
}
