import { entityTag, judgeConditions, lastModified, rangeApplies } from './conditions.ts'
import type { FoundFile, Pages } from './folder.ts'
import { readTarget } from './http/target.ts'
import { mimeType } from './mime.ts'
import { type ByteRange, multipart, parseRanges } from './ranges.ts'
import type { SiteRequest } from './request.ts'
import type { ResponseHead } from './response.ts'

/** What is said to a request: a status whose page is shown, or a file or parts of it. */
export type Answer =
  | { readonly kind: 'status'; readonly status: number; readonly location?: string; readonly more?: ResponseHead['more'] }
  | { readonly kind: 'bare'; readonly head: ResponseHead }
  | { readonly kind: 'file'; readonly head: ResponseHead; readonly file: FoundFile; readonly parts: readonly (Buffer | ByteRange)[] }

/** nginx's `client_max_body_size`. */
const MAX_BODY_BYTES = 1_048_576

let boundaries = 0

/** Answers as nginx does with nothing but a folder of static files. */
export async function answer(request: SiteRequest, pages: Pages): Promise<Answer> {
  const target = readTarget(request.target)
  if (target === undefined) return status(400)
  if (typeof request.body === 'number' && request.body > MAX_BODY_BYTES) return status(413)
  const { method } = request
  if (method !== 'GET' && method !== 'HEAD' && method !== 'POST') return status(405)
  const found = await pages.find(target.path)
  if (found.kind === 'missing') return status(404)
  if (found.kind === 'forbidden') return status(403)
  if (found.kind === 'directory') {
    const query = target.query === undefined ? '' : `?${target.query}`
    return { kind: 'status', status: 301, location: `${request.origin}${headerText(target.path)}/${query}` }
  }
  if (method === 'POST') {
    await found.close()
    return status(405)
  }
  return await serve(request, found)
}

async function serve(request: SiteRequest, file: FoundFile): Promise<Answer> {
  const { header } = request
  const tag: readonly [string, string] = ['ETag', entityTag(file)]
  const verdict = judgeConditions(header, file)
  if (verdict !== undefined) await file.close()
  if (verdict === 412) return status(412)
  if (verdict === 304) return { kind: 'bare', head: { status: 304, lastModified: lastModified(file), more: [tag] } }
  const head = { type: mimeType(file.name), lastModified: lastModified(file) }
  const wanted = header('range')
  if (wanted !== undefined && request.version >= 1000 && /^bytes=./i.test(wanted) && rangeApplies(header('if-range'), file)) {
    const ranges = parseRanges(wanted, file.size)
    if (ranges === 'unsatisfiable') {
      await file.close()
      return { kind: 'status', status: 416, more: [['Content-Range', `bytes */${file.size}`]] }
    }
    if (ranges !== 'whole') return partial(file, ranges, head, tag)
  }
  const more = [tag, ['Accept-Ranges', 'bytes'] as const]
  return { kind: 'file', head: { ...head, status: 200, length: file.size, more }, file, parts: [{ start: 0, end: file.size }] }
}

function partial(file: FoundFile, ranges: readonly ByteRange[], head: { type: string; lastModified: string }, tag: readonly [string, string]): Answer {
  const [only] = ranges
  if (ranges.length === 1 && only !== undefined) {
    const more = [tag, ['Content-Range', `bytes ${only.start}-${only.end - 1}/${file.size}`] as const]
    return { kind: 'file', head: { ...head, status: 206, length: only.end - only.start, more }, file, parts: ranges }
  }
  boundaries = (boundaries + 1) % 1e9
  const boundary = String(boundaries).padStart(20, '0')
  const { length, parts } = multipart(ranges, file.size, head.type, boundary)
  return { kind: 'file', head: { ...head, status: 206, type: `multipart/byteranges; boundary=${boundary}`, length, more: [tag] }, file, parts }
}

/** Bytes that would end a header line stay escaped. */
function headerText(path: Buffer): string {
  return [...path].map((byte) => (byte < 0x20 || byte === 0x7f ? `%${byte.toString(16).padStart(2, '0')}` : String.fromCharCode(byte))).join('')
}

function status(code: number): Answer {
  return { kind: 'status', status: code }
}
