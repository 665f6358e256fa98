import { utf8 } from '../core/bytes.ts'

/** Text from elsewhere as the audit log takes it: without control characters, cut to a number of bytes at a character's edge. */
export function auditText(text: string, maxBytes: number): string {
  const plain = text.replace(/\p{Cc}/gu, ' ')
  if (utf8(plain).length <= maxBytes) return plain
  let cut = ''
  let length = 0
  for (const letter of plain) {
    length += utf8(letter).length
    if (length > maxBytes) break
    cut += letter
  }
  return cut
}
