/** The last lines in memory: bounded by number and by bytes, whichever is reached first. */
export interface LineRing {
  push(line: string): void
  /** The newest `count` lines, oldest first. */
  last(count: number): string[]
}

export function createLineRing(maxLines: number, maxBytes: number): LineRing {
  let lines: string[] = []
  let start = 0
  let bytes = 0
  return {
    push(line) {
      lines.push(line)
      bytes += line.length
      while (lines.length - start > maxLines || (bytes > maxBytes && lines.length - start > 1)) {
        bytes -= (lines[start] as string).length
        start += 1
      }
      // Dropped lines are let go in bulk, so that pushing stays cheap.
      if (start >= maxLines) {
        lines = lines.slice(start)
        start = 0
      }
    },
    last(count) {
      return lines.slice(Math.max(start, lines.length - count))
    },
  }
}
