import { ago, bytes } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless, type Palette, table } from '../../style.ts'

export const peers: CommandHandler = async ({ daemon, output }) => {
  const result = await (await daemon()).call('GET /v1/network/peers', {})
  const human = (palette: Palette): string | string[] => {
    if (result.peers.length === 0) return palette.quiet('nobody seen on the local network')
    return table(
      result.peers.map((peer) => [
        { text: peer.name ?? peer.did ?? 'unknown', style: palette.strong },
        peer.name === null ? '' : (peer.did ?? ''),
        peer.addresses.join(' '),
        { text: `${peer.source}, ${ago(peer.seen_at, Date.now())}`, style: palette.quiet },
      ]),
    )
  }
  const dids = result.peers.flatMap(({ did }) => (did === null ? [] : [did]))
  output.result(result, human, dids.join('\n') || undefined)
  return undefined
}

export const dial: CommandHandler = async ({ daemon, output }, { args, options }) => {
  const url = options.text('addr')
  const peer = await (await daemon()).call('POST /v1/network/dial', { peer: args[0] ?? '', ...(url === undefined ? {} : { url }) })
  output.result(
    peer,
    (palette) => `${palette.good('connected')} to ${palette.strong(harmless(peer.name ?? peer.did))}  ${palette.quiet(peer.path?.address ?? '')}`,
    peer.path?.address,
  )
  return undefined
}

export const stats: CommandHandler = async ({ daemon, output }) => {
  const result = await (await daemon()).call('GET /v1/network/stats', {})
  output.result(result, () =>
    table([
      ['links', String(result.links)],
      ['streams', String(result.streams)],
      ['received', bytes(result.bytes_in)],
      ['sent', bytes(result.bytes_out)],
      ['links of strangers', String(result.isolated_links)],
      ['connections', String(result.connections)],
    ]),
  )
  return undefined
}

export const status: CommandHandler = async ({ daemon, output }) => {
  const result = await (await daemon()).call('GET /v1/network/status', {})
  output.result(
    result,
    (_palette, columns) =>
      table(
        [
          ['listens', result.listen.length === 0 ? 'nowhere' : result.listen.join('  ')],
          ['paths', result.schemes.join(', ')],
          ['links', String(result.links)],
          ['discovery', result.discovery.mdns ? `mdns, ${result.discovery.peers} seen` : 'off'],
        ],
        { columns },
      ),
    result.listen.join('\n') || undefined,
  )
  return undefined
}
