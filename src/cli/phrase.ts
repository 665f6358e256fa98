import type { Secret } from '../core/secret.ts'
import type { Terminal } from './terminal.ts'

const COLUMNS = 4

/**
 * Writes a phrase to the terminal in numbered columns, word by word from guarded memory: no string of the whole phrase is made.
 * Only called when standard output is a terminal.
 */
export function showPhrase(phrase: Secret, terminal: Terminal): void {
  phrase.use((bytes) => {
    let start = 0
    let count = 0
    for (let at = 0; at <= bytes.length; at++) {
      if (at < bytes.length && bytes[at] !== 0x20) continue
      count += 1
      terminal.write(`${String(count).padStart(4)} `)
      terminal.writeBytes(bytes.subarray(start, at))
      terminal.write(count % COLUMNS === 0 ? '\n' : ' '.repeat(Math.max(1, 9 - (at - start))))
      start = at + 1
    }
    if (count % COLUMNS !== 0) terminal.write('\n')
  })
}
