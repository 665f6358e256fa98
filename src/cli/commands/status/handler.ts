import { PROTECTIONS } from '../../../daemon/identity/protection.ts'
import type { NodeStatus, PeerStatus } from '../../../daemon/status.ts'
import { ago, bytes, decimal, duration } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
import { type Cell, harmless, type Palette, table } from '../../style.ts'
import { tunnelLines } from '../tunnels/handler.ts'

/** A binding that ends within this is said in colour. */
const SOON_MS = 7 * 86_400_000

export const run: CommandHandler = async ({ daemon, output, command }) => {
  const status = await (await daemon()).call('GET /v1/status', {})
  const human = (palette: Palette, columns: number): string[] => [
    ...self(status, palette, columns),
    ...troubles(status, palette, command),
    ...pairings(status, palette, command),
    '',
    ...links(status, palette, columns),
    ...forwards(status, palette, columns, command),
  ]
  output.result(status, human, status.did ?? undefined)
  // A node in trouble has said what is next.
  if (status.peers.length === 0 && status.degraded.length === 0) output.note(`next: ${command('kith invite')}`)
  return undefined
}

/** Where the identity is on another machine. */
const ELSEWHERE = 'renewed by the machine that holds the identity'

function certificateRow({ certificate }: NodeStatus, palette: Palette): Parameters<typeof table>[0] {
  if (certificate === null) return []
  const { names, source, expires_at } = certificate
  const until = source === 'self-signed' ? 'self-signed so far' : `until ${expires_at.slice(0, 10)}`
  return [[{ text: 'certificate', style: palette.quiet }, `${names.join(', ')}, ${until}`]]
}

function frontRow({ front }: NodeStatus, palette: Palette): Parameters<typeof table>[0] {
  if (front === null) return []
  const ssh = front.ssh_path === null ? '' : `, SSH by WebSocket at ${front.ssh_path}`
  return [[{ text: 'front door', style: palette.quiet }, `${front.listen}, ${front.connections} connections${ssh}`]]
}

/** Where programs come in that know nothing of links. */
function doorRows({ gateway, raw, ssh }: NodeStatus, palette: Palette): Parameters<typeof table>[0] {
  const row = (name: string, text: string): (string | Cell)[] => [{ text: name, style: palette.quiet }, text]
  const logins = ssh === null || ssh.sessions === 0 ? '' : `, ${ssh.sessions} logged in`
  return [
    ...(gateway === null ? [] : [row('gateway', gateway)]),
    ...(raw === null ? [] : [row('raw calls', [raw.listen, raw.socket].filter((place) => place !== null).join('  '))]),
    ...(ssh === null ? [] : [row('ssh', `${ssh.listen ?? 'by the front door'}${logins}`)]),
  ]
}

function self(status: NodeStatus, palette: Palette, columns: number): string[] {
  const expires = status.identity.binding_expires_at
  const soon = expires !== null && Date.parse(expires) - Date.now() < SOON_MS
  return table(
    [
      [
        { text: 'node', style: palette.quiet },
        { text: status.name ?? 'without an identity', style: palette.strong },
      ],
      ...(status.did === null ? [] : [[{ text: 'did', style: palette.quiet }, status.did]]),
      [{ text: 'listens', style: palette.quiet }, status.listen.length === 0 ? 'nowhere' : status.listen.join('  ')],
      [{ text: 'up', style: palette.quiet }, `${duration(status.uptime_s * 1000)}, version ${status.version}, pid ${status.pid}`],
      ...mailRow(status, palette),
      ...(status.vaults.length === 0 ? [] : [[{ text: 'vaults', style: palette.quiet }, `open: ${status.vaults.join(', ')}`]]),
      ...doorRows(status, palette),
      ...frontRow(status, palette),
      ...certificateRow(status, palette),
      ...(expires === null
        ? []
        : [
            [
              { text: 'identity', style: palette.quiet },
              {
                text: `valid until ${expires.slice(0, 10)}, ${status.identity.holds_identity === false ? ELSEWHERE : 'renewed when unlocked'}`,
                style: soon ? palette.warn : palette.quiet,
              },
            ],
          ]),
      ...keyRows(status, palette),
    ],
    { columns },
  )
}

/** Where the keys are and what opens them, when it is not a key file and a question. */
function keyRows({ identity: { passphrase, hardware } }: NodeStatus, palette: Palette): (string | Cell)[][] {
  const row = (text: string): Cell[] => [
    { text: 'keys', style: palette.quiet },
    { text, style: palette.quiet },
  ]
  return [
    ...(hardware === null ? [] : [row(`the identity signs in a token: ${hardware}`)]),
    ...(passphrase === 'stored' ? [row('no passphrase: whoever uses this account can use them')] : []),
    ...(passphrase === 'tpm' || passphrase === 'keyring' ? [row(`passphrase ${PROTECTIONS[passphrase]}`)] : []),
  ]
}

/** Only what somebody wants to look at. */
function mailRow({ mail, topics }: NodeStatus, palette: Palette): (string | Cell)[][] {
  const parts = [
    ...(mail.unread > 0 ? [`${mail.unread} unread`] : []),
    ...(mail.pending > 0 ? [`${mail.pending} on the way`] : []),
    ...(mail.kept_for_others > 0 ? [`${mail.kept_for_others} kept for others`] : []),
    ...(topics.held > 0 ? [`${topics.held} entries wait for others`] : []),
  ]
  return parts.length === 0
    ? []
    : [
        [
          { text: 'messages', style: palette.quiet },
          { text: parts.join(', '), style: mail.unread > 0 ? palette.strong : palette.quiet },
        ],
      ]
}

function troubles(status: NodeStatus, palette: Palette, command: (text: string) => string): string[] {
  return status.degraded.flatMap(({ message, next }) => [
    `${palette.warn('degraded')}  ${harmless(message)}`,
    ...(next === null ? [] : [palette.quiet(`          next: ${command(next)}`)]),
  ])
}

/** Pairings that somebody has to look at: the words, and what confirms them. */
function pairings(status: NodeStatus, palette: Palette, command: (text: string) => string): string[] {
  return status.pairings.flatMap(({ did, name, words, pending }) => [
    `${palette.good('paired')}    ${harmless(name)}, words: ${palette.strong(words)}`,
    ...(pending === null || !status.peers.some((peer) => peer.did === did && peer.pending_class !== null)
      ? []
      : [palette.quiet(`          the same over there? then: ${command(`kith confirm ${name}`)}`)]),
  ])
}

function forwards(status: NodeStatus, palette: Palette, columns: number, command: (text: string) => string): string[] {
  if (status.tunnels.length === 0) return []
  const names = new Map(status.peers.map(({ did, name }) => [did, name]))
  const named = status.tunnels.map((tunnel) => ({ ...tunnel, name: names.get(tunnel.peer as PeerStatus['did']) ?? null }))
  return ['', ...tunnelLines(named, palette, columns, command)]
}

/** Where there is no room, what says least about a link is left out: counters first. */
const SPARE_COLUMNS = [9, 10, 4, 3, 2, 6]

function links(status: NodeStatus, palette: Palette, columns: number): string[] {
  if (status.peers.length === 0) return [palette.quiet('no peers yet')]
  const head = ['peer', 'state', 'class', 'score', 'rate', 'path', 'round trip', 'post-quantum', 'since', 'streams', 'in / out'].map(
    (text): Cell => ({ text, style: palette.quiet }),
  )
  return table([head, ...status.peers.map((peer) => row(peer, palette))], { columns, spare: SPARE_COLUMNS })
}

function row(peer: PeerStatus, palette: Palette): (string | Cell)[] {
  const held = peer.pending_class === null ? peer.class : `${peer.class} (${peer.pending_class} pending)`
  const trouble = peer.last_error === null ? '' : peer.last_error.code
  return [
    { text: peer.name ?? peer.did, style: palette.strong },
    stateCell(peer, palette),
    held,
    decimal(peer.score),
    `${peer.rate.messages_per_second}/s${peer.rate.shared ? ' shared' : ''}`,
    peer.path === null ? trouble : `${peer.path.address}${peer.path.via === null ? '' : ` via ${peer.path.via}`}`,
    peer.rtt_ms === null ? '' : `${peer.rtt_ms.toFixed(1)} ms`,
    { text: peer.pq === null ? '' : peer.pq ? 'yes' : 'no', style: peer.pq === false ? palette.warn : palette.good },
    peer.since === null ? (peer.retry_in_ms === null ? '' : `again in ${duration(peer.retry_in_ms)}`) : ago(peer.since, Date.now()),
    String(peer.streams),
    `${bytes(peer.bytes_in)} / ${bytes(peer.bytes_out)}`,
  ]
}

/** What keeps a peer out says more than that it is not there. */
function stateCell({ state, standing }: PeerStatus, palette: Palette): Cell {
  if (standing !== 'good') return { text: standing, style: palette.bad }
  return { text: state, style: state === 'connected' ? palette.good : palette.warn }
}
