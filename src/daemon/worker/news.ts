import type { LinkStream } from '../../transport/types.ts'

/** Daemon to process, one JSON value a line: what became of registrations at heads. */
export const NEWS_PROTOCOL = 'kith/worker-news/1'

export interface HeadNews {
  readonly head: string
  readonly name: string | null
  readonly phase: string
  readonly error: string | null
  readonly next: string | null
}

export function writeNews(stream: LinkStream, news: HeadNews): void {
  stream.write(Buffer.from(`${JSON.stringify(news)}\n`))
}

export function readNews(stream: LinkStream, listener: (news: HeadNews) => void): void {
  let rest = ''
  stream.onData = (data, start, end) => {
    stream.consume(end - start)
    rest += data.toString('utf8', start, end)
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) listener(JSON.parse(line) as HeadNews)
  }
  stream.onEnd = () => stream.end()
}
