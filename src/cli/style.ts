import { styleText } from 'node:util'

export type Style = (text: string) => string

/** Colours by meaning. Without colour every one gives the text back. */
export interface Palette {
  readonly strong: Style
  readonly quiet: Style
  readonly good: Style
  readonly warn: Style
  readonly bad: Style
}

const plain: Style = (text) => text
const style =
  (format: Parameters<typeof styleText>[0]): Style =>
  (text) =>
    styleText(format, text, { validateStream: false })

export function palette(colour: boolean): Palette {
  if (!colour) return { strong: plain, quiet: plain, good: plain, warn: plain, bad: plain }
  return { strong: style('bold'), quiet: style('dim'), good: style('green'), warn: style('yellow'), bad: style('red') }
}

/** Whether a stream gets colour: a terminal, unless `--no-color`, `NO_COLOR` or a dumb terminal says otherwise. */
export function wantsColour(stream: { isTTY?: boolean }, env: Readonly<Record<string, string | undefined>>, noColor: boolean): boolean {
  const refused = env.NO_COLOR !== undefined && env.NO_COLOR !== ''
  return stream.isTTY === true && !noColor && !refused && env.TERM !== 'dumb'
}

/**
 * Text from elsewhere (names, addresses, messages of a peer) made harmless for a terminal: control characters, escape sequences and
 * characters that turn the writing direction become a visible mark.
 */
export function harmless(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: removing control characters is the purpose.
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\ufffd')
}

export interface Cell {
  readonly text: string
  readonly style?: Style
}

/** Columns as wide as their widest cell, two spaces apart; the last one is not padded. Line breaks in cells become spaces. */
export function table(rows: readonly (readonly (string | Cell)[])[]): string[] {
  const cells = rows.map((row) => row.map((cell) => (typeof cell === 'string' ? { text: clean(cell) } : { ...cell, text: clean(cell.text) })))
  const widths: number[] = []
  for (const row of cells) for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, width(cell.text))
  return cells.map((row) =>
    row
      .map((cell, index) => {
        const padding = index === row.length - 1 ? '' : ' '.repeat((widths[index] as number) - width(cell.text))
        return (cell.style ?? plain)(cell.text) + padding
      })
      .join('  ')
      .trimEnd(),
  )
}

function clean(text: string): string {
  return harmless(text.replace(/[\n\t]/g, ' '))
}

/** Characters as a person counts them; wide scripts are off by their width, which only costs alignment. */
function width(text: string): number {
  return [...text].length
}
