import { KithError } from '../../../core/errors.ts'
import type { TopicInput, TopicListed } from '../../../daemon/control/routes/gossip-api.ts'
import { bytes } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmlessLine, type Palette, table } from '../../style.ts'

const ACCESS: readonly TopicInput['access'][] = ['open', 'known', 'partner', 'federated', 'list']

export const list: CommandHandler = async ({ daemon, output, command }) => {
  const result = await (await daemon()).call('GET /v1/topics', {})
  output.result(
    result,
    (palette, columns) => (result.topics.length === 0 ? palette.quiet('no topics yet') : topicLines(result.topics, palette, columns)),
    result.topics.map(({ name }) => name).join('\n') || undefined,
  )
  if (result.topics.every(({ name }) => name.includes(':'))) output.note(`next: ${command('kith topics create NAME')}`)
  return undefined
}

export const create: CommandHandler = async ({ daemon, output, command }, { args, options }) => {
  const [name = '', ...members] = args
  const access = options.text('access') ?? (members.length > 0 ? 'list' : 'known')
  if (!isAccess(access)) throw new KithError('USAGE', `--access takes ${ACCESS.join(', ')}.`, { next: 'kith topics create --help' })
  if (access !== 'list' && members.length > 0) throw new KithError('USAGE', 'Peers are named with --access list alone.', { next: 'kith topics create --help' })
  const topic = await (await daemon()).call('POST /v1/topics/create', { name, access, ...(members.length === 0 ? {} : { members }) })
  output.result(topic, (palette) => `${palette.good('made')}  ${palette.strong(harmlessLine(topic.name))}  ${words(topic)}`, topic.name)
  output.note(`next: ${command(`kith sub ${name}`)}`)
  return undefined
}

export const remove: CommandHandler = async ({ daemon, output, terminal, yes, signal }, { args }) => {
  const [name = ''] = args
  const client = await daemon()
  if (!yes && terminal.interactive && !(await terminal.confirm(`Remove ${name} and everything kept of it here?`, true, signal)))
    throw new KithError('INTERRUPTED')
  const result = await client.call('POST /v1/topics/remove', { name })
  output.result(result, () => `removed ${harmlessLine(result.name)}`, result.name)
  return undefined
}

function isAccess(text: string): text is TopicInput['access'] {
  return (ACCESS as readonly string[]).includes(text)
}

/** What says least goes first where there is no room. */
const SPARE_COLUMNS = [5, 3, 4]

function topicLines(topics: readonly TopicListed[], palette: Palette, columns: number): string[] {
  const head = ['topic', 'access', 'entries', 'size', 'readers', 'waiting', ''].map((text) => ({ text, style: palette.quiet }))
  const rows = topics.map((topic) => [
    { text: topic.name, style: palette.strong },
    words(topic),
    String(topic.entries),
    bytes(topic.bytes),
    String(topic.subscribers),
    topic.held === 0 ? '' : String(topic.held),
    topic.broken ? { text: 'broken: remove it and make it anew', style: palette.bad } : { text: topic.subscribed ? 'read here' : '', style: palette.quiet },
  ])
  return table([head, ...rows], { columns, spare: SPARE_COLUMNS })
}

function words({ access, min_score, members }: TopicListed): string {
  if (access === 'list')
    return `list: ${[...members]
      .sort((a, b) => Number(b.self) - Number(a.self))
      .map(({ did, name, self }) => (self ? 'me' : (name ?? did)))
      .join(' ')}`
  return access === 'score' ? `score from ${min_score}` : access
}
