export interface ByteRange {
  readonly start: number
  /** Behind the last byte. */
  readonly end: number
}

/**
 * The ranges of a header that begins with `bytes=` (RFC 9110, 14.1.2), as nginx takes them: those that lie outside are left out. `'unsatisfiable'` when none is
 * left or the header is none; `'whole'` when together they are longer than the file.
 */
export function parseRanges(header: string, size: number): readonly ByteRange[] | 'unsatisfiable' | 'whole' {
  const ranges: ByteRange[] = []
  let total = 0
  for (const part of header.slice('bytes='.length).split(',')) {
    const match = /^ *(\d+)? *- *(\d+)? *$/.exec(part)
    if (match === null || (match[1] === undefined && match[2] === undefined) || !isOffset(match[1]) || !isOffset(match[2])) return 'unsatisfiable'
    const range = resolve(match[1], match[2], size)
    if (range.start >= range.end) {
      // From the first byte on there is nothing: so there is nothing at all.
      if (range.start === 0) return 'whole'
      continue
    }
    ranges.push(range)
    total += range.end - range.start
  }
  if (ranges.length === 0) return 'unsatisfiable'
  return total > size ? 'whole' : ranges
}

/** nginx counts with 63 bits. */
const MAX_OFFSET = (1n << 63n) - 1n

function isOffset(text: string | undefined): boolean {
  return text === undefined || BigInt(text) <= MAX_OFFSET
}

function resolve(first: string | undefined, last: string | undefined, size: number): ByteRange {
  if (first === undefined) return { start: Math.max(0, size - Number(last)), end: size }
  return { start: Number(first), end: last === undefined ? size : Math.min(size, Number(last) + 1) }
}

/** A body of one or more parts, each a piece of the file with what stands before it. */
export interface RangePlan {
  readonly length: number
  readonly parts: readonly (Buffer | ByteRange)[]
}

/** The parts of an answer with several ranges (RFC 9110, 14.6). */
export function multipart(ranges: readonly ByteRange[], size: number, type: string, boundary: string): RangePlan {
  const parts: (Buffer | ByteRange)[] = []
  for (const range of ranges) {
    const head = `\r\n--${boundary}\r\nContent-Type: ${type}\r\nContent-Range: bytes ${range.start}-${range.end - 1}/${size}\r\n\r\n`
    parts.push(Buffer.from(head, 'latin1'), range)
  }
  parts.push(Buffer.from(`\r\n--${boundary}--\r\n`, 'latin1'))
  return { length: parts.reduce((sum, part) => sum + ('start' in part ? part.end - part.start : part.length), 0), parts }
}
