import { KithError } from '../../core/errors.ts'

/** Headers that the owner adds to requests for this address. */
export type HeadersFor = (url: URL, signal: AbortSignal | undefined) => Promise<Readonly<Record<string, string>>>

type FetchLike = (url: string | URL, init?: RequestInit) => Promise<Response>

/** `fetch` that follows no redirect, talks to one origin only, and ends an answer that is larger than may be; an event stream may be so large for each event it carries. */
export function boundedFetch(maxBytes: number, headersFor?: HeadersFor): FetchLike {
  return async (given, init = {}) => {
    const url = new URL(given)
    const headers = new Headers(init.headers)
    for (const [name, value] of Object.entries((await headersFor?.(url, init.signal ?? undefined)) ?? {})) headers.set(name, value)
    const answer = await fetch(url, { ...init, headers, redirect: 'error' })
    if (answer.body === null) return answer
    const events = answer.headers.get('content-type')?.startsWith('text/event-stream') === true
    return new Response(answer.body.pipeThrough(limited(maxBytes, events)), { status: answer.status, statusText: answer.statusText, headers: answer.headers })
  }
}

const NEWLINE = 0x0a

function limited(maxBytes: number, events: boolean): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  let held = 0
  return new TransformStream({
    transform(chunk, controller) {
      // Of an event stream what counts is what the reader has to hold: everything since the last line ended.
      const end = events ? chunk.lastIndexOf(NEWLINE) : -1
      held = end === -1 ? held + chunk.length : chunk.length - end - 1
      if (held > maxBytes || chunk.length > maxBytes) controller.error(new KithError('UPSTREAM_FAILED', `The server answers with more than ${maxBytes} bytes.`))
      else controller.enqueue(chunk)
    },
  })
}
