import { KithError } from '../../../core/errors.ts'
import type { CommandHandler } from '../../spec.ts'
import { table } from '../../style.ts'

const CLOSED = 'The SSH door is closed: this node was started with neither ssh.listen nor front.ssh.'

export const status: CommandHandler = async ({ daemon, output }) => {
  const result = await (await daemon()).call('GET /v1/ssh', {})
  const { ssh } = result
  output.result(
    result,
    (palette, columns) => {
      if (ssh === null) return palette.quiet(CLOSED)
      const label = (text: string): { text: string; style: typeof palette.quiet } => ({ text, style: palette.quiet })
      return table(
        [
          [label('listens'), ssh.listen ?? 'at the front door only'],
          [label('host key'), ssh.host_key.fingerprint],
          [label('certificate'), ssh.host_key.certified ? 'yes' : 'no'],
          [label('sessions'), String(ssh.sessions)],
          [label('folders'), ssh.folders.join(', ') || 'none'],
        ],
        { columns, spare: [1] },
      )
    },
    ssh?.listen ?? undefined,
  )
  return undefined
}

export const hostKey: CommandHandler = async ({ daemon, output }) => {
  const { ssh } = await (await daemon()).call('GET /v1/ssh', {})
  if (ssh === null) throw new KithError('NOT_FOUND', CLOSED, { next: 'kith config show ssh.listen' })
  const { host_key, known_hosts } = ssh
  // The line alone goes to where it is wanted; what people compare stands beside it.
  output.result({ ...host_key, known_hosts }, (palette) => `${known_hosts}\n${palette.quiet(`# ${host_key.fingerprint}`)}`, known_hosts)
  return undefined
}

export const key: CommandHandler = async ({ daemon, output }) => {
  const result = await (await daemon()).call('GET /v1/ssh/key', {})
  output.result(result, (palette) => `${result.authorized_keys}\n${palette.quiet(`# ${result.fingerprint}`)}`, result.authorized_keys)
  return undefined
}

export const sessions: CommandHandler = async ({ daemon, output }) => {
  const result = await (await daemon()).call('GET /v1/ssh/sessions', {})
  output.result(result, (palette, columns) => {
    if (result.sessions.length === 0) return palette.quiet('nobody is logged in')
    const rows = result.sessions.map(({ id, caller, user, remote_address, transport, channels, pq }) => [
      String(id),
      caller,
      user,
      remote_address,
      transport,
      String(channels),
      pq ? 'yes' : 'no',
    ])
    return table([['ID', 'WHO', 'USER', 'FROM', 'BY', 'CHANNELS', 'PQ'].map((text) => ({ text, style: palette.quiet })), ...rows], { columns, spare: [1] })
  })
  return undefined
}

export const close: CommandHandler = async ({ daemon, output }, { args }) => {
  const id = Number(args[0])
  if (!Number.isInteger(id) || id < 1) throw new KithError('USAGE', 'A session is named by its number.', { next: 'kith ssh sessions' })
  const result = await (await daemon()).call('POST /v1/ssh/close', { id })
  output.result(result, () => `Session ${id} is closed.`)
  return undefined
}
