import { renderUnicodeCompact } from 'uqr'

/** A QR code in half blocks, or nothing when the terminal is too narrow for it. */
export function qrLines(text: string, columns: number): readonly string[] {
  const lines = renderUnicodeCompact(text, { ecc: 'L', border: 2 }).split('\n')
  return lines.every((line) => [...line].length <= columns) ? lines : []
}
